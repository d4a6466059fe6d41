"""Which pictures are worth a look, and why: doubtful labels, look-alikes, damaged ones, sure mistakes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..data.apply_decisions import label_text
from ..data.dataset import Dataset, name_labels
from ..data.label_lists import split_labels
from ..data.quality.check import UNREADABLE, CheckReport, Duplicates
from ..data.quality.label_errors import rank_doubts
from ..runtime.text import show_percent
from .evidence import Evidence

MAX_CASES = 1000  # of a group: nobody looks at more in one go
MAX_ALIKE = 12  # pictures beside each other
MISSED, WRONG = "missed", "wrongly said"  # what may be the matter with one of several labels
UNTRAINED = "A classifier trained on the other pictures"


@dataclass(frozen=True)
class Picture:
    """One picture under review; `labels` are the names that it has, `text` is the same as one cell."""

    side: str
    index: int
    path: str
    labels: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class Case:
    """Pictures to look at together, by number, and why."""

    pictures: tuple[int, ...]
    why: str


@dataclass(frozen=True)
class Group:
    """Cases of one kind, the most urgent first."""

    name: str
    title: str
    cases: list[Case]
    total: int = 0  # of which `cases` are the first MAX_CASES


@dataclass(frozen=True)
class Answers:
    """What the checkpoint says of each picture: probabilities (N, C), NaN where one cannot be read."""

    class_names: list[str]
    probabilities: np.ndarray
    thresholds: Sequence[float] | None = None  # (C,) where labels are several

    def said(self, number: int) -> tuple[str, ...]:
        """Return the likeliest class of a picture, or its labels above their thresholds."""
        row = self.probabilities[number]
        if np.isnan(row[0]):
            return ()
        if self.thresholds is None:
            return (self.class_names[int(row.argmax())],)
        return tuple(name_labels((row >= np.array(self.thresholds)).astype(np.int8), self.class_names))

    def probability(self, number: int, name: str) -> float:
        """Return the probability of a class, 0 of one that the checkpoint does not know."""
        known = name in self.class_names
        return float(self.probabilities[number, self.class_names.index(name)]) if known else 0.0

    def top(self, number: int, most: int) -> list[tuple[str, float]]:
        """Return the likeliest classes with their probabilities, best first."""
        row = self.probabilities[number]
        if np.isnan(row[0]):
            return []
        return [(self.class_names[place], float(row[place])) for place in np.argsort(-row)[:most].tolist()]


def list_pictures(dataset: Dataset) -> list[Picture]:
    """Return every picture of a data set, those of all splits in a row."""
    found = []
    for side, split in dataset.splits.items():
        for index, path in enumerate(split.paths):
            text = label_text(dataset, side, index)
            labels = tuple(split_labels(text)) if dataset.has_several_labels else (text,)
            found.append(Picture(side, index, path, labels, text))
    return found


def doubtful_labels(dataset: Dataset, evidence: Evidence) -> Iterator[Case]:
    """Yield the pictures whose label a classifier that has not seen them does not believe."""
    labels = np.concatenate([split.labels for split in dataset.splits.values()])
    places = evidence.readable()
    if not len(places):
        return
    order, probabilities = rank_doubts(evidence.features[places], labels[places])
    names = dataset.class_names
    for row in order.tolist():
        number, chances = int(places[row]), np.nan_to_num(probabilities[row], nan=-1.0)
        if labels.ndim == 2:
            yield Case((number,), _doubted_label(chances, labels[number], names))
            continue
        own = int(labels[number])
        other = int(np.where(np.arange(len(names)) == own, -1, chances).argmax())
        yield Case(
            (number,),
            f"{UNTRAINED} says {names[other]} ({show_percent(chances[other])}), and {names[own]} "
            f"({show_percent(chances[own])}).",
        )


def _doubted_label(chances: np.ndarray, labels: np.ndarray, names: list[str]) -> str:
    """Return why a picture of several labels is doubtful: its most doubtful label."""
    margin = np.where(labels == 1, 2 * chances - 1, 1 - 2 * chances)
    margin = np.where((labels < 0) | (chances < 0), np.inf, margin)
    worst = int(margin.argmin())
    has = "has" if labels[worst] == 1 else "lacks"
    judge = UNTRAINED[0].lower() + UNTRAINED[1:]
    return f"It {has} {names[worst]}, which {judge} gives {show_percent(chances[worst])}."


def look_alikes(report: CheckReport, numbers: dict[tuple[str, str], int]) -> Iterator[Case]:
    """Yield the copies and look-alikes that are in several splits, or labelled differently."""
    for group in report.duplicates:
        if group.conflict or group.leak:
            places = zip(group.splits, group.paths, strict=True)
            yield Case(tuple(numbers[place] for place in places)[:MAX_ALIKE], _describe_alike(group))


def _describe_alike(group: Duplicates) -> str:
    alike = "the same to the byte" if group.kind == "exact" else "alike"
    why = ["labelled differently"] if group.conflict else []
    why += [f"in {' and '.join(sorted(set(group.splits)))}"] if group.leak else []
    return f"These {len(group.paths)} pictures are {alike}, and {', and '.join(why)}."


def damaged(report: CheckReport, numbers: dict[tuple[str, str], int]) -> Iterator[Case]:
    """Yield the pictures that cannot be read."""
    for found in report.findings:
        if found.kind in UNREADABLE:
            yield Case((numbers[found.split, found.path],), found.detail)


def strangers(evidence: Evidence, rate: float) -> Iterator[Case]:
    """Yield the pictures that are not of the kind that was trained on, at a rate of false alarms."""
    p_values = evidence.strangeness
    if p_values is None:
        return
    for number in np.argsort(p_values, kind="stable").tolist():
        if p_values[number] > rate:
            break
        yield Case(
            (number,),
            f"The checkpoint does not know such a picture: of those that it was trained on, at most "
            f"{show_percent(float(p_values[number]))} are as strange.",
        )


def mistakes(pictures: Sequence[Picture], answers: Answers) -> Iterator[Case]:
    """Yield the pictures that the checkpoint takes for something else, the surest first."""
    wrong = []
    for number, picture in enumerate(pictures):
        said = answers.said(number)
        if np.isnan(answers.probabilities[number, 0]) or set(said) == set(picture.labels):
            continue
        sure, why = _describe_mistake(number, picture, said, answers)
        wrong.append((-sure, number, why))
    for _, number, why in sorted(wrong):
        yield Case((number,), why)


def _describe_mistake(
    number: int, picture: Picture, said: Sequence[str], answers: Answers
) -> tuple[float, str]:
    """Return how sure a wrong answer is, and what it is."""
    if answers.thresholds is None:
        sure = answers.probability(number, said[0])
        return sure, f"The checkpoint says {said[0]} ({show_percent(sure)})."
    more = [(answers.probability(number, name), name) for name in said if name not in picture.labels]
    less = [(1 - answers.probability(number, name), name) for name in picture.labels if name not in said]
    sure, name = max(more + less)
    if (sure, name) in more:
        return sure, f"The checkpoint says that it has {name} ({show_percent(sure)})."
    return sure, f"The checkpoint misses {name} ({show_percent(1 - sure)})."


@dataclass(frozen=True)
class Confusion:
    """Who is taken for what: places by row (what the label says) and column (what the checkpoint says)."""

    rows: list[str]
    columns: list[str]
    places: dict[tuple[int, int], list[int]] = field(default_factory=dict)

    def counts(self) -> list[list[int]]:
        """Return how many pictures each cell has."""
        return [
            [len(self.places.get((row, column), ())) for column in range(len(self.columns))]
            for row in range(len(self.rows))
        ]

    def cases(self, row: int, column: int, answers: Answers) -> list[Case]:
        """Return the pictures of a cell, those first that the checkpoint is surest of."""
        name = self.columns[column] if answers.thresholds is None else self.rows[row]
        numbers = self.places.get((row, column), [])
        chances = {number: answers.probability(number, name) for number in numbers}
        turned = 1 if answers.thresholds is not None and self.columns[column] == MISSED else -1
        order = sorted(numbers, key=lambda number: turned * chances[number])
        return [
            Case((number,), f"The checkpoint gives {name} {show_percent(chances[number])}.")
            for number in order
        ]


def confusion(dataset: Dataset, pictures: Sequence[Picture], answers: Answers) -> Confusion:
    """Return the confusion matrix of all pictures; of several labels, what is missed or wrongly said."""
    several = answers.thresholds is not None
    rows = [*dataset.class_names, *(name for name in answers.class_names if name not in dataset.class_names)]
    found = Confusion(rows, [MISSED, WRONG] if several else list(answers.class_names))
    for number, picture in enumerate(pictures):
        if np.isnan(answers.probabilities[number, 0]):
            continue
        said = answers.said(number)
        cells: list[tuple[str, str]] = [(picture.labels[0], said[0])] if not several else []
        if several:
            cells += [(name, MISSED) for name in picture.labels if name not in said]
            cells += [(name, WRONG) for name in said if name not in picture.labels]
        for row, column in cells:
            if row in found.rows and column in found.columns:
                place = (found.rows.index(row), found.columns.index(column))
                found.places.setdefault(place, []).append(number)
    return found


def make_group(name: str, title: str, cases: Callable[[], Iterator[Case]]) -> Group:
    """Return a group of the first MAX_CASES cases."""
    found = list(cases())
    return Group(name, title, found[:MAX_CASES], len(found))
