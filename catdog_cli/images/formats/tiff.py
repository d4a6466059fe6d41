"""What a TIFF says about its first picture, read from its tags before any decoder sees it.

Layout: TIFF 6.0, section 2; BigTIFF has 8 bytes where that has 2 (numbers of entries) or 4.
"""

import struct
from dataclasses import dataclass
from typing import NamedTuple

from . import FormatError
from .size_limits import check_size

SUBFILE_TYPE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 254, 256, 257, 258, 259, 262, 266
STRIP_OFFSETS, ORIENTATION, SAMPLES, ROWS_PER_STRIP, STRIP_BYTES, PLANAR = 273, 274, 277, 278, 279, 284
COLOR_MAP, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES, INK_SET = 320, 322, 323, 324, 325, 332
EXTRA_SAMPLES, SAMPLE_FORMAT, SUBSAMPLING, XMP, DEPTH, DNG_VERSION = 338, 339, 530, 700, 32997, 50706
OLD_JPEG = 513  # the offset of a whole JPEG, where compression is 6

KINDS = {  # by number: bytes each, letter of struct; "" where it holds no whole number
    1: (1, "B"), 2: (1, ""), 3: (2, "H"), 4: (4, "I"), 5: (8, ""), 6: (1, "b"), 7: (1, ""), 8: (2, "h"),
    9: (4, "i"), 10: (8, ""), 11: (4, ""), 12: (8, ""), 13: (4, "I"), 16: (8, "Q"), 17: (8, "q"),
    18: (8, "Q"),
}  # fmt: skip
MAX_PIECES = 300_000  # four planes of as many rows as the longest side has
MAX_LISTED_BYTES = 2**25  # of all other tags: readers make lists of them
MAX_ENTRIES = 4096

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, SEPARATED, YCBCR, CIELAB, ICCLAB = 0, 1, 2, 3, 5, 6, 8, 9
COLORS = {
    WHITE_IS_ZERO: 1,
    BLACK_IS_ZERO: 1,
    RGB: 3,
    PALETTE: 1,
    SEPARATED: 4,
    YCBCR: 3,
    CIELAB: 3,
    ICCLAB: 3,
}
OTHER_PHOTOMETRICS = {
    4: "a transparency mask", 10: "ITU Lab colours", 32803: "raw data of a camera", 32844: "LogL colours",
    32845: "LogLuv colours", 34892: "raw data of a camera", 51177: "a depth map", 52527: "a semantic mask",
}  # fmt: skip
UNSIGNED, SIGNED, FLOAT = 1, 2, 3
OTHER_FORMATS = {4: "of no stated kind", 5: "that are complex numbers", 6: "that are complex numbers"}
FAX = (2, 3, 4)  # compressions of CCITT, where white is 0


class Entry(NamedTuple):
    """A tag's entry: where it lies in the file, and where its values do."""

    kind: int
    number: int  # of values
    position: int
    values: int


@dataclass(frozen=True)
class TiffHeader:
    """The first picture of a TIFF."""

    order: str  # "<" or ">"
    big: bool
    tags: dict[int, Entry]
    width: int  # px, as stored
    height: int
    bits: tuple[int, ...]  # of each sample of a pixel
    compression: int
    photometric: int
    sample_format: int
    fill_order: int
    planar: bool  # each sample's plane by itself
    extras: tuple[int, ...]  # what each sample beyond the colours is: 0 unspecified, 1 or 2 alpha
    orientation: int
    subsampling: tuple[int, ...]
    segments: tuple[int, ...]  # bytes of each strip or tile; () where an old JPEG has none

    @property
    def is_tiled(self) -> bool:
        return TILE_OFFSETS in self.tags


def read_header(data: bytes | bytearray) -> TiffHeader:
    """Return what a TIFF says about its first picture.

    Raises:
        FormatError: it is damaged, breaks off, is too large or in too many pieces, or of a kind not read.
    """
    try:
        order, big, tags = _read_entries(data)
        header = _read_fields(data, order, big, tags)
    except struct.error as error:
        raise FormatError("it breaks off within its header") from error
    _check_kind(header, data)
    _check_segments(header, data)
    return header


def read_numbers(data: bytes | bytearray, order: str, entry: Entry) -> tuple[int, ...]:
    """Return a tag's whole numbers; () where it holds something else.

    Raises:
        struct.error: they do not lie within the file.
    """
    _, letter = KINDS.get(entry.kind, (0, ""))
    return struct.unpack_from(f"{order}{entry.number}{letter}", data, entry.values) if letter else ()


