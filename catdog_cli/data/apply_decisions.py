"""What decisions make of a data set: labels put right, pictures left out, and what no longer fits."""

import dataclasses
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..runtime.text import name_some
from ..settings import UNKNOWN_LABEL
from .class_names import find_alike
from .dataset import Dataset, relabel
from .decisions import EXCLUDE, WRONG, Decision, read_decisions
from .digests import content_keys, file_digest, map_threads
from .label_lists import check_label_names, join_labels, split_labels
from .natural_sort import sort_naturally

Place = tuple[str, int]  # a split, and an index in it
GONE, OTHER_CONTENT, RELABELLED, NO_LABEL = (
    "of pictures that are gone",
    "of files that hold another picture now",
    "of labels that have changed since",
    "without a new label",
)


@dataclass(eq=False)
class Decided:
    """A data set with its labels put right, and the pictures that are not to be in it."""

    dataset: Dataset
    left_out: set[Place] = field(default_factory=set)

    def without_left_out(self, dataset: Dataset) -> Dataset:
        """Return a data set, this one or a part of it, without the pictures that were left out."""
        names = {(side, self.dataset.splits[side].paths[index]) for side, index in self.left_out}
        if not names:
            return dataset
        splits = {
            side: split.take(
                np.array([i for i, path in enumerate(split.paths) if (side, path) not in names], np.int64)
            )
            for side, split in dataset.splits.items()
        }
        return dataclasses.replace(dataset, splits=splits)


def apply_decisions(
    dataset: Dataset, decisions: str | Path | None, class_names: Sequence[str] | None = None
) -> Decided:
    """Return what a file of decisions makes of a data set; None changes nothing.

    How much it changed is among the dataset's notes; what does not fit is counted and named in a warning.

    Args:
        class_names: those of a checkpoint; pictures of other classes by a decision are left out.

    Raises:
        DataError: the file cannot be read, or is not of decisions; a new class looks like another.
    """
    if decisions is None:
        return Decided(dataset)
    taken = read_decisions(decisions)
    found, unfit = match_decisions(dataset, taken)
    return _change(dataset, found, unfit, taken, str(decisions), class_names)


def match_decisions(
    dataset: Dataset, decisions: Sequence[Decision]
) -> tuple[dict[Place, Decision], dict[str, list[str]]]:
    """Return the decision that holds for each picture, and the paths of those that do not fit, by why."""
    finder = _Finder(dataset, decisions)
    found: dict[Place, Decision] = {}
    unfit: dict[str, list[str]] = {}
    for decision in decisions:
        places, problem = finder.find(decision)
        for place in places:
            problem = _misfit(dataset, place, decision)
            if not problem:
                found[place] = decision
        if problem:
            unfit.setdefault(problem, []).append(decision.path)
    return found, unfit


class _Finder:
    """Finds the pictures that decisions are about, by path, and where that fails by content."""

    def __init__(self, dataset: Dataset, decisions: Sequence[Decision]) -> None:
        self.dataset = dataset
        self.root = os.path.abspath(dataset.root)  # noqa: PTH100 - Path.resolve would follow links
        self.places: dict[str, Place] = {
            self._full(path): (side, index)
            for side, split in dataset.splits.items()
            for index, path in enumerate(split.paths)
        }
        met = [self._full(row.path) for row in decisions if row.key and self._full(row.path) in self.places]
        self.digests = dict(zip(met, map_threads(self._digest, met), strict=True))
        self.by_content: dict[str, list[Place]] | None = None

    def find(self, decision: Decision) -> tuple[list[Place], str]:
        """Return where a decision's picture is, or nothing and why not."""
        path = self._full(decision.path)
        place = self.places.get(path)
        if place is not None and (not decision.key or self.digests[path] == decision.key):
            return [place], ""
        moved = self._search(decision.key) if decision.key else []
        return moved, "" if moved else GONE if place is None else OTHER_CONTENT

    def _search(self, key: str) -> list[Place]:
        if self.by_content is None:  # all files are read, once, where one has been moved
            self.by_content = {}
            for side in self.dataset.splits:
                for index, content in enumerate(content_keys(self.dataset, side)):
                    self.by_content.setdefault(content, []).append((side, index))
        return self.by_content.get(key, [])

    def _full(self, path: str) -> str:
        return os.path.normpath(os.path.join(self.root, path))  # noqa: PTH118

    def _digest(self, path: str) -> str | None:
        side, index = self.places[path]
        keys = self.dataset.splits[side].keys  # of a prepared folder
        return file_digest(path) if keys is None else keys[index]


