"""Writes an evaluation down: report.json for programs, report.txt for terminals, report.html for people.

Numbers come from `metrics` and `calibration`; pictures are files that the caller has drawn.
"""

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CatdogError
from ..models.tasks import SINGLE_LABEL, Task
from ..runtime.files import write_atomic
from .report_gallery import Sections
from .report_html import NO_SECTIONS, build_page
from .strangers_report import list_strangers
from .weak_classes import PAIRS, WORST, find_weakest, list_confused, list_worst, recall_interval

Row = tuple[str, ...]  # of a table, as text
MOST_MISTAKES = 20  # listed in report.txt; report.json has all
OF_PROBABILITIES = {  # what a temperature changes
    "loss": "loss",
    "auc": "area under the ROC curve",
    "brier": "Brier score",
    "ece": "calibration error (ECE)",
}


def write_report(
    directory: Path | str,
    metrics: dict[str, Any],
    mistakes: list[dict[str, Any]],
    calibration: dict[str, Any] | None = None,
    images: dict[str, Path] | None = None,
    title: str = "Evaluation",
    sections: Sections = NO_SECTIONS,
) -> list[Path]:
    """Write report.json, report.txt and report.html into `directory`, made if missing; return their paths.

    Args:
        directory: where to write; reports of the same name are replaced.
        metrics: what `full_metrics` returned.
        mistakes: what `find_mistakes` returned.
        calibration: what `measure_calibration` returned, if it was measured.
        images: PNG files by the heading under which report.html shows them.
        title: what was evaluated.
        sections: what report.html shows of the images.

    Raises:
        CatdogError: `directory` cannot be written, or a picture cannot be read.
    """
    directory = Path(directory)
    extra = {"calibration": calibration} if calibration else {}
    document = {"title": title, "summary": summarize(metrics), **metrics, **extra, "mistakes": mistakes}
    numbers, classes, notes = list_numbers(metrics, calibration), list_classes(metrics), list_notes(metrics)
    pngs = {heading: _read_png(path) for heading, path in (images or {}).items()}
    texts = {
        "report.json": json.dumps(document, indent=1, allow_nan=False) + "\n",
        "report.txt": _build_text(title, document["summary"], numbers, classes, notes, mistakes),
        "report.html": build_page(
            title, document["summary"], numbers, classes, notes, mistakes, pngs, sections
        ),
    }
    return [write_text(directory / name, text) for name, text in texts.items()]


def find_mistakes(
    probabilities: np.ndarray,
    labels: np.ndarray,
    class_names: list[str],
    paths: list[str],
    task: Task = SINGLE_LABEL,
) -> list[dict[str, Any]]:
    """Return the wrongly named pictures, the surest first, as dicts of plain values.

    Args:
        probabilities: (N, C).
        labels: (N,) class indices.
        class_names: C names.
        paths: N paths, as the user would write them.

    Each has path, true, predicted, probability (of the predicted class) and probability_true.
    """
    predicted = task.decide(probabilities)
    wrong = np.flatnonzero(predicted != labels)
    wrong = wrong[np.argsort(-probabilities[wrong, predicted[wrong]], kind="stable")]
    return [
        {
            "path": str(paths[i]),
            "true": class_names[labels[i]],
            "predicted": class_names[predicted[i]],
            "probability": float(probabilities[i, predicted[i]]),
            "probability_true": float(probabilities[i, labels[i]]),
        }
        for i in wrong
    ]


def summarize(metrics: dict[str, Any]) -> str:
    """Return the outcome in plain sentences: how many are right, how sure that is, where it is weakest."""
    number = metrics["num_samples"]
    right, share = round(metrics["accuracy"] * number), show_share(metrics["accuracy"])
    sentences = [f"{right:,} of {number:,} picture{'s' * (number != 1)} ({share}) classified correctly."]
    if metrics.get("num_trained_on"):
        sentences.append(
            f"{metrics['num_trained_on']:,} of them were trained on: this says little about other pictures."
        )
    if metrics["intervals"]["accuracy"] is not None:
        low, high = metrics["intervals"]["accuracy"]
        sentences.append(
            f"The accuracy on pictures of this kind lies between {show_share(low)} and {show_share(high)}"
            " (95 % interval)."
        )
    weakest = find_weakest(metrics["classes"])
    if weakest is not None:
        row = metrics["classes"][weakest]
        sentences.append(
            f"The weakest class is {weakest!r}: {show_share(row['recall'])} of its "
            f"{row['support']:,} pictures are found."
        )
    if number < 100:
        sentences.append("So few pictures say little: measure on a few hundred.")
    return " ".join(sentences)


def show_share(fraction: float | None) -> str:
    """Return a fraction as a percentage with one decimal, "-" where there is none."""
    return "-" if fraction is None else f"{100 * fraction:.1f} %"


