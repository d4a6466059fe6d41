"""Pictures of a training: its curves, and the search for a learning rate."""

from pathlib import Path
from typing import IO, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import AutoLocator

from ..errors import CatdogError
from .canvas import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    SOFT,
    clean_axes,
    fit_label,
    make_figure,
    make_sheet,
    place_axes,
    save_figure,
    show_percent,
    write_title,
)

MONITORS = {"f1": "F1", "auc": "AUC", "map": "mAP"}  # as people write them


def plot_curves(
    history: list[dict[str, Any]], path: Path | str, best: int | None = None, chosen_by: str = "accuracy"
) -> None:
    """Draw loss and accuracy by epoch, with phases as bands and the best epoch as a star.

    Where images have several labels it is mAP instead, which is measured on validation images alone.

    Args:
        history: a row an epoch with phase, phase_name, train_loss, val_loss, train_accuracy and
            val_accuracy (fractions); a missing or non-finite value leaves a gap.
        path: the picture to write.
        best: index of the best row; by default the highest val_accuracy, the lower val_loss among equals.
        chosen_by: what the best epoch is best in: accuracy, map, loss, f1 or auc; "last" where none is
            chosen.

    Raises:
        CatdogError: there is no row, or `path` cannot be written.
    """
    if not history:
        raise CatdogError("There are no curves to draw yet: train for at least one epoch.")
    score = "map" if any("val_map" in row for row in history) else "accuracy"
    columns = {
        f"{part}_{kind}": np.array([_number(row.get(f"{part}_{kind}")) for row in history])
        for part in ("train", "val")
        for kind in ("loss", score)
    }
    if best is None:
        ranks = np.nan_to_num([columns["val_loss"], -columns[f"val_{score}"]], nan=np.inf)
        best = int(np.lexsort(ranks)[0])
    figure = make_sheet(11, 4.4, "")
    for kind, left in (("loss", 0.7), (score, 6.15)):
        axes = place_axes(figure, left, 0.8, 4.7, 3.0)
        _draw_phases(axes, history)
        if np.isfinite(columns[f"train_{kind}"]).any() or kind != "map":
            _draw_curve(axes, columns[f"train_{kind}"], GREY, "training")
        _draw_curve(axes, columns[f"val_{kind}"], BLUE, "validation")
        value = columns[f"val_{kind}"][best]
        shown = f"{value:.4f}" if kind == "loss" else show_percent(value)
        axes.plot(best + 1, value, "*", markersize=15, color=ORANGE, markeredgecolor="white", zorder=5)
        note = "lower is better" if kind == "loss" else "higher is better"
        if np.isfinite(value):
            by = MONITORS.get(chosen_by, chosen_by)
            epoch = f"best epoch {best + 1}" if kind == chosen_by else f"epoch {best + 1}, best by {by}"
            epoch = f"epoch {best + 1}, the last" if chosen_by == "last" else epoch
            note += f"; {epoch} (star): {shown}"
        write_title(axes, MONITORS.get(kind, kind.capitalize()), note, pad=32, lift=17)
        axes.set_xlabel("epoch")
        axes.legend(fontsize=9, framealpha=0.85, edgecolor="none", labelcolor=INK)
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g} %")
    save_figure(figure, path)


def _draw_curve(axes: Axes, values: np.ndarray, colour: str, label: str) -> None:
    marker = "o" if len(values) <= 40 else ""
    epochs = np.arange(1, len(values) + 1)
    axes.plot(epochs, values, color=colour, marker=marker, markersize=4, linewidth=2, label=label)
    axes.set_xlim(0.5, len(values) + 0.5)
    locator = AutoLocator()
    locator.set_params(integer=True, min_n_ticks=1)
    axes.xaxis.set_major_locator(locator)
    clean_axes(axes)


def _draw_phases(axes: Axes, history: list[dict[str, Any]]) -> None:
    phases = [row.get("phase", 0) for row in history]
    starts = [i for i in range(len(phases)) if i == 0 or phases[i] != phases[i - 1]]
    for order, (start, end) in enumerate(zip(starts, [*starts[1:], len(phases)], strict=True)):
        if order % 2:
            axes.axvspan(start + 0.5, end + 0.5, color="#f3f4f6", zorder=0)
        if order:
            axes.axvline(start + 0.5, color=SOFT, linestyle="--", linewidth=1)
        room = int(55 * (end - start) / len(phases))  # letters that fit above the band
        name = fit_label(history[start].get("phase_name") or f"phase {phases[start]}", room)
        name = name if room >= 4 else str(order + 1) if len(starts) <= 30 else ""
        axes.annotate(
            name,
            xy=((start + end + 1) / 2, 1),
            xycoords=axes.get_xaxis_transform(),
            xytext=(0, 4),
            textcoords="offset points",
            ha="center",
            fontsize=9,
            color=SOFT,
        )


def plot_lr_find(
    rates: list[float],
    losses: list[float],
    suggestion: float | None,
    path: Path | str | IO[bytes],
    steepest: float | None = None,
) -> None:
    """Draw the loss while the learning rate rises, and the rate to take.

    Args:
        rates: rising learning rates.
        losses: the loss at each; what follows its explosion is cut off.
        suggestion: the rate to mark, if one was found.
        path: the picture to write, or an open file, which gets a PNG.
        steepest: the rate where the loss falls fastest; another suggestion is a tenth of that of least loss.

    Raises:
        CatdogError: there are no losses, or `path` cannot be written.
    """
    values = np.array([_number(loss) for loss in losses])
    finite = values[np.isfinite(values)]
    if not len(finite):
        raise CatdogError("There is no loss to draw: the learning-rate search measured none that is finite.")
    figure = make_figure(8, 4.6)
    axes = figure.subplots()
    axes.plot(rates, values, color=BLUE, linewidth=2)
    axes.set_xscale("log")
    span = max(finite[0] - finite.min(), 1e-3)
    axes.set_ylim(finite.min() - 0.1 * span, min(finite.max(), finite[0] + span) + 0.1 * span)
    note = "no rate stands out: the loss never falls steadily"
    if suggestion is not None:
        axes.axvline(suggestion, color=ORANGE, linewidth=2)
        note = f"take {suggestion:.2g} (orange)"
    if suggestion is not None and steepest is not None:
        fastest = suggestion == steepest
        note += ", where the loss falls fastest" if fastest else ", a tenth of the rate of least loss"
    axes.set_xlabel("learning rate")
    axes.set_ylabel("loss")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.minorticks_off()
    clean_axes(axes)
    write_title(axes, "Which learning rate?", note)
    save_figure(figure, path)


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
