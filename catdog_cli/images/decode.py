"""The bytes of an image file as RGB pixels, whatever its format.

Which decoder reads a file follows from its first bytes, its declared size and the size that is wanted,
so that the same file gives the same pixels in training, evaluation, prediction and serving. No limit or
filter is changed per call: many threads may decode at once.
"""

import contextlib
import functools
import os
import threading
from collections.abc import Iterator

import torch
from PIL import Image

from ..runtime.vision import torchvision  # noqa: F401 - registers torch.ops.image
from .formats import bmp, heif, tga, tiff, webp
from .formats.color_modes import to_rgb
from .formats.jpeg import EXIF_ORIENTATION, START, JpegHeader, scan_jpeg
from .formats.pillow import open_pillow
from .formats.problem import FormatError
from .formats.size_limits import MAX_SIDE_PX, check_size
from .formats.tiff_reader import read_tiff
from .suffixes import SNIFF_BYTES, sniff_image

HUGE_PIXELS = 40_000_000  # from here on a process decodes one picture at a time
KNOWN = "JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, HEIC, JPEG 2000, PPM or TGA"


def decode(data: bytearray, suffix: str, shorter_side: int | None) -> torch.Tensor:
    """Return the pixels of a file upright: uint8 (3, H, W).

    Args:
        data: the whole file.
        suffix: of its name, in lower case; asked only about a format without a mark of its own.
        shorter_side: px, as for `read_image`.

    Raises:
        FormatError: it is empty, too large or of a kind that is not read; the message says so.
        Exception: anything at all, where it is damaged.
    """
    if not data:
        raise FormatError("it is empty (0 bytes)")
    if data.startswith(START):
        return _decode_jpeg(data, scan_jpeg(data), shorter_side)
    kind = find_format(data, suffix)
    if kind is None:
        raise FormatError(f"it is not a picture (expected {KNOWN})")
    return turn_upright(*_decode_other(data, kind, shorter_side))


def find_format(data: bytes | bytearray, suffix: str) -> str | None:
    """Return the format of a whole file as `suffixes.IMAGE_FORMATS` calls it; None if it is none of them."""
    kind = sniff_image(data[:SNIFF_BYTES])
    return "TGA" if kind is None and tga.is_tga(data, suffix) else kind


def open_image(data: bytes | bytearray, kind: str) -> Image.Image:
    """Return a file of a format that `find_format` told, opened but not decoded; raises anything."""
    return heif.open_heif(data) if kind == "HEIF" else open_pillow(data, kind)


def _decode_jpeg(data: bytearray, header: JpegHeader, shorter_side: int | None) -> torch.Tensor:
    """Decode with torchvision, 1.5 times as fast as Pillow with equal pixels, or at a reduced scale."""
    check_size(header.width, header.height)
    if not header.complete:
        raise FormatError("it is truncated (its end marker is missing)")
    wanted_px = 2 * shorter_side if shorter_side else MAX_SIDE_PX
    reducible = min(header.width, header.height) >= 2 * wanted_px
    with _in_turn(header.width * header.height):
        image = None if reducible or not header.plain else _decode_fast(data)
        if image is None:
            with open_pillow(data, "JPEG") as opened:
                opened.draft("RGB", (wanted_px, wanted_px))
                image = to_rgb(opened)
    return turn_upright(image, header.orientation)


@contextlib.contextmanager
def _in_turn(pixels: int) -> Iterator[None]:
    """Let threads decode at once, but huge pictures one after the other: many would fill the memory."""
    if pixels < HUGE_PIXELS:
        yield
        return
    with _turnstile(os.getpid()):
        yield


@functools.cache
def _turnstile(process: int) -> threading.Lock:
    """Return the lock of a process: a forked one must not inherit it locked."""
    return threading.Lock()


def _decode_fast(data: bytearray) -> torch.Tensor | None:
    """Return torchvision's RGB pixels, or None where Pillow has to judge."""
    try:
        # The operator, because its wrapper in torchvision.io warns since 0.29 that it will go.
        encoded = torch.frombuffer(data, dtype=torch.uint8)
        pixels: torch.Tensor = torch.ops.image.decode_jpeg(encoded, 3, False)
    except (RuntimeError, AttributeError):  # damaged; or a torchvision without the operator
        return None
    return pixels


def _decode_other(data: bytearray, kind: str, shorter_side: int | None) -> tuple[torch.Tensor, int]:
    """Return a picture's RGB pixels as they lie in the file, and its orientation.

    A huge one is reduced by a whole number, its shorter side still at least twice what is wanted.
    """
    if kind == "TIFF":
        header = tiff.read_header(data)
        with _in_turn(header.width * header.height):
            reduce_by = _choose_reduction(header.width, header.height, shorter_side)
            return read_tiff(data, header, reduce_by), header.orientation
    if kind == "BMP":
        return _decode_bmp(data, shorter_side)
    if kind == "WEBP":
        webp.check_size(data)
    with open_image(data, kind) as image:
        check_size(*image.size)
        heavy = 3 if kind == "WEBP" else 1  # as many times the bytes a pixel
        with _in_turn(heavy * image.width * image.height):
            return load_pillow(image, _choose_reduction(*image.size, shorter_side))


def _decode_bmp(data: bytearray, shorter_side: int | None) -> tuple[torch.Tensor, int]:
    header = bmp.read_header(data)
    inner = bmp.find_embedded(data, header)
    if inner is not None:
        if sniff_image(inner[:SNIFF_BYTES]) != header.compression:
            raise FormatError(f"its data are damaged (it says that it holds a {header.compression})")
        return decode(bytearray(inner), "", shorter_side), 1
    with _in_turn(header.width * header.height):
        reduce_by = _choose_reduction(header.width, header.height, shorter_side)
        return bmp.read_bmp(data, header, reduce_by), 1


def _choose_reduction(width: int, height: int, shorter_side: int | None) -> int:
    if shorter_side and width * height >= HUGE_PIXELS:
        return max(1, min(width, height) // (2 * shorter_side))
    return 1


def load_pillow(image: Image.Image, reduce_by: int = 1) -> tuple[torch.Tensor, int]:
    """Return a Pillow image's RGB pixels, uint8 (3, H, W), and its orientation."""
    check_size(*image.size)
    image.load()
    return to_rgb(image, reduce_by), _orientation(image)  # after load: PNG may tell it last


def _orientation(image: Image.Image) -> int:
    try:
        orientation: int = image.getexif().get(EXIF_ORIENTATION, 1)
    except Exception:  # damaged metadata is no reason to refuse good pixels, and may raise anything
        return 1
    return orientation


def turn_upright(image: torch.Tensor, orientation: int) -> torch.Tensor:
    """Undo an Exif orientation (1..8); 5 to 8 swap the sides."""
    if orientation in (5, 6, 7, 8):
        image = image.transpose(1, 2)
    flips = {2: [2], 3: [1, 2], 4: [1], 6: [2], 7: [1, 2], 8: [1]}.get(orientation)
    return image.flip(flips) if flips else image
