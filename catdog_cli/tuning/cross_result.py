"""What a cross-validation found: for Python, for JSON, for a notebook, and as files."""

import csv
import html
import io
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..data.dataset import Dataset, name_labels
from ..data.folds import NEVER
from ..errors import DataError
from ..evaluation.eval_split import image_path
from ..evaluation.intervals import wilson_interval
from ..evaluation.metric_functions import confusion_matrix
from ..evaluation.report import align, write_text
from ..models.tasks import Task, task_of
from ..runtime.text import printable, show_percent
from ..settings import TrainSettings
from .fold_run import MEASURES, FoldOutcome, measure

PREDICTIONS, DOCUMENT, REPORT = "predictions.csv", "cross_validation.json", "report"
Cut = tuple[int, int]  # repeat and fold


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """What trainings that each left a fold out say of a recipe.

    `rows` has one a fold; `mean` and `deviation` are over them. `interval` is the headline's, 95 %, as if the
    images had been measured once: Wilson's for an accuracy, else None. `probabilities[r]` (N, C) are those of
    repeat r, NaN where an image was never held out or cannot be read; `confusion[i][j]` counts images of
    class i taken for j over all folds and repeats (of several labels: None).
    """

    data: str
    settings: TrainSettings
    folds: int
    repeats: int
    class_names: list[str]
    headline: str
    rows: list[dict[str, Any]]
    mean: dict[str, float | None]
    deviation: dict[str, float | None]
    interval: list[float] | None
    confusion: list[list[int]] | None
    num_samples: int
    num_groups: int
    never_held_out: int
    unreadable: dict[str, str]
    seconds: float
    output: Path | None
    probabilities: np.ndarray = field(repr=False)
    fold_of: np.ndarray = field(repr=False)  # int64 (repeats, N)
    dataset: Dataset = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return what `catdog cross-validate --json` prints, as plain values."""
        names = ("data", "folds", "repeats", "class_names", "headline", "num_samples", "num_groups")
        found = {name: getattr(self, name) for name in names}
        return {
            **found,
            "mean": self.mean,
            "deviation": self.deviation,
            "interval": self.interval,
            "rows": self.rows,
            "confusion": self.confusion,
            "never_held_out": self.never_held_out,
            "unreadable": self.unreadable,
            "arch": self.settings.arch,
            "seconds": self.seconds,
            "output": None if self.output is None else str(self.output),
        }

    @property
    def task(self) -> Task:
        return task_of(self.dataset.has_several_labels)

    @property
    def summary(self) -> str:
        """The outcome in a sentence."""
        name, value = self.headline, self.mean[self.headline]
        if value is None:
            return f"The {name} is not defined by these labels: no fold has what it needs."
        shown = show_percent if name != "map" else "{:.4f}".format
        spread = self.deviation[name]
        text = f"{'mAP' if name == 'map' else name.capitalize()} {shown(value)}"
        text += f", deviation between folds {shown(spread)}" if spread is not None else ""
        if self.interval is not None:
            text += f"; 95 % interval {shown(self.interval[0])} to {shown(self.interval[1])}"
        times = f", {self.repeats} times" if self.repeats > 1 else ""
        return f"{text}. {self.num_samples:,} pictures in {self.folds} folds{times}."

    def list_rows(self) -> list[tuple[str, ...]]:
        """Return the table as text: a header, a row a fold, mean and deviation."""
        names = MEASURES[self.task.several]
        header = ("fold", "trained on", "measured", *names, "seconds")
        rows = [
            (
                f"{row['repeat'] + 1}.{row['fold'] + 1}" if self.repeats > 1 else f"{row['fold'] + 1}",
                f"{row['num_train']:,}",
                f"{row['num_measured']:,}",
                *(_show(row[name]) for name in names),
                f"{row['seconds']:.1f}",
            )
            for row in self.rows
        ]
        for title, values in (("mean", self.mean), ("deviation", self.deviation)):
            rows.append((title, "", "", *(_show(values[name]) for name in names), ""))
        return [header, *rows]

    def __str__(self) -> str:
        return "\n".join(map(printable, [self.summary, "", *align(self.list_rows())]))

    def _repr_html_(self) -> str:
        """Return the sentence and the table, for a notebook."""
        header, *rows = self.list_rows()
        cells = "".join(f"<th>{html.escape(name)}</th>" for name in header)
        body = "".join("<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in row) + "</tr>" for row in rows)
        return f"<div>{html.escape(self.summary)}<table><tr>{cells}</tr>{body}</table></div>"


class Collected:
    """The outcomes of folds as they come, in any order."""

    def __init__(self, dataset: Dataset, settings: TrainSettings, folds: int, repeats: int):
        self.dataset, self.settings, self.folds, self.repeats = dataset, settings, folds, repeats
        self.task = task_of(dataset.has_several_labels)
        self.labels = dataset.splits["train"].labels
        shape = (repeats, len(self.labels), len(dataset.class_names))
        self.probabilities = np.full(shape, np.nan)
        self.rows: list[dict[str, Any]] = []
        self.bad: dict[str, str] = {}

    def add(self, cut: Cut, outcome: FoldOutcome) -> dict[str, Any]:
        """Take a fold's outcome; return its row."""
        if not len(outcome.places):
            raise DataError("Not one picture of a fold can be read: run `catdog data check` on the data.")
        probabilities = self.task.probabilities(outcome.logits)
        self.probabilities[cut[0], outcome.places] = probabilities
        self.bad |= outcome.bad
        best = outcome.best or {}
        row = {
            "repeat": cut[0],
            "fold": cut[1],
            "num_train": outcome.num_train,
            "num_val": outcome.num_val,
            "num_measured": len(outcome.places),
            **measure(self.task, probabilities, self.labels[outcome.places]),
            "phase": best.get("phase_name"),
            "epoch": best.get("epoch"),
            "seconds": outcome.seconds,
        }
        self.rows.append(row)
        return row

    def finish(
        self, fold_of: np.ndarray, num_groups: int, seconds: float, output: Path | None
    ) -> CrossValidation:
        """Return all that was found."""
        rows = sorted(self.rows, key=lambda row: (row["repeat"], row["fold"]))
        names = MEASURES[self.task.several]
        columns = {name: [row[name] for row in rows if row[name] is not None] for name in names}
        known = np.isfinite(self.probabilities).all(2)  # (repeats, N)
        headline = self.task.headline
        return CrossValidation(
            data=self.settings.data,
            settings=self.settings,
            folds=self.folds,
            repeats=self.repeats,
            class_names=list(self.dataset.class_names),
            headline=headline,
            rows=rows,
            mean={name: float(np.mean(values)) if values else None for name, values in columns.items()},
            deviation={
                name: float(np.std(values, ddof=1)) if len(values) > 1 else None
                for name, values in columns.items()
            },
            interval=self._interval(known),
            confusion=self._confusion(known),
            num_samples=int(known.any(0).sum()),
            num_groups=num_groups,
            never_held_out=int((fold_of == NEVER).all(0).sum()),
            unreadable=self.bad,
            seconds=seconds,
            output=output,
            probabilities=self.probabilities,
            fold_of=fold_of,
            dataset=self.dataset,
        )

    def _interval(self, known: np.ndarray) -> list[float] | None:
        if self.task.several or not known.any():
            return None
        right = [
            self.task.is_right(probabilities[there], self.labels[there])
            for probabilities, there in zip(self.probabilities, known, strict=True)
        ]
        number = int(known.any(0).sum())
        share = float(np.concatenate(right).mean())
        return wilson_interval(round(share * number), number)

    def _confusion(self, known: np.ndarray) -> list[list[int]] | None:
        if self.task.several:
            return None
        total = np.zeros((len(self.dataset.class_names),) * 2, dtype=np.int64)
        for probabilities, there in zip(self.probabilities, known, strict=True):
            total += confusion_matrix(
                self.task.decide(probabilities[there]), self.labels[there], len(self.dataset.class_names)
            )
        return [[int(count) for count in row] for row in total]


