"""Pictures of an evaluation where images have several labels: scores, precision and recall, mistakes."""

from pathlib import Path
from typing import IO, Any

import numpy as np
from matplotlib.axes import Axes

from .canvas import (
    BLUE,
    DPI,
    FAINT,
    GREY,
    INK,
    ORANGE,
    SOFT,
    clean_axes,
    draw_message,
    fit_label,
    make_sheet,
    place_axes,
    save_figure,
    write_title,
)
from .photos import draw_sheet
from .quality import PALETTE

MOST_LABELS = 40  # in a picture: the weakest of more
MOST_CURVES = 10


def plot_label_scores(
    classes: dict[str, dict[str, Any]], path: Path | str | IO[bytes], dpi: int = DPI
) -> None:
    """Draw the average precision and the F1 of each label, the weakest first, with the threshold that it has.

    Args:
        classes: what `full_label_metrics` says of each label; those that no image has are left out.
        path: the picture to write.
        dpi: its dots an inch.

    Raises:
        CatdogError: `path` cannot be written.
    """
    rows = sorted((row["ap"], name) for name, row in classes.items() if row["ap"] is not None)
    if not rows:
        return draw_message("No label can be measured", "No picture has one of the labels.", path)
    names = [name for _, name in rows[:MOST_LABELS]]
    shown = [classes[name] for name in names]
    height = 0.42 * len(names)
    longest = 0.3 + 0.085 * min(24, max(map(len, names)))  # inches
    figure = make_sheet(longest + 7.6, height + 1.75, "", dpi)
    axes = place_axes(figure, longest, 0.95, 5.2, height)
    places = np.arange(len(names))
    for offset, key, colour in ((-0.19, "ap", BLUE), (0.19, "f1", GREY)):
        axes.barh(places + offset, [row[key] or 0 for row in shown], height=0.34, color=colour)
    spans = [row["ap_interval"] or (row["ap"], row["ap"]) for row in shown]
    axes.hlines(places - 0.19, *zip(*spans, strict=True), color=INK, linewidth=1.2)
    for place, row in zip(places, shown, strict=True):
        text = f"from {row['threshold']:.2f} on; {row['support']:,} pictures"
        axes.annotate(
            text,
            (1, place),
            (8, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color=SOFT,
            annotation_clip=False,
        )
    clean_axes(axes)
    axes.grid(axis="y", visible=False)
    axes.set_yticks(places, [fit_label(name, 24) for name in names], fontsize=10, color=INK)
    axes.set(xlim=(0, 1), ylim=(len(names) - 0.4, -0.6))
    more = f"; the {len(names)} weakest of {len(rows)}" if len(rows) > len(names) else ""
    note = f"blue: average precision, its 95 % interval as a line; grey: F1 at the threshold{more}"
    write_title(axes, "How well each label is told", note)
    return save_figure(figure, path)


def plot_precision_recall(
    probabilities: np.ndarray,
    labels: np.ndarray,
    class_names: list[str],
    thresholds: np.ndarray,
    path: Path | str,
    dpi: int = DPI,
) -> None:
    """Draw precision over recall of each label as its threshold falls, and where its own threshold lies.

    Args:
        probabilities: (N, C).
        labels: (N, C): 1, 0, or below 0 for unknown; a label that no image has has no curve.
        class_names: C names.
        thresholds: (C,).
        path: the picture to write.
        dpi: its dots an inch.

    Raises:
        CatdogError: `path` cannot be written.
    """
    curves = {c: _curve(probabilities[:, c], labels[:, c]) for c in range(len(class_names))}
    known = {c: curve for c, curve in curves.items() if curve is not None}
    if not known:
        return draw_message("No curve", "No picture has one of the labels.", path)
    ranked = sorted(known, key=lambda c: known[c][3])
    figure = make_sheet(8.6, 5.9, "", dpi)
    axes = place_axes(figure, 0.8, 0.85, 4.6, 4.3)
    for c in ranked[::-1]:
        named = c in ranked[:MOST_CURVES]
        recall, precision, scores, area = known[c]
        colour = PALETTE[ranked.index(c)] if named else FAINT
        label = f"{fit_label(class_names[c], 20)}  {area:.3f}" if named else None
        axes.plot(recall, precision, color=colour, linewidth=1.8 if named else 0.8, label=label)
        at = int((scores >= thresholds[c]).sum()) - 1
        if named and at >= 0:
            axes.plot(recall[at], precision[at], "o", color=colour, markersize=7, markeredgecolor="white")
    clean_axes(axes)
    axes.set(xlim=(-0.01, 1.02), ylim=(-0.01, 1.03))
    axes.set_xlabel("recall: found of the pictures with the label")
    axes.set_ylabel("precision: right of those said to have it")
    handles, names = axes.get_legend_handles_labels()
    figure.legend(
        handles[::-1],
        names[::-1],
        loc="upper left",
        bbox_to_anchor=(5.6 / 8.6, 1 - 0.8 / 5.9),
        frameon=False,
        fontsize=9,
        labelcolor=INK,
    )
    more = f", the {MOST_CURVES} weakest of {len(ranked)} in colour" if len(ranked) > MOST_CURVES else ""
    write_title(
        axes, "Precision and recall", f"dots: at the label's threshold; numbers: average precision{more}"
    )
    return save_figure(figure, path)


def _curve(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, float] | None:
    """Return recall, precision, the scores at which they stand, and the average precision."""
    known = labels >= 0
    scores, there = scores[known], labels[known] == 1
    if not there.any():
        return None
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)  # ties move as one
    right = np.cumsum(there[order])[ends]
    precision, recall = right / (ends + 1), right / right[-1]
    return recall, precision, scores[order][ends], float((np.diff(recall, prepend=0) * precision).sum())


