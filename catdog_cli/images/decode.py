"""The bytes of an image file as RGB pixels, whatever its format.

Which decoder reads a file follows from its first bytes, its declared size and the size that is wanted,
so that the same file gives the same pixels in training, evaluation, prediction and serving. No limit or
filter is changed per call: many threads may decode at once.
"""

import numpy as np
from PIL import Image

from ..runtime.native_stderr import Quiet, listen_alone
from .formats import FormatError, heif, png, tga, webp
from .formats.color_modes import to_rgb
from .formats.exif import EXIF_ORIENTATION, read_orientation
from .formats.jpeg import START
from .formats.jpeg_reader import read_jpeg
from .formats.pillow import open_pillow
from .formats.scaling import SIXTEEN_BITS, Pixels, Scale
from .formats.size_limits import check_heavy, check_size
from .formats.turns import choose_reduction, in_turn
from .suffixes import FORMAT_NAMES, SNIFF_BYTES, image_suffix, sniff_image

KNOWN = "JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, HEIC, JPEG 2000, PPM or TGA"
HEAVY = ("WEBP", "AVIF", "HEIF", "JPEG2000")  # whose decoders take many times the bytes a pixel
MAX_LINES = 3  # of what a decoder prints about one picture


def decode(data: bytearray, name: str, shorter_side: int | None, remarks: list[str] | None = None) -> Pixels:
    """Return the pixels of a file upright: uint8 (H, W, 3).

    Args:
        data: the whole file; parts of it may be overwritten.
        name: of the file; asked only about a format without a mark of its own.
        shorter_side: px, as for `read_image`.
        remarks: takes a sentence about each flaw that does no harm.

    Raises:
        FormatError: it is empty, too large or of a kind that is not read; the message says so.
        Exception: anything at all, where it is damaged.
    """
    if not data:
        raise FormatError("it is empty (0 bytes)")
    found: list[str] | None = None if remarks is None else []
    with Quiet(remarks is not None) as quiet:
        image, orientation = _decode(data, name, shorter_side, found)
    if remarks is None or found is None:
        return turn_upright(image, orientation)
    if quiet.heard and not found and data.startswith(START):
        with listen_alone() as lines:  # what was heard may be about another thread's picture
            _decode(data, name, shorter_side, None)
        found += [f"libjpeg says: {line}" for line in lines[:MAX_LINES]]
    remarks += found
    return turn_upright(image, orientation)


def find_format(data: bytes | bytearray, suffix: str) -> str | None:
    """Return the format of a whole file as `suffixes.IMAGE_FORMATS` calls it; None if it is none of them."""
    kind = sniff_image(data[:SNIFF_BYTES])
    return "TGA" if kind is None and tga.is_tga(data, suffix) else kind


def open_image(data: bytes | bytearray, kind: str) -> Image.Image:
    """Return a file of a format that `find_format` told, opened but not decoded; raises anything."""
    return heif.open_heif(data) if kind == "HEIF" else open_pillow(data, kind)


def _decode(
    data: bytearray, name: str, shorter_side: int | None, remarks: list[str] | None
) -> tuple[Pixels, int]:
    """Return a picture's RGB pixels as they lie in the file, and its orientation.

    A huge one is reduced by a whole number, its shorter side still at least twice what is wanted.
    """
    if data.startswith(START):
        return read_jpeg(data, shorter_side, remarks)
    kind = find_format(data, image_suffix(name))
    if kind is None:
        raise FormatError(f"it is not a picture (expected {KNOWN})")
    if kind == "PNG":
        picture = png.read_header(data, remarks)
        with in_turn(picture.width * picture.height):
            reduce_by = choose_reduction(picture.width, picture.height, shorter_side)
            return png.read_png(picture, reduce_by), picture.orientation
    if kind == "TIFF":
        from .formats import tiff
        from .formats.tiff_reader import read_tiff

        tags = tiff.read_header(data)
        with in_turn(tags.width * tags.height):
            reduce_by = choose_reduction(tags.width, tags.height, shorter_side)
            return read_tiff(data, tags, reduce_by), tags.orientation
    if kind == "BMP":
        return _decode_bmp(data, shorter_side, remarks)
    return _decode_by_pillow(data, kind, shorter_side)


def _decode_bmp(data: bytearray, shorter_side: int | None, remarks: list[str] | None) -> tuple[Pixels, int]:
    from .formats import bmp

    header = bmp.read_header(data)
    inner = bmp.find_embedded(data, header)
    if inner is not None:
        if sniff_image(inner[:SNIFF_BYTES]) != header.compression:
            raise FormatError(f"its data are damaged (it says that it holds a {header.compression})")
        return _decode(bytearray(inner), "", shorter_side, remarks)
    with in_turn(header.width * header.height):
        reduce_by = choose_reduction(header.width, header.height, shorter_side)
        return bmp.read_bmp(data, header, reduce_by), 1


def _decode_by_pillow(data: bytearray, kind: str, shorter_side: int | None) -> tuple[Pixels, int]:
    if kind == "WEBP":
        webp.check_size(data)
    with open_image(data, kind) as image:
        check_size(*image.size)
        if kind in HEAVY:
            check_heavy(*image.size, FORMAT_NAMES.get(kind, kind))
        frame = image.tile[0].extents if kind == "GIF" else None  # type: ignore[attr-defined]
        with in_turn(image.width * image.height * (3 if kind in HEAVY else 1)):
            reduce_by = choose_reduction(*image.size, shorter_side)
            image.load()
            if kind == "TGA":
                image = tga.drop_unmeant_alpha(image, data)
            scale = Scale(*SIXTEEN_BITS) if kind == "PPM" and image.mode == "I" else None
            pixels = to_rgb(image, reduce_by, scale)
        if frame is not None:
            _uncover(pixels, [side // reduce_by for side in frame])
        return pixels, read_orientation(image.info.get("exif") or b"")


def _uncover(pixels: Pixels, frame: list[int]) -> None:
    """Make white what the first frame of a GIF leaves free of its canvas, as browsers do."""
    left, top, right, bottom = frame
    pixels[:top], pixels[bottom:] = 255, 255
    pixels[:, :left], pixels[:, right:] = 255, 255


def convert_pillow(image: Image.Image) -> Pixels:
    """Return a Pillow image upright: RGB, uint8 (H, W, 3)."""
    with Quiet():
        check_size(*image.size)
        image.load()
        return turn_upright(to_rgb(image), _find_orientation(image))


def _find_orientation(image: Image.Image) -> int:
    """Return what Exif says, not XMP; a TIFF that is loaded was turned by Pillow."""
    if image.info.get("exif"):
        return read_orientation(image.info["exif"])
    if "xmp" in image.info or "XML:com.adobe.xmp" in image.info:
        return 1
    try:
        orientation: int = image.getexif().get(EXIF_ORIENTATION, 1)
    except Exception:  # damaged metadata is no reason to refuse good pixels, and may raise anything
        return 1
    return orientation


def turn_upright(pixels: Pixels, orientation: int) -> Pixels:
    """Undo an Exif orientation (1..8) of pixels (H, W, 3); 5 to 8 swap the sides."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    flips = {2: (1,), 3: (0, 1), 4: (0,), 6: (1,), 7: (0, 1), 8: (0,)}.get(orientation, ())
    return np.ascontiguousarray(np.flip(pixels, flips))
