"""What a readable image file is like, as its header says: colours, depth, frames, orientation."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .decode import find_format, open_image
from .formats import bmp, png, tiff
from .formats.exif import read_orientation
from .formats.jpeg import scan_jpeg

HEADERS: dict[str, Callable[[bytes], Any]] = {
    "PNG": png.read_header,
    "TIFF": tiff.read_header,
    "BMP": bmp.read_header,
}


@dataclass
class ImageFacts:
    """What is worth knowing about a file beside its pixels."""

    cmyk: bool = False
    deep: bool = False  # more than 8 bits a sample
    num_frames: int = 1
    orientation: int = 1  # of Exif, 1..8


def read_area(data: bytes) -> int:
    """Return how many pixels the header of a file declares; 0 where it is damaged, or of no known format."""
    with contextlib.suppress(Exception):  # on damaged bytes decoders raise anything
        kind = find_format(data, "")
        if kind == "JPEG":
            jpeg = scan_jpeg(data)
            return jpeg.width * jpeg.height
        if kind in HEADERS:
            header = HEADERS[kind](data)
            return header.width * header.height
        if kind is not None:
            with open_image(data, kind) as image:
                return image.width * image.height
    return 0


def read_facts(data: bytes, kind: str) -> ImageFacts:
    """Return the facts about a whole file of a format that `find_format` told; nothing is decoded.

    Raises:
        Exception: anything at all, where the header is damaged.
    """
    facts = ImageFacts()
    if kind == "JPEG":
        facts.orientation = scan_jpeg(data).orientation
    elif kind == "PNG":
        header = png.read_header(data)
        facts.deep, facts.orientation = header.depth == 16, header.orientation
    elif kind == "TIFF":
        tags = tiff.read_header(data)
        facts.cmyk, facts.deep = tags.photometric == tiff.SEPARATED, max(tags.bits) > 8
        facts.orientation = tags.orientation
    with contextlib.suppress(Exception), open_image(data, kind) as image:  # of a TIFF that Pillow cannot open
        facts.cmyk = facts.cmyk or image.mode == "CMYK"
        facts.deep = facts.deep or image.mode.startswith("I;16")
        facts.num_frames = getattr(image, "n_frames", 1)
        if kind not in ("JPEG", "PNG", "TIFF"):
            facts.orientation = read_orientation(image.info.get("exif") or b"")
    return facts
