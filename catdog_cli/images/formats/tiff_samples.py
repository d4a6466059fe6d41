"""Samples of a TIFF as they are stored, read by tifffile with imagecodecs, which the extra `tiff` brings."""

import io
import logging
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import CatdogError, require
from .problem import FormatError
from .tiff import (
    FLOAT,
    SIGNED,
    STRIP_OFFSETS,
    TILE_HEIGHT,
    TILE_OFFSETS,
    TILE_WIDTH,
    UNSIGNED,
    YCBCR,
    TiffHeader,
    read_numbers,
)

COMPRESSIONS = {1, 5, 8, 32773, 32946, 34925, 50000}  # those whose data cannot declare a size of their own
COMPRESSION_NAMES = {
    2: "CCITT", 3: "CCITT", 4: "CCITT", 7: "JPEG", 22610: "JPEG XR", 33003: "JPEG 2000", 33005: "JPEG 2000",
    33007: "JPEG", 34676: "LogLuv", 34677: "LogLuv", 34712: "JPEG 2000", 34887: "LERC", 34892: "JPEG",
    50001: "WebP", 50002: "JPEG XL", 52546: "JPEG XL",
}  # fmt: skip
DEPTHS = {UNSIGNED: (*range(1, 33), 64), SIGNED: (8, 16, 32, 64), FLOAT: (16, 24, 32, 64)}
FORMAT_NAMES = {UNSIGNED: "unsigned", SIGNED: "signed", FLOAT: "floating"}
MAX_BYTES = 2**31  # of samples unpacked, and of a tile


def read_samples(data: bytes | bytearray, header: TiffHeader) -> npt.NDArray[Any]:
    """Return the samples of a TIFF's first picture: (H, W, samples of a pixel), of the depth they have.

    Raises:
        FormatError: tifffile or imagecodecs is not installed, or the picture of a kind that is not read.
        Exception: anything at all, where the data are damaged.
    """
    _check(data, header)
    try:
        tifffile = require("tifffile", "tiff")
        require("imagecodecs", "tiff")
    except CatdogError as error:
        raise FormatError("it is a TIFF of a kind that needs catdog[tiff]") from error
    logging.getLogger("tifffile").addHandler(logging.NullHandler())
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            page = file.pages.first
            if header.compression == 1:
                page.predictor = 1  # which belongs to compression, and is left standing by some writers
            stored = page.asarray(maxworkers=1, squeeze=False)  # (planes, 1, H, W, samples of a plane)
    except Exception as error:  # on damaged bytes it raises anything
        raise FormatError("its data are damaged (a strip or tile does not hold what it should)") from error
    if stored.dtype == bool:
        stored = stored.view(np.uint8)
    samples: npt.NDArray[Any] = np.moveaxis(stored[:, 0, ..., 0], 0, -1) if header.planar else stored[0, 0]
    if samples.shape != (header.height, header.width, len(header.bits)):
        raise FormatError("its data are damaged (its pixels have another shape than its tags say)")
    return samples


def _check(data: bytes | bytearray, header: TiffHeader) -> None:
    """Raise FormatError for a kind that is not read, for what would fill the memory, for what is cut off."""
    depth, kind = header.bits[0], FORMAT_NAMES[header.sample_format]
    if header.compression not in COMPRESSIONS:
        name = COMPRESSION_NAMES.get(header.compression, f"method {header.compression}")
        raise FormatError(
            f"it is a TIFF with {depth}-bit {kind} samples compressed by {name}, which is not read"
        )
    if len(set(header.bits)) > 1 or depth not in DEPTHS[header.sample_format]:
        depths = "-, ".join(map(str, dict.fromkeys(header.bits)))
        raise FormatError(f"it is a TIFF with {depths}-bit {kind} samples, which is not read")
    if header.photometric == YCBCR and header.subsampling != (1, 1):
        raise FormatError("it is a TIFF with subsampled YCbCr in planes, which is not read")
    pixel_bytes = len(header.bits) * next(size for size in (1, 2, 4, 8) if 8 * size >= depth)
    unpacked = header.width * header.height * pixel_bytes
    tile_bytes = (
        _read_number(data, header, TILE_WIDTH) * _read_number(data, header, TILE_HEIGHT) * pixel_bytes
    )
    if max(unpacked, tile_bytes) > MAX_BYTES:
        raise FormatError(f"its samples take {max(unpacked, tile_bytes):,} bytes, more than {MAX_BYTES:,}")
    offsets = read_numbers(
        data, header.order, header.tags[TILE_OFFSETS if header.is_tiled else STRIP_OFFSETS]
    )
    if len(offsets) != len(header.segments) or not all(header.segments):
        raise FormatError("its data are damaged (some of its strips or tiles are missing)")
    if any(offset + size > len(data) for offset, size in zip(offsets, header.segments, strict=True)):
        raise FormatError("it is truncated (its pixels lie beyond its end)")


def _read_number(data: bytes | bytearray, header: TiffHeader, tag: int) -> int:
    return next(iter(read_numbers(data, header.order, header.tags[tag])), 0) if tag in header.tags else 0
