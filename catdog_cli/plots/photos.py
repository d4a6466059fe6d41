"""Pictures of pictures: predictions beside their photographs, a sheet of mistakes; called by commands."""

from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CatdogError
from .canvas import (
    BLUE,
    INK,
    ORANGE,
    SOFT,
    Axes,
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
            best first.
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
        _draw_photo(axes, item["image"])
        axes.set_title(fit_label(item["title"], 34), fontsize=10, color=SOFT)
        names = 0.3 + 0.085 * min(24, max(map(len, item["names"])))  # room for the names, inches
        left, width = left + 0.2 + photo + names, across - photo - names - 1.05  # 0.75 for percentages
        _draw_bars(place_axes(figure, left, top, width, down), item, (names - 0.25) / width)
    save_figure(figure, path)


def _draw_bars(axes: Axes, item: dict[str, Any], room: float) -> None:
    names = item["names"]
    probabilities = item["probabilities"][: len(names)]
    places = np.arange(len(names))
    colours = [BLUE] + ["#bfd3fb"] * (len(names) - 1)
    axes.barh(places, np.ones(len(names)), color="#f3f4f6", height=0.62)
    axes.barh(places, probabilities, color=colours, height=0.62)
    for place, probability in zip(places, probabilities, strict=True):
        where = {"xytext": (6, 0), "textcoords": "offset points", "va": "center"}
        axes.annotate(show_percent(probability), (1, place), fontsize=10, color=INK, **where)
    axes.set_yticks(places, [fit_label(name, 24) for name in names], fontsize=10, color=INK)
    axes.set(xlim=(0, 1), ylim=(max(len(names), 3) - 0.5, -0.6), xticks=[])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    heading = f"{fit_label(names[0], 22)}  {show_percent(probabilities[0])}"
    axes.set_title(heading, loc="left", x=-room, fontsize=13, color=INK, fontweight="bold")


def plot_mistakes(items: list[dict[str, Any]], path: Path | str, total: int | None = None) -> None:
    """Draw a contact sheet of wrongly named pictures, the first 30.

    Args:
        items: {"image": uint8 (H, W, 3), "true", "predicted": class names, "probability": of the predicted}.
        path: the picture to write.
        total: how many mistakes there are, if `items` holds only some.

    Raises:
        CatdogError: `path` cannot be written.
    """
    if not items:
        return draw_message("No mistakes", "Every picture was given its right class.", path)
    shown, total = items[:MOST_PICTURES], max(total or 0, len(items))
    columns = min(5, max(2, len(shown)))
    rows = ceil(len(shown) / columns)
    part = f", {len(shown)} of them shown" if len(shown) < total else ""
    title = f"{total:,} mistake{'s' * (total != 1)}{part}"
    figure = make_sheet(2.3 * columns + 0.2, 2.75 * rows + 0.6, title)
    for i, item in enumerate(shown):
        axes = place_axes(figure, 0.2 + 2.3 * (i % columns), 0.85 + 2.75 * (i // columns), 2.1, 2.1)
        _draw_photo(axes, item["image"], square=True)
        axes.set_title(f"true: {fit_label(item['true'], 18)}", fontsize=10, color=BLUE, pad=4)
        said = f"said: {fit_label(item['predicted'], 13)} {show_percent(item['probability'])}"
        place = {"xycoords": "axes fraction", "textcoords": "offset points", "ha": "center", "va": "top"}
        axes.annotate(said, (0.5, 0), (0, -4), fontsize=10, color=ORANGE, **place)
    return save_figure(figure, path)


def _draw_photo(axes: Axes, image: np.ndarray, square: bool = False) -> None:
    step = max(1, max(image.shape[:2]) // 1200)
    image = image[::step, ::step]
    axes.imshow(image, interpolation="antialiased")
    axes.set_anchor("N")
    axes.axis("off")
    if square:
        height, width = image.shape[:2]
        half = max(height, width) / 2
        axes.set(xlim=(width / 2 - half, width / 2 + half), ylim=(height / 2 + half, height / 2 - half))
