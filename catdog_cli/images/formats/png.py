"""PNG: which chunks its pixels need, and its one transparent colour, which Pillow compares in a wrong depth.

A decoder may ignore every ancillary chunk, and catdog does: texts, profiles and animations, which may be
damaged or unpack to gigabytes, never reach Pillow. Layout: PNG, third edition, sections 5, 11.2 and 11.3.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image

from . import FormatError
from .color_modes import to_rgb
from .exif import read_orientation
from .pillow import open_pillow
from .scaling import SIXTEEN_BITS, Pixels, Scale, scale_values
from .size_limits import check_heavy, check_size

START = b"\x89PNG\r\n\x1a\n"
FIRST = len(START)
CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
GREY, RGB, INDEXED = 0, 2, 3  # colour types
DEPTHS = {GREY: (1, 2, 4, 8, 16), RGB: (8, 16), INDEXED: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
TRANSPARENT_BYTES = {GREY: 2, RGB: 6}  # colour type: length of tRNS
LENGTHS = {b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"pHYs": 9, b"tIME": 7, b"acTL": 8, b"fcTL": 26}
RAW_EXIF = (b"Raw profile type exif\0", b"Raw profile type APP1\0")  # keywords of ImageMagick
MAX_TEXT = 2**20  # bytes of one that may hold Exif
MAX_CHUNKS = 1_000_000  # before the pixels end; each takes time, but may have 12 bytes


class Chunk(NamedTuple):
    """Where a chunk's content lies, and what is wrong with it: "" if nothing is, or it was not looked at."""

    kind: bytes
    start: int
    end: int
    problem: str


class PngHeader(NamedTuple):
    """What a PNG says about its pixels."""

    width: int
    height: int
    depth: int
    color_type: int
    transparent: tuple[int, ...] | None  # grey, or red, green and blue, in the depth that is stored
    orientation: int
    clean: bytes | bytearray  # the file without what Pillow need not see


def read_header(data: bytes | bytearray, remarks: list[str] | None = None) -> PngHeader:
    """Return what a PNG says about its pixels, and the file without ancillary chunks.

    Args:
        data: the file.
        remarks: takes a sentence about each flaw that does no harm; looking for them costs some time.

    Raises:
        FormatError: it breaks off, is too large, or of a kind that is not read.
    """
    if data[FIRST + 4 : FIRST + 8] == b"CgBI":
        raise FormatError("it is a PNG of a kind that only Apple's programs read (CgBI): save it again")
    if len(data) < FIRST + 25 or data[FIRST : FIRST + 8] != b"\0\0\0\x0dIHDR":
        raise FormatError("its data are damaged (it does not begin with its header)")
    width, height, depth, color_type = struct.unpack_from(">IIBB", data, FIRST + 8)
    check_size(width, height)
    if depth not in DEPTHS.get(color_type, ()):
        raise FormatError(f"its data are damaged ({depth} bits of the colour type {color_type})")
    kept: list[Chunk] = []
    transparent, orientation, num_chunks = None, 0, 0
    for chunk in _walk(data, remarks is not None):
        num_chunks += 1
        if chunk.problem and remarks is not None:
            remarks.append(chunk.problem)
        if chunk.kind in CRITICAL:
            kept.append(chunk)
        elif chunk.kind == b"tRNS" and not chunk.problem:
            content = bytes(data[chunk.start : chunk.end])
            if color_type == INDEXED:
                kept.append(chunk)
            elif len(content) == TRANSPARENT_BYTES.get(color_type):
                top = 2**depth - 1
                transparent = tuple(value & top for value in struct.unpack(f">{len(content) // 2}H", content))
        elif chunk.kind in (b"eXIf", b"tEXt", b"zTXt") and not (orientation or chunk.problem):
            orientation = _find_orientation(chunk.kind, bytes(data[chunk.start : chunk.end]))
    kinds = {chunk.kind for chunk in kept}
    if color_type == INDEXED and b"PLTE" not in kinds:
        raise FormatError("its data are damaged (its palette is missing)")
    if b"IEND" not in kinds and remarks is not None:
        remarks.append("its end mark is missing")
    clean = data
    if len(kept) < num_chunks:
        clean = START + b"".join(data[chunk.start - 8 : chunk.end + 4] for chunk in kept)
    return PngHeader(width, height, depth, color_type, transparent, orientation or 1, clean)


