"""Who is in train, val and test: drawn by content, written as a manifest, read back exactly.

A picture's side follows from (seed, digest of its file) alone, so that adding, renaming or removing
pictures moves no other one, and files with the same content are always on the same side.
"""

import csv
import dataclasses
import hashlib
import io
import os
from collections import defaultdict
from pathlib import Path

import numpy as np

from ..errors import DataError, quote
from ..runtime.files import write_atomic
from .dataset import Dataset, Split
from .digests import content_keys, fingerprint
from .natural_sort import sort_naturally

__all__ = ["fingerprint", "read_split", "split_dataset", "write_split"]

MANIFEST_COLUMNS = ("path", "class", "split")


def split_dataset(
    dataset: Dataset,
    val_fraction: float = 0.2,
    seed: int = 0,
    test_fraction: float = 0.0,
    groups: list[str] | None = None,
) -> Dataset:
    """Return the dataset with train and val (and test, where asked) drawn from "all", or val from train.

    A dataset that has train and val already is returned as it is. Each picture gets a number from 0 to 1 out
    of (seed, content): val is below `val_fraction`, test above 1 - `test_fraction`, so the shares hold on
    average and are never exact. Then, class by class, the nearest pictures move so that every class with two
    different pictures is in train and in val. `groups[i]` names the group of picture i of the split that is
    drawn from; a group stays on one side.

    Raises:
        DataError: there is neither "all" nor train; or no class has two different pictures.
    """
    if {"train", "val"} <= set(dataset.splits):
        return dataset
    drawn = next((name for name in ("all", "train") if name in dataset.splits), None)
    if drawn is None:
        names = ", ".join(dataset.splits)
        raise DataError(f"{str(dataset.root)!r} has only {names}, no train/: add a folder to train from.")
    keys = content_keys(dataset, drawn) if groups is None else groups
    sides = _draw_sides(dataset.splits[drawn].labels, keys, val_fraction, test_fraction, seed)
    return _divide(dataset, drawn, keys, sides, val_fraction)


