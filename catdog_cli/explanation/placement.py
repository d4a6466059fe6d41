"""From the grid of a network's activations to the image: what was seen, and where a place lies."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..images.looks import LONGEST_SIDES, WHOLE
from ..settings_input import InputSpec


class Box(NamedTuple):
    """A part of an image, or of another box, as shares of its height and width."""

    top: float
    left: float
    height: float
    width: float

    def in_pixels(self, height: int, width: int) -> tuple[slice, slice]:
        """Return the rows and columns that it has in an image of a size in px, one at least."""
        return _whole(self.top, self.height, height), _whole(self.left, self.width, width)

    def relative_to(self, outer: "Box") -> "Box":
        """Return a box that lies in another one as shares of that."""
        top, left = (self.top - outer.top) / outer.height, (self.left - outer.left) / outer.width
        return Box(top, left, self.height / outer.height, self.width / outer.width)


class Piece(NamedTuple):
    """What one network makes of one look at an image: a map (rows, columns) of a box."""

    grid: np.ndarray
    box: Box


def _whole(start: float, length: float, total: int) -> slice:
    first = min(max(round(start * total), 0), total - 1)
    return slice(first, min(max(round((start + length) * total), first + 1), total))


def seen_box(height: int, width: int, spec: InputSpec, kind: str) -> Box:
    """Return what a network sees of an image, sizes in px: see `images.looks.list_looks`."""
    shorter = min(height, width)
    if kind == WHOLE:
        return _middle(
            min(height, LONGEST_SIDES * shorter) / height, min(width, LONGEST_SIDES * shorter) / width
        )
    side = shorter * spec.size / spec.resize
    return _middle(side / height, side / width)


def _middle(height: float, width: float) -> Box:
    return Box((1 - height) / 2, (1 - width) / 2, height, width)


def join_boxes(boxes: Sequence[Box]) -> Box:
    """Return the least box around some that have the middle of the image in common."""
    return _middle(max(box.height for box in boxes), max(box.width for box in boxes))


def enlarge(grid: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return a map at another size, float32 (height, width): between its places it changes evenly."""
    values = Image.fromarray(np.ascontiguousarray(grid, np.float32))
    return np.array(values.resize((width, height), Image.Resampling.BILINEAR))


def spread(grid: np.ndarray, box: Box, height: int, width: int) -> np.ndarray:
    """Return a map over an image of a size in px, float32 (height, width): 0 where no network looked."""
    found = np.zeros((height, width), np.float32)
    rows, columns = box.in_pixels(height, width)
    found[rows, columns] = enlarge(grid, rows.stop - rows.start, columns.stop - columns.start)
    return found


def join_pieces(pieces: Sequence[Piece], side: int) -> np.ndarray:
    """Return the sum of maps of parts of a box as one map of it, (side, side); a single one stays as it is.

    Args:
        pieces: their boxes are shares of that box.
        side: px of the sum.
    """
    if len(pieces) == 1:
        return pieces[0].grid
    # A smaller box has fewer pixels for the same share of the logit.
    parts = [spread(grid / (box.height * box.width), box, side, side) for grid, box in pieces]
    return np.stack(parts).sum(0)
