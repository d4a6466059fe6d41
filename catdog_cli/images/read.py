"""Read one picture, a file of any format that catdog takes or what is in memory, into RGB pixels."""

import os
import stat
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeGuard, TypeVar, Union

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..errors import CatdogError, DataError, SettingsError
from .decode import convert_pillow, decode
from .formats import FormatError
from .formats.color_modes import to_rgb
from .formats.jpeg import START, scan_jpeg
from .formats.scaling import Pixels

MAX_FILE_BYTES = 2**30
CUT_OFF = ("truncated", "unexpected end", "end of file")  # what decoders say of a file that breaks off

if TYPE_CHECKING:
    import torch

ImageSource = Union[str, os.PathLike[str], bytes, bytearray, memoryview, Image.Image, Pixels, "torch.Tensor"]
P = ParamSpec("P")
T = TypeVar("T")


class ImageError(DataError):
    """One picture cannot be read; the message quotes its path and says what is wrong."""


def read_image(
    source: ImageSource, shorter_side: int | None = None, remarks: list[str] | None = None
) -> "torch.Tensor":
    """Read a picture as `read_pixels` does, as a tensor; it takes a tensor, too.

    Args:
        source: as for `read_pixels`, or a uint8 tensor (3, H, W).
        shorter_side, remarks: as for `read_pixels`.

    Returns:
        uint8 (3, H, W), in memory as (H, W, 3).

    Raises:
        ImageError, SettingsError: as of `read_pixels`.
    """
    import torch

    if isinstance(source, torch.Tensor):
        return _check_tensor(source)
    return torch.from_numpy(read_pixels(source, shorter_side, remarks)).permute(2, 0, 1)


def read_pixels(
    source: ImageSource, shorter_side: int | None = None, remarks: list[str] | None = None
) -> Pixels:
    """Read a picture upright (Exif orientation applied, XMP's ignored) as RGB.

    Alpha and transparent colours are laid over white. Unsigned samples of 1 to 16 bits are scaled by the
    range of their depth; signed, 32-bit and floating ones by the lowest and highest value that the picture
    has. Of an animation the first frame is taken. A JPEG that breaks off is an error, whichever decoder would
    read it; one that lacks its end marker alone is read.

    Args:
        source: a path, the bytes of a file, a PIL image, or a uint8 array (H, W), (H, W, 3) or (H, W, 4).
        shorter_side: px that the caller will resize the shorter side to. A large JPEG is then decoded
            at 1/2, 1/4 or 1/8 of its size, and another picture of 40 megapixels or more is reduced by a
            whole number, its shorter side still at least twice this.
        remarks: a list that takes a sentence about each flaw of a file that does no harm, such as a missing
            end marker; looking for them takes some time.

    Returns:
        uint8 (H, W, 3).

    Raises:
        ImageError: the picture is missing, empty, damaged, too large or no picture.
        SettingsError: `source` is of none of these types.
    """
    if isinstance(source, np.ndarray):
        return _convert_array(source)
    if isinstance(source, (str, os.PathLike)):
        path = os.fspath(source)
        name = repr(path)
        return _guard(name, decode, _read_file(name, Path(path)), path, shorter_side, remarks)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _guard("given as bytes", decode, bytearray(source), "", shorter_side, remarks)
    if isinstance(source, Image.Image):
        return _guard("given as a PIL image", convert_pillow, source)
    if _is_tensor(source):
        return np.ascontiguousarray(_check_tensor(source).permute(1, 2, 0).numpy())
    raise SettingsError(
        f"A picture was given as {type(source).__name__!r}, but must be a path, bytes, a PIL image, "
        "a uint8 array (H, W, 3) or a uint8 tensor (3, H, W)."
    )


def _is_tensor(source: Any) -> TypeGuard["torch.Tensor"]:
    """Say whether a source is a tensor; of who never imported torch none is."""
    return "torch" in sys.modules and isinstance(source, sys.modules["torch"].Tensor)