def write_split(
    dataset: Dataset,
    path: str | Path,
    root: str | Path | None = None,
    keys: dict[str, list[str]] | None = None,
) -> None:
    """Write the manifest `path,class,split` of a dataset, atomically; paths stay relative to its root.

    `root` rewrites them relative to that folder instead: `catdog data split` gives the manifest's own.
    `keys`, what `content_keys` gives for splits, add a column `key` by which a run knows its pictures again.

    Raises:
        DataError: the file cannot be written.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(MANIFEST_COLUMNS if keys is None else (*MANIFEST_COLUMNS, "key"))
    for name, split in dataset.splits.items():
        own = [()] * len(split) if keys is None else [(key,) for key in keys.get(name, [""] * len(split))]
        for image, label, key in zip(_rebase(dataset, split, root), split.labels.tolist(), own, strict=True):
            writer.writerow((image, dataset.class_names[label], name, *key))
    data = text.getvalue().encode("utf-8", "surrogateescape")
    write_atomic(Path(path), data, DataError, "choose another place", parents=True)


def read_split(path: str | Path, root: str | Path | None = None, check_files: bool = True) -> Dataset:
    """Read a manifest; its paths are absolute, or relative to `root`, which is the manifest's folder if None.

    Raises:
        DataError: the file is missing, no such manifest, names a picture twice or, with `check_files`, one
            that does not exist.
    """
    rows = _read_rows(Path(path))
    _check_rows(str(path), rows)
    class_names = sort_naturally({row[1] for row in rows})
    index = {name: number for number, name in enumerate(class_names)}
    members = defaultdict(list)
    for image, label, split, _ in rows:
        members[split].append((image, index[label]))
    splits = {
        split: Split([row[0] for row in pairs], np.array([row[1] for row in pairs], dtype=np.int64))
        for split, pairs in members.items()
    }
    folder = Path(path).parent if root is None else Path(root)
    dataset = Dataset(folder, class_names, splits, manifest=Path(path))
    if check_files:
        _check_files(str(path), dataset)
    return dataset


def read_keys(path: str | Path) -> dict[str, str]:
    """Return the key of each path in a manifest that `write_split` gave keys; {} for one without.

    Raises:
        DataError: the file is missing, or no manifest.
    """
    return {row[0]: row[3] for row in _read_rows(Path(path)) if row[3]}


def _draw_sides(
    labels: np.ndarray, keys: list[str], val_fraction: float, test_fraction: float, seed: int
) -> np.ndarray:
    """Return "train", "val" or "test" for each picture: (N,) of str."""
    places = {key: _place(seed, key) for key in set(keys)}  # key: its number from 0 to 1
    sides = {key: _side(place, val_fraction, test_fraction) for key, place in places.items()}
    for label in np.unique(labels):
        members = {keys[index] for index in np.flatnonzero(labels == label)}
        _fill_sides(sorted(members, key=lambda key: (places[key], key)), sides)
    return np.array([sides[key] for key in keys], dtype=object)


def _place(seed: int, key: str) -> float:
    data = f"{seed}\0{key}".encode(errors="surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big") / 2**64


def _side(place: float, val_fraction: float, test_fraction: float) -> str:
    if place < val_fraction:
        return "val"
    return "test" if place >= 1 - test_fraction else "train"


def _fill_sides(members: list[str], sides: dict[str, str]) -> None:
    """Give a class, its members ordered by place, one picture in val and one in train where it has two."""
    if len(members) < 2:
        sides[members[0]] = "train"
        return
    sides[members[0]] = "val"
    if "train" not in [sides[key] for key in members]:
        tested = [key for key in members[1:] if sides[key] == "test"]
        sides[tested[0] if tested else members[-1]] = "train"


def _divide(dataset: Dataset, drawn: str, keys: list[str], sides: np.ndarray, val_fraction: float) -> Dataset:
    source = dataset.splits[drawn]
    warnings = list(dataset.warnings)
    if drawn == "train":
        warnings.append(f"There is no val/: {val_fraction:.0%} of train is kept apart as val.")
    for label, name in enumerate(dataset.class_names):
        members = np.flatnonzero(source.labels == label)
        if len(members) and len({keys[index] for index in members}) == 1:
            warnings.append(f"The class {name!r} has one picture only: it goes to train, unmeasured.")
    if not (sides == "val").any():
        raise DataError(f"{str(dataset.root)!r} has too few different pictures for val: add some.")
    kept = [name for name in ("train", "val", "test") if (sides == name).any()]
    splits = {name: source.take(np.flatnonzero(sides == name)) for name in kept}
    rest = {name: split for name, split in dataset.splits.items() if name not in ("all", "train")}
    return dataclasses.replace(dataset, splits={**splits, **rest}, warnings=warnings)


def _rebase(dataset: Dataset, split: Split, root: str | Path | None) -> list[str]:
    if root is None:
        return split.paths
    prefix = os.path.relpath(Path(dataset.root).resolve(), Path(root).resolve()).replace(os.sep, "/")
    if prefix == ".":
        return split.paths
    return [path if path.startswith("/") else f"{prefix}/{path}" for path in split.paths]


def _read_rows(path: Path) -> list[tuple[str, str, str, str]]:
    """Return (path, class, split, key) of every row of a manifest; without a split column all are "all"."""
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            reader = csv.DictReader(file, strict=True)
            names = reader.fieldnames or []
            if "path" in names and "class" in names:
                return [
                    (row["path"], row["class"], row.get("split", "all"), row.get("key") or "")
                    for row in reader
                ]
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"The manifest {str(path)!r} cannot be read ({reason}): check the path.") from error
    except csv.Error as error:
        raise DataError(f"{str(path)!r} is not a readable manifest ({error}): write it again.") from error
    raise DataError(
        f"{str(path)!r} is neither a data folder nor a manifest: expected a folder, or a CSV file with the "
        "columns path,class,split."
    )


def _check_rows(manifest: str, rows: list[tuple]) -> None:
    if not rows:
        raise DataError(
            f"The manifest {manifest!r} lists no pictures: write it again with `catdog data split`."
        )
    seen = set()
    for number, row in enumerate(rows, 1):
        if not all(row[:3]):
            raise DataError(f"The manifest {manifest!r} lacks a value in its picture {number}: complete it.")
        if row[0] in seen:
            raise DataError(f"The manifest {manifest!r} lists {quote(row[0])} twice: keep one of the rows.")
        seen.add(row[0])
    unknown = sorted({row[2] for row in rows} - {"train", "val", "test", "all"})
    if unknown:
        raise DataError(
            f"The manifest {manifest!r} has the split {quote(unknown[0])}: use train, val or test."
        )


def _check_files(manifest: str, dataset: Dataset) -> None:
    missing = [
        path for split in dataset.splits.values() for path in split.paths
        if not os.path.isfile(os.path.join(dataset.root, path))  # noqa: PTH113, PTH118
    ]  # fmt: skip
    if missing:
        raise DataError(
            f"{len(missing)} pictures of the manifest {manifest!r} do not exist under {str(dataset.root)!r}, "
            f"the first {quote(missing[0])}: put them back, or write the manifest again."
        )
