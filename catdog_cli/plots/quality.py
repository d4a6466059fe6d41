"""Pictures of an evaluation: confusion, ROC and reliability."""

from math import ceil
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
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
    make_figure,
    make_sheet,
    place_axes,
    save_figure,
    write_title,
)

PALETTE = (
    BLUE,
    ORANGE,
    "#0d9488",
    "#9333ea",
    "#ca8a04",
    "#db2777",
    "#0891b2",
    "#65a30d",
    "#78716c",
    "#dc2626",
)
Curve = tuple[np.ndarray, np.ndarray]  # false alarms and finds, fractions


def plot_confusion(
    matrix: npt.ArrayLike, class_names: list[str], path: Path | str | IO[bytes], dpi: int = DPI
) -> None:
    """Draw who is taken for whom: the right answers of a row in blue, its mistakes in orange.

    Args:
        matrix: (C, C) counts; row i, column j holds the pictures of class i that were named j.
        class_names: C names.
        path: the picture to write, or an open file, which gets a PNG.
        dpi: its dots an inch.

    Raises:
        CatdogError: `path` cannot be written.
    """
    counts, number = np.asarray(matrix), len(class_names)
    cell = 1.5 if number <= 3 else max(0.48, 6 / number) if number <= 20 else min(0.17, 17 / number)  # inches
    names = 0.09 * min(22, max(map(len, class_names))) * (1 if number <= 20 else 0.7)  # inches
    listed = _worst_pairs(counts, class_names) if number > 10 else []
    figure = make_figure(max(5, cell * number + names + 1.2), cell * number + names + 1.7 + 0.2 * len(listed))
    figure.set_dpi(dpi if number <= 20 else min(dpi, 100))  # 3,000 px across take seconds and tell no more
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(_confusion_colours(shares), interpolation="nearest")
    borders, edges = np.arange(1, number) - 0.5, (-0.5, number - 0.5)
    for lines in (axes.hlines, axes.vlines):
        lines(borders, *edges, color="#f3f4f6", linewidth=1 if number <= 20 else 30 / number)
    axes.set(xlim=edges, ylim=edges[::-1])
    axes.tick_params(length=0)
    axes.spines[:].set_color(FAINT)
    _name_cells(axes, class_names, cell)
    if number <= 20:
        _write_counts(axes, counts, shares, 15 if number <= 3 else 10 if counts.max() < 10_000 else 7)
    right, total = int(np.trace(counts)), int(counts.sum())
    write_title(axes, "Which class is taken for which", f"{right:,} of {total:,} pictures right")
    axes.set_ylabel("true class", fontsize=10, color=SOFT)
    axes.set_xlabel("\n".join(["answer", *listed]), fontsize=10, color=SOFT)
    save_figure(figure, path)


def _confusion_colours(shares: np.ndarray) -> np.ndarray:
    # Square roots, so that the few mistakes of a good classifier can be seen beside its many right answers.
    strength = np.sqrt(shares)[..., None]
    blue, orange = (np.array([int(c[i : i + 2], 16) for i in (1, 3, 5)]) / 255 for c in (BLUE, ORANGE))
    colour = np.where(np.eye(len(shares), dtype=bool)[..., None], blue, orange)
    return np.round(255 * (1 + strength * (colour - 1))).astype(np.uint8)


def _name_cells(axes: Axes, class_names: list[str], cell: float) -> None:
    number = len(class_names)
    size = 10 if number <= 20 else 7
    every = ceil(0.13 / cell)  # a name needs 0.13 inches
    indices = np.arange(0, number, every)
    names = [fit_label(class_names[i], 22) for i in indices]
    flat = max(map(len, names)) * 0.09 < cell
    axes.set_yticks(indices, names, fontsize=size, color=INK)
    turn = {"rotation": 90} if number > 20 else {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks(indices, names, fontsize=size, color=INK, **({} if flat else turn))


def _write_counts(axes: Axes, matrix: np.ndarray, shares: np.ndarray, size: float) -> None:
    for (row, column), count in np.ndenumerate(matrix):
        colour = "white" if shares[row, column] > 0.3 else INK if count else "#d1d5db"
        axes.text(column, row, f"{int(count):,}", ha="center", va="center", fontsize=size, color=colour)


def _worst_pairs(matrix: np.ndarray, class_names: list[str]) -> list[str]:
    wrong = np.where(np.eye(len(matrix), dtype=bool), 0, matrix)
    pairs = [np.unravel_index(i, wrong.shape) for i in np.argsort(-wrong, axis=None, kind="stable")[:5]]
    names = [fit_label(name, 22) for name in class_names]
    lines = [f"{names[i]} taken for {names[j]}: {int(wrong[i, j]):,}" for i, j in pairs if wrong[i, j]]
    return ["", "most frequent mistakes", *lines] if lines else []


def plot_roc(
    curves: dict[int, Curve],
    areas: dict[int, float],
    class_names: list[str],
    path: Path | str,
    dpi: int = DPI,
) -> None:
    """Draw the ROC curve of each class against the rest, and their mean; with two classes, the second's.

    Args:
        curves: false alarms and finds, as shares, by class; a class without pictures has none.
        areas: below the curves, by class.
        class_names: C names.
        path: the picture to write.
        dpi: its dots an inch.

    Raises:
        CatdogError: `path` cannot be written.
    """
    if not curves:
        return draw_message("No ROC curve", "It needs pictures of at least two classes.", path)
    mean = float(np.mean(list(areas.values())))
    close = mean > 0.95  # the curves hug the corner: show it larger
    width = 10.6 if close else 5.5  # inches
    figure = make_sheet(width + (2.6 if len(curves) > 1 else 0), 5.9, "", dpi)
    views = [place_axes(figure, left, 0.8, 4.4, 4.4) for left in ((0.8, 5.8) if close else (0.8,))]
    others, own = ("all others", "a class") if len(curves) > 1 else (fit_label(n, 30) for n in class_names)
    for axes in views:
        _draw_roc(axes, curves, areas, class_names)
        clean_axes(axes)
        axes.tick_params(pad=6)  # or the two first numbers meet in the corner
        axes.set_xlabel(f"false alarms among {others}")
    views[0].plot([0, 1], [0, 1], "--", color=GREY, linewidth=1)
    views[0].set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.015), ylabel=f"found of {own}")
    note = f"area under the curve {mean:.4f} (1: perfectly, 0.5: by chance)"
    write_title(views[0], "How well the classes are told apart", note)
    if close:
        views[1].set(xlim=(-0.001, 0.1), ylim=(0.9, 1.0015))
        write_title(views[1], "", "the upper left corner, larger")
    if len(curves) > 1:
        corner = width / (width + 2.6), 1 - 0.7 / 5.9
        handles, labelled = views[0].get_legend_handles_labels()
        figure.legend(
            handles,
            labelled,
            loc="upper left",
            bbox_to_anchor=corner,
            frameon=False,
            fontsize=9,
            labelcolor=INK,
        )
    return save_figure(figure, path)


