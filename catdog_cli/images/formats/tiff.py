"""How many pieces a TIFF says it is in, read before Pillow makes a list of them.

Layout: TIFF 6.0, section 2; BigTIFF has 8 bytes where that has 2 (numbers of entries) or 4.
"""

import struct
from collections.abc import Iterator

STRIP_OFFSETS, TILE_OFFSETS = 273, 324
MAX_PIECES = 300_000  # four planes of as many rows as the longest side has


def check_pieces(data: bytes | bytearray) -> None:
    """Raise ValueError if the first picture of a TIFF has more strips or tiles than any honest one."""
    try:
        pieces = max(_iterate_counts(data), default=0)
    except struct.error:  # it breaks off: the decoder says so
        return
    if pieces > MAX_PIECES:
        raise ValueError(f"it declares {pieces:,} strips or tiles, more than {MAX_PIECES:,}")


def _iterate_counts(data: bytes | bytearray) -> Iterator[int]:
    """Yield how many strips and how many tiles are declared."""
    order = "<" if data[:2] == b"II" else ">"
    big = 43 in (data[2], data[3])
    (first,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
    (entries,) = struct.unpack_from(order + ("Q" if big else "H"), data, first)
    step, start = (20, first + 8) if big else (12, first + 2)
    for offset in range(start, min(start + step * entries, len(data)), step):
        tag, _, count = struct.unpack_from(order + ("HHQ" if big else "HHI"), data, offset)
        if tag in (STRIP_OFFSETS, TILE_OFFSETS):
            yield count