def _read_entries(data: bytes | bytearray) -> tuple[str, bool, dict[int, Entry]]:
    order = "<" if data[:2] == b"II" else ">"
    big = 43 in (data[2], data[3])
    (first,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
    (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, first)
    step, room, start = (20, 8, first + 8) if big else (12, 4, first + 2)
    if not 0 < count <= MAX_ENTRIES:
        raise FormatError(f"it declares {count:,} tags, which is not a picture")
    tags: dict[int, Entry] = {}
    listed = 0
    for position in range(start, start + step * count, step):
        tag, kind, number = struct.unpack_from(order + ("HHQ" if big else "HHI"), data, position)
        size = KINDS.get(kind, (0, ""))[0] * number
        values = position + step - room
        if size > room:
            (values,) = struct.unpack_from(order + ("Q" if big else "I"), data, values)
        if tag in (STRIP_OFFSETS, TILE_OFFSETS, STRIP_BYTES, TILE_BYTES):
            if number > MAX_PIECES:
                raise FormatError(f"it declares {number:,} strips or tiles, more than {MAX_PIECES:,}")
        elif KINDS.get(kind, (0, ""))[1]:
            listed += size
        tags.setdefault(tag, Entry(kind, number, position, values))
    if listed > MAX_LISTED_BYTES:
        raise FormatError(f"its tags hold {listed:,} bytes of numbers, more than {MAX_LISTED_BYTES:,}")
    return order, big, tags


def _read_fields(data: bytes | bytearray, order: str, big: bool, tags: dict[int, Entry]) -> TiffHeader:
    def numbers(tag: int, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        return (read_numbers(data, order, tags[tag]) if tag in tags else ()) or default

    if WIDTH not in tags or HEIGHT not in tags:
        raise FormatError("its data are damaged (it declares no size)")
    (width, *_), (height, *_) = numbers(WIDTH, (0,)), numbers(HEIGHT, (0,))
    check_size(width, height)
    compression = numbers(COMPRESSION, (1,))[0]
    old_jpeg = compression == 6
    samples = numbers(SAMPLES, (3 if old_jpeg else 1,))[0]
    bits = numbers(BITS, (8 if old_jpeg else 1,))
    bits = bits * samples if len(bits) == 1 and samples < 1000 else bits[:samples]
    photometric = YCBCR if old_jpeg else numbers(PHOTOMETRIC, (_guess_photometric(samples, compression),))[0]
    formats = set(numbers(SAMPLE_FORMAT, (UNSIGNED,))[:samples])
    if len(formats) > 1:
        raise FormatError("it is a TIFF whose channels are of different kinds, which is not read")
    if len(bits) != samples:
        raise FormatError("its data are damaged (it does not say how many bits a sample has)")
    orientation = numbers(ORIENTATION, (1,))[0]
    segments = numbers(TILE_BYTES if TILE_OFFSETS in tags else STRIP_BYTES)
    extras = numbers(EXTRA_SAMPLES)
    extra_count = max(0, samples - COLORS.get(photometric, samples))
    if not extras and extra_count == 1 and photometric == RGB:
        extras = (2,)  # written by many, always meant as alpha
    extras = (*extras[:extra_count], *(0,) * (extra_count - len(extras)))
    return TiffHeader(
        order=order,
        big=big,
        tags=tags,
        width=width,
        height=height,
        bits=bits,
        compression=compression,
        photometric=photometric,
        sample_format=formats.pop(),
        fill_order=numbers(FILL_ORDER, (1,))[0],
        planar=numbers(PLANAR, (1,))[0] == 2 and samples > 1,
        extras=extras,
        orientation=orientation if 1 <= orientation <= 8 else 1,
        subsampling=numbers(SUBSAMPLING, (2, 2)),
        segments=segments,
    )


def _guess_photometric(samples: int, compression: int) -> int:
    """Return what libtiff takes for granted where a TIFF does not say it, though it must."""
    if samples >= 3:
        return RGB
    return WHITE_IS_ZERO if compression in FAX else BLACK_IS_ZERO


def _check_kind(header: TiffHeader, data: bytes | bytearray) -> None:
    """Raise FormatError where no reader can be right about a picture; the message says of what kind it is."""

    def number(tag: int, default: int) -> int:
        return (
            (read_numbers(data, header.order, header.tags[tag]) or (default,))[0]
            if tag in header.tags
            else default
        )

    problem = None
    if header.photometric not in COLORS:
        name = OTHER_PHOTOMETRICS.get(header.photometric, f"photometric interpretation {header.photometric}")
        problem = f"of {name}"
    elif header.sample_format not in (UNSIGNED, SIGNED, FLOAT):
        name = OTHER_FORMATS.get(header.sample_format, f"of the format {header.sample_format}")
        problem = f"with samples {name}"
    elif len(header.bits) < COLORS[header.photometric] and header.compression != 6:
        problem = f"with {len(header.bits)} channels where its colours need {COLORS[header.photometric]}"
    elif header.photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO, PALETTE) and len(header.extras) > 1:
        problem = f"with {len(header.bits)} channels that it does not explain"
    elif header.photometric == SEPARATED and number(INK_SET, 1) != 1:
        problem = "of inks other than CMYK"
    elif number(DEPTH, 1) != 1:
        problem = "of a volume"
    elif DNG_VERSION in header.tags:
        problem = "with raw data of a camera (DNG)"
    if problem is not None:
        raise FormatError(f"it is a TIFF {problem}, which is not read")


def _check_segments(header: TiffHeader, data: bytes | bytearray) -> None:
    """Raise FormatError where strips or tiles are missing or lie beyond the end: readers fill them in."""
    tag = TILE_OFFSETS if header.is_tiled else STRIP_OFFSETS
    if tag not in header.tags:
        if OLD_JPEG in header.tags:
            return
        raise FormatError("its data are damaged (it does not say where its pixels are)")
    offsets = read_numbers(data, header.order, header.tags[tag])
    if any(offset >= len(data) for offset in offsets):
        raise FormatError("it is truncated (its pixels lie beyond its end)")
