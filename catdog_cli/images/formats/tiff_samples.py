"""Samples of a TIFF as they are stored, read by tifffile with imagecodecs, which the extra `tiff` brings."""

import io
import logging
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import CatdogError, require
from . import FormatError
from .pillow import open_pillow
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

DEFLATE = (8, 32946)
COMPRESSIONS = {1, 5, *DEFLATE, 32773, 34925, 50000}  # those whose data cannot declare a size of their own
COMPRESSION_NAMES = {
    2: "CCITT", 3: "CCITT", 4: "CCITT", 7: "JPEG", 22610: "JPEG XR", 33003: "JPEG 2000", 33005: "JPEG 2000",
    33007: "JPEG", 34676: "LogLuv", 34677: "LogLuv", 34712: "JPEG 2000", 34887: "LERC", 34892: "JPEG",
    34933: "PNG", 34934: "JPEG XR", 50001: "WebP", 50002: "JPEG XL", 52546: "JPEG XL",
}  # fmt: skip
DEPTHS = {UNSIGNED: (*range(1, 33), 64), SIGNED: (8, 16, 32, 64), FLOAT: (16, 24, 32, 64)}
FORMAT_NAMES = {UNSIGNED: "unsigned", SIGNED: "signed", FLOAT: "floating"}
TURNED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
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
        how = "pip install 'catdog[tiff]'"
        raise FormatError(f"it is a TIFF of a kind that needs catdog[tiff] ({how})") from error
    logging.getLogger("tifffile").addHandler(logging.NullHandler())
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            stored = _decode(file.pages.first, data, header)  # (planes, 1, H, W, samples of a plane)
    except Exception as error:  # on damaged bytes it raises anything
        raise FormatError("its data are damaged (a strip or tile does not hold what it should)") from error
    if stored.dtype == bool:
        stored = stored.view(np.uint8)
    samples: npt.NDArray[Any] = np.moveaxis(stored[:, 0, ..., 0], 0, -1) if header.planar else stored[0, 0]
    if samples.shape != (header.height, header.width, len(header.bits)):
        raise FormatError("its data are damaged (its pixels have another shape than its tags say)")
    return samples


def _decode(page: Any, data: bytes | bytearray, header: TiffHeader) -> npt.NDArray[Any]:
    """Return all strips or tiles, unpacked here: imagecodecs crashes on some damaged LZW (2026.3.6)."""
    if header.compression == 1:
        page.predictor = 1  # which belongs to compression, and is left standing by some writers
    else:
        page.compression = 1  # what `page.decode` is given
    page.fillorder = 1
    stored = np.zeros(page.shaped, page.dtype)
    places = read_numbers(data, header.order, header.tags[TILE_OFFSETS if header.is_tiled else STRIP_OFFSETS])
    samples = 1 if header.planar else len(header.bits)
    tile = _read_number(data, header, TILE_WIDTH), _read_number(data, header, TILE_HEIGHT)
    width, rows = tile if header.is_tiled else (header.width, page.rowsperstrip)
    row_bytes = (width * samples * header.bits[0] + 7) // 8
    per_plane = -(-header.height // rows) * (-(-header.width // width))
    expected = per_plane * (len(header.bits) if header.planar else 1)
    if len(places) < expected:
        raise ValueError("some strips or tiles are missing")
    for number, (start, size) in enumerate(zip(places[:expected], header.segments, strict=False)):
        packed = bytes(data[start : start + size])
        if header.fill_order == 2:
            packed = packed.translate(TURNED_BITS)
        height = rows if header.is_tiled else min(rows, header.height - number % per_plane * rows)
        unpacked = _unpack(packed, header.compression, height * row_bytes)
        part, (plane, _, top, left, _), shape = page.decode(unpacked, number, _fullsize=header.is_tiled)
        part = part[0, : header.height - top, : header.width - left]
        stored[plane, 0, top : top + shape[1], left : left + shape[2]] = part
    return stored


def _unpack(packed: bytes, compression: int, size: int) -> bytes:
    """Return a strip or tile of `size` bytes, or fewer where it is damaged; never more.

    Raises:
        Exception: anything at all, where it is damaged.
    """
    if compression in DEFLATE:
        return zlib.decompressobj().decompress(packed, size)
    if compression in (5, 32773):
        return _unpack_by_libtiff(packed, compression, size)
    if compression != 1:
        codec = {34925: "lzma_decode", 50000: "zstd_decode"}[compression]
        return bytes(getattr(require("imagecodecs", "tiff"), codec)(packed, out=size))
    return packed[:size]


def _unpack_by_libtiff(packed: bytes, compression: int, size: int) -> bytes:
    """Let libtiff unpack LZW or PackBits, which it takes for a grey picture of one row."""
    tags = [(256, size), (257, 1), (258, 8), (259, compression), (262, 1), (273, 8), (277, 1), (278, 1)]
    tags.append((279, len(packed)))
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    body = packed + bytes(len(packed) % 2)
    ifd = struct.pack("<H", len(tags)) + entries + bytes(4)
    with open_pillow(b"II*\0" + struct.pack("<I", 8 + len(body)) + body + ifd, "TIFF") as image:
        return image.tobytes()


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
