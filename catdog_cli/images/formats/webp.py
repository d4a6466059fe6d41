"""The size of a WebP, read before Pillow makes room for it.

Pillow reads every WebP as an animation: libwebp holds two frames of 4 bytes a pixel (and while it decodes a
lossless one, its pixels), Pillow two copies of the first. 38 bytes can declare 16,383 x 16,383 px.

Layout: RFC 9649 (the chunks, and the start of a lossless picture); RFC 6386, section 9.1 (of a lossy one).
"""

from . import FormatError
from .size_limits import check_heavy

START = 12  # of the first chunk: behind "RIFF", the file's size, "WEBP"
FIRST_BYTES = START + 18  # that hold the size, whatever the kind


def check_size(data: bytes | bytearray) -> None:
    """Raise FormatError if a WebP declares more pixels than fit into a reasonable memory, or no size."""
    size = _read_size(bytes(data[:FIRST_BYTES]))
    if size is None:
        raise FormatError("its data are damaged (it declares no size)")
    check_heavy(*size, "WebP")


def _read_size(start: bytes) -> tuple[int, int] | None:
    """Return (width, height) in px as the first chunk says; None where it breaks off or is another one."""
    kind, body = start[START : START + 4], start[START + 8 :]
    if start[8:START] != b"WEBP" or len(body) < {b"VP8X": 10, b"VP8L": 5, b"VP8 ": 10}.get(kind, 10):
        return None
    if kind == b"VP8X":  # flags and reserved, 4 bytes; then the canvas, each side less 1 in 24 bits
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if kind == b"VP8L":  # signature, 1 byte; then each side less 1 in 14 bits
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":  # frame tag and start code, 6 bytes; then each side in 14 bits, its scale in 2
        return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF
    return None
