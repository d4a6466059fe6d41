"""A folder of maps for people: each image beside its maps as a PNG, and a table of their numbers."""

import csv
import dataclasses
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..errors import CatdogError
from ..images.formats.scaling import Pixels
from ..runtime.files import replacing
from .explanation import ClassMap, Explanation

TABLE = "explanations.csv"
COLUMNS = (
    "path",
    "status",
    "error",
    "class",
    "name",
    "probability",
    "method",
    "exact",
    "fall",
    "fall_random",
    "overlay",
)
OVERLAY_PX = 384  # the longer side of an image there
LONGEST_NAME = 100  # letters


class OverlayFolder:
    """Writes one PNG an image, named after it, and the rows of the table, one a map or an error."""

    def __init__(self, folder: Path, writer: Any):
        self.folder, self.writer = folder, writer
        self._taken: set[str] = set()

    def add(self, explanation: Explanation, image: Pixels | None) -> Explanation:
        """Write an image's maps and rows; return its explanation with the path of the PNG.

        Args:
            image: uint8 (H, W, 3), upright; None where it could not be read.

        Raises:
            CatdogError: something cannot be written.
        """
        if explanation.maps and image is not None:
            path = self._draw(explanation, image)
            maps = tuple(dataclasses.replace(each, overlay=str(path)) for each in explanation.maps)
            explanation = dataclasses.replace(explanation, maps=maps)
        for row in _list_rows(explanation):
            self.writer.writerow(row)
        return explanation

    def _draw(self, explanation: Explanation, image: Pixels) -> Path:
        from ..plots.overlays import write_overlays

        pixels = shrink(image, OVERLAY_PX)
        heats = [each.resized(*pixels.shape[:2]) for each in explanation.maps]
        path = self.folder / self._name(explanation.path)
        write_overlays(pixels, heats, path)
        return path

    def _name(self, path: str) -> str:
        """Return a name for an image's PNG that no other has: cat.png, cat-2.png."""
        stem = Path(path).stem[:LONGEST_NAME] or "image"
        name, number = f"{stem}.png", 1
        while os.path.normcase(name) in self._taken:
            number += 1
            name = f"{stem}-{number}.png"
        self._taken.add(os.path.normcase(name))
        return name


@contextmanager
def open_overlay_folder(folder: Path) -> Iterator[OverlayFolder]:
    """Make a folder of overlays; its table is there once all of it is.

    Raises:
        CatdogError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (
            replacing(folder / TABLE) as unfinished,
            unfinished.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
        ):
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            yield OverlayFolder(folder, writer)
    except OSError as error:
        raise CatdogError(
            f"Cannot write maps into {str(folder)!r} ({error.strerror or error}): choose another --output."
        ) from error


def shrink(image: Pixels, side_px: int) -> np.ndarray:
    """Return an image, uint8 (H, W, 3), with its longer side at most `side_px`."""
    whole = Image.fromarray(image)
    whole.thumbnail((side_px, side_px))
    return np.asarray(whole)


def _list_rows(explanation: Explanation) -> Iterator[tuple[Any, ...]]:
    first = (explanation.path, "ok" if explanation.error is None else "error", explanation.error)
    if not explanation.maps:
        yield (*first, *[None] * (len(COLUMNS) - len(first)))
    for each in explanation.maps:
        yield (*first, *_cells(each))


def _cells(each: ClassMap) -> tuple[Any, ...]:
    exact = "yes" if each.exact else "no"
    numbers = each.fall, each.fall_random
    return (each.class_name, each.name, each.probability, each.method, exact, *numbers, each.overlay)
