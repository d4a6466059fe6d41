"""Read one picture, of any format that catdog takes, into RGB pixels.

Which decoder reads a file follows from its first bytes, its declared size and the size that is wanted,
so that the same file gives the same pixels in training, evaluation, prediction and serving. No limit or
filter is changed per call: many threads may read at once.
"""

import contextlib
import functools
import io
import logging
import os
import stat
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from ..errors import CatdogError, DataError, SettingsError
from ..runtime.vision import torchvision  # noqa: F401 - registers torch.ops.image
from .formats import webp
from .formats.color_modes import Pixels, to_rgb
from .formats.jpeg import EXIF_ORIENTATION, START, JpegHeader, scan_jpeg
from .formats.tiff import check_pieces

MAX_PIXELS = 300_000_000  # a 200-megapixel telephone passes; RGB pixels stay under 1 GB
MAX_SIDE_PX = 65_500  # libjpeg's own limit
MAX_FILE_BYTES = 2**30
HUGE_PIXELS = 40_000_000  # from here on a process decodes one picture at a time
# Opened by class, not by Image.open: that one warns about size on the user's screen, or refuses.
PLUGINS: dict[bytes, type[ImageFile.ImageFile]] = {
    b"\x89PNG\r\n\x1a\n": PngImagePlugin.PngImageFile,
    b"GIF8": GifImagePlugin.GifImageFile,
    b"BM": BmpImagePlugin.BmpImageFile,
    b"RIFF": WebPImagePlugin.WebPImageFile,
    b"II*\0": TiffImagePlugin.TiffImageFile,
    b"MM\0*": TiffImagePlugin.TiffImageFile,
    b"II+\0": TiffImagePlugin.TiffImageFile,
    b"MM\0+": TiffImagePlugin.TiffImageFile,
}
PILLOW_WARNINGS = r"PIL\."

ImageSource = str | os.PathLike[str] | bytes | bytearray | memoryview | Image.Image | Pixels | torch.Tensor
P = ParamSpec("P")
T = TypeVar("T")


class ImageError(DataError):
    """One picture cannot be read; the message quotes its path and says what is wrong."""


def read_image(source: ImageSource, shorter_side: int | None = None) -> torch.Tensor:
    """Read a picture upright (Exif orientation applied) as RGB.

    Alpha and transparent colours are laid over white; 16-bit grey is scaled by 1/257, floats by what
    their largest value suggests (1, 255 or 65535); of an animation the first frame is taken. A JPEG
    whose end marker is missing is an error, whichever decoder would read it.

    Args:
        source: a path, the bytes of a file, a PIL image, a uint8 array (H, W), (H, W, 3) or (H, W, 4),
            or a uint8 tensor (3, H, W).
        shorter_side: px that the caller will resize the shorter side to. A large JPEG is then decoded
            at 1/2, 1/4 or 1/8 of its size, and another picture of 40 megapixels or more is reduced by a
            whole number, its shorter side still at least twice this.

    Returns:
        uint8 (3, H, W).

    Raises:
        ImageError: the picture is missing, empty, damaged, too large or no picture.
        SettingsError: `source` is of none of these types.
    """
    if isinstance(source, torch.Tensor):
        return _check_tensor(source)
    if isinstance(source, np.ndarray):
        return _convert_array(source)
    if isinstance(source, (str, os.PathLike)):
        name = repr(os.fspath(source))
        return _guard(name, _decode, _read_file(name, Path(source)), shorter_side)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _guard("given as bytes", _decode, bytearray(source), shorter_side)
    if isinstance(source, Image.Image):
        _silence_pillow()
        return _turn_upright(*_guard("given as a PIL image", _load_pillow, source))
    raise SettingsError(
        f"A picture was given as {type(source).__name__!r}, but must be a path, bytes, a PIL image, "
        "a uint8 array (H, W, 3) or a uint8 tensor (3, H, W)."
    )


def read_pixels(source: ImageSource) -> Pixels:
    """Read an image upright as RGB pixels: uint8 (H, W, 3).

    Args:
        source: as for `read_image`: a path, the bytes of a file, a PIL image or an array.

    Raises:
        ImageError: it is missing, empty, damaged, too large or no image.
    """
    pixels: Pixels = read_image(source).permute(1, 2, 0).numpy()
    return np.ascontiguousarray(pixels)


