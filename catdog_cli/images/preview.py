"""Images as small JPEGs: what a page or a notebook shows of them, as a data URI or as a file's bytes."""

import io
from typing import Any, NamedTuple

from PIL import Image

from ..runtime.html import data_uri
from .read import ImageError, read_pixels


class Preview(NamedTuple):
    """What stands in an `<img>`; sizes in px."""

    uri: str
    width: int
    height: int


def make_preview(source: Any, side_px: int) -> Preview | None:
    """Return an image, its longer side at most `side_px`; None of what cannot be read.

    Args:
        source: as for `read_image`.
    """
    try:
        data, width, height = encode_small(source, side_px, quality=80)
    except ImageError:
        return None
    return Preview(data_uri(data, "jpeg"), width, height)


def encode_small(source: Any, side_px: int, quality: int) -> tuple[bytes, int, int]:
    """Return an image as a JPEG, its longer side at most `side_px`, with its width and height.

    Raises:
        ImageError: it cannot be read.
    """
    image = Image.fromarray(read_pixels(source, side_px))
    image.thumbnail((side_px, side_px))
    data = io.BytesIO()
    image.save(data, "JPEG", quality=quality)
    return data.getvalue(), image.width, image.height
