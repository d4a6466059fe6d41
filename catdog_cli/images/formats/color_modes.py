"""A decoded Pillow image of any mode as RGB pixels, worked on in bands.

A picture of 300 megapixels has 0.9 GB of RGB. Turned as a whole, every step on the way (alpha over white,
floats, 32-bit whole numbers) would hold several times as much, and a file of 5 MB can declare such a picture.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

BAND_PIXELS = 2**22
WHITE = (255, 255, 255, 255)
Pixels = npt.NDArray[np.uint8]
Values = npt.NDArray[Any]  # whole numbers or floats, as Pillow has them


def to_rgb(image: Image.Image, reduce_by: int = 1) -> torch.Tensor:
    """Return a decoded image as RGB, uint8 (3, H, W), in memory as (H, W, 3).

    Alpha and transparent colours are laid over white; 16-bit grey is scaled by 1/257, floats by what their
    largest value suggests (1, 255 or 65535). `reduce_by` takes the mean of so many px in both directions.
    """
    largest = _largest(image)
    height, width = (-(-side // reduce_by) for side in (image.height, image.width))
    pixels = np.empty((height, width, 3), np.uint8)
    for top, band in _bands(image, reduce_by):
        part = _reduce(_band_to_rgb(band, largest), reduce_by)
        pixels[top // reduce_by : top // reduce_by + len(part)] = part
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _bands(image: Image.Image, multiple: int = 1) -> Iterator[tuple[int, Image.Image]]:
    """Yield (first row, rows) from top to bottom; by `multiple` or its multiples, but at the end."""
    rows = max(1, BAND_PIXELS // image.width // multiple) * multiple
    if rows >= image.height:
        yield 0, image
        return
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _reduce(pixels: Pixels, by: int) -> Pixels:
    return pixels if by == 1 else np.asarray(Image.fromarray(pixels).reduce(by))


def _band_to_rgb(band: Image.Image, largest: float) -> Pixels:
    if band.mode.startswith("I"):
        band = Image.fromarray(_scale_integers(np.asarray(band), largest))
    elif band.mode == "F":
        band = Image.fromarray(_scale_floats(np.asarray(band), largest))
    elif band.has_transparency_data:
        band = band.convert("RGBA")
        band = Image.alpha_composite(Image.new("RGBA", band.size, WHITE), band)
    return np.array(band if band.mode == "RGB" else band.convert("RGB"))


def _largest(image: Image.Image) -> float:
    """Return the largest value of a picture of whole numbers or floats, by which it is scaled; else 0."""
    if not (image.mode.startswith("I") or image.mode == "F"):
        return 0
    return max(_positive(np.asarray(band)).max() for _, band in _bands(image))


def _positive(values: Values) -> Values:
    return np.nan_to_num(values, posinf=0, neginf=0).clip(min=0)


def _scale_integers(values: Values, largest: float) -> Pixels:
    """Scale 16-bit grey to 8 bits; values beyond 16 bits are taken as 31-bit."""
    values = np.maximum(values, 0).astype(np.uint32)
    if largest > 65535:
        return (values >> 23).astype(np.uint8)
    return ((values * 255 + 32895) >> 16).astype(np.uint8)  # round(value / 257), without floats


def _scale_floats(values: Values, largest: float) -> Pixels:
    top = next((top for top in (1, 255, 65535) if largest <= top), largest)
    return np.round(_positive(values) * np.float32(255 / top)).astype(np.uint8)