def write_files(result: CrossValidation, folder: Path) -> None:
    """Write predictions.csv, the document and the report of the first repeat into `folder`."""
    from .cross_report import write_report  # and with it matplotlib

    write_text(folder / PREDICTIONS, _predictions(result))
    write_report(result, folder / REPORT)
    write_text(folder / DOCUMENT, json.dumps(result.to_dict(), indent=1, allow_nan=False) + "\n")


def _predictions(result: CrossValidation) -> str:
    """Return a row for each image of each repeat, as CSV."""
    split, names = result.dataset.splits["train"], result.class_names
    several = result.task.several
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    truth = ("labels",) if several else ("class", "predicted", "probability")
    writer.writerow(["repeat", "fold", "path", *truth, *(f"p({name})" for name in names)])
    for repeat, probabilities in enumerate(result.probabilities):
        for place, path in enumerate(split.paths):
            row = probabilities[place]
            if not np.isfinite(row).all():
                continue
            shown = [f"{value:.6f}" for value in row]
            label = split.labels[place]
            if several:
                said: list[str] = [";".join(name_labels(label, names))]
            else:
                predicted = int(result.task.decide(row[None])[0])
                said = [names[label], names[predicted], shown[predicted]]
            fold = int(result.fold_of[repeat, place])
            writer.writerow([repeat + 1, fold + 1, image_path(result.dataset, path), *said, *shown])
    return text.getvalue()


def _show(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.4f}"
