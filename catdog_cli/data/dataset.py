"""What a scan finds: pictures, labels and class names by split; every part of catdog passes these around."""

import dataclasses
import functools
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DataError, quote
from ..runtime.text import name_some
from ..settings_input import UNKNOWN_LABEL

if TYPE_CHECKING:
    from .decisions import Decision


@dataclass(frozen=True, eq=False)
class Split:
    """Pictures and their labels: `paths[i]`, relative to the dataset's root, has the label `labels[i]`.

    Where pictures have several labels, `labels[i, c]` says whether picture i has label c: 1, 0, or
    UNKNOWN_LABEL.

    A prepared folder adds `rows` (the index of each picture in its array) and `keys` (the digest of the
    file that each picture was made from), so that it is split as the files themselves would be.
    """

    paths: list[str]
    labels: np.ndarray  # int64 (N,), or int8 (N, C)
    rows: np.ndarray | None = None  # int64 (N,)
    keys: list[str] | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, indices: np.ndarray) -> "Split":
        """Return the pictures at `indices` (int64), in that order."""
        return Split(
            [self.paths[index] for index in indices],
            self.labels[indices],
            None if self.rows is None else self.rows[indices],
            None if self.keys is None else [self.keys[index] for index in indices],
        )


@dataclass(eq=False)
class Dataset:
    """The pictures of all splits under one root, with what the user should know about them."""

    root: Path
    class_names: list[str]  # naturally sorted, or the checkpoint's own order
    splits: dict[str, Split]
    warnings: list[str] = field(default_factory=list)
    ignored: dict[str, int] = field(default_factory=dict)  # how many files, by suffix or by what they are
    images: Path | None = None  # the .npy of a prepared folder, (N, H, W, 3)
    manifest: Path | None = None  # the file that lists the pictures, where there is one
    notes: list[str] = field(default_factory=list)  # how DATA was understood, where that is not plain
    decisions: "list[Decision]" = field(default_factory=list)  # about its labels, applied
    unlisted: int = UNKNOWN_LABEL  # of several labels, what one is that DATA does not name: 0 if it lists all

    @property
    def has_several_labels(self) -> bool:
        """Whether a picture may have several labels, or none."""
        return any(split.labels.ndim == 2 for split in self.splits.values())

    def __len__(self) -> int:
        return sum(len(split) for split in self.splits.values())

    @functools.cached_property
    def pixels(self) -> np.ndarray | None:
        """The prepared pictures, memory-mapped: uint8, or float32 from 0 to 1, (N, H, W, 3)."""
        return None if self.images is None else np.load(self.images, mmap_mode="r")

    def source(self, split: str, index: int) -> Path | np.ndarray:
        """Return what the pixel path reads: a file's path, or a prepared picture (uint8, H x W x 3)."""
        rows = self.splits[split].rows
        if self.pixels is None or rows is None:
            return self.root / self.splits[split].paths[index]
        row = self.pixels[rows[index]]
        if row.dtype == np.uint8:
            return np.array(row)
        return np.round(row * np.float32(255)).astype(np.uint8)  # exact: each value was a whole 255th

    def __getstate__(self) -> dict:
        """Leave the map out of a pickle: a worker opens its own instead of getting a copy of the file."""
        return {name: value for name, value in self.__dict__.items() if name != "pixels"}


def relabel(dataset: Dataset, class_names: list[str]) -> Dataset:
    """Return the dataset with labels that index `class_names`, which hold every class that has pictures."""
    if dataset.has_several_labels:
        return _relabel_columns(dataset, class_names)
    index = {name: number for number, name in enumerate(class_names)}
    table = np.array([index.get(name, -1) for name in dataset.class_names], dtype=np.int64)
    splits = {
        name: dataclasses.replace(split, labels=table[split.labels]) for name, split in dataset.splits.items()
    }
    return dataclasses.replace(dataset, class_names=list(class_names), splits=splits)


