"""HEIC, what telephones of Apple write: read by pillow-heif, which the extra `heic` brings."""

import io

from PIL import Image

from ...errors import CatdogError, require
from . import FormatError


def open_heif(data: bytes | bytearray) -> Image.Image:
    """Return a HEIC file, opened but not decoded; its pixels will be upright.

    Raises:
        FormatError: pillow-heif is not installed.
        Exception: anything at all, where the data are damaged.
    """
    try:
        reader = require("pillow_heif", "heic")
    except CatdogError as error:
        how = "pip install 'catdog[heic]'"
        raise FormatError(f"it is of a kind (HEIC) that needs catdog[heic] ({how})") from error
    image: Image.Image = reader.HeifImageFile(io.BytesIO(data))
    return image