def list_numbers(metrics: dict[str, Any], calibration: dict[str, Any] | None = None) -> list[Row]:
    """Return (name, value, 95 % interval) rows of what a report shows at its top, as text.

    Where a temperature changes the probabilities, what depends on them stands there twice: calibrated, as
    `predict` answers, and as trained, as the epochs of a training show it.
    """
    before = calibration["before"] if calibration and calibration["after"] else None
    rows: list[Row] = [
        ("accuracy", _show(metrics["accuracy"]), _show_pair(metrics["intervals"].get("accuracy")))
    ]
    for key, name in OF_PROBABILITIES.items():
        interval = _show_pair(metrics["intervals"].get(key))
        if before is None:
            rows.append((name, _show(metrics[key]), interval))
        else:
            rows.append((f"{name}, calibrated", _show(metrics[key]), interval))
            if before[key] is not None:
                rows.append((f"{name}, as trained", _show(before[key]), ""))
    rows.append(("F1, macro", _show(metrics["f1_macro"]), _show_pair(metrics["intervals"].get("f1_macro"))))
    rows += [(f"top-{k} accuracy", _show(value), "") for k, value in metrics["top_k"].items()]
    if calibration and before is not None:
        rows.append(("temperature", _show(calibration["temperature"]), ""))
    return [*rows, *list_strangers(metrics)]


def list_classes(metrics: dict[str, Any]) -> list[Row]:
    """Return (name, precision, recall, F1, number of pictures) rows as text: each class, then the means."""
    total = {"support": metrics["num_samples"]}
    rows = [
        *metrics["classes"].items(),
        *((f"{name} mean", metrics[name] | total) for name in ("macro", "weighted")),
    ]
    columns = ("precision", "recall", "f1")
    return [(name, *(_show(row[key]) for key in columns), f"{row['support']:,}") for name, row in rows]


def list_worst_classes(metrics: dict[str, Any], count: int = WORST) -> list[Row]:
    """Return (name, recall, its interval, precision, F1, number of pictures) rows of the weakest classes."""
    rows = list_worst(metrics["classes"], count)
    return [
        (
            name,
            _show(row["recall"]),
            _show_pair(recall_interval(row)),
            _show(row["precision"]),
            _show(row["f1"]),
            f"{row['support']:,}",
        )
        for name, row in rows
    ]


def list_confused_pairs(metrics: dict[str, Any], count: int = PAIRS) -> list[Row]:
    """Return (class, taken for, pictures, share of the class) rows of what is mixed up most often."""
    pairs = list_confused(metrics["confusion"], metrics["class_names"], count)
    return [(true, taken, f"{number:,}", show_share(share)) for true, taken, number, share in pairs]


def list_notes(metrics: dict[str, Any]) -> list[str]:
    """Return each reason why a value is missing, once, with the values that it is the reason for."""
    reasons: dict[str, list[str]] = {}
    for name, reason in metrics["notes"].items():
        reasons.setdefault(reason, []).append(name.replace("_", " "))
    return [f"{', '.join(names)}: {reason}" for reason, names in reasons.items()]


def _build_text(
    title: str,
    summary: str,
    numbers: Sequence[Row],
    classes: Sequence[Row],
    notes: list[str],
    mistakes: list[dict[str, Any]],
) -> str:
    wrong = [
        (item["path"], item["true"], "taken for", item["predicted"], show_share(item["probability"]))
        for item in mistakes[:MOST_MISTAKES]
    ]
    heading = f"Mistakes, the surest first ({len(wrong)} of {len(mistakes):,})" if mistakes else "No mistakes"
    header = ("", "precision", "recall", "F1", "pictures")
    return join_text(title, summary, numbers, notes, [header, *classes], heading, wrong)


def join_text(
    title: str,
    summary: str,
    numbers: Sequence[Row],
    notes: list[str],
    classes: Sequence[Row],
    heading: str,
    mistakes: Sequence[Row],
) -> str:
    """Return a report as text; `classes` begin with their header, `mistakes` stand below their heading."""
    return "\n".join(
        [
            title,
            "=" * len(title),
            textwrap.fill(summary, 100),
            "",
            *align([("", "value", "95 % interval"), *numbers]),
            *notes,
            "",
            *align(classes),
            "",
            heading,
            *align(mistakes),
            "",
        ]
    )


def align(rows: Sequence[Row]) -> list[str]:
    """Return rows as lines whose columns line up, the first to the left and the others to the right."""
    cells = [[" ".join(cell.split()) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = (
        [
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        for row in cells
    )
    return ["  ".join(line).rstrip() for line in lines]


def _show(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _show_pair(pair: list[float] | None) -> str:
    return "" if pair is None else f"{pair[0]:.4f} to {pair[1]:.4f}"


def _read_png(path: Path | str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise CatdogError(
            f"Cannot read the picture {str(path)!r} for the report: {error.strerror}."
        ) from error


def write_text(path: Path, text: str) -> Path:
    """Write a file of a report, whole or not at all; return its path."""
    # A path may hold bytes that are no text: they are written as \\udcff, not refused.
    data = text.encode("utf-8", "backslashreplace")
    write_atomic(path, data, CatdogError, "give another folder for the report", parents=True)
    return path
