"""Pictures of how known images and strangers differ."""

from pathlib import Path
from typing import Any

import numpy as np

from .canvas import (
    BLUE,
    DPI,
    INK,
    ORANGE,
    clean_axes,
    draw_message,
    fit_label,
    make_figure,
    save_figure,
    write_title,
)
from .photos import draw_sheet


def plot_strangers(histogram: dict[str, Any], rate: float, path: Path | str, dpi: int = DPI) -> None:
    """Draw how many known images and strangers have which p-value, and from where on they are unknown.

    Args:
        histogram: {"edges", "known", "strangers"}, counts between edges of p-values.
        rate: up to which p-value an image is unknown.
        path: the picture to write.
        dpi: its dots an inch.

    Raises:
        CatdogError: `path` cannot be written.
    """
    figure = make_figure(6.4, 4.2, dpi)
    axes, edges = figure.add_subplot(), np.array(histogram["edges"])
    parts = (("known", "your own kind", BLUE), ("strangers", "strangers", ORANGE))
    for name, label, colour in parts:
        counts = np.array(histogram[name]) / max(1, sum(histogram[name]))
        axes.stairs(counts, edges, fill=True, alpha=0.55, color=colour, label=label)
        axes.stairs(counts, edges, color=colour, linewidth=1.5)
    axes.axvline(rate, color=INK, linestyle="--", linewidth=1.2)
    left = axes.get_xaxis_transform()
    axes.text(rate * 0.93, 0.97, "unknown", ha="right", va="top", transform=left, fontsize=9, color=INK)
    clean_axes(axes)
    axes.set(xscale="log", xlim=(edges[0], 1), xlabel="p-value: how many of your own kind are as strange")
    axes.set(ylabel="share of the pictures", ylim=(0, None))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    axes.legend(frameon=False, fontsize=9, loc="upper right")
    note = f"left of the dashed line, at {100 * rate:g} %, a picture is called unknown"
    write_title(axes, "Are strangers told from your own kind?", note)
    save_figure(figure, path)


def plot_fooled(
    items: list[dict[str, Any]], path: Path | str, total: int | None = None, dpi: int = DPI
) -> None:
    """Draw a contact sheet of strangers that were taken for known images, the first 30.

    Args:
        items: {"image": uint8 (H, W, 3), "class", "probability" of it, "p_value"}, the least strange first.
        path: the picture to write.
        total: how many there are, if `items` holds only some.
        dpi: dots an inch.

    Raises:
        CatdogError: `path` cannot be written.
    """
    if not items:
        return draw_message("No stranger", "Every stranger was called unknown.", path)

    def describe(item: dict[str, Any]) -> tuple[str, str]:
        said = f"said: {fit_label(item['class'], 13)} {100 * item['probability']:.1f} %"
        return f"p = {item['p_value']:.2g}", said

    return draw_sheet(items, "stranger taken for known", describe, path, total, dpi)
