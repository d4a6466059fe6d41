"""Maps of a class laid over their image: what glows speaks for the class, what is blue against it.

The image is grey beneath, so that all colour is the map's. Equal steps of what speaks for a class look equal
(the scale is matplotlib's perceptually uniform "inferno"), and colour fades out where a place says nothing.
"""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from PIL import Image

from ..errors import CatdogError
from ..runtime.files import replacing
from .canvas import (
    SOFT,
    fit_label,
    make_sheet,
    place_axes,
    save_figure,
)
from .photos import draw_bars, draw_photo

GLOW = "inferno"
GLOW_RANGE = (0.4, 0.95)  # the part of it that is neither black nor white
AGAINST = (0.22, 0.6, 1.0)  # red, green, blue
STRONGEST = 0.98  # quantile of the map's absolute values that gets the full colour
OPAQUE = 0.75  # how much the strongest colour covers
GAP_PX = 8
MOST_EXPLAINED = 30

Pixels = npt.NDArray[np.uint8]


def lay_over(image: Pixels, heat: npt.NDArray[np.float32]) -> Pixels:
    """Return a map over its image in grey: uint8 (H, W, 3).

    Args:
        image: uint8 (H, W, 3).
        heat: (H, W), 0 where a place says nothing; its strongest values get the full colour.
    """
    limit = float(np.quantile(np.abs(heat), STRONGEST)) or 1.0
    share = np.clip(heat / limit, -1, 1)
    low, high = GLOW_RANGE
    glow = matplotlib.colormaps[GLOW](low + (high - low) * share.clip(0))[..., :3]
    colours = np.where(share[..., None] < 0, AGAINST, glow)
    cover = OPAQUE * np.abs(share)[..., None]
    grey = (image @ np.array([0.299, 0.587, 0.114]) / 255)[..., None]
    return np.round(255 * ((1 - cover) * grey + cover * colours)).astype(np.uint8)


def join_overlays(image: Pixels, heats: list[npt.NDArray[np.float32]]) -> Pixels:
    """Return an image and what each of its maps looks like over it, beside each other: uint8 (H, W', 3)."""
    gap = np.full((len(image), GAP_PX, 3), 255, np.uint8)
    parts = [part for heat in heats for part in (gap, lay_over(image, heat))]
    return np.concatenate([image, *parts], 1)


def write_overlays(image: Pixels, heats: list[npt.NDArray[np.float32]], path: Path) -> None:
    """Write an image beside its maps as a PNG, whole or not at all.

    Raises:
        CatdogError: `path` cannot be written.
    """
    try:
        with replacing(path) as unfinished:
            Image.fromarray(join_overlays(image, heats)).save(unfinished, "PNG")
    except OSError as error:
        reason = error.strerror or error
        raise CatdogError(
            f"Cannot write the picture {str(path)!r}: {reason}; give another folder."
        ) from error


def plot_explanations(items: list[dict[str, Any]], path: Path | str) -> None:
    """Draw images beside their maps and bar charts of their likeliest classes: a row each, the first 30.

    Args:
        items: as for `plot_predictions`, and "reasons": (name, map (H, W)) of each explained class.
        path: the picture to write.

    Raises:
        CatdogError: there is no item, or `path` cannot be written.
    """
    if not items:
        raise CatdogError("There are no explanations to draw: give at least one picture.")
    shown = items[:MOST_EXPLAINED]
    most, photo = max(len(item["reasons"]) for item in shown), 3.2  # inches
    down, head = 3.2, 0.5 if len(items) > len(shown) else 0.0
    title = f"The first {len(shown)} of {len(items):,} pictures" if head else ""
    figure = make_sheet((photo + 0.2) * (1 + most) + 5.2, (down + 0.8) * len(shown) + head, title)
    for row, item in enumerate(shown):
        top = head + (down + 0.8) * row + 0.55
        views = [(fit_label(item["title"], 34), item["image"])]
        views += [
            (fit_label(f"why {name} (yellow: for it, blue: against)", 48), lay_over(item["image"], heat))
            for name, heat in item["reasons"]
        ]
        for column, (caption, view) in enumerate(views):
            axes = place_axes(figure, 0.2 + (photo + 0.2) * column, top, photo, down)
            draw_photo(axes, view)
            axes.set_title(caption, fontsize=9, color=SOFT)
        names = 0.3 + 0.085 * min(24, max(map(len, item["names"])))  # room for the names, inches
        left, width = 0.2 + (photo + 0.2) * (1 + most) + names, 5.2 - names - 1.05
        draw_bars(place_axes(figure, left, top, width, min(down, 2.6)), item, (names - 0.25) / width)
    save_figure(figure, path)
