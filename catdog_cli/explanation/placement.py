"""From the grid of a network's activations to the image: what was seen, and where a place lies."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from ..settings import InputSpec


class Box(NamedTuple):
    """A part of an image, as shares of its height and width."""

    top: float
    left: float
    height: float
    width: float

    def in_pixels(self, height: int, width: int) -> tuple[slice, slice]:
        """Return the rows and columns that it has in an image of a size in px, one at least."""
        rows, columns = _whole(self.top, self.height, height), _whole(self.left, self.width, width)
        return rows, columns


def _whole(start: float, length: float, total: int) -> slice:
    first = min(max(round(start * total), 0), total - 1)
    return slice(first, min(max(round((start + length) * total), first + 1), total))


def central_box(height: int, width: int, share: float) -> Box:
    """Return the central square whose side is a share of the shorter side of an image, sizes in px."""
    side = share * min(height, width)
    return Box(0.5 - side / height / 2, 0.5 - side / width / 2, side / height, side / width)


def seen_share(spec: InputSpec) -> float:
    """Return the side of what a network sees, as a share of the shorter side of an image."""
    return spec.size / spec.resize


def enlarge(grid: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return a map at another size, float32 (height, width): between its places it changes evenly."""
    values = torch.from_numpy(np.ascontiguousarray(grid, np.float32))[None, None]
    larger = torch.nn.functional.interpolate(
        values, (height, width), mode="bilinear", align_corners=False, antialias=True
    )
    return larger[0, 0].numpy()


def spread(grid: np.ndarray, box: Box, height: int, width: int) -> np.ndarray:
    """Return a map over an image of a size in px, float32 (height, width): 0 where no network looked."""
    found = np.zeros((height, width), np.float32)
    rows, columns = box.in_pixels(height, width)
    found[rows, columns] = enlarge(grid, rows.stop - rows.start, columns.stop - columns.start)
    return found


def join_grids(grids: Sequence[np.ndarray], shares: Sequence[float], side: int) -> np.ndarray:
    """Return the maps of several networks as one: their sum on the largest square; one stays as it is.

    Args:
        grids: maps of central squares.
        shares: the side of each square, as a share of the largest one's.
        side: px of the sum.
    """
    if len(grids) == 1:
        return grids[0]
    # A smaller square has fewer pixels for the same share of the logit.
    parts = [
        spread(grid / share**2, central_box(side, side, share), side, side)
        for grid, share in zip(grids, shares, strict=True)
    ]
    return np.stack(parts).sum(0)
