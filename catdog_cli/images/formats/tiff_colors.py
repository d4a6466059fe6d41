"""Samples of a TIFF, as they are stored, as RGB pixels.

Photometric interpretations, extra samples: TIFF 6.0, sections 3 to 6, 16, 18, 21 and 23.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from . import FormatError
from .color_modes import BAND_PIXELS, reduce_pixels
from .scaling import Pixels, Scale, find_scale, scale_values
from .tiff import (
    BLACK_IS_ZERO,
    CIELAB,
    COLORS,
    FLOAT,
    ICCLAB,
    PALETTE,
    RGB,
    SEPARATED,
    SIGNED,
    UNSIGNED,
    WHITE_IS_ZERO,
    YCBCR,
    TiffHeader,
)

ALPHA = (1, 2, 999)  # multiplied into the colours; not so; what Corel writes for that
Samples = npt.NDArray[Any]  # (rows, W, samples of a pixel)


def samples_to_rgb(
    read_rows: Callable[[int, int], Samples],
    header: TiffHeader,
    color_map: Pixels | None,
    reduce_by: int = 1,
) -> Pixels:
    """Return samples as RGB pixels, worked on in bands: uint8 (H, W, 3).

    Unsigned samples of 1 to 16 bits are scaled by the whole range of their depth; signed, longer and floating
    ones by the lowest and the highest value that the picture has. Alpha is laid over white.

    Args:
        read_rows: returns the samples from a row on to another, which is left out.
        color_map: uint8 (colours, 3) of a picture that has one.
        reduce_by: take the mean of so many px in both directions.

    Raises:
        FormatError: the samples are of a kind that is not read.
    """
    count = COLORS[header.photometric]
    _check_samples(header)
    rows = max(1, BAND_PIXELS // header.width // reduce_by) * reduce_by
    tops = range(0, header.height, rows)
    ends = [min(top + rows, header.height) for top in tops]
    scale = _full_range(header) or find_scale(
        read_rows(top, end)[..., :count] for top, end in zip(tops, ends, strict=True)
    )
    alpha = next((count + place for place, kind in enumerate(header.extras) if kind in ALPHA), None)
    height, width = (-(-side // reduce_by) for side in (header.height, header.width))
    pixels = np.empty((height, width, 3), np.uint8)
    for top, end in zip(tops, ends, strict=True):
        band = read_rows(top, end)
        colors = _convert(band[..., :count], header, scale, color_map)
        if alpha is not None:
            associated = header.extras[alpha - count] == 1
            colors = _lay_over_white(colors, _scale_alpha(band[..., alpha], header), associated)
        part = reduce_pixels(colors, reduce_by)
        pixels[top // reduce_by : top // reduce_by + len(part)] = part
    return pixels


def _check_samples(header: TiffHeader) -> None:
    bits, photometric = set(header.bits), header.photometric
    plain = header.sample_format == UNSIGNED and bits <= {8, 16}
    problem = None
    if photometric in (SEPARATED, CIELAB, ICCLAB) and not plain:
        if not (photometric == CIELAB and header.sample_format == SIGNED and bits <= {8, 16}):
            problem = "CMYK" if photometric == SEPARATED else "Lab"
    elif photometric == YCBCR and (bits != {8} or header.sample_format != UNSIGNED):
        problem = "YCbCr"
    elif photometric == PALETTE and header.sample_format != UNSIGNED:
        problem = "palette"
    if problem:
        raise FormatError(f"it is a {problem} TIFF with {max(bits)}-bit samples of a kind that is not read")
    if 1 in header.extras and photometric not in (RGB, BLACK_IS_ZERO):
        raise FormatError(
            "it is a TIFF whose alpha is multiplied into colours other than RGB, which is not read"
        )


def _full_range(header: TiffHeader) -> Scale | None:
    """Return the range of unsigned samples of up to 16 bits; None where the values themselves give it."""
    if header.sample_format == UNSIGNED and max(header.bits) <= 16:
        uneven = len(set(header.bits)) > 1  # which the reader scales to 8 bits, as it unpacks them
        return Scale(0, 255 if uneven else 2 ** header.bits[0] - 1)
    return None


def _convert(colors: Samples, header: TiffHeader, scale: Scale, color_map: Pixels | None) -> Pixels:
    photometric = header.photometric
    if photometric == PALETTE:
        assert color_map is not None
        return color_map[colors[..., 0]]
    if photometric in (CIELAB, ICCLAB):
        return _convert_lab(colors, header)
    values = scale_values(colors, scale)
    if photometric == SEPARATED:
        return np.asarray(Image.fromarray(values, "CMYK").convert("RGB"))
    if photometric == YCBCR:
        return np.asarray(Image.fromarray(values, "YCbCr").convert("RGB"))
    if photometric == WHITE_IS_ZERO:
        values = 255 - values
    return values if photometric == RGB else np.repeat(values, 3, axis=2)


def _convert_lab(colors: Samples, header: TiffHeader) -> Pixels:
    """Convert by Pillow, which takes 8 bits: L of 0 to 255, a and b signed."""
    if max(header.bits) == 16:
        colors = colors.view(np.uint16) >> 8
    lab = np.ascontiguousarray(colors.astype(np.uint8))
    if header.photometric == ICCLAB:
        lab[..., 1:] ^= 128
    image = Image.frombytes("LAB", (lab.shape[1], lab.shape[0]), lab.tobytes())
    return np.asarray(image.convert("RGB"))


def _scale_alpha(values: Samples, header: TiffHeader) -> npt.NDArray[np.float32]:
    """Return alpha as 0 (nothing is seen) to 1: floats as they are, whole numbers by their depth."""
    if header.sample_format == FLOAT:
        return np.nan_to_num(values).clip(0, 1).astype(np.float32)
    highest = 2 ** (header.bits[-1] - (header.sample_format == SIGNED)) - 1
    return (values.astype(np.float64) / highest).clip(0, 1).astype(np.float32)


def _lay_over_white(colors: Pixels, alpha: npt.NDArray[np.float32], associated: bool) -> Pixels:
    opacity = alpha[..., None]
    shown = colors if associated else colors * opacity
    return (shown + 255 * (1 - opacity)).round().clip(0, 255).astype(np.uint8)
