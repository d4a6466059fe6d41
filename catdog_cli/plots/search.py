"""Pictures of a search: scores against time and size, and what each setting has to do with them."""

from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from .canvas import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    clean_axes,
    fit_label,
    make_sheet,
    place_axes,
    save_figure,
    write_title,
)

STAGE_COLOURS = {"solved": GREY, "heads": BLUE, "fine-tune": "#16a34a"}
STAGE_NAMES = {"solved": "solved heads", "heads": "hidden layers", "fine-tune": "fine-tuning"}
ACROSS = 3  # slices in a row
NARROW = 0.002  # of the metric


def plot_search(
    trials: Sequence[dict[str, Any]], metric: str, path: Path | str | IO[bytes], dpi: int = 100
) -> None:
    """Draw the score of each trial by the time it ended, and the best one of each network by its size.

    Args:
        trials: with stage, at_s (seconds), value (of the metric), network, parameters (their number) and
            is_best.
        metric: its name as people write it.
        path: the picture to write.

    Raises:
        CatdogError: `path` cannot be written.
    """
    figure = make_sheet(11, 4.4, "", dpi)
    _draw_times(place_axes(figure, 0.8, 0.8, 5.0, 2.9), trials, metric)
    _draw_sizes(place_axes(figure, 6.9, 0.8, 3.8, 2.9), trials, metric)
    save_figure(figure, path)


def _draw_times(axes: Any, trials: Sequence[dict[str, Any]], metric: str) -> None:
    for stage, colour in STAGE_COLOURS.items():
        own = [trial for trial in trials if trial["stage"] == stage]
        if own:
            xs, ys = [trial["at_s"] for trial in own], [trial["value"] for trial in own]
            axes.plot(xs, ys, "o", markersize=4, color=colour, alpha=0.7, label=STAGE_NAMES[stage])
    ordered = sorted(trials, key=lambda trial: trial["at_s"])
    values = np.array([trial["value"] for trial in ordered])
    best = np.minimum.accumulate(values) if metric == "loss" else np.maximum.accumulate(values)
    axes.step(
        [trial["at_s"] for trial in ordered], best, where="post", color=ORANGE, linewidth=2, label="best"
    )
    _limit(axes, values, metric)
    _show_percent(axes, metric)
    axes.set_xlabel("seconds")
    axes.legend(fontsize=9, framealpha=0.85, edgecolor="none", labelcolor=INK)
    clean_axes(axes)
    better = "lower" if metric == "loss" else "higher"
    write_title(axes, f"Cross-validated {metric} by time", f"a point a trial; {better} is better")


def _draw_sizes(axes: Any, trials: Sequence[dict[str, Any]], metric: str) -> None:
    found: dict[str, dict[str, Any]] = {}
    for trial in trials:
        other = found.get(trial["network"])
        gains = other is None or (trial["value"] - other["value"]) * (-1 if metric == "loss" else 1) > 0
        if gains:
            found[trial["network"]] = trial
    for name, trial in found.items():
        x, y = trial["parameters"] / 1e6, trial["value"]
        axes.plot(x, y, "o", markersize=8, color=ORANGE if trial["is_best"] else BLUE)
        axes.annotate(
            fit_label(name, 24), (x, y), xytext=(0, 9), textcoords="offset points", ha="center", fontsize=9
        )
    axes.margins(0.25)
    values = [trial["value"] for trial in found.values()]
    if max(values) - min(values) < NARROW:  # a single network, or as good as one
        axes.set_ylim(min(values) - NARROW, max(values) + NARROW)
    _show_percent(axes, metric)
    axes.set_xlabel("million parameters")
    clean_axes(axes)
    write_title(axes, "By size of the network", "the best trial of each")


def _show_percent(axes: Any, metric: str) -> None:
    if metric == "accuracy":
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g} %")


def _limit(axes: Any, values: np.ndarray, metric: str) -> None:
    """Show the better half well: what went wrong altogether would press the rest into a line."""
    middle, low, high = np.median(values), values.min(), values.max()
    if metric == "loss" and high > middle:
        axes.set_ylim(low - 0.1 * (middle - low or 0.01), middle + 2 * (middle - low or 0.01))
    elif metric != "loss" and middle > low:
        axes.set_ylim(middle - 2 * (high - middle or 0.01), high + 0.1 * (high - middle or 0.01))


def plot_slices(
    slices: dict[str, Sequence[tuple[Any, float]]],
    metric: str,
    path: Path | str | IO[bytes],
    dpi: int = 100,
) -> None:
    """Draw the metric of trials by each setting that they vary in.

    Args:
        slices: by the setting's name, the value and the metric of each trial.
        metric: its name as people write it.
        path: the picture to write.

    Raises:
        CatdogError: `path` cannot be written.
    """
    rows = -(-len(slices) // ACROSS)
    figure = make_sheet(11, 0.3 + 2.5 * max(1, rows), "", dpi)
    for place, (name, pairs) in enumerate(slices.items()):
        axes = place_axes(figure, 0.8 + 3.5 * (place % ACROSS), 0.55 + 2.5 * (place // ACROSS), 2.6, 1.35)
        ys = np.array([value for _, value in pairs])
        numbers = all(isinstance(x, (int, float)) and not isinstance(x, bool) for x, _ in pairs)
        if numbers:
            xs = np.array([float(x) for x, _ in pairs])
            axes.plot(xs, ys, "o", markersize=4, color=BLUE, alpha=0.6)
            if xs.min() > 0 and xs.max() > 20 * xs.min():
                axes.set_xscale("log")
        else:
            texts = sorted({_text(x) for x, _ in pairs})
            for position, text in enumerate(texts):
                own = [value for x, value in pairs if _text(x) == text]
                axes.plot([position] * len(own), own, "o", markersize=4, color=BLUE, alpha=0.6)
            axes.set_xticks(range(len(texts)), [fit_label(text, 12) for text in texts], rotation=20)
        _limit(axes, ys, metric)
        _show_percent(axes, metric)
        clean_axes(axes)
        axes.set_title(name.replace("_", " "), loc="left", fontsize=11, fontweight="bold", color=INK)
    save_figure(figure, path)


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
