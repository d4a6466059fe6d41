"""The one path from a picture to a network's input; training, evaluation, prediction and export share it.

`load_image` and `load_view` give uint8 pixels that caches and workers can hold cheaply; `normalise`
turns a batch of them into the network's input on whichever device it runs.
"""

import contextlib
import functools
import hashlib
import importlib.metadata
import random
from collections.abc import Iterable, Sequence
from pathlib import Path

import PIL
import torch

from ..errors import SettingsError
from ..runtime.vision import torchvision
from ..settings import InputSpec
from ..settings_networks import AnySpec, InputSpecs
from .augment import build_augment, sharp_side, view_centre
from .looks import Look
from .read import ImageSource, read_image, read_image_for

__all__ = [
    "build_augment",
    "load_image",
    "load_looks",
    "load_view",
    "normalise",
    "pixel_versions",
    "split_images",
]


def load_image(source: ImageSource, spec: AnySpec) -> torch.Tensor:
    """Read a picture as evaluation sees it: shorter side resized (antialiased), centre cropped.

    Args:
        source: whatever `read_image` takes.
        spec: sides in px and the interpolation.

    Returns:
        uint8 (3, size, size), in memory as (size, size, 3): stack such pictures by
        `torch.stack([p.permute(1, 2, 0) for p in ...]).permute(0, 3, 1, 2)` to get channels-last batches.
        For several networks: all their pictures in a row, uint8 (sum of size * size * 3,).

    Raises:
        ImageError: the picture cannot be read.
    """
    if isinstance(spec, InputSpecs):
        images = read_image_for(source, [part.resize for part in spec.parts])
        return join_row(view_centre(image, part) for image, part in zip(images, spec.parts, strict=True))
    return view_centre(read_image(source, spec.resize), spec)


def load_looks(source: ImageSource, looks: Sequence[Look]) -> torch.Tensor:
    """Read an image once and return all that is looked at of it.

    Returns:
        Of one look uint8 (3, size, size), as `load_image` does; of several all in a row, uint8
        (sum of size * size * 3,).

    Raises:
        ImageError: the image cannot be read.
    """
    if len(looks) == 1:
        return load_image(source, looks[0][0])
    images = read_image_for(source, [sharp_side(kind, part) for part, kind in looks])
    pairs = zip(images, looks, strict=True)
    return join_row(build_augment(kind, part)(image) for image, (part, kind) in pairs)


def load_view(source: ImageSource, spec: AnySpec, augment: str, seed: int) -> torch.Tensor:
    """Read a picture as one training step sees it; equals `load_image` where `augment` is "none".

    Random numbers come from `seed` (0 or more) alone: the same in any thread or process, and torch's own
    generator is left untouched.

    Returns:
        uint8 (3, size, size), in memory as (size, size, 3); for several networks as of `load_image`, each
        with the view that it would have alone.

    Raises:
        ImageError: the picture cannot be read.
        SettingsError: `augment` is neither WHOLE nor one of settings.AUGMENTS.
    """
    if isinstance(spec, InputSpecs):
        images = read_image_for(source, [sharp_side(augment, part) for part in spec.parts])
        pairs = zip(images, spec.parts, strict=True)
        return join_row(build_augment(augment, part)(image, random.Random(seed)) for image, part in pairs)
    view = build_augment(augment, spec)
    return view(read_image(source, sharp_side(augment, spec)), random.Random(seed))


def join_row(images: Iterable[torch.Tensor]) -> torch.Tensor:
    """Return images, uint8 (3, H, W) each, in a row: uint8 (sum of H * W * 3,); see `split_images`."""
    return torch.cat([image.permute(1, 2, 0).reshape(-1) for image in images])


def split_images(batch: torch.Tensor, spec: InputSpecs) -> tuple[torch.Tensor, ...]:
    """Return each network's pictures (B, 3, size, size), channels-last, from what is in a row (B, values)."""
    parts = batch.split(spec.num_values, 1)
    return tuple(
        part.unflatten(1, (own.size, own.size, 3)).permute(0, 3, 1, 2)
        for part, own in zip(parts, spec.parts, strict=True)
    )


def pixel_versions() -> str:
    """Return what, beside a file and a spec, its pixels depend on; for whoever keeps something of them.

    catdog's own part is a digest of the code that makes pixels: a change of it between two releases counts.
    """
    libraries = f"torchvision {torchvision.__version__} Pillow {PIL.__version__}"
    return f"catdog {_digest_sources()} {libraries} {_list_optional()}"


@functools.cache
def _digest_sources() -> str:
    """Return a digest of every source file of this package; costs some milliseconds, once a process."""
    folder, digest = Path(__file__).parent, hashlib.blake2b(digest_size=12)
    for path in sorted(folder.rglob("*.py")):
        content = path.read_bytes().replace(b"\r\n", b"\n")
        digest.update(f"{path.relative_to(folder).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()


@functools.cache
def _list_optional() -> str:
    """Return the versions of the installed packages that read what others do not."""
    found = []
    for name in ("tifffile", "imagecodecs", "pillow-heif"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found.append(f"{name} {importlib.metadata.version(name)}")
    return " ".join(found)


def normalise(batch: torch.Tensor, spec: InputSpec, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Scale uint8 pixels to 0..1 and normalise each channel by the spec's mean and std.

    Args:
        batch: uint8 (B, 3, H, W) on any device.
        dtype: of the result; computed in float32 in any case.

    Returns:
        (B, 3, H, W) of `dtype`, on the batch's device; channels-last on a CPU.

    Raises:
        SettingsError: the batch is not uint8, so its scale is unknown.
    """
    if batch.dtype != torch.uint8:
        raise SettingsError(
            f"A batch of {batch.dtype} pixels was given, but only torch.uint8 is known as 0..255."
        )
    # Not made on the device: that would wait for a GPU to have done all else.
    mean, std = torch.tensor([spec.mean, spec.std]).to(batch.device, non_blocking=True)
    # (pixel / 255 - mean) / std in one pass: a sub and a div take a third longer on a CPU
    shift, scale = -mean / std, 1 / (255 * std)
    if batch.device.type == "cpu":
        return _normalise_rows(batch, shift, scale, dtype)
    return torch.addcmul(shift.view(3, 1, 1), batch.float(), scale.view(3, 1, 1)).to(dtype)


def _normalise_rows(
    batch: torch.Tensor, shift: torch.Tensor, scale: torch.Tensor, dtype: torch.dtype
) -> torch.Tensor:
    """Return shift + pixel * scale, channel by channel, twice as fast as over the whole batch at once.

    A picture's floats stay in the processor's cache between the passes, and a row of pixels and channels
    is one long row of numbers.
    """
    pixels = batch.permute(0, 2, 3, 1)
    found = torch.empty(pixels.shape, dtype=dtype)
    shift, scale = shift.repeat(pixels.shape[2]), scale.repeat(pixels.shape[2])
    for image, target in zip(pixels, found, strict=True):
        target.flatten(1).copy_(torch.addcmul(shift, image.flatten(1).float(), scale))
    return found.permute(0, 3, 1, 2)
