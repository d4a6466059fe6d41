"""Pictures of pictures: predictions beside their photographs, a sheet of mistakes."""

from collections.abc import Callable
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from ..errors import CatdogError
from .canvas import (
    BLUE,
    DPI,
    INK,
    ORANGE,
    SOFT,
    draw_message,
    fit_label,
    make_sheet,
    place_axes,
    save_figure,
    show_percent,
)

MOST_PICTURES = 30
MOST_BARS = 20


def plot_predictions(items: list[dict[str, Any]], path: Path | str) -> None:
    """Draw pictures beside bar charts of their likeliest classes: the first 30 pictures, 20 classes each.

    Args:
        items: {"image": uint8 (H, W, 3), "title", "names": k class names, "probabilities": k fractions},
            best first; where an image may have several labels, "labels": those that it has, and the k
            "thresholds" from which each is said; "heading": what stands above the bars, if not
            the first class.
        path: the picture to write.

    Raises:
        CatdogError: there is no item, or `path` cannot be written.
    """
    if not items:
        raise CatdogError("There are no predictions to draw: give at least one picture.")
    shown = [item | {"names": item["names"][:MOST_BARS]} for item in items[:MOST_PICTURES]]
    pairs, across, photo = (1, 9.5, 4.0) if len(shown) == 1 else (2, 7.0, 2.6)  # inches: a pair, its photo
    bars = max(len(item["names"]) for item in shown)
    down = max(3.4, 0.34 * bars) if pairs == 1 else max(2.1, 0.3 * bars)
    head = 0.5 if len(items) > len(shown) else 0
    title = f"The first {len(shown)} of {len(items):,} pictures" if head else ""
    figure = make_sheet(across * pairs, (down + 0.75) * ceil(len(shown) / pairs) + head, title)
    for i, item in enumerate(shown):
        left, top = across * (i % pairs), head + (down + 0.75) * (i // pairs) + 0.55
        axes = place_axes(figure, left + 0.2, top, photo, down)
        draw_photo(axes, item["image"])
        axes.set_title(fit_label(item["title"], 34), fontsize=10, color=SOFT)
        names = 0.3 + 0.085 * min(24, max(map(len, item["names"])))  # room for the names, inches
        left, width = left + 0.2 + photo + names, across - photo - names - 1.05  # 0.75 for percentages
        draw_bars(place_axes(figure, left, top, width, down), item, (names - 0.25) / width)
    save_figure(figure, path)


def draw_bars(axes: Axes, item: dict[str, Any], room: float) -> None:
    names = item["names"]
    probabilities = item["probabilities"][: len(names)]
    places = np.arange(len(names))
    limits = item.get("thresholds", [0.0] + [2.0] * len(names))  # of one class, the first is said
    said = [value >= limit for value, limit in zip(probabilities, limits, strict=False)]
    colours = [BLUE if is_said else "#bfd3fb" for is_said in said]
    axes.barh(places, np.ones(len(names)), color="#f3f4f6", height=0.62)
    axes.barh(places, probabilities, color=colours, height=0.62)
    for place, probability in zip(places, probabilities, strict=True):
        axes.annotate(
            show_percent(probability),
            xy=(1, place),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=10,
            color=INK,
        )
    if "thresholds" in item:
        lines = item["thresholds"][: len(names)]
        axes.vlines(lines, places - 0.38, places + 0.38, color=ORANGE, linewidth=1.5)
    axes.set_yticks(places, [fit_label(name, 24) for name in names], fontsize=10, color=INK)
    axes.set(xlim=(0, 1), ylim=(max(len(names), 3) - 0.5, -0.6), xticks=[])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    heading = f"{fit_label(names[0], 22)}  {show_percent(probabilities[0])}"
    if "labels" in item:
        heading = fit_label(", ".join(item["labels"]) or "none of the labels", 34)
    heading = fit_label(item["heading"], 34) if item.get("heading") else heading
    axes.set_title(heading, loc="left", x=-room, fontsize=13, color=INK, fontweight="bold")


def plot_mistakes(
    items: list[dict[str, Any]], path: Path | str, total: int | None = None, dpi: int = DPI
) -> None:
    """Draw a contact sheet of wrongly classified images, the first 30.

    Args:
        items: {"image": uint8 (H, W, 3), "true", "predicted": class names, "probability": of the predicted}.
        path: the picture to write.
        total: how many mistakes there are, if `items` holds only some.
        dpi: dots an inch.

    Raises:
        CatdogError: `path` cannot be written.
    """
    if not items:
        return draw_message("No mistakes", "Every picture was given its right class.", path)

    def describe(item: dict[str, Any]) -> tuple[str, str]:
        said = f"said: {fit_label(item['predicted'], 13)} {show_percent(item['probability'])}"
        return f"true: {fit_label(item['true'], 18)}", said

    return draw_sheet(items, "mistake", describe, path, total, dpi)


def draw_sheet(
    items: list[dict[str, Any]],
    noun: str,
    describe: Callable[[dict[str, Any]], tuple[str, str]],
    path: Path | str,
    total: int | None,
    dpi: int,
) -> None:
    """Draw the images of `items`, the first 30, each between the two lines that `describe` returns for it.

    Args:
        noun: what one of them is, for the title.

    The others are as for `plot_mistakes`.
    """
    shown, total = items[:MOST_PICTURES], max(total or 0, len(items))
    columns = min(5, max(2, len(shown)))
    rows = ceil(len(shown) / columns)
    part = f", {len(shown)} of them shown" if len(shown) < total else ""
    first, *rest = noun.split(" ")  # mistake, stranger taken for known
    title = " ".join([f"{total:,} {first}{'s' * (total != 1)}", *rest]) + part
    figure = make_sheet(2.3 * columns + 0.2, 2.75 * rows + 0.6, title, dpi)
    for i, item in enumerate(shown):
        left, top = 0.2 + 2.3 * (i % columns), 0.85 + 2.75 * (i // columns)
        place_photo(figure, item["image"], left, top, 2.1)
        above, below = describe(item)
        write_caption(figure, above, left + 1.05, top - 0.06, BLUE, va="bottom")
        write_caption(figure, below, left + 1.05, top + 2.16, ORANGE, va="top")
    return save_figure(figure, path)


def write_caption(figure: Figure, text: str, left: float, top: float, colour: str, va: str) -> None:
    across, down = figure.get_size_inches()
    figure.text(left / across, 1 - top / down, text, fontsize=10, color=colour, ha="center", va=va)


def place_photo(figure: Figure, image: np.ndarray, left: float, top: float, side: float) -> None:
    """Lay a photograph into the middle of a square, in inches; axes would take ten times as long."""
    box, down = side * figure.dpi, figure.get_size_inches()[1] * figure.dpi  # px
    scale = box / max(image.shape[:2])
    size = [max(1, round(scale * length)) for length in image.shape[1::-1]]  # width, height
    photo = Image.fromarray(np.ascontiguousarray(image)).resize(
        size, Image.Resampling.LANCZOS, reducing_gap=3
    )
    across, up = left * figure.dpi + (box - size[0]) / 2, down - top * figure.dpi - (box + size[1]) / 2
    figure.figimage(np.asarray(photo), round(across), round(up), origin="upper")


def draw_photo(axes: Axes, image: np.ndarray) -> None:
    photo = Image.fromarray(np.ascontiguousarray(image))
    width, height = (max(1, round(length)) for length in axes.get_window_extent().size)  # px
    photo.thumbnail((width, height), Image.Resampling.LANCZOS, reducing_gap=3)
    axes.imshow(np.asarray(photo), interpolation="antialiased")
    axes.set_anchor("N")
    axes.axis("off")