def read_image_for(source: ImageSource, sides: Sequence[int]) -> list["torch.Tensor"]:
    """Return what `read_image` gives for each shorter side (px), decoded once where the scale is the same.

    Raises:
        ImageError, SettingsError: as of `read_image`.
    """
    largest = max(sides)
    found = {largest: read_image(source, largest)}
    for side in set(sides) - {largest}:
        same = _has_same_scale(source, found[largest], side, largest)
        found[side] = found[largest] if same else read_image(source, side)
    return [found[side] for side in sides]


def _has_same_scale(source: ImageSource, image: "torch.Tensor", side: int, larger: int) -> bool:
    """Say whether an image read for `larger` is, to the bit, what is read for the shorter side `side`.

    What is reduced keeps at least twice the side that is wanted, and a JPEG is reduced only where it has four
    times that.
    """
    shortest = min(image.shape[1:])
    if not isinstance(source, (str, os.PathLike, bytes, bytearray, memoryview)):  # others are never reduced
        return True
    return shortest < 4 * side and (shortest < 2 * larger or _is_jpeg(source))


def _is_jpeg(source: str | os.PathLike[str] | bytes | bytearray | memoryview) -> bool:
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source[: len(START)]) == START
    try:
        with Path(source).open("rb") as file:
            return file.read(len(START)) == START
    except OSError:  # gone since a moment ago: reading it again says so
        return False


def read_size(source: ImageSource) -> tuple[int, int]:
    """Return the height and width (px) of an image upright; a JPEG is not decoded for it.

    Args:
        source: as for `read_image`.

    Raises:
        ImageError, SettingsError: as of `read_image`.
    """
    data: bytes | bytearray | memoryview = b""
    if isinstance(source, (bytes, bytearray, memoryview)):
        data = source
    elif isinstance(source, (str, os.PathLike)) and _is_jpeg(source):
        data = _read_file(repr(os.fspath(source)), Path(source))
    if bytes(data[: len(START)]) == START:
        name = "given as bytes" if data is source else repr(os.fspath(source))  # type: ignore[arg-type]
        header = _guard(name, scan_jpeg, bytes(data))
        turned = header.orientation >= 5
        return (header.width, header.height) if turned else (header.height, header.width)
    height, width, _ = read_pixels(source).shape
    return height, width


def _guard(name: str, read: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
    """Call `read`, turning whatever it raises into an ImageError about the image `name`."""
    try:
        return read(*args, **options)
    except CatdogError:
        raise
    except FormatError as problem:
        raise _refuse(name, str(problem)) from problem
    except Exception as error:  # on damaged bytes decoders raise anything: SyntaxError, KeyError, ...
        if isinstance(error, Image.DecompressionBombError):
            raise _refuse(name, "it declares more pixels than Pillow reads of its format") from error
        cut_off = any(word in str(error).lower() for word in CUT_OFF)
        raise _refuse(name, "it is truncated" if cut_off else "its data are damaged") from error


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


def _convert_array(array: npt.NDArray[np.generic]) -> Pixels:
    right = array.dtype == np.uint8 and (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4)))
    if not right or 0 in array.shape:
        wanted = "uint8 (H, W), (H, W, 3) or (H, W, 4)"
        raise ImageError(f"A picture was given as {array.dtype} {array.shape}, but must be {wanted}.")
    return to_rgb(Image.fromarray(np.ascontiguousarray(array)))


def _check_tensor(image: "torch.Tensor") -> "torch.Tensor":
    import torch

    right = image.dtype == torch.uint8 and image.ndim == 3 and image.shape[0] == 3
    if not right or 0 in image.shape:
        given = f"{image.dtype} {tuple(image.shape)}"
        raise ImageError(f"A picture was given as {given}, but must be torch.uint8 (3, H, W).")
    return image.cpu()