def _draw_roc(axes: Axes, curves: dict[int, Curve], areas: dict[int, float], class_names: list[str]) -> None:
    worst = sorted(areas, key=areas.__getitem__)[:5]
    for order, (c, curve) in enumerate(curves.items()):
        named = len(curves) <= 10 or c in worst
        colour = PALETTE[order if len(curves) <= 10 else 1 + worst.index(c)] if named else FAINT
        label = f"{fit_label(class_names[c], 22)}  {areas[c]:.4f}" if named else None
        axes.plot(
            *curve, color=colour, linewidth=1.8 if named else 0.8, label=label, zorder=3 if named else 2
        )
    if len(curves) > 1:
        grid = np.unique(np.concatenate([curve[0] for curve in curves.values()]))
        height = np.mean([np.interp(grid, *curve) for curve in curves.values()], axis=0)
        label = f"mean of {len(curves)}  {np.mean(list(areas.values())):.4f}"
        axes.plot(grid, height, color=INK, linewidth=2.5, label=label, zorder=4)


def plot_calibration(
    before: dict[str, Any], after: dict[str, Any] | None, path: Path | str, dpi: int = DPI
) -> None:
    """Draw how often the network is right by how sure it says it is, over how often it says so.

    Args:
        before: {"ece", "edges", "count", "confidence", "accuracy"} by bin, as `reliability` returns.
        after: the same after calibration, or None.
        path: the picture to write.
        dpi: its dots an inch.

    Raises:
        CatdogError: `path` cannot be written.
    """
    figure = make_sheet(6.4, 7, "", dpi)
    axes, below = place_axes(figure, 0.85, 0.7, 5.35, 3.8), place_axes(figure, 0.85, 4.7, 5.35, 1.2)
    axes.plot([0, 1], [0, 1], "--", color=SOFT, linewidth=1, zorder=1)
    axes.fill_between([0, 1], [0, 1], 0, color="#fff7ed", zorder=0)
    inside = axes.transAxes
    axes.text(0.97, 0.04, "below the line: too sure", ha="right", transform=inside, fontsize=9, color=SOFT)
    axes.text(0.03, 0.94, "above the line: too modest", transform=inside, fontsize=9, color=SOFT)
    parts = [(before, "as trained", ORANGE), *([(after, "calibrated", BLUE)] if after else [])]
    for order, (part, name, colour) in enumerate(parts):
        _draw_reliability(axes, part, f"{name}: off by {100 * part['ece']:.1f} points on average", colour)
        step = part["edges"][1] - part["edges"][0]
        starts = np.array(part["edges"][:-1]) + step * (0.1 + 0.8 * order / len(parts))
        below.bar(starts, part["count"], 0.8 * step / len(parts), align="edge", color=colour)
    for view in (axes, below):
        clean_axes(view)
        view.set_xlim(min(_lowest_edge(part) for part, _, _ in parts), 1.01)
    axes.set(ylim=(-0.02, 1.02), ylabel="is right")
    below.set(yscale="symlog", ylabel="pictures", xlabel="says it is sure")
    for side in (below.xaxis, axes.yaxis):
        side.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    below.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.tick_params(labelbottom=False)
    handles = axes.get_legend_handles_labels()
    figure.legend(*handles, loc="lower left", bbox_to_anchor=(0.12, 0), frameon=False, fontsize=9)
    note = "on the dashed line, 80 % sure is right 8 times in 10; hollow: fewer than 10 pictures"
    write_title(axes, "Does its confidence keep its word?", note, size=9)
    save_figure(figure, path)


def _draw_reliability(axes: Axes, part: dict[str, Any], label: str, colour: str) -> None:
    rows = zip(part["confidence"], part["accuracy"], part["count"], strict=True)
    filled = np.array([row for row in rows if row[2]], dtype=float)  # (bins, 3)
    many = filled[filled[:, 2] >= 10]
    few = filled[filled[:, 2] < 10]
    axes.plot(many[:, 0], many[:, 1], "-o", color=colour, linewidth=2, markersize=6, label=label)
    axes.plot(few[:, 0], few[:, 1], "o", color=colour, markersize=5, markerfacecolor="white")


def _lowest_edge(part: dict[str, Any]) -> float:
    return next(edge for edge, count in zip(part["edges"], part["count"], strict=False) if count)