def plot_label_calibration(
    before: dict[str, Any], after: dict[str, Any] | None, path: Path | str, dpi: int = DPI
) -> None:
    """Draw how often a label is there by the probability that is given, all labels together.

    Args:
        before: {"ece", "edges", "count", "confidence", "accuracy"} by bin, as `label_reliability` returns.
        after: the same after calibration, or None.
        path: the picture to write.
        dpi: its dots an inch.

    Raises:
        CatdogError: `path` cannot be written.
    """
    figure = make_sheet(6.4, 6.6, "", dpi)
    axes = place_axes(figure, 0.85, 0.85, 5.3, 4.6)
    axes.plot([0, 1], [0, 1], "--", color=SOFT, linewidth=1)
    for part, name, colour in [
        (before, "as trained", ORANGE),
        *([(after, "calibrated", BLUE)] if after else []),
    ]:
        _draw_bins(axes, part, f"{name}: off by {100 * part['ece']:.1f} points on average", colour)
    clean_axes(axes)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="probability of a label", ylabel="it is there")
    for side in (axes.xaxis, axes.yaxis):
        side.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    handles = axes.get_legend_handles_labels()
    figure.legend(*handles, loc="lower left", bbox_to_anchor=(0.12, 0), frameon=False, fontsize=9)
    note = "on the dashed line, 80 % means there 8 times in 10; hollow: fewer than 10 labels"
    write_title(axes, "Do the probabilities keep their word?", note, size=9)
    save_figure(figure, path)


def _draw_bins(axes: Axes, part: dict[str, Any], label: str, colour: str) -> None:
    rows = zip(part["confidence"], part["accuracy"], part["count"], strict=True)
    filled = np.array([row for row in rows if row[2]], dtype=float)  # (bins, 3)
    many, few = filled[filled[:, 2] >= 10], filled[filled[:, 2] < 10]
    axes.plot(many[:, 0], many[:, 1], "-o", color=colour, linewidth=2, markersize=6, label=label)
    axes.plot(few[:, 0], few[:, 1], "o", color=colour, markersize=5, markerfacecolor="white")


def plot_label_mistakes(
    items: list[dict[str, Any]], path: Path | str, total: int | None = None, dpi: int = DPI
) -> None:
    """Draw a contact sheet of images with a label that is missed or wrongly said, the first 30.

    Args:
        items: {"image": uint8 (H, W, 3), "label", "kind": "missed" or "wrong", "probability", "true": names}.
        path: the picture to write.
        total: how many there are, if `items` holds only some.
        dpi: dots an inch.

    Raises:
        CatdogError: `path` cannot be written.
    """
    if not items:
        return draw_message("No mistakes", "Every label is right.", path)

    def describe(item: dict[str, Any]) -> tuple[str, str]:
        true = fit_label(", ".join(item["true"]) or "no label", 22)
        said = f"{item['kind']}: {fit_label(item['label'], 13)} {100 * item['probability']:.0f} %"
        return f"has: {true}", said

    return draw_sheet(items, "wrong label", describe, path, total, dpi)
