"""Samples of more than 8 bits, or of fewer, as 8 bits.

Unsigned whole numbers of 1 to 16 bits have a range that their depth gives. Signed, longer and floating
ones may hold anything: metres, degrees, 0 to 1. They are scaled by the lowest and the highest value that the
picture has, so that no value is a cliff at which a picture turns black.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Values = npt.NDArray[Any]  # whole numbers or floats

SIXTEEN_BITS = (0, 65535)


class Scale(NamedTuple):
    """The values that become 0 and 255."""

    low: float
    high: float


def find_scale(bands: Iterable[Values]) -> Scale:
    """Return the lowest and the highest value of a picture in bands; infinite ones do not count."""
    lows, highs = [], []
    for band in bands:
        finite = band[np.isfinite(band)] if band.dtype.kind == "f" else band
        if finite.size:
            lows.append(float(finite.min()))
            highs.append(float(finite.max()))
    return Scale(min(lows, default=0), max(highs, default=0))


def scale_values(values: Values, scale: Scale) -> Pixels:
    """Return values as 0 to 255, rounded; what is not a finite number is 0.

    Where the picture has one value only, it is white if that is above 0, and else black.
    """
    if scale == (0, 255) and values.dtype == np.uint8:
        return np.ascontiguousarray(values)
    if scale == SIXTEEN_BITS and values.dtype.kind == "u" and values.dtype.itemsize == 2:
        return ((values.astype(np.uint32) * 255 + 32895) >> 16).astype(np.uint8)  # round(value / 257)
    with np.errstate(invalid="ignore"):  # a NaN of the signalling kind
        real = values.astype(np.float64)
    if scale.low == scale.high:
        return np.where(np.isfinite(real) & (real > 0), 255, 0).astype(np.uint8)
    low, high = scale.low / 2, scale.high / 2  # halves: the difference of two floats may be infinite
    with np.errstate(invalid="ignore", over="ignore"):
        shares = (real / 2 - low) / (high - low)
    shares[~np.isfinite(real)] = 0
    return np.round(shares.clip(0, 1) * 255).astype(np.uint8)
