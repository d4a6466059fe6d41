"""Pillow's readers, each imported when a file of its kind is met first.

Opened by class, not by Image.open: that one warns about size on the user's screen, or refuses.
"""

import functools
import importlib
import io
import logging
import warnings

from PIL import ImageFile, features

from ..suffixes import FORMAT_NAMES
from . import FormatError

CLASSES = {  # format: module of PIL, class
    "JPEG": ("JpegImagePlugin", "JpegImageFile"),
    "PNG": ("PngImagePlugin", "PngImageFile"),
    "GIF": ("GifImagePlugin", "GifImageFile"),
    "BMP": ("BmpImagePlugin", "BmpImageFile"),
    "WEBP": ("WebPImagePlugin", "WebPImageFile"),
    "TIFF": ("TiffImagePlugin", "TiffImageFile"),
    "AVIF": ("AvifImagePlugin", "AvifImageFile"),
    "JPEG2000": ("Jpeg2KImagePlugin", "Jpeg2KImageFile"),
    "PPM": ("PpmImagePlugin", "PpmImageFile"),
    "TGA": ("TgaImagePlugin", "TgaImageFile"),
}
BUILT_IN = {"WEBP": "webp", "AVIF": "avif", "JPEG2000": "jpg_2000"}  # what Pillow may be built without
WARNINGS = r"PIL\."


def open_pillow(data: bytes | bytearray, kind: str) -> ImageFile.ImageFile:
    """Return a file of a format of CLASSES, opened but not decoded.

    Raises:
        FormatError: this Pillow was built without what the format needs.
        Exception: anything at all, where the data are damaged.
    """
    _silence()
    return _find_class(kind)(io.BytesIO(data))


@functools.cache
def _find_class(kind: str) -> type[ImageFile.ImageFile]:
    if kind in BUILT_IN and not features.check(BUILT_IN[kind]):
        name = FORMAT_NAMES.get(kind, kind)
        raise FormatError(f"it is a {name}, which this Pillow was built without: reinstall pillow")
    module, name = CLASSES[kind]
    found: type[ImageFile.ImageFile] = getattr(importlib.import_module(f"PIL.{module}"), name)
    return found


def _silence() -> None:
    """Keep Pillow's remarks about odd metadata off the screen; set once, not per call."""
    if not any(getattr(rule[3], "pattern", None) == WARNINGS for rule in warnings.filters):
        warnings.filterwarnings("ignore", module=WARNINGS)
        logging.getLogger("PIL").addHandler(logging.NullHandler())