def _guard(name: str, read: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
    """Call `read`, turning whatever it raises into an ImageError about the image `name`."""
    try:
        return read(*args, **options)
    except CatdogError:
        raise
    except ValueError as error:
        raise _refuse(name, str(error)) from error
    except Exception as error:  # on damaged bytes decoders raise anything: SyntaxError, KeyError, ...
        raise _refuse(name, f"its data are damaged ({error or type(error).__name__})") from error


def _refuse(name: str, problem: str) -> ImageError:
    problem = " ".join(problem.split()).rstrip(".")
    return ImageError(f"Cannot read the picture {name}: {problem}; replace it or leave it out.")


def _read_file(name: str, path: Path) -> bytearray:
    """Return a regular file's bytes; never waits on a pipe or a device."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
            raise _refuse(name, f"it is {kind}")
        if status.st_size > MAX_FILE_BYTES:
            raise _refuse(name, f"it has {status.st_size:,} bytes, more than {MAX_FILE_BYTES:,}")
        with path.open("rb", buffering=0) as file:
            data = bytearray(status.st_size)
            del data[file.readinto(data) :]
            return data
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise _refuse(name, getattr(error, "strerror", None) or str(error)) from error


def _decode(data: bytearray, shorter_side: int | None) -> torch.Tensor:
    if not data:
        raise ValueError("it is empty (0 bytes)")
    if data.startswith(START):
        return _decode_jpeg(data, scan_jpeg(data), shorter_side)
    for magic, plugin in PLUGINS.items():
        if data.startswith(magic):
            _silence_pillow()
            if plugin is TiffImagePlugin.TiffImageFile:
                check_pieces(data)
            if plugin is WebPImagePlugin.WebPImageFile:
                webp.check_size(data)
            return _turn_upright(*_decode_pillow(data, plugin, shorter_side))
    raise ValueError("it is not a picture (expected JPEG, PNG, WebP, GIF, BMP or TIFF)")


def _decode_jpeg(data: bytearray, header: JpegHeader, shorter_side: int | None) -> torch.Tensor:
    """Decode with torchvision, 1.5 times as fast as Pillow with equal pixels, or at a reduced scale."""
    _check_size(header.width, header.height)
    if not header.complete:
        raise ValueError("it is truncated (its end marker is missing)")
    wanted_px = 2 * shorter_side if shorter_side else MAX_SIDE_PX
    reducible = min(header.width, header.height) >= 2 * wanted_px
    with _in_turn(header.width * header.height):
        image = None if reducible or not header.plain else _decode_fast(data)
        if image is None:
            _silence_pillow()
            with JpegImagePlugin.JpegImageFile(io.BytesIO(data)) as opened:
                opened.draft("RGB", (wanted_px, wanted_px))
                image = to_rgb(opened)
    return _turn_upright(image, header.orientation)


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


def _check_size(width: int, height: int) -> None:
    if not width or not height:
        raise ValueError(f"it declares {width} x {height} px, which is not a picture")
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE_PX:
        limits = f"{MAX_PIXELS // 10**6} megapixels or a side of {MAX_SIDE_PX:,} px"
        raise ValueError(f"it declares {width:,} x {height:,} px, more than {limits}")


def _silence_pillow() -> None:
    """Keep Pillow's remarks about odd metadata off the screen; set once, not per call."""
    if not any(getattr(rule[3], "pattern", None) == PILLOW_WARNINGS for rule in warnings.filters):
        warnings.filterwarnings("ignore", module=PILLOW_WARNINGS)
        logging.getLogger("PIL").addHandler(logging.NullHandler())


def _decode_pillow(
    data: bytearray, plugin: type[ImageFile.ImageFile], shorter_side: int | None
) -> tuple[torch.Tensor, int]:
    """Return a picture's RGB pixels as they lie in the file, and its orientation.

    A huge one is reduced by a whole number, its shorter side still at least twice what is wanted.
    """
    with plugin(io.BytesIO(data)) as image:
        _check_size(*image.size)
        huge = image.width * image.height >= HUGE_PIXELS
        reduce_by = max(1, min(image.size) // (2 * shorter_side)) if shorter_side and huge else 1
        heavy = 3 if plugin is WebPImagePlugin.WebPImageFile else 1  # as many times the bytes a pixel
        with _in_turn(heavy * image.width * image.height):
            return _load_pillow(image, reduce_by)


def _load_pillow(image: Image.Image, reduce_by: int = 1) -> tuple[torch.Tensor, int]:
    _check_size(*image.size)
    image.load()
    return to_rgb(image, reduce_by), _orientation(image)  # after load: PNG may tell it last


def _orientation(image: Image.Image) -> int:
    try:
        orientation: int = image.getexif().get(EXIF_ORIENTATION, 1)
    except Exception:  # damaged metadata is no reason to refuse good pixels, and may raise anything
        return 1
    return orientation


def _turn_upright(image: torch.Tensor, orientation: int) -> torch.Tensor:
    """Undo an Exif orientation (1..8); 5 to 8 swap the sides."""
    if orientation in (5, 6, 7, 8):
        image = image.transpose(1, 2)
    flips = {2: [2], 3: [1, 2], 4: [1], 6: [2], 7: [1, 2], 8: [1]}.get(orientation)
    return image.flip(flips) if flips else image


def _convert_array(array: npt.NDArray[np.generic]) -> torch.Tensor:
    right = array.dtype == np.uint8 and (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4)))
    if not right or 0 in array.shape:
        wanted = "uint8 (H, W), (H, W, 3) or (H, W, 4)"
        raise ImageError(f"A picture was given as {array.dtype} {array.shape}, but must be {wanted}.")
    return to_rgb(Image.fromarray(np.ascontiguousarray(array)))


def _check_tensor(image: torch.Tensor) -> torch.Tensor:
    right = image.dtype == torch.uint8 and image.ndim == 3 and image.shape[0] == 3
    if not right or 0 in image.shape:
        given = f"{image.dtype} {tuple(image.shape)}"
        raise ImageError(f"A picture was given as {given}, but must be torch.uint8 (3, H, W).")
    return image.cpu()
