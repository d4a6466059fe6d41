"""Read BMP: of Windows and OS/2, with a palette, bit masks or run lengths.

Pillow knows a dozen sets of masks, takes every alpha at its word, and loses its place where a run of RLE is
longer than its row. Layout: Microsoft's "Bitmap Storage" (headers, masks, run lengths), OS/2 2.0 bitmaps.
"""

import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from . import FormatError
from .color_modes import BAND_PIXELS, reduce_pixels
from .scaling import Pixels
from .size_limits import check_size

FILE_HEADER = 14  # bytes, before the header proper
CORE = 12  # its size in OS/2 1: sides of 16 bits, colours of 3 bytes
WINDOWS_HEADERS = (40, 52, 56, 108, 124)
PLAIN, RLE8, RLE4, MASKS, JPEG, PNG, ALPHA_MASKS = range(7)  # compressions of Windows
OS2_HUFFMAN, RLE24 = 3, 4  # of OS/2 2
EIGHT_BITS = (0xFF0000, 0xFF00, 0xFF, 0)
DEFAULT_MASKS = {16: (0x7C00, 0x3E0, 0x1F, 0), 24: EIGHT_BITS, 32: EIGHT_BITS}
DEPTHS = (1, 2, 4, 8, 16, 24, 32)
PAIRS = [bytes((value >> 4, value & 15)) * 128 for value in range(256)]  # of two pixels of 4 bits
DAMAGED = "its data are damaged (its header makes no sense)"

Indices = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class BmpHeader:
    """What a BMP says about its pixels; sizes in px or bytes."""

    width: int
    height: int
    bottom_up: bool
    depth: int  # bits a pixel
    compression: str  # "", "RLE8", "RLE4", "RLE24", "JPEG" or "PNG"
    masks: tuple[int, int, int, int]  # of red, green, blue, alpha
    palette: Pixels | None  # (colours, 3)
    start: int  # of the pixels

    @property
    def stride(self) -> int:
        return (self.width * self.depth + 31) // 32 * 4


def read_header(data: bytes | bytearray) -> BmpHeader:
    """Return what a BMP says about its pixels.

    Raises:
        FormatError: it breaks off, makes no sense, is too large or of a kind that is not read.
    """
    try:
        return _read_header(data)
    except struct.error as error:
        raise FormatError("it is truncated (it breaks off within its header)") from error


def _read_header(data: bytes | bytearray) -> BmpHeader:
    start, size = struct.unpack_from("<II", data, 10)
    if size == CORE:
        width, height, _, depth = struct.unpack_from("<HHHH", data, 18)
    else:
        width, height, _, depth = struct.unpack_from("<iiHH", data, 18)
    method, used = 0, 0
    if size >= 36:
        method, used = struct.unpack_from("<I", data, 30)[0], struct.unpack_from("<I", data, 46)[0]
    elif size >= 20:
        (method,) = struct.unpack_from("<I", data, 30)
    if width < 0:
        raise FormatError(DAMAGED)
    check_size(width, abs(height))
    compression = _name_compression(method, size)
    if depth not in DEPTHS and compression not in ("JPEG", "PNG"):
        raise FormatError(f"it is a BMP with {depth} bits a pixel, which is not read")
    if compression[:3] == "RLE" and depth != int(compression[3:]):
        raise FormatError(DAMAGED)
    after = FILE_HEADER + size
    masks = DEFAULT_MASKS.get(depth, (0, 0, 0, 0))
    if method in (MASKS, ALPHA_MASKS) and depth >= 16:
        masks = _read_masks(data, size, method, depth)
    if method in (MASKS, ALPHA_MASKS) and size == 40:
        after += 12 if method == MASKS else 16
    palette = None
    if compression not in ("JPEG", "PNG"):
        palette, after = _read_palette(data, after, start, depth, used, 3 if size == CORE else 4)
    return BmpHeader(
        width=width,
        height=abs(height),
        bottom_up=height > 0,
        depth=depth,
        compression=compression,
        masks=masks,
        palette=palette,
        start=after if start < after and (start == 0 or start == FILE_HEADER + size) else start,
    )


