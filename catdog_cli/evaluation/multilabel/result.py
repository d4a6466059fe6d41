"""What was measured where images have several labels, as its caller gets it: Python, JSON, a notebook."""

import io
from dataclasses import dataclass, field
from typing import Any

from ...runtime.html import data_uri, render
from ...runtime.text import printable
from ..report import Row, align
from ..report_html import TEMPLATES
from ..result import list_left_out
from .report import (
    CLASSES,
    NUMBERS,
    list_label_numbers,
    list_labels,
    list_reasons,
    list_worst_labels,
    summarize_labels,
)

MOST_LABELS = 20  # as text; to_dict() has all


@dataclass(frozen=True, eq=False)
class LabelEvaluation:
    """How good a checkpoint that tells several labels is on labelled images.

    Fractions and probabilities are from 0 to 1. `intervals` are of 95 %, and None where `notes` says why;
    `mistakes` has the surest first. What the numbers mean: `full_label_metrics`.
    """

    data: str
    checkpoint: str
    checkpoints: list[str]  # one, or those whose mean is measured
    split: str
    task: str
    num_samples: int
    num_trained_on: int  # of the samples, by the checkpoint's run
    map: float | None
    loss: float  # nats a label
    auc: float | None
    f1_macro: float | None
    f1_micro: float | None
    subset_accuracy: float
    hamming_loss: float
    ece: float
    num_unknown: int  # labels, of all images
    intervals: dict[str, list[float] | None]
    resamples: int
    notes: dict[str, str]
    macro: dict[str, float | None]
    micro: dict[str, float | None]
    classes: dict[str, dict[str, Any]]
    class_names: list[str]
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
        return summarize_labels(self.to_dict())

    def list_numbers(self) -> list[Row]:
        """Return (name, value, 95 % interval) rows of the most useful numbers, as text."""
        return list_label_numbers(self.to_dict(), self.calibration)

    def list_classes(self) -> list[Row]:
        """Return the rows of `report.CLASSES` as text: each label, then the means."""
        return list_labels(self.to_dict())

    def list_worst_classes(self) -> list[Row]:
        """Return the rows of the labels with the least average precision, then the means."""
        return list_worst_labels(self.to_dict())

    def list_notes(self) -> list[str]:
        """Return what the numbers leave open, as sentences."""
        return [*list_reasons(self.to_dict()), *list_left_out(self.num_unreadable)]

    def __str__(self) -> str:
        many = len(self.class_names) > MOST_LABELS
        classes = self.list_worst_classes() if many else self.list_classes()
        lines = [self._title(), self.summary, "", *align([NUMBERS, *self.list_numbers()]), ""]
        return "\n".join(map(printable, [*lines, *align([CLASSES, *classes]), *self.list_notes()]))

    def _repr_html_(self) -> str:
        """Return the summary, the tables and the scores of the labels, for a notebook."""
        from ...plots import plot_label_scores

        png = io.BytesIO()
        plot_label_scores(self.classes, png, dpi=100)
        return render(
            TEMPLATES / "result.html",
            title=self._title(),
            summary=self.summary,
            tables=[(NUMBERS, self.list_numbers()), (CLASSES, self.list_classes())],
            notes=self.list_notes(),
            figures=[("scores of the labels", data_uri(png.getvalue()))],
        )

    def _title(self) -> str:
        return f"{self.checkpoint} on {self.data} ({self.split})"