def _misfit(dataset: Dataset, place: Place, decision: Decision) -> str:
    """Return why a decision means nothing for the picture at `place`, "" where it does."""
    if decision.decision == WRONG and not decision.new_label and not dataset.has_several_labels:
        return NO_LABEL
    now = label_text(dataset, *place)
    if decision.decision == WRONG and _same_labels(dataset, now, decision.new_label):
        return ""
    if (
        decision.decision == EXCLUDE
        or decision.label is None
        or not (decision.label or dataset.has_several_labels)
    ):
        return ""
    return "" if _same_labels(dataset, now, decision.label) else RELABELLED


def _same_labels(dataset: Dataset, one: str, other: str) -> bool:
    return set(split_labels(one)) == set(split_labels(other)) if dataset.has_several_labels else one == other


def label_text(dataset: Dataset, side: str, index: int) -> str:
    """Return a picture's class as decisions have it, or its labels, joined."""
    label = dataset.splits[side].labels[index]
    return join_labels(label, dataset.class_names) if label.ndim else dataset.class_names[label]


def _change(
    dataset: Dataset,
    found: dict[Place, Decision],
    unfit: dict[str, list[str]],
    taken: list[Decision],
    name: str,
    class_names: Sequence[str] | None,
) -> Decided:
    wrong = {
        place: _new_names(dataset, decision)
        for place, decision in found.items()
        if decision.decision == WRONG
        and not _same_labels(dataset, label_text(dataset, *place), decision.new_label)
    }
    left_out = {place for place, decision in found.items() if decision.decision == EXCLUDE}
    known = set(dataset.class_names if class_names is None else class_names)
    strange = {
        place: [label for label in labels if label not in known]
        for place, labels in wrong.items()
        if class_names is not None and not known.issuperset(labels)
    }
    left_out |= strange.keys()
    wrong = {place: labels for place, labels in wrong.items() if place not in strange}
    changed = _relabelled(dataset, wrong, name)
    changed.decisions = taken
    changed.notes = [*dataset.notes, _count(len(wrong), len(left_out), name)]
    changed.warnings = [*dataset.warnings, *describe_unfit(unfit, len(taken), name)]
    if strange:
        labels = sorted({label for names in strange.values() for label in names})
        changed.warnings.append(
            f"{len(strange):,} of the pictures left out by {name!r} are by it of classes that the checkpoint "
            f"does not know: {name_some(labels)}."
        )
    return Decided(changed, left_out)


def _new_names(dataset: Dataset, decision: Decision) -> list[str]:
    return split_labels(decision.new_label) if dataset.has_several_labels else [decision.new_label]


def _relabelled(dataset: Dataset, wrong: dict[Place, list[str]], name: str) -> Dataset:
    """Return the dataset with other labels at some places, and with the classes that they bring."""
    own = set(dataset.class_names)
    new = {label for labels in wrong.values() for label in labels} - own
    names = sort_naturally(own | new) if new else dataset.class_names
    if new and (alike := find_alike(names)):
        pair = " and ".join(map(repr, alike[0][:2]))
        raise DataError(f"By {name!r} there are the classes {pair}, which look the same: choose one of them.")
    if new and dataset.has_several_labels:
        check_label_names(Path(name), names)
    changed = relabel(dataset, names) if new else dataclasses.replace(dataset)
    index = {label: number for number, label in enumerate(names)}
    splits = {}
    for side, split in changed.splits.items():
        labels = split.labels.copy()
        for (at, place), labelled in wrong.items():
            if at == side:
                labels[place] = _new_label(labels[place], [index[label] for label in labelled])
        splits[side] = dataclasses.replace(split, labels=labels)
    changed.splits = splits
    return changed


def _new_label(old: np.ndarray, columns: list[int]) -> np.ndarray:
    """Return a picture's new label; of several labels, what was unknown and is not named stays unknown."""
    if old.ndim == 0:
        return np.array(columns[0], dtype=old.dtype)
    row = np.where(old == UNKNOWN_LABEL, UNKNOWN_LABEL, 0).astype(old.dtype)
    row[columns] = 1
    return row


def _count(num_wrong: int, num_left_out: int, name: str) -> str:
    labels = f"{num_wrong:,} label{'s' * (num_wrong != 1)} changed"
    return f"{labels}, {num_left_out:,} picture{'s' * (num_left_out != 1)} left out by {name!r}."


def describe_unfit(unfit: dict[str, list[str]], total: int, name: str) -> Iterator[str]:
    """Yield the one sentence on decisions that do not fit the data, if there are any."""
    count = sum(map(len, unfit.values()))
    if count:
        kinds = "; ".join(f"{len(paths):,} {why} ({name_some(paths, 3)})" for why, paths in unfit.items())
        verbs = ("fits", "changes") if count == 1 else ("fit", "change")
        yield (
            f"{count:,} of {total:,} decisions in {name!r} no longer {verbs[0]} the data and {verbs[1]} "
            f"nothing: {kinds}."
        )
