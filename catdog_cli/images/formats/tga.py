"""Whether bytes are a Targa picture, a format without a mark at its start.

Layout: Truevision TGA File Format Specification 2.0, section C.3: 18 bytes of header, the name (of its
length), the colour map, the pixels; since version 2 a footer.
"""

import struct

from PIL import Image

HEADER = struct.Struct("<BBBHHBHHHHBB")  # 18 bytes
FOOTER = b"TRUEVISION-XFILE.\0"
COLORS, RUN_LENGTHS = {1, 2, 3}, 8  # picture types: mapped, true colour, grey; this bit: in runs
DEPTHS = {1: (8,), 2: (16, 24, 32), 3: (8, 16)}  # picture type: bits a pixel that Pillow reads right
MAP_DEPTHS = (16, 24, 32)


def is_tga(data: bytes | bytearray, suffix: str = "") -> bool:
    """Say whether a file is a Targa picture: a sound header, and the suffix, the footer or the exact size."""
    if len(data) <= HEADER.size:
        return False
    name, has_map, kind, map_start, map_size, map_depth, *_, width, height, depth, flags = HEADER.unpack_from(
        data
    )
    color = kind & ~RUN_LENGTHS
    if color not in COLORS or depth not in DEPTHS[color] or has_map > 1 or not width or not height:
        return False
    if (color == 1) != (has_map == 1) or (has_map and map_depth not in MAP_DEPTHS):
        return False
    if flags & 0xC0 or (not has_map and (map_start or map_size)):
        return False
    if suffix == ".tga" or data.endswith(FOOTER):
        return True
    if kind & RUN_LENGTHS:
        return False
    pixels = HEADER.size + name + map_size * map_depth // 8 * has_map + width * height * depth // 8
    return len(data) == pixels


def drop_unmeant_alpha(image: Image.Image, data: bytes | bytearray) -> Image.Image:
    """Return a loaded picture without an alpha that nobody meant: 0 everywhere, or a bit without use."""
    if image.mode not in ("RGBA", "LA"):
        return image
    one_bit = data[16] == 16 and image.mode == "RGBA"  # of which readers do not agree what it means
    clear = image.getchannel("A").getbbox() is None
    return image.convert(image.mode[:-1]) if one_bit or clear else image
