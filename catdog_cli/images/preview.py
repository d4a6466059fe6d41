"""Images as small JPEGs in a data URI: what a page or a notebook shows of them."""

import io
from typing import Any, NamedTuple

from PIL import Image

from ..runtime.html import data_uri
from .read import ImageError, read_image


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
        pixels = read_image(source, side_px)
    except ImageError:
        return None
    image = Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
    image.thumbnail((side_px, side_px))
    data = io.BytesIO()
    image.save(data, "JPEG", quality=80)
    return Preview(data_uri(data.getvalue(), "jpeg"), image.width, image.height)
