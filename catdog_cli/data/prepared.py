"""The folder that `catdog data prepare` writes: its files, and how to open it as a dataset.

images.npy   uint8 or float32 (0 to 1), (N, size, size, 3); line i of files.csv and labels.npy is picture i
labels.npy   int64 (N,), indices into class_names; or int8 (N, C), whether a picture has each of the labels
files.csv    path,class,split,key: the file that a picture was made from, and the digest of its content
classes.json class_names, size, dtype, what was skipped, and the plan that the pictures follow
"""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from ..settings_input import UNKNOWN_LABEL
from .dataset import Dataset, Split

IMAGES, LABELS, FILES, DESCRIPTION = "images.npy", "labels.npy", "files.csv", "classes.json"
FILES_COLUMNS = ("path", "class", "split", "key")
PREPARED_VERSION = 1


def is_prepared(root: Path) -> bool:
    """Tell whether a folder is one that `catdog data prepare` wrote."""
    try:
        return (root / IMAGES).is_file() and (root / DESCRIPTION).is_file()
    except OSError:  # no permission to look, a name too long
        return False


def open_prepared(root: Path) -> Dataset:
    """Open a prepared folder with the splits of the data that it was made from.

    Raises:
        DataError: its files do not fit together, or come from a later catdog.
    """
    try:
        description = read_description(root)
        labels = _open_array(root / LABELS, None, ("i",))
        rows = _read_files(root / FILES)
        shape = _open_array(root / IMAGES, 4, ("u", "f")).shape
        _check_labels(labels, description["class_names"])
        num_pictures, num_skipped = description["num_pictures"], len(description["skipped"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError, csv.Error) as error:
        raise DataError(
            f"The prepared folder {str(root)!r} is damaged ({error}): run `catdog data prepare` again."
        ) from error
    if not len(rows) == len(labels) == shape[0] == num_pictures:
        raise DataError(
            f"The prepared folder {str(root)!r} has {shape[0]} pictures, {len(labels)} labels, {len(rows)} "
            "files: run `catdog data prepare` again."
        )
    dataset = Dataset(root, description["class_names"], _split_rows(rows, labels), images=root / IMAGES)
    dataset.unlisted = UNKNOWN_LABEL if description.get("unlisted") != 0 else 0
    if labels.ndim == 2:
        dataset.notes.append(f"Several labels a picture, of {len(dataset.class_names)}.")
    if num_skipped:
        dataset.warnings.append(
            f"{num_skipped} damaged pictures were skipped when {str(root)!r} was prepared."
        )
    return dataset


def _open_array(path: Path, dimensions: int | None, kinds: tuple[str, ...]) -> np.ndarray:
    """Return an array without reading it, however large its header says it is; None: of 1 or 2 dimensions.

    Raises:
        OSError: it is not there.
        ValueError: it is damaged, or holds something else.
    """
    try:
        array = np.load(path, mmap_mode="r")
    except OSError:
        raise
    except Exception as error:  # a damaged header is parsed as Python: SyntaxError, TokenError, ...
        raise ValueError(f"{path.name}: {str(error)[:200]}") from error
    wanted = (1, 2) if dimensions is None else (dimensions,)
    if not isinstance(array, np.ndarray) or array.ndim not in wanted or array.dtype.kind not in kinds:
        raise ValueError(f"{path.name} holds something else")
    return array


def _check_labels(labels: np.ndarray, class_names: list[str]) -> None:
    """Raise ValueError unless every label is an index into a list of different names, or says yes or no."""
    if not isinstance(class_names, list) or not all(isinstance(name, str) for name in class_names):
        raise ValueError(f"{DESCRIPTION} holds no list of class names")
    if len(set(class_names)) < len(class_names):
        raise ValueError(f"{DESCRIPTION} names a class twice")
    if labels.ndim == 2:
        if labels.shape[1] != len(class_names) or not np.isin(labels, (0, 1, UNKNOWN_LABEL)).all():
            raise ValueError(f"{LABELS} does not hold 1, 0 or {UNKNOWN_LABEL} for each label")
    elif len(labels) and not (labels.min() >= 0 and labels.max() < len(class_names)):
        raise ValueError(f"{LABELS} holds a label that is not a class")


def read_description(root: Path) -> dict[str, Any]:
    """Return what classes.json says.

    Raises:
        DataError: it is of a later format.
        OSError, ValueError, KeyError: it is missing or damaged.
    """
    description = json.loads((root / DESCRIPTION).read_text(encoding="utf-8"))
    if description["format_version"] > PREPARED_VERSION:
        raise DataError(f"The prepared folder {str(root)!r} was written by a later catdog: upgrade catdog.")
    return description


def _read_files(path: Path) -> list[tuple[str, str, str]]:
    """Return (path, split, key) of every picture."""
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = [(row["path"], row["split"], row["key"]) for row in csv.DictReader(file, strict=True)]
    if not all(map(all, rows)):
        raise ValueError(f"{path.name} lacks a value")
    return rows


def _split_rows(rows: list[tuple[str, str, str]], labels: np.ndarray) -> dict[str, Split]:
    whole = Split(
        [row[0] for row in rows],
        labels.astype(np.int64 if labels.ndim == 1 else np.int8),
        np.arange(len(rows), dtype=np.int64),
        [row[2] for row in rows],
    )
    sides = np.array([row[1] for row in rows], dtype=object)
    return {name: whole.take(np.flatnonzero(sides == name)) for name in dict.fromkeys(sides)}
