"""Writes down an evaluation of several labels an image: report.json, .txt, .html and its pictures."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...runtime.files import LABEL_PLOTS
from ..report import Row, join_text, show_share, write_text
from ..report_gallery import Explain
from ..report_html import NO_SECTIONS, figure_rows, render_report
from ..strangers_report import draw_strangers, list_strangers
from .report_gallery import make_label_sections
from .sureness import measure_sureness

MOST_MISTAKES = 20  # listed in report.txt
MOST_LISTED = 200  # in report.html; report.json has all
MOST_PHOTOS = 30
WORST = 20
HEADINGS = ("Labels", "Precision and recall", "Calibration", "Photographs of mistakes")
NUMBERS = ("", "value", "95 % interval")
CLASSES = ("label", "AP", "95 % interval", "precision", "recall", "F1", "threshold", "pictures")
MISTAKES = ("picture", "label", "is", "probability", "has", "said")
KINDS = {"missed": "missed", "wrong": "wrongly said"}


def find_label_mistakes(
    probabilities: np.ndarray,
    labels: np.ndarray,
    thresholds: np.ndarray,
    class_names: list[str],
    paths: list[str],
) -> list[dict[str, Any]]:
    """Return the labels that are missed or wrongly said, the surest first, as dicts of plain values.

    What is unknown is no mistake. How sure one is: how far its probability lies from the threshold, on the
    scale of the logits.

    Args:
        probabilities: (N, C).
        labels: (N, C).
        thresholds: (C,).
        class_names: C names.
        paths: N paths, as the user would write them.

    Each has path, label, kind ("missed" or "wrong"), probability, threshold, and what the image has (`true`)
    and is said to have (`predicted`).
    """
    said, there = probabilities >= thresholds, labels == 1
    rows, columns = np.nonzero((said != there) & (labels >= 0))
    sure = measure_sureness(probabilities, thresholds)[rows, columns]
    found = []
    for place in np.argsort(-sure, kind="stable").tolist():
        row, column = int(rows[place]), int(columns[place])
        found.append(
            {
                "path": str(paths[row]),
                "label": class_names[column],
                "kind": "missed" if there[row, column] else "wrong",
                "probability": float(probabilities[row, column]),
                "threshold": float(thresholds[column]),
                "true": [class_names[c] for c in np.flatnonzero(there[row])],
                "predicted": [class_names[c] for c in np.flatnonzero(said[row])],
            }
        )
    return found


def summarize_labels(metrics: dict[str, Any]) -> str:
    """Return the outcome in plain sentences: how well labels are told, how sure that is, what is weakest."""
    number, labels = metrics["num_samples"], len(metrics["class_names"])
    sentences = [
        f"Mean average precision (mAP) {_show(metrics['map'])} over {labels:,} label{'s' * (labels != 1)} on "
        f"{number:,} picture{'s' * (number != 1)}{_between(metrics['intervals']['map'])}.",
        f"At their thresholds the labels have a mean F1 of {_show(metrics['f1_macro'])}; "
        f"{show_share(metrics['subset_accuracy'])} of the pictures have no wrong label.",
    ]
    if metrics.get("num_trained_on"):
        sentences.append(
            f"{metrics['num_trained_on']:,} of the pictures were trained on: this says little about others."
        )
    measured = {name: row for name, row in metrics["classes"].items() if row["ap"] is not None}
    if len(measured) > 1:
        weakest = min(measured, key=lambda name: measured[name]["ap"])
        row = measured[weakest]
        if row["ap"] < 1:
            sentences.append(
                f"The weakest label is {weakest!r}: average precision {_show(row['ap'])}, "
                f"{show_share(row['recall'])} of its {row['support']:,} pictures are found."
            )
    if number < 100:
        sentences.append("So few pictures say little: measure on a few hundred.")
    return " ".join(sentences)


def _between(pair: list[float] | None) -> str:
    return "" if pair is None else f" (95 % interval {pair[0]:.4f} to {pair[1]:.4f})"


def list_label_numbers(metrics: dict[str, Any], calibration: dict[str, Any] | None) -> list[Row]:
    """Return (name, value, 95 % interval) rows of what a report shows at its top, as text."""
    intervals = metrics["intervals"]
    before = calibration["before"] if calibration and calibration["after"] else None
    calibrated = "" if before is None else ", calibrated"
    names = {
        "map": "mean average precision (mAP)",
        "f1_macro": "F1, mean",
        "f1_micro": "F1, pooled",
        "subset_accuracy": "subset accuracy",
        "hamming_loss": "wrong labels (Hamming loss)",
        "auc": "area under the ROC curve",
        "loss": f"loss{calibrated}",
        "ece": f"calibration error (ECE){calibrated}",
    }
    rows: list[Row] = []
    for key, name in names.items():
        rows.append((name, _show(metrics[key]), _show_pair(intervals.get(key))))
        if before is not None and key in before:
            rows.append((name.replace("calibrated", "as trained"), _show(before[key]), ""))
    if calibration and before is not None:
        rows.append(("temperature", _show(calibration["temperature"]), ""))
    return [*rows, *list_strangers(metrics)]


def list_labels(metrics: dict[str, Any]) -> list[Row]:
    """Return the rows of CLASSES as text: each label, then the mean over labels, then all in one."""
    rows = [_label_row(name, row) for name, row in metrics["classes"].items()]
    return [*rows, *_mean_rows(metrics)]


def list_worst_labels(metrics: dict[str, Any], count: int = WORST) -> list[Row]:
    """Return the rows of the labels with the least average precision, then the means."""
    measured = [(row["ap"], name) for name, row in metrics["classes"].items() if row["ap"] is not None]
    worst = [name for _, name in sorted(measured)[:count]]
    return [*(_label_row(name, metrics["classes"][name]) for name in worst), *_mean_rows(metrics)]


def _label_row(name: str, row: dict[str, Any]) -> Row:
    return (
        name,
        _show(row["ap"]),
        _show_pair(row["ap_interval"]),
        *(_show(row[key]) for key in ("precision", "recall", "f1", "threshold")),
        f"{row['support']:,}",
    )


def _mean_rows(metrics: dict[str, Any]) -> list[Row]:
    macro, micro, number = metrics["macro"], metrics["micro"], f"{metrics['num_samples']:,}"
    pair = _show_pair(metrics["intervals"].get("map"))
    means = [_show(macro[key]) for key in ("precision", "recall", "f1")]
    pooled = [_show(micro[key]) for key in ("precision", "recall", "f1")]
    return [
        ("mean", _show(macro["ap"]), pair, *means, "", number),
        ("pooled", "", "", *pooled, "", number),
    ]


def list_mistake_rows(mistakes: list[dict[str, Any]]) -> list[Row]:
    """Return the rows of MISTAKES as text."""
    return [
        (
            item["path"],
            item["label"],
            KINDS[item["kind"]],
            f"{100 * item['probability']:.1f} % (threshold {100 * item['threshold']:.1f} %)",
            ", ".join(item["true"]) or "no label",
            ", ".join(item["predicted"]) or "no label",
        )
        for item in mistakes
    ]


def list_reasons(metrics: dict[str, Any]) -> list[str]:
    """Return what the numbers leave open, as sentences: each reason once."""
    reasons: dict[str, list[str]] = {}
    for name, reason in metrics["notes"].items():
        reasons.setdefault(reason, []).append(name.replace("_", " "))
    return [f"{', '.join(names)}: {reason}" for reason, names in reasons.items()]


def write_label_report(
    directory: Path,
    title: str,
    document: dict[str, Any],
    scores: tuple[np.ndarray, np.ndarray],
    read_photo: Callable[[dict[str, Any]], Any],
    dpi: int = 150,
    paths: Sequence[str] = (),
    explain: Explain | None = None,
) -> Path:
    """Write report.json, .txt, .html and the four pictures into `directory`; return the page.

    Args:
        document: what `full_label_metrics` returned, with "mistakes" and "calibration".
        scores: the probabilities (N, C) and labels (N, C) that it is about.
        read_photo: gives the uint8 (3, H, W) of a mistake.
        dpi: dots an inch of the pictures.
        paths, explain: as for `write_files`.

    Raises:
        CatdogError: something cannot be written.
    """
    mistakes, calibration = document["mistakes"], document["calibration"]
    images = _draw(directory, document, scores, read_photo, dpi)
    images |= draw_strangers(directory, document.get("strangers"), dpi)
    summary = summarize_labels(document)
    numbers, notes = list_label_numbers(document, calibration), list_reasons(document)
    classes, wrong = list_labels(document), list_mistake_rows(mistakes[:MOST_LISTED])
    whole = {"title": title, "summary": summary, **document}
    write_text(directory / "report.json", json.dumps(whole, indent=1, allow_nan=False) + "\n")
    write_text(
        directory / "report.txt", _build_text(title, summary, numbers, classes, notes, wrong, len(mistakes))
    )
    sections = make_label_sections(document, scores, paths, read_photo, explain) if paths else NO_SECTIONS
    page = render_report(
        title=title,
        summary=summary,
        numbers=numbers,
        notes=notes,
        class_title="Labels",
        class_header=CLASSES,
        classes=classes,
        figures=figure_rows({name: path.read_bytes() for name, path in images.items()}),
        sections=sections,
        num_mistakes=len(mistakes),
        mistake_header=MISTAKES,
        mistakes=wrong,
    )
    return write_text(directory / "report.html", page)


def _draw(
    directory: Path,
    document: dict[str, Any],
    scores: tuple[np.ndarray, np.ndarray],
    read_photo: Callable[[dict[str, Any]], Any],
    dpi: int,
) -> dict[str, Path]:
    """Draw the pictures of a report; return them by their headings."""
    from ... import plots

    names, calibration, mistakes = (document[key] for key in ("class_names", "calibration", "mistakes"))
    thresholds = np.array([row["threshold"] for row in document["classes"].values()])
    paths = [directory / name for name in LABEL_PLOTS]
    plots.plot_label_scores(document["classes"], paths[0], dpi)
    plots.plot_precision_recall(*scores, names, thresholds, paths[1], dpi)
    plots.plot_label_calibration(calibration["before"], calibration["after"], paths[2], dpi)
    items = [{**item, "image": read_photo(item).permute(1, 2, 0).numpy()} for item in mistakes[:MOST_PHOTOS]]
    plots.plot_label_mistakes(items, paths[3], len(mistakes), dpi)
    return dict(zip(HEADINGS, paths, strict=True))


def _build_text(
    title: str,
    summary: str,
    numbers: list[Row],
    classes: list[Row],
    notes: list[str],
    wrong: list[Row],
    num_mistakes: int,
) -> str:
    shown = wrong[:MOST_MISTAKES]
    heading = f"Wrong labels, the surest first ({len(shown)} of {num_mistakes:,})" if shown else "No mistakes"
    below = [MISTAKES, *shown] if shown else []
    return join_text(title, summary, numbers, notes, [CLASSES, *classes], heading, below)


def _show(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _show_pair(pair: list[float] | None) -> str:
    return "" if pair is None else f"{pair[0]:.4f} to {pair[1]:.4f}"