def _walk(data: bytes | bytearray, thorough: bool) -> Iterator[Chunk]:
    """Yield the chunks up to the end mark; where one has a wrong length, goes on at the next sound one."""
    position, last = FIRST, b""
    for _ in range(MAX_CHUNKS):
        if position + 8 > len(data):
            return
        length, kind = struct.unpack_from(">I4s", data, position)
        start, end = position + 8, position + 8 + length
        lost = not kind.isalpha() or (end + 4 > len(data) and kind not in CRITICAL)
        if lost:
            found = _find_sound(data, position - 4 if last and last not in CRITICAL else position)
            if found is None:
                return
            yield Chunk(b"?", position, position, f"its chunk {_name(last)} has a wrong length")
            position, last = found, b""
            continue
        if kind not in CRITICAL and 65 <= kind[0] <= 90:
            raise FormatError(f"it has the chunk {_name(kind)}, which it needs and which is not read")
        checked = thorough or kind in (b"tRNS", b"eXIf")
        problem = _find_problem(data, kind, start, end) if checked else ""
        yield Chunk(kind, start, end, problem)
        if kind == b"IEND":
            return
        position, last = end + 4, kind
    raise FormatError(f"it has more than {MAX_CHUNKS:,} chunks")


def _find_problem(data: bytes | bytearray, kind: bytes, start: int, end: int) -> str:
    if not _is_sound(data, kind, start, end):
        return f"its chunk {_name(kind)} has a wrong checksum"
    length = end - start
    if length != LENGTHS.get(kind, length) or (kind == b"tRNS" and not 0 < length <= 256):
        return f"its chunk {_name(kind)} has a wrong length"
    return ""


def _is_sound(data: bytes | bytearray, kind: bytes, start: int, end: int) -> bool:
    with memoryview(data) as view:
        return data[end : end + 4] == struct.pack(">I", zlib.crc32(view[start:end], zlib.crc32(kind)))


def _find_sound(data: bytes | bytearray, position: int) -> int | None:
    """Return where the first sound chunk begins that a picture needs, from a position on."""
    found = []
    for kind in (b"PLTE", b"tRNS", b"IDAT", b"IEND"):
        at = data.find(kind, position)
        if at >= FIRST + 4:
            end = at + 4 + int.from_bytes(data[at - 4 : at], "big")
            if end + 4 <= len(data) and _is_sound(data, kind, at + 4, end):
                found.append(at - 4)
    return min(found, default=None)


def _name(kind: bytes) -> str:
    return kind.decode("ascii") if kind.isalpha() else "?"


def _find_orientation(kind: bytes, content: bytes) -> int:
    """Return the orientation in a chunk of Exif, or in a text as ImageMagick writes it; else 0."""
    if kind == b"eXIf":
        return read_orientation(content)
    keyword = next((each for each in RAW_EXIF if content.startswith(each)), None)
    if keyword is None:
        return 0
    try:
        text = content[len(keyword) :]
        text = zlib.decompressobj().decompress(text[1:], MAX_TEXT) if kind == b"zTXt" else text[:MAX_TEXT]
        lines = text.decode("ascii").split("\n")  # an empty one, the name, the length, then hexadecimals
        return read_orientation(bytes.fromhex("".join(lines[3:])))
    except (ValueError, zlib.error):
        return 0


def read_png(header: PngHeader, reduce_by: int = 1) -> Pixels:
    """Return a PNG as RGB, uint8 (H, W, 3), transparency laid over white.

    Raises:
        FormatError: it is too large.
        Exception: anything at all, where the data are damaged.
    """
    with open_pillow(header.clean, "PNG") as image:
        if header.transparent is None:
            image.load()
            return to_rgb(image, reduce_by)
        if header.depth == 16:
            return to_rgb(_clear_deep(image, header, header.transparent), reduce_by)
        image.load()
        highest = 255 // (2**header.depth - 1)  # Pillow stretches grey of fewer bits
        levels = tuple(value * highest for value in header.transparent)
        image.info["transparency"] = levels if header.color_type == RGB else levels[0]
        return to_rgb(image, reduce_by)


def _clear_deep(opened: Image.Image, header: PngHeader, transparent: tuple[int, ...]) -> Image.Image:
    """Return a 16-bit picture with alpha where it has exactly the transparent colour."""
    check_heavy(header.width, header.height, "PNG of 16 bits with a transparent colour")
    opened.load()
    if header.color_type == GREY:
        values = np.asarray(opened)
        grey = Image.fromarray(scale_values(values, Scale(*SIXTEEN_BITS)))
        return Image.merge("LA", (grey, Image.fromarray(_to_alpha(values != transparent[0]))))
    with open_pillow(header.clean, "PNG") as again:  # the upper bytes are read, now the lower ones
        again.tile = [tile._replace(args="RGB;16L") for tile in again.tile]
        lower = np.asarray(again)
    upper = np.asarray(opened)
    visible = np.zeros(upper.shape[:2], bool)
    for channel, value in enumerate(transparent):
        visible |= (upper[..., channel] != value >> 8) | (lower[..., channel] != value & 255)
    image = opened.convert("RGB")
    image.putalpha(Image.fromarray(_to_alpha(visible)))
    return image


def _to_alpha(visible: np.ndarray) -> np.ndarray:
    return np.where(visible, 255, 0).astype(np.uint8)
