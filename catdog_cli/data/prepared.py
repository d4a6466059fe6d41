"""The folder that `catdog data prepare` writes: its files, and how to open it as a dataset.

images.npy   uint8 or float32 (0 to 1), (N, size, size, 3); line i of files.csv and labels.npy is picture i
labels.npy   int64 (N,), indices into class_names
files.csv    path,class,split,key: the file that a picture was made from, and the digest of its content
classes.json class_names, size, dtype, what was skipped, and the plan that the pictures follow
"""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from .dataset import Dataset, Split

IMAGES, LABELS, FILES, CLASSES = "images.npy", "labels.npy", "files.csv", "classes.json"
COLUMNS = ("path", "class", "split", "key")
FORMAT_VERSION = 1


def is_prepared(root: Path) -> bool:
    """Tell whether a folder is one that `catdog data prepare` wrote."""
    return (root / IMAGES).is_file() and (root / CLASSES).is_file()


def open_prepared(root: Path) -> Dataset:
    """Open a prepared folder with the splits of the data that it was made from.

    Raises:
        DataError: its files do not fit together, or come from a later catdog.
    """
    try:
        description = read_description(root)
        labels = np.load(root / LABELS)
        rows = _read_files(root / FILES)
        shape = np.load(root / IMAGES, mmap_mode="r").shape
    except (OSError, EOFError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise DataError(
            f"The prepared folder {str(root)!r} is damaged ({error}): run `catdog data prepare` again."
        ) from error
    if not len(rows) == len(labels) == shape[0] == description["num_pictures"]:
        raise DataError(
            f"The prepared folder {str(root)!r} has {shape[0]} pictures, {len(labels)} labels, {len(rows)} "
            "files: run `catdog data prepare` again."
        )
    dataset = Dataset(root, description["class_names"], _split_rows(rows, labels), images=root / IMAGES)
    if description["skipped"]:
        skipped = len(description["skipped"])
        dataset.warnings.append(f"{skipped} damaged pictures were skipped when {str(root)!r} was prepared.")
    return dataset


def read_description(root: Path) -> dict[str, Any]:
    """Return what classes.json says.

    Raises:
        DataError: it is of a later format.
        OSError, ValueError, KeyError: it is missing or damaged.
    """
    description = json.loads((root / CLASSES).read_text(encoding="utf-8"))
    if description["format_version"] > FORMAT_VERSION:
        raise DataError(f"The prepared folder {str(root)!r} was written by a later catdog: upgrade catdog.")
    return description


def _read_files(path: Path) -> list[tuple[str, str, str]]:
    """Return (path, split, key) of every picture."""
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return [(row["path"], row["split"], row["key"]) for row in csv.DictReader(file, strict=True)]


def _split_rows(rows: list[tuple[str, str, str]], labels: np.ndarray) -> dict[str, Split]:
    whole = Split(
        [row[0] for row in rows],
        labels.astype(np.int64),
        np.arange(len(rows), dtype=np.int64),
        [row[2] for row in rows],
    )
    sides = np.array([row[1] for row in rows], dtype=object)
    return {name: whole.take(np.flatnonzero(sides == name)) for name in dict.fromkeys(sides)}
