"""Whether a run that is resumed finds the pictures that it began with.

A run's split.csv says which pictures are its own, on which side, and the digest of each file. Pictures that
came later are no part of the run; those that are gone or hold something else would change its result.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...data.dataset import Dataset, Split
from ...data.decisions import read_decisions
from ...data.label_lists import LabelForm
from ...data.location import open_data
from ...data.scan import data_root, scan_dataset
from ...data.splits import split_dataset
from ...errors import CatdogError, DataError
from ...runs.directory import RunDirectory
from ...settings import TrainSettings
from ..events import DataChanged, Listener
from ..setup import Setup

SHOWN = 3  # names in a sentence
TRAINED = ("train", "val")  # what a test split holds is of no concern to training


@dataclass
class DataChanges:
    """What differs from the pictures that a run began with: paths, of train and val."""

    added: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)  # another content
    unknown: bool = False  # something differs; a run of an older catdog does not know what

    @property
    def harmful(self) -> bool:
        """Whether resuming gives another result than a run that was never stopped."""
        return bool(self.removed or self.changed or self.unknown)

    def describe(self) -> str:
        """Return the counts with some names: 2 removed ('a.jpg', 'b.jpg'), 1 changed ('c.jpg')."""
        kinds = {"removed": self.removed, "changed": self.changed, "added": self.added}
        said = [f"{len(paths):,} {kind} ({_names(paths)})" for kind, paths in kinds.items() if paths]
        return ", ".join(said) or "some with another content"


def _names(paths: list[str]) -> str:
    shown = ", ".join(repr(path) for path in paths[:SHOWN])
    return shown + (", ..." if len(paths) > SHOWN else "")


def own_split(settings: TrainSettings, directory: RunDirectory) -> tuple[Dataset, DataChanges]:
    """Return what is left of the run's own split, in its order, and what was added or removed since.

    The data may have moved as a whole, and be a folder, a manifest or a prepared folder, as before.

    Raises:
        CatdogError: the data is not there; of train or val nothing is left.
    """
    data = open_data(settings.data)[0]
    if not data.exists():
        raise CatdogError(
            f"The data of this run, {settings.data!r}, no longer exists: if it has moved, say where: "
            f"`catdog train NEW_DATA --resume {directory.path}`."
        )
    scanned, decisions = None, _own_decisions(settings, directory)

    def scan(leaks: bool) -> Dataset:
        labels, exclude = LabelForm.of(settings), settings.exclude or None
        return scan_dataset(settings.data, exclude=exclude, leaks=leaks, labels=labels, decisions=decisions)

    with contextlib.suppress(CatdogError):  # what the run needs of it is looked at below
        scanned = scan(leaks=False)
    if not directory.split.exists():
        scanned = scan(leaks=True)
        return split_dataset(scanned, settings.val_fraction, settings.seed), DataChanges()
    listed = directory.read_split(data_root(data))
    if scanned is not None:
        listed.unlisted = scanned.unlisted
    return _what_is_left(listed, scanned)


def _own_decisions(settings: TrainSettings, directory: RunDirectory) -> str | None:
    """Return the file of the decisions that the run began with: its own copy, as soon as there is one."""
    return str(directory.decisions) if directory.decisions.exists() else settings.decisions or None


def describe_new_decisions(settings: TrainSettings, directory: RunDirectory) -> str | None:
    """Return a sentence where --decisions says something else now than when the run began."""
    if not settings.decisions or not directory.decisions.exists():
        return None
    try:
        same = read_decisions(settings.decisions) == read_decisions(directory.decisions)
    except DataError:  # gone, or half-written: what the run began with is what counts
        return None
    if same:
        return None
    return (
        f"{settings.decisions!r} has changed since this run began, which keeps the labels that it began "
        f"with: start a new run to train on the new ones."
    )


def _what_is_left(listed: Dataset, scanned: Dataset | None) -> tuple[Dataset, DataChanges]:
    prepared = scanned if scanned is not None and scanned.images is not None else None
    there = _find_all(scanned) if scanned is not None else {}
    changes = DataChanges()
    splits: dict[str, Split] = {}
    for name, split in listed.splits.items():
        found = [
            path in there if prepared is not None else os.path.isfile(os.path.join(listed.root, path))  # noqa: PTH113, PTH118
            for path in split.paths
        ]
        left = split.take(np.flatnonzero(found))
        splits[name] = left if prepared is None else _take_rows(left, prepared, there)
        if name in TRAINED:
            changes.removed += [
                path for path, is_there in zip(split.paths, found, strict=True) if not is_there
            ]
            if not len(left):
                raise DataError(
                    f"None of the {len(split)} pictures of {name} is in {str(listed.root)!r} now, the "
                    f"first was {split.paths[0]!r}: put them back, or say where they are now."
                )
    known = {path for split in listed.splits.values() for path in split.paths}
    changes.added = [path for path in there if path not in known]
    listed.splits, listed.images = splits, None if prepared is None else prepared.images
    return listed, changes


def _find_all(dataset: Dataset) -> dict[str, tuple[str, int]]:
    """Return the split and the index in it of every path."""
    return {
        path: (name, index)
        for name, split in dataset.splits.items()
        for index, path in enumerate(split.paths)
    }


def _take_rows(split: Split, prepared: Dataset, there: dict[str, tuple[str, int]]) -> Split:
    """Return a split with the rows and keys that its paths have in a prepared folder."""
    rows = {name: [] if part.rows is None else part.rows.tolist() for name, part in prepared.splits.items()}
    keys = {name: part.keys or [] for name, part in prepared.splits.items()}
    found = list(map(there.__getitem__, split.paths))
    taken = np.array([rows[name][index] for name, index in found], dtype=np.int64)
    return Split(split.paths, split.labels, taken, [keys[name][index] for name, index in found])


def settle_changes(
    setup: Setup,
    changes: DataChanges,
    directory: RunDirectory,
    old: dict[str, Any] | None,
    accept: bool,
    listener: Listener,
) -> None:
    """Complete `changes` by what the files hold, and say or refuse them; what is accepted becomes the run's.

    `old` is the fingerprint of before, where there is one.

    Raises:
        DataError: something differs, and nobody said to `accept` that.
    """
    keys = directory.read_keys()
    if keys:
        changes.changed = list(_find_changed(setup, keys))
    if not keys or setup.dataset.images is not None:  # a prepared folder's keys are those of its sources
        changes.unknown = not changes.harmful and old not in (None, setup.fingerprint)
    if (changes.harmful or changes.added) and not accept:
        raise DataError(
            f"The pictures of {setup.settings.data!r} are not those that this run started with: "
            f"{changes.describe()}. {_advice(changes)}"
        )
    if changes.harmful or changes.added:
        listener(DataChanged(changes))
    if changes.harmful or not keys:
        directory.write_split(setup.dataset, setup.contents)


def _advice(changes: DataChanges) -> str:
    if not changes.harmful:
        return (
            "Add --accept-changed-data to resume without the added ones, with the same result as before, or "
            "start a new run to train on them."
        )
    return (
        "Put them back, or add --accept-changed-data to resume with what is left: removed ones leave the "
        "run, added ones are ignored, and the result is not that of a run in one go."
    )


def _find_changed(setup: Setup, keys: dict[str, str]) -> Iterator[str]:
    for name in TRAINED:
        for path, key in zip(setup.dataset.splits[name].paths, setup.contents[name], strict=True):
            if keys.get(path) != key:
                yield path
