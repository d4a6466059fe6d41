"""The orientation that Exif tells; XMP, which may tell another one, is ignored in every format.

Exif 2.32, section 4.6.4.
"""

import struct

EXIF_ORIENTATION = 0x0112
NUMBERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}  # types of TIFF: most write 3
MARK = b"Exif\0\0"


def read_orientation(exif: bytes) -> int:
    """Return the orientation (1..8) in an Exif block, with or without its mark before it; 1 where damaged."""
    tiff = exif.removeprefix(MARK)
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    try:
        (offset,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, offset)
        for entry in range(offset + 2, offset + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(order + "HH", tiff, entry)
            if tag == EXIF_ORIENTATION:
                (value,) = struct.unpack_from(order + NUMBERS.get(kind, "B"), tiff, entry + 8)
                return value if kind in NUMBERS and 1 <= value <= 8 else 1
    except struct.error:
        return 1
    return 1