def _relabel_columns(dataset: Dataset, class_names: list[str]) -> Dataset:
    """Return a dataset of several labels with the columns `class_names`: dropped, or filled."""
    own = {name: number for number, name in enumerate(dataset.class_names)}
    shared = [(new, own[name]) for new, name in enumerate(class_names) if name in own]
    splits = {}
    for name, split in dataset.splits.items():
        labels = np.full((len(split), len(class_names)), dataset.unlisted, dtype=np.int8)
        for new, old in shared:
            labels[:, new] = split.labels[:, old]
        splits[name] = dataclasses.replace(split, labels=labels)
    return dataclasses.replace(dataset, class_names=list(class_names), splits=splits)


def match_classes(dataset: Dataset, class_names: list[str]) -> Dataset:
    """Return the dataset with labels that index a checkpoint's `class_names`, matched by name.

    A class without pictures gives a warning. So do labels that the checkpoint does not know where pictures
    have several: the others can still be measured.

    Raises:
        DataError: the data holds pictures of a class that the checkpoint does not know.
    """
    present = classes_present(dataset)
    unknown = [name for name in present if name not in set(class_names)]
    if unknown and not (dataset.has_several_labels and len(unknown) < len(present)):
        raise DataError(_unknown_classes(dataset.root, unknown, class_names))
    missing = [name for name in class_names if name not in set(present)]
    matched = relabel(dataset, class_names)
    if unknown:
        names = name_some(unknown)
        warning = f"{str(dataset.root)!r} has labels that the checkpoint does not know, left out: {names}."
        matched.warnings = [*dataset.warnings, warning]
    if missing:
        count = f"{len(missing)} classes, " if len(missing) > 5 else ""
        warning = (
            f"{str(dataset.root)!r} has no pictures of {count}{name_some(missing)}: they cannot be measured."
        )
        matched.warnings = [*matched.warnings, warning]
    return matched


def classes_present(dataset: Dataset) -> list[str]:
    """Return the names of the classes that have pictures in any split, in the dataset's order."""
    counts = np.zeros(len(dataset.class_names), dtype=np.int64)
    for name in dataset.splits:
        counts += class_counts(dataset, name)
    return [name for name, count in zip(dataset.class_names, counts, strict=True) if count]


def class_counts(dataset: Dataset, split: str) -> np.ndarray:
    """Return the number of pictures of each class in a split: int64 (C,)."""
    if dataset.splits[split].labels.ndim == 2:
        return (dataset.splits[split].labels == 1).sum(0, dtype=np.int64)
    return np.bincount(dataset.splits[split].labels, minlength=len(dataset.class_names))


def name_labels(labels: np.ndarray, class_names: list[str], value: int = 1) -> list[str]:
    """Return the names of the labels that a picture has, of its row (C,); or those with another value."""
    return [class_names[index] for index in np.flatnonzero(labels == value)]


def class_text(dataset: Dataset, split: str, index: int) -> str:
    """Return what a picture is labelled, for a sentence: its class, or its labels."""
    label = dataset.splits[split].labels[index]
    if label.ndim == 0:
        return dataset.class_names[label]
    return ", ".join(name_labels(label, dataset.class_names)) or "none of the labels"


def _unknown_classes(root: Path, unknown: list[str], known: list[str]) -> str:
    names = name_some(unknown)
    import difflib

    close = difflib.get_close_matches(unknown[0].casefold(), [name.casefold() for name in known], 1)
    hint = next((name for name in known if close and name.casefold() == close[0]), None)
    shown = ", ".join(quote(name) for name in known[:10]) + (" ..." if len(known) > 10 else "")
    advice = (
        f"did you mean {quote(hint)} for {quote(unknown[0])}?" if hint else "rename or remove these folders."
    )
    return f"{str(root)!r} holds {names}, which the checkpoint does not know (it knows {shown}): {advice}"
