"""What a JPEG says about itself, read from its bytes without decoding.

Costs some ten microseconds, so that an ordinary photograph never waits for Pillow to open it.
Markers and segments: ITU-T T.81, annex B; orientation: Exif 2.32, section 4.6.4.
"""

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from .problem import FormatError

START = b"\xff\xd8\xff"
END = b"\xff\xd9"
EXIF_ORIENTATION = 0x0112

MAX_SCANS = 64  # encoders write up to 20; each takes time for the whole picture, but may have 30 bytes
MAX_SEGMENTS = 70_000  # before the first scan: a gigabyte in the largest ones is 16,000
NEXT_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # within a scan: no stuffing, no restart

APP0, APP1, APP14, SOS, EOI = 0xE0, 0xE1, 0xEE, 0xDA, 0xD9
BARE_MARKERS = {0x00, 0x01, *range(0xD0, 0xD9)}  # no length follows: stuffing, TEM, RST0-7, SOI
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # SOF0-15 without DHT, JPG and DAC
HUFFMAN_FRAMES = {0xC0, 0xC1, 0xC2}  # baseline, extended, progressive


class JpegHeader(NamedTuple):
    """A JPEG's declared shape; `plain` is 8-bit, Huffman-coded, grey or YCbCr, with nothing odd in it."""

    width: int  # px, as stored: before the orientation is applied
    height: int
    orientation: int  # Exif, 1..8
    plain: bool
    complete: bool  # the end marker is there


def scan_jpeg(data: bytes | bytearray) -> JpegHeader:
    """Return what the segments before the first scan of a JPEG say.

    Raises:
        FormatError: the header breaks off, no frame comes before the first scan, or there are too many scans.
    """
    frame, orientation, plain, end = None, 0, True, 0
    for number, (marker, start, end) in enumerate(_segments(data)):
        if number > MAX_SEGMENTS:
            raise FormatError(f"it has more than {MAX_SEGMENTS:,} segments in its header")
        if marker in FRAMES:
            frame = struct.unpack_from(">BHHB", data, start)  # precision, height, width, components
            plain = plain and marker in HUFFMAN_FRAMES and frame[0] == 8 and frame[3] in (1, 3)
        elif marker == APP1 and not orientation and data[start : start + 6] == b"Exif\0\0":
            orientation = read_orientation(bytes(data[start + 6 : end]))
        elif marker in (APP0, APP14):
            plain = plain and not _is_odd(marker, data[start:end])
    if frame is None:
        raise FormatError("it holds no JPEG frame")
    if data.count(b"\xff\xda", end) >= MAX_SCANS and _count_scans(data, end) > MAX_SCANS:
        raise FormatError(f"it has more than {MAX_SCANS} scans")
    _, height, width, _ = frame
    # Stuffing keeps FF D9 out of the scan's own data, so the last one after its start is the end marker.
    return JpegHeader(width, height, orientation or 1, plain, data.rfind(END, end) >= 0)


def _segments(data: bytes | bytearray) -> Iterator[tuple[int, int, int]]:
    """Yield (marker, start, end) of each segment's content, the first scan's header last."""
    position, marker = 2, 0
    while marker != SOS:
        position = data.find(b"\xff", position)  # skips junk between segments, as decoders do
        if position < 0 or position + 4 > len(data):
            raise FormatError("it breaks off within its header")
        marker = data[position + 1]
        if marker == 0xFF or marker in BARE_MARKERS:
            position += 1 if marker == 0xFF else 2
            continue
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        if marker == EOI or end < position + 4 or end > len(data):
            raise FormatError("it breaks off within its header")
        yield marker, position + 4, end
        position = end


def _count_scans(data: bytes | bytearray, position: int) -> int:
    """Return the number of scans, the first one's content starting at `position`, as decoders meet them."""
    count = 1
    while found := NEXT_MARKER.search(data, position):
        marker, position = data[found.start() + 1], found.end()
        if marker == EOI:
            break
        count += marker == SOS
        position += int.from_bytes(data[position : position + 2], "big")
    return count


def _is_odd(marker: int, content: bytes | bytearray) -> bool:
    """Say whether libjpeg would print a warning about this segment (torchvision lets it, Pillow does not)."""
    if marker == APP0:
        return content[:5] == b"JFIF\0" and len(content) >= 14 and content[5] != 1
    return content[:5] == b"Adobe" and len(content) >= 12 and content[11] not in (0, 1)


def read_orientation(tiff: bytes) -> int:
    """Return the orientation (1..8) in an Exif block, given from its TIFF header on; 1 where damaged."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    try:
        (offset,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, offset)
        for entry in range(offset + 2, offset + 2 + 12 * count, 12):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", tiff, entry)
            if tag == EXIF_ORIENTATION:
                return value if kind == 3 and 1 <= value <= 8 else 1  # 3: an unsigned short
    except struct.error:
        return 1
    return 1
