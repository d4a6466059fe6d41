"""The proof of a map: how far a probability falls when what it calls important is blurred.

Beside it how far it falls when as much is blurred elsewhere: the same shape, shifted and mirrored at random.
A map is worth something where the first number is the larger one.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageFilter

from ..images.formats.scaling import Pixels
from .placement import Box

FIFTH = 0.2  # share of the pixels that is blurred
NUM_RANDOM = 10  # other places
SEED = 0
BLUR = 1 / 14  # standard deviation of the blur, of the image's side: 16 px of 224


def important_fifth(heat: np.ndarray) -> np.ndarray:
    """Return where the largest fifth of a map (S, S) lies, as booleans; among equal values the first."""
    count = round(FIFTH * heat.size)
    mask = np.zeros(heat.size, bool)
    mask[np.argsort(-heat, axis=None, kind="stable")[:count]] = True
    return mask.reshape(heat.shape)


def random_fifths(mask: np.ndarray, count: int = NUM_RANDOM, seed: int = SEED) -> list[np.ndarray]:
    """Return masks (S, S) of the same shape in other places: mirrored or not, shifted around the edges."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        turned = mask[:: rng.choice((1, -1)), :: rng.choice((1, -1))]
        found.append(np.roll(turned, rng.integers(0, mask.shape), (0, 1)))
    return found


def blur_places(views: Sequence[Pixels], boxes: Sequence[Box], heat: np.ndarray) -> list[Pixels]:
    """Return an image unchanged, with its important fifth blurred, and with random ones, for each look at it.

    Args:
        views: what is seen of the image, uint8 (H, W, 3) each.
        boxes: where each lies in the box of the map.
        heat: the map (S, S).

    Returns:
        For each look uint8 (2 + NUM_RANDOM, H, W, 3).
    """
    important = important_fifth(heat)
    masks = [np.zeros_like(important), important, *random_fifths(important)]
    pairs = zip(views, boxes, strict=True)
    return [_blur(view, [_cut_mask(mask, box, *view.shape[:2]) for mask in masks]) for view, box in pairs]


def _cut_mask(mask: np.ndarray, box: Box, height: int, width: int) -> np.ndarray:
    """Return the part of a mask in a box at another size: (height, width) booleans."""
    rows, columns = (
        ((start + length * (np.arange(size) + 0.5) / size) * len(mask)).astype(int).clip(0, len(mask) - 1)
        for start, length, size in ((box.top, box.height, height), (box.left, box.width, width))
    )
    return np.asarray(mask[np.ix_(rows, columns)])


def _blur(view: Pixels, masks: Sequence[np.ndarray]) -> Pixels:
    blurred = Image.fromarray(view).filter(ImageFilter.GaussianBlur(BLUR * min(view.shape[:2])))
    return np.stack([np.where(mask[..., None], np.asarray(blurred), view) for mask in masks])
