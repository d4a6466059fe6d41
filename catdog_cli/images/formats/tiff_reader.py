"""Read a TIFF: by Pillow what Pillow reads right, by tifffile (the extra `tiff`) everything else.

Which of them, the header decides, not what is installed: a picture has the same pixels everywhere, or is
refused for want of the extra.
"""

import struct
from typing import Any

import numpy as np
from PIL import Image, ImageFile, ImagePalette

from . import FormatError
from .color_modes import to_rgb
from .pillow import open_pillow
from .scaling import Pixels
from .tiff import (
    BLACK_IS_ZERO,
    CIELAB,
    COLOR_MAP,
    EXTRA_SAMPLES,
    FAX,
    FLOAT,
    ORIENTATION,
    PALETTE,
    PHOTOMETRIC,
    RGB,
    SEPARATED,
    SIGNED,
    UNSIGNED,
    WHITE_IS_ZERO,
    XMP,
    YCBCR,
    TiffHeader,
    read_numbers,
)
from .tiff_colors import Samples, samples_to_rgb
from .tiff_samples import read_samples

JPEG_COMPRESSIONS = (6, 7)
PILLOW_COMPRESSIONS = {1, *FAX, 5, *JPEG_COMPRESSIONS, 8, 32773, 32809, 32946, 34925, 50000}


def read_tiff(data: bytearray, header: TiffHeader, reduce_by: int = 1) -> Pixels:
    """Return the first picture of a TIFF as it lies in the file: RGB, uint8 (H, W, 3).

    Args:
        data: the file; its tags of orientation are overwritten, which is not what its pixels are.
        header: what `read_header` returned for it.
        reduce_by: take the mean of so many px in both directions.

    Raises:
        FormatError: it is of a kind that is not read, or needs an extra.
        Exception: anything at all, where the data are damaged.
    """
    color_map = _read_color_map(data, header) if header.photometric == PALETTE else None
    if not pillow_reads(header):
        samples = read_samples(data, header)
        return samples_to_rgb(lambda top, end: samples[top:end], header, color_map, reduce_by)
    _hide_orientation(data, header)
    with open_pillow(data, "TIFF") as image:
        if header.photometric == YCBCR and header.compression == 1:
            _decode_by_libtiff(image)
        if color_map is not None:
            image.palette = ImagePalette.raw("RGB;L", color_map.T.tobytes())
        if header.width * header.height > (Image.MAX_IMAGE_PIXELS or 0):
            image.im = Image.new(image.mode, image.size).im  # Pillow refuses to make one so large itself
        image.load()
        if image.mode[0] not in "IF":
            return to_rgb(image, reduce_by)
        return samples_to_rgb(lambda top, end: _read_rows(image, header, top, end), header, None, reduce_by)


def pillow_reads(header: TiffHeader) -> bool:
    """Say whether Pillow gives a picture's samples right."""
    depth, photometric, extras = header.bits[0], header.photometric, header.extras
    named = EXTRA_SAMPLES in header.tags
    tags_fit = not named or header.tags[EXTRA_SAMPLES].number == len(extras)
    told = PHOTOMETRIC in header.tags or photometric == WHITE_IS_ZERO or header.compression == 6
    big = header.big and header.order == ">"  # which Pillow does not know
    if big or header.compression not in PILLOW_COMPRESSIONS or set(header.bits) != {depth}:
        return False
    if not (tags_fit and told):
        return False
    if header.planar:
        flat = not extras and header.compression == 1 and not header.is_tiled and header.fill_order == 1
        return flat and header.sample_format == UNSIGNED and depth == 8 and photometric in (RGB, SEPARATED)
    if photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO):
        return _pillow_reads_grey(header, depth)
    if header.sample_format != UNSIGNED:
        return False
    if photometric == PALETTE:
        turned = header.fill_order != 1 and header.compression == 1
        return depth in (1, 2, 4, 8) and not extras and not turned
    if header.fill_order != 1:
        return photometric == RGB and depth == 8 and not extras
    if photometric == RGB:
        few = len(extras) < 2 or (depth == 8 and named and len(extras) < 4 and set(extras[1:]) == {0})
        return depth in (8, 16) and few and extras[:1] in ((), (0,), (1,), (2,))
    if photometric == SEPARATED:
        few = len(extras) < 3 and set(extras) <= {0} and named
        return (depth in (8, 16) and not extras) or (depth == 8 and few)
    return photometric in (CIELAB, YCBCR) and depth == 8 and not extras


def _pillow_reads_grey(header: TiffHeader, depth: int) -> bool:
    native = header.compression == 1 or header.order == "<"  # libtiff swaps bytes, Pillow does so again
    black, straight = header.photometric == BLACK_IS_ZERO, header.fill_order == 1
    if header.extras:
        return (
            black and straight and depth == 8 and header.sample_format == UNSIGNED
            and EXTRA_SAMPLES in header.tags and header.extras[0] in (0, 1, 2)
        )  # fmt: skip
    if header.sample_format == UNSIGNED:
        if depth in (1, 2, 4, 8):
            return straight or black or depth < 8 or header.compression != 1
        if depth == 12:
            flat = header.compression == 1 and not header.is_tiled
            return black and straight and flat and header.order == "<"
        if depth == 16:
            return straight and (black or header.order == "<")
        return depth == 32 and black and straight and header.order == "<"
    if header.sample_format == SIGNED:
        return depth in (16, 32) and black and straight and native
    return header.sample_format == FLOAT and depth == 32 and straight and native


def _read_color_map(data: bytearray, header: TiffHeader) -> Pixels:
    """Return a palette: uint8 (colours, 3); where none is above 255, its writer meant 8 bits, not 16."""
    entry = header.tags.get(COLOR_MAP)
    count = 3 * 2 ** header.bits[0] if header.bits[0] <= 16 else 0
    values = np.array(read_numbers(data, header.order, entry) if entry is not None else ())
    if not count or len(values) < count:
        raise FormatError("its data are damaged (its colour map is missing or too short)")
    wide = values.max() > 255
    return (values[:count] >> 8 if wide else values[:count]).astype(np.uint8).reshape(3, -1).T


def _hide_orientation(data: bytearray, header: TiffHeader) -> None:
    """Keep Pillow from turning the picture: it asks XMP, too, and takes not every number type."""
    count = "Q" if header.big else "I"
    if ORIENTATION in header.tags:
        place = header.tags[ORIENTATION].position
        struct.pack_into(f"{header.order}HH{count}HH", data, place, ORIENTATION, 3, 1, 1, 0)
    elif XMP in header.tags:
        struct.pack_into(f"{header.order}H", data, header.tags[XMP].position, XMP + 1)  # a tag of nobody


def _decode_by_libtiff(image: Any) -> None:
    """Let libtiff convert YCbCr that is not compressed: Pillow itself knows of no subsampling there."""
    size = image.size
    image._mode = "RGB"
    image.use_load_libtiff = True
    offset = image.tag_v2.offset
    image.tile = [ImageFile._Tile("libtiff", (0, 0, *size), 0, ("RGBX", False, offset))]


def _read_rows(image: Image.Image, header: TiffHeader, top: int, end: int) -> Samples:
    part = image if end - top == image.height else image.crop((0, top, image.width, end))
    rows: Samples = np.asarray(part)[..., None]
    return rows.view(np.uint32) if header.sample_format == UNSIGNED and header.bits[0] == 32 else rows
