"""What was measured, as its caller gets it: for Python, for JSON and for a notebook."""

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from ..runtime.html import data_uri, render
from ..runtime.text import printable
from .report import (
    Row,
    align,
    list_classes,
    list_confused_pairs,
    list_notes,
    list_numbers,
    list_worst_classes,
    summarize,
)
from .weak_classes import PAIRS, WORST

TEMPLATES = Path(__file__).with_name("templates")
MOST_CLASSES = 20  # as text; to_dict() has all
NUMBERS = ("", "value", "95 % interval")
CLASSES = ("class", "precision", "recall", "F1", "pictures")
WORST_CLASSES = ("weakest classes", "recall", "95 % interval", "precision", "F1", "pictures")
CONFUSED = ("class", "taken for", "pictures", "of the class")
SCORES = ("", "accuracy, %", "95 % interval", "loss", "95 % interval")
COUNTS = ("of the pictures", "number")


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How good a checkpoint is on labelled images.

    Fractions and probabilities are from 0 to 1. `intervals` are of 95 %, and None where `notes` says why;
    `confusion[i][j]` counts the images of class i that were taken for j; `mistakes` has the surest first.
    What the numbers mean: `full_metrics`.
    """

    data: str
    checkpoint: str
    checkpoints: list[str]  # several, where their mean was measured
    split: str
    num_samples: int
    num_trained_on: int  # of the samples, by a checkpoint's run
    accuracy: float
    loss: float  # nats
    top_k: dict[str, float]
    auc: float | None
    f1_macro: float
    ece: float
    brier: float
    intervals: dict[str, list[float] | None]
    resamples: int
    notes: dict[str, str]
    macro: dict[str, float]
    weighted: dict[str, float]
    classes: dict[str, dict[str, Any]]
    class_names: list[str]
    confusion: list[list[int]]
    temperature: float
    calibration: dict[str, Any] = field(repr=False)
    num_unreadable: int
    unreadable: list[dict[str, str]] = field(repr=False)
    mistakes: list[dict[str, Any]] = field(repr=False)
    calibrated: bool
    tta: bool
    strangers: dict[str, Any] | None = field(default=None, repr=False)  # see `measure_strangers`
    left_out: dict[str, Any] | None = field(default=None, repr=False)  # see `leave_classes_out`

    def to_dict(self) -> dict[str, Any]:
        """Return what `catdog evaluate --json` prints, as plain values."""
        return dict(vars(self))

    @property
    def summary(self) -> str:
        """The outcome in plain sentences."""
        return summarize(self.to_dict())

    def list_numbers(self) -> list[Row]:
        """Return (name, value, 95 % interval) rows of the most useful numbers, as text."""
        return list_numbers(self.to_dict(), self.calibration)

    def list_classes(self) -> list[Row]:
        """Return (name, precision, recall, F1, number of images) rows as text: each class, then the means."""
        return list_classes(self.to_dict())

    def list_worst_classes(self, count: int = WORST) -> list[Row]:
        """Return rows as text of the classes that may be weakest: by where their recall's interval begins."""
        return list_worst_classes(self.to_dict(), count)

    def list_confused_pairs(self, count: int = PAIRS) -> list[Row]:
        """Return rows as text of the pairs of classes that are mixed up most often."""
        return list_confused_pairs(self.to_dict(), count)

    def list_notes(self) -> list[str]:
        """Return what the numbers leave open, as sentences."""
        return [*list_notes(self.to_dict()), *list_left_out(self.num_unreadable)]

    def __str__(self) -> str:
        lines = [self._title(), self.summary, "", *align([NUMBERS, *self.list_numbers()]), ""]
        classes = self.list_classes()
        if len(self.class_names) > MOST_CLASSES:
            lines += [*align([WORST_CLASSES, *self.list_worst_classes()]), ""]
            lines += [*align([CONFUSED, *self.list_confused_pairs()]), ""]
            classes = classes[-2:]  # the means
        return "\n".join(map(printable, [*lines, *align([CLASSES, *classes]), *self.list_notes()]))

    def _repr_html_(self) -> str:
        """Return the summary, the tables and the confusion matrix, for a notebook."""
        from ..plots import plot_confusion

        png = io.BytesIO()
        plot_confusion(self.confusion, self.class_names, png, dpi=100)
        return render(
            TEMPLATES / "result.html",
            title=self._title(),
            summary=self.summary,
            tables=[(NUMBERS, self.list_numbers()), (CLASSES, self.list_classes())],
            notes=self.list_notes(),
            figures=[("confusion matrix", data_uri(png.getvalue()))],
        )

    def _title(self) -> str:
        return f"{self.checkpoint} on {self.data} ({self.split})"


