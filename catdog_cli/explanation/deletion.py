"""The proof of a map: how far a probability falls when what it calls important is blurred.

Beside it how far it falls when as much is blurred elsewhere: the same shape, shifted and mirrored at random.
A map is worth something where the first number is the larger one.
"""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageFilter

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


def blur_places(
    views: Sequence[torch.Tensor], shares: Sequence[float], heat: np.ndarray
) -> list[torch.Tensor]:
    """Return an image unchanged, with its important fifth blurred, and with random ones, for each network.

    Args:
        views: what each network sees, uint8 (3, size, size): central squares.
        shares: the side of each square, as a share of the largest one's.
        heat: the map (S, S) on the largest square.

    Returns:
        For each network uint8 (2 + NUM_RANDOM, 3, size, size).
    """
    important = important_fifth(heat)
    masks = [np.zeros_like(important), important, *random_fifths(important)]
    return [
        _blur(view, [_cut_mask(mask, share, view.shape[1]) for mask in masks])
        for view, share in zip(views, shares, strict=True)
    ]


def _cut_mask(mask: np.ndarray, share: float, size: int) -> torch.Tensor:
    """Return the central part of a mask at another size: (size, size) booleans."""
    side = len(mask)
    places = (
        (np.arange(size) + 0.5) / size - 0.5
    ) * share + 0.5  # centres of pixels, as shares of the square
    rows = (places * side).astype(int).clip(0, side - 1)
    return torch.from_numpy(mask[np.ix_(rows, rows)])


def _blur(view: torch.Tensor, masks: Sequence[torch.Tensor]) -> torch.Tensor:
    pixels = view.permute(1, 2, 0).contiguous().cpu().numpy()
    blurred = Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(BLUR * len(pixels)))
    soft = torch.from_numpy(np.asarray(blurred).copy()).permute(2, 0, 1)
    return torch.stack([torch.where(mask, soft, view.cpu()) for mask in masks])