def _name_compression(method: int, header_size: int) -> str:
    windows = {PLAIN: "", RLE8: "RLE8", RLE4: "RLE4", MASKS: "", JPEG: "JPEG", PNG: "PNG", ALPHA_MASKS: ""}
    known = windows if header_size in WINDOWS_HEADERS else {0: "", 1: "RLE8", 2: "RLE4", RLE24: "RLE24"}
    if method not in known:
        huffman = header_size not in WINDOWS_HEADERS and method == OS2_HUFFMAN
        name = "Huffman codes of OS/2" if huffman else f"compression method {method}"
        raise FormatError(f"it is a BMP with {name}, which is not read")
    return known[method]


def _read_masks(data: bytes | bytearray, size: int, method: int, depth: int) -> tuple[int, int, int, int]:
    has_alpha = size >= 56 or method == ALPHA_MASKS
    red, green, blue, *alpha = struct.unpack_from("<IIII" if has_alpha else "<III", data, FILE_HEADER + 40)
    masks = (red, green, blue, *(alpha or [0]))
    if not (red or green or blue):  # never set
        return DEFAULT_MASKS[depth]
    if any(bin(mask).count("01") > 0 or mask >= 2**depth for mask in masks) or _overlap(masks):
        raise FormatError("it is a BMP with bit masks that make no sense")
    return masks[0], masks[1], masks[2], masks[3]


def _overlap(masks: tuple[int, ...]) -> bool:
    taken = 0
    for mask in masks:
        if taken & mask:
            return True
        taken |= mask
    return False