class PairText:
    """What comparisons of two checkpoints have in common: how they read, whatever their images' labels."""

    first: str
    second: str
    data: str
    split: str
    num_samples: int
    num_trained_on_a: int
    num_trained_on_b: int
    only_a_right: int
    only_b_right: int
    both_right: int
    both_wrong: int
    num_unreadable: int
    conclusion: str
    score_columns: ClassVar[Row]
    count_columns: ClassVar[Row]

    def list_scores(self) -> list[Row]:
        """Return rows of `score_columns` as text: both, and second minus first."""
        raise NotImplementedError

    def list_counts(self) -> list[Row]:
        """Return (name, number) rows as text: which of the two is right how often, and the test's p."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """Return what `catdog compare --json` prints, as plain values."""
        return dict(vars(self))

    @property
    def summary(self) -> str:
        """The outcome in plain sentences."""
        return " ".join([f"{self.num_samples:,} pictures.", *self._list_learnt(), self.conclusion])

    def _list_learnt(self) -> list[str]:
        """Return a sentence for each checkpoint that was trained on some of the images."""
        counts = (("first", self.num_trained_on_a), ("second", self.num_trained_on_b))
        return [
            f"The {name} was trained on {number:,} of them, which flatters it."
            for name, number in counts
            if number
        ]

    def list_right(self) -> list[Row]:
        """Return (name, number) rows as text: which of the two is right how often."""
        return [
            ("both right", f"{self.both_right:,}"),
            ("only first right", f"{self.only_a_right:,}"),
            ("only second right", f"{self.only_b_right:,}"),
            ("both wrong", f"{self.both_wrong:,}"),
        ]

    def list_notes(self) -> list[str]:
        """Return what the numbers leave open, as sentences."""
        return list_left_out(self.num_unreadable)

    def __str__(self) -> str:
        tables = (
            align([self.score_columns, *self.list_scores()]),
            align([self.count_columns, *self.list_counts()]),
        )
        lines = [self._title(), self.summary, "", *tables[0], "", *tables[1], *self.list_notes()]
        return "\n".join(map(printable, lines))

    def _repr_html_(self) -> str:
        """Return the conclusion and the tables, for a notebook."""
        return render(
            TEMPLATES / "result.html",
            title=self._title(),
            summary=self.summary,
            tables=[(self.score_columns, self.list_scores()), (self.count_columns, self.list_counts())],
            notes=self.list_notes(),
            figures=[],
        )

    def _title(self) -> str:
        return f"{self.first} (first) and {self.second} (second) on {self.data} ({self.split})"


@dataclass(frozen=True, eq=False)
class Comparison(PairText):
    """How two checkpoints differ on the same labelled images; a is the first, b the second.

    Differences are b minus a, with 95 % intervals, None where all resamples agree. `mcnemar_p` is the chance
    of a difference as large if both were equally good. What the numbers mean: `compare_metrics`.
    """

    first: str
    second: str
    data: str
    split: str
    num_samples: int
    num_trained_on_a: int  # of the samples, by the first checkpoint's run
    num_trained_on_b: int
    accuracy_a: float
    accuracy_b: float
    accuracy_difference: float
    accuracy_interval: list[float] | None
    loss_difference: float
    loss_interval: list[float] | None
    only_a_right: int
    only_b_right: int
    both_right: int
    both_wrong: int
    mcnemar_p: float
    accuracy_a_interval: list[float]
    accuracy_b_interval: list[float]
    loss_a: float
    loss_b: float
    num_unreadable: int
    unreadable: list[dict[str, str]] = field(repr=False)
    disagreements: list[dict[str, str]] = field(repr=False)
    conclusion: str
    score_columns: ClassVar[Row] = SCORES
    count_columns: ClassVar[Row] = COUNTS

    def list_scores(self) -> list[Row]:
        """Return (name, accuracy, interval, loss, interval) rows as text: both, and second minus first."""
        own = [
            ("first", self.accuracy_a, self.accuracy_a_interval, self.loss_a),
            ("second", self.accuracy_b, self.accuracy_b_interval, self.loss_b),
        ]
        rows: list[Row] = [
            (name, f"{100 * accuracy:.1f}", show_span(interval, 100, ".1f"), f"{loss:.4f}", "")
            for name, accuracy, interval, loss in own
        ]
        accuracy = f"{100 * self.accuracy_difference:+.1f}", show_span(self.accuracy_interval, 100, "+.1f")
        loss = f"{self.loss_difference:+.4f}", show_span(self.loss_interval, 1, "+.4f")
        return [*rows, ("second - first", *accuracy, *loss)]

    def list_counts(self) -> list[Row]:
        """Return (name, number) rows as text: which of the two is right how often, and the test's p."""
        return [*self.list_right(), ("McNemar's p", show_p(self.mcnemar_p))]


def show_p(chance: float) -> str:
    """Return a p-value as text that is 0 only if it is."""
    return f"{chance:.4f}" if chance >= 0.0001 else "< 0.0001"


def show_span(pair: list[float] | None, scale: float, form: str) -> str:
    """Return an interval as text, its ends times `scale`; - for none."""
    return "-" if pair is None else " to ".join(f"{scale * end:{form}}" for end in pair)


def list_left_out(number: int) -> list[str]:
    """Return a sentence on unreadable pictures, if there are any."""
    return [f"{number:,} unreadable pictures were left out."] if number else []
