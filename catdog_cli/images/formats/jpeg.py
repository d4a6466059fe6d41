"""What a JPEG says about itself, read from its bytes without decoding.

Costs some ten microseconds, so that an ordinary photograph never waits for Pillow to open it.
Markers and segments: ITU-T T.81, annex B.
"""

import itertools
import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from . import FormatError
from .exif import MARK, read_orientation

START = b"\xff\xd8\xff"
END = b"\xff\xd9"

MAX_SCANS = 64  # encoders write up to 20; each takes time for the whole picture, but may have 30 bytes
MAX_SEGMENTS = 70_000  # before the first scan: a gigabyte in the largest ones is 16,000
NEXT_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # within a scan: no stuffing, no restart

APP0, APP1, APP14, SOS, EOI = 0xE0, 0xE1, 0xEE, 0xDA, 0xD9
BARE_MARKERS = {0x00, 0x01, *range(0xD0, 0xD9)}  # no length follows: stuffing, TEM, RST0-7, SOI
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # SOF0-15 without DHT, JPG and DAC
HUFFMAN_FRAMES = {0xC0, 0xC1, 0xC2}  # baseline, extended, progressive
PROGRESSIVE_FRAMES = {0xC2, 0xCA}
LOSSLESS, HIERARCHICAL = (0xC3, 0xCB), (0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF)
UNREAD = dict.fromkeys(LOSSLESS, "lossless") | dict.fromkeys(HIERARCHICAL, "hierarchical")
JPEG_LS = 0xF7


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
        FormatError: the header breaks off, there is no frame or too many scans, or it is of a kind not read.
    """
    frame, orientation, plain, first, end = None, 0, True, 0, 0
    for number, (marker, first, end) in enumerate(_segments(data)):
        if number > MAX_SEGMENTS:
            raise FormatError(f"it has more than {MAX_SEGMENTS:,} segments in its header")
        if marker in FRAMES:
            frame = struct.unpack_from(">BHHB", data, first)  # precision, height, width, components
            if marker in UNREAD or frame[0] != 8:
                raise FormatError(f"it is a {_name_kind(marker, frame[0])}, which is not read")
            plain = plain and marker in HUFFMAN_FRAMES and frame[3] in (1, 3)
        elif marker == APP1 and not orientation and data[first : first + 6] == MARK:
            orientation = read_orientation(bytes(data[first:end]))
        elif marker == JPEG_LS:
            raise FormatError("it is a JPEG-LS, which is not read")
        elif marker in (APP0, APP14):
            plain = plain and not _is_odd(marker, data[first:end])
    if frame is None:
        raise FormatError("it holds no JPEG frame")
    many = data.count(b"\xff\xda", end) >= MAX_SCANS  # or thumbnails, or other pictures after the first
    if many and sum(1 for _ in itertools.islice(_find_scans(data, first - 2), MAX_SCANS + 1)) > MAX_SCANS:
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
        if marker == EOI or end > len(data):
            raise FormatError("it breaks off within its header")
        end = max(end, position + 4)  # a length of 0 or 1, which decoders take for an empty segment
        yield marker, position + 4, end
        position = end


def _name_kind(marker: int, precision: int) -> str:
    kind = f"{UNREAD[marker]} JPEG" if marker in UNREAD else "JPEG"
    return kind if precision == 8 else f"{kind} with {precision} bits a channel"


def _find_scans(data: bytes | bytearray, position: int) -> Iterator[int]:
    """Yield where each scan's header begins, from the one on whose marker ends at `position`."""
    yield position
    position += int.from_bytes(data[position : position + 2], "big")
    while found := NEXT_MARKER.search(data, position):
        marker, position = data[found.start() + 1], found.end()
        if marker == EOI:
            return
        if marker == SOS:
            yield position
        position += int.from_bytes(data[position : position + 2], "big")


def has_all_scans(data: bytes | bytearray) -> bool:
    """Say whether the scans of a JPEG give every bit of every coefficient; they may come in many."""
    frame, components, first = 0, b"", 0
    for marker, start, end in _segments(data):
        if marker in FRAMES:
            frame, components = marker, bytes(data[start + 6 : end : 3])
        first = start - 2
    missing = {component: [14] * 64 for component in components}  # bits of each coefficient
    for start in _find_scans(data, first):
        count = data[start + 2]
        names = data[start + 3 : start + 3 + 2 * count : 2]
        if frame not in PROGRESSIVE_FRAMES:
            for name in names:
                missing[name] = [0]
            continue
        lowest, highest, bits = data[start + 3 + 2 * count : start + 6 + 2 * count]
        for name in names:
            missing[name][lowest : highest + 1] = [bits & 15] * (highest + 1 - lowest)
    return not any(bits for found in missing.values() for bits in found)


def _is_odd(marker: int, content: bytes | bytearray) -> bool:
    """Say whether libjpeg would print a warning about this segment (torchvision lets it, Pillow does not)."""
    if marker == APP0:
        return content[:5] == b"JFIF\0" and len(content) >= 14 and content[5] != 1
    return content[:5] == b"Adobe" and len(content) >= 12 and content[11] not in (0, 1)
