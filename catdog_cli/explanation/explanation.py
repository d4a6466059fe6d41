"""Why a checkpoint says what it says of an image, as its caller gets it: an array, a row, a text."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import SettingsError
from ..runtime.text import printable, show_percent
from .placement import Box, spread

EXACT = "class activation map"
ROWS, COLUMNS = ("upper", "middle", "lower"), ("left", "centre", "right")


@dataclass(frozen=True, eq=False)
class ClassMap:
    """How much each place of an image speaks for a class, in logits: positive for it, negative against it.

    `grid` is the map as it was computed (rows, columns), over the part `box` of the image that was seen.
    Where it is `exact`, its mean and `bias` add up to `logit`. Of several networks side by side, `parts` says
    what each adds. `fall` is by how much the probability falls when the most important fifth is blurred,
    `fall_random` the same of a random fifth, the mean of several; both None where it was not tried.
    """

    class_name: str
    name: str
    probability: float
    logit: float
    bias: float | None
    method: str
    exact: bool
    grid: np.ndarray = field(repr=False)
    parts: tuple[float, ...]
    box: Box
    size: tuple[int, int]  # height and width of the image in px, upright
    fall: float | None = None
    fall_random: float | None = None
    overlay: str | None = None  # the file that shows it

    @property
    def map(self) -> np.ndarray:
        """The map over the image, upright as `read_image` reads it: float32 (H, W), 0 where nobody looked."""
        return self.resized(*self.size)

    def resized(self, height: int, width: int) -> np.ndarray:
        """Return the map over the image at another size in px: float32 (height, width)."""
        return spread(self.grid, self.box, height, width)

    def to_dict(self) -> dict[str, Any]:
        """Return what `catdog predict --explain --json` prints of it, as plain values."""
        return {
            "class": self.class_name,
            "name": self.name,
            "probability": self.probability,
            "logit": self.logit,
            "bias": self.bias,
            "method": self.method,
            "exact": self.exact,
            "grid": list(self.grid.shape),
            "strongest": self.strongest,
            "fall": self.fall,
            "fall_random": self.fall_random,
            "overlay": self.overlay,
        }

    @property
    def strongest(self) -> str:
        """Where in the image the class is seen most, in words: "upper left"."""
        heat = self.resized(90, 90)
        row, column = np.unravel_index(int(heat.argmax()), heat.shape)
        names = ROWS[int(row) // 30], COLUMNS[int(column) // 30]
        return "centre" if names == ("middle", "centre") else " ".join(names)

    @property
    def kind(self) -> str:
        """The method in words, and whether it is exact."""
        return f"exact {self.method}" if self.exact else self.method

    def __str__(self) -> str:
        rows, columns = self.grid.shape
        where = f"{self.kind}, {rows} x {columns}, strongest in the {self.strongest}"
        lines = [f"why {printable(self.name)}: {where}"]
        if self.fall is not None and self.fall_random is not None:
            lines.append(
                f"  {show_percent(self.probability)}: {_points(self.fall)} with the most important fifth "
                f"blurred, {_points(self.fall_random)} with a random fifth"
            )
        return "\n".join(lines)


def _points(fall: float) -> str:
    """Return a fall of a probability as words: 3.2 points less."""
    return f"{100 * abs(fall):.1f} points {'less' if fall >= 0 else 'more'}"


@dataclass(frozen=True, eq=False)
class Explanation:
    """The maps of one image: of one class, or of each label that it has; or why there are none."""

    path: str
    error: str | None = None
    maps: tuple[ClassMap, ...] = ()
    source: Any = field(default=None, repr=False)

    @property
    def map(self) -> np.ndarray:
        """The first map over the image: float32 (H, W).

        Raises:
            SettingsError: there is none.
        """
        return self.first.map

    @property
    def first(self) -> ClassMap:
        """The map of the class that was asked for, or of the likeliest one.

        Raises:
            SettingsError: there is none: the image cannot be read, or has none of several labels.
        """
        if not self.maps:
            reason = self.error or f"{self.path!r} has none of the labels: name one to explain."
            raise SettingsError(reason)
        return self.maps[0]

    def to_dict(self) -> dict[str, Any]:
        """Return the row that `catdog explain --json` prints."""
        return {
            "path": self.path,
            "status": "ok" if self.error is None else "error",
            "error": self.error,
            "explanations": [each.to_dict() for each in self.maps],
        }

    def __str__(self) -> str:
        if self.error is not None:
            return printable(self.error)
        return "\n".join([printable(self.path), *list_reasons(self.maps)])


def list_reasons(maps: tuple[ClassMap, ...]) -> list[str]:
    """Return maps as lines of text."""
    lines = [f"  {line}" for each in maps for line in str(each).split("\n")]
    return lines or ["  none of the labels, so there is no map: name one with --class"]
