"""A decoded Pillow image of any mode as RGB pixels, worked on in bands.

A picture of 300 megapixels has 0.9 GB of RGB. Turned as a whole, every step on the way (alpha over white,
floats, 32-bit whole numbers) would hold several times as much, and a file of 5 MB can declare such a picture.
"""

from collections.abc import Iterator

import numpy as np
from PIL import Image

from .scaling import SIXTEEN_BITS, Pixels, Scale, find_scale, scale_values

BAND_PIXELS = 2**22
WHITE = (255, 255, 255, 255)


def to_rgb(image: Image.Image, reduce_by: int = 1, scale: Scale | None = None) -> Pixels:
    """Return a decoded image as RGB, uint8 (H, W, 3).

    Alpha and transparent colours are laid over white; 16-bit grey is scaled by 1/257, 32-bit whole numbers
    and floats by `scale`, without it by their lowest and highest value. `reduce_by` takes the mean of so
    many px in both directions.
    """
    if image.mode.startswith("I;16"):
        scale = Scale(*SIXTEEN_BITS)
    elif image.mode in ("I", "F") and scale is None:
        scale = find_scale(np.asarray(band) for _, band in _bands(image))
    height, width = (-(-side // reduce_by) for side in (image.height, image.width))
    pixels = np.empty((height, width, 3), np.uint8)
    for top, band in _bands(image, reduce_by):
        part = reduce_pixels(_band_to_rgb(band, scale), reduce_by)
        pixels[top // reduce_by : top // reduce_by + len(part)] = part
    return pixels


def _bands(image: Image.Image, multiple: int = 1) -> Iterator[tuple[int, Image.Image]]:
    """Yield (first row, rows) from top to bottom; by `multiple` or its multiples, but at the end."""
    rows = max(1, BAND_PIXELS // image.width // multiple) * multiple
    if rows >= image.height:
        yield 0, image
        return
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def reduce_pixels(pixels: Pixels, by: int) -> Pixels:
    """Return the mean of each square of `by` px a side."""
    return pixels if by == 1 else np.asarray(Image.fromarray(pixels).reduce(by))


def _band_to_rgb(band: Image.Image, scale: Scale | None) -> Pixels:
    if scale is not None and (band.mode.startswith("I") or band.mode == "F"):
        band = Image.fromarray(scale_values(np.asarray(band), scale))
    elif band.has_transparency_data:
        band = band.convert("LA") if band.mode == "La" else band  # straight to RGBA, Pillow would drop alpha
        band = band.convert("RGBA")
        band = Image.alpha_composite(Image.new("RGBA", band.size, WHITE), band)
    return np.array(band if band.mode == "RGB" else band.convert("RGB"))