def _read_palette(
    data: bytes | bytearray, place: int, pixels: int, depth: int, used: int, entry: int
) -> tuple[Pixels | None, int]:
    """Return the palette, filled up with black, and where it ends; it never reaches into the pixels."""
    count = min(used, 256) or (2**depth if depth <= 8 else 0)
    if depth > 8:
        return None, place + used * entry
    if pixels > place:
        count = min(count, (pixels - place) // entry)
    stored = np.frombuffer(data[place : place + count * entry], np.uint8)
    if len(stored) < count * entry:
        raise struct.error
    palette = np.zeros((256, 3), np.uint8)
    palette[:count] = stored.reshape(count, entry)[:, 2::-1]
    return palette, place + count * entry


def find_embedded(data: bytes | bytearray, header: BmpHeader) -> bytes | bytearray | None:
    """Return the whole JPEG or PNG that a BMP may hold instead of pixels."""
    return data[header.start :] if header.compression in ("JPEG", "PNG") else None


def read_bmp(data: bytes | bytearray, header: BmpHeader, reduce_by: int = 1) -> Pixels:
    """Return a BMP as RGB, uint8 (H, W, 3), alpha laid over white unless it is 0 everywhere.

    Args:
        data: the file.
        header: what `read_header` returned for it.
        reduce_by: take the mean of so many px in both directions.

    Raises:
        FormatError: it breaks off.
    """
    if header.compression:
        stored = _unpack_runs(data, header)
    else:
        needed = header.stride * (header.height - 1) + (header.width * header.depth + 7) // 8
        if len(data) - header.start < needed:
            raise FormatError("it is truncated (it has fewer pixels than it declares)")
        whole = header.stride * header.height
        body = np.frombuffer(data, np.uint8, min(len(data) - header.start, whole), header.start)
        missing = whole - len(body)  # the last row's filling
        stored = (np.pad(body, (0, missing)) if missing else body).reshape(header.height, header.stride)
    rows = stored[::-1] if header.bottom_up else stored
    opaque = not header.masks[3] or not _has_alpha(rows, header)
    height, width = (-(-side // reduce_by) for side in (header.height, header.width))
    pixels = np.empty((height, width, 3), np.uint8)
    step = max(1, BAND_PIXELS // header.width // reduce_by) * reduce_by
    for top in range(0, header.height, step):
        part = reduce_pixels(_convert(rows[top : top + step], header, opaque), reduce_by)
        pixels[top // reduce_by : top // reduce_by + len(part)] = part
    return pixels


def _convert(rows: Indices, header: BmpHeader, opaque: bool) -> Pixels:
    """Return rows of bytes as RGB: uint8 (rows, W, 3)."""
    width = header.width
    if header.palette is not None:
        return header.palette[rows[:, :width] if header.compression else _unpack_bits(rows, header)]
    if header.depth == 24 and header.masks == EIGHT_BITS:
        return np.ascontiguousarray(rows[:, : 3 * width].reshape(len(rows), width, 3)[..., ::-1])
    if header.depth == 32 and header.masks == EIGHT_BITS:
        return np.ascontiguousarray(rows[:, : 4 * width].reshape(len(rows), width, 4)[..., 2::-1])
    values = _join_bytes(rows, header)
    colors = np.stack([_mask(values, mask) for mask in header.masks[:3]], -1)
    if opaque:
        return colors
    alpha = _mask(values, header.masks[3])[..., None].astype(np.float32) / 255
    return (colors * alpha + 255 * (1 - alpha)).round().astype(np.uint8)


def _unpack_bits(rows: Indices, header: BmpHeader) -> Indices:
    if header.depth == 8:
        return rows[:, : header.width]
    shifts = np.arange(8 - header.depth, -1, -header.depth, dtype=np.uint8)
    unpacked = rows[..., None] >> shifts & (2**header.depth - 1)
    return unpacked.reshape(len(rows), -1)[:, : header.width]


def _join_bytes(rows: Indices, header: BmpHeader) -> npt.NDArray[np.uint32]:
    size = header.depth // 8
    parts = rows[:, : size * header.width].reshape(len(rows), header.width, size)
    values = np.zeros(parts.shape[:2], np.uint32)
    for place in range(size):
        values |= parts[..., place].astype(np.uint32) << 8 * place
    return values


def _mask(values: npt.NDArray[np.uint32], mask: int) -> Pixels:
    """Return what lies under a mask, scaled to 8 bits; rounded down, as Pillow does."""
    if not mask:
        return np.zeros(values.shape, np.uint8)
    shift = (mask & -mask).bit_length() - 1
    found, highest = (values & mask) >> shift, mask >> shift
    return (found if highest == 255 else found.astype(np.uint64) * 255 // highest).astype(np.uint8)


def _has_alpha(rows: Indices, header: BmpHeader) -> bool:
    """Say whether alpha is above 0 anywhere: where it is not, its writer left it out."""
    step = max(1, BAND_PIXELS // header.width)
    bands = (rows[top : top + step] for top in range(0, header.height, step))
    return any((_join_bytes(band, header) & header.masks[3]).any() for band in bands)


def _unpack_runs(data: bytes | bytearray, header: BmpHeader) -> Indices:
    """Return the bytes of run-length coded rows, as they lie in the file: (H, W, or 3 W).

    What a run has beyond its row is dropped; what is skipped is 0.
    """
    size = 3 if header.compression == "RLE24" else 1
    half = header.compression == "RLE4"
    width, height = header.width, header.height
    found = bytearray(width * height * size)
    position, x, y = header.start, 0, 0
    run: bytes | bytearray
    try:
        while y < height:
            count, value = data[position], data[position + 1]
            position += 2
            if count or value > 2:
                length = count or value
                kept = max(0, min(length, width - x))
                if count:
                    unit = PAIRS[value] if half else data[position - 1 : position - 1 + size]
                    if not half and len(unit) < size:
                        raise IndexError
                    run = unit[:kept] if half else unit * kept
                    position += size - 1
                else:
                    taken = (length + 1) // 2 if half else length * size
                    run = data[position : position + taken]
                    if len(run) < taken:
                        raise IndexError
                    run = b"".join([PAIRS[byte][:2] for byte in run]) if half else run
                    position += taken + taken % 2
                at = (y * width + x) * size
                found[at : at + kept * size] = run[: kept * size]
                x = min(x + length, width)
            elif value == 0:
                x, y = 0, y + 1
            elif value == 1:
                break
            else:
                x, y = min(x + data[position], width), y + data[position + 1]
                position += 2
    except IndexError as error:
        if (x, y) != (width, height - 1):  # an end mark may be missing, pixels may not
            raise FormatError("it is truncated (it has fewer pixels than it declares)") from error
    return np.frombuffer(found, np.uint8).reshape(height, width * size)
