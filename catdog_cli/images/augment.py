"""Turn a picture into a view of the network's input size: the centre, or a random one.

Random numbers are drawn from a `random.Random` and never from torch, whose generator all threads share:
a view then depends on its seed alone. The changes themselves are torchvision's.

| augment  | crop (share of the area) | mirrored | turned    | else                                          |
| -------- | ------------------------ | -------- | --------- | --------------------------------------------- |
| none     | centre, as in evaluation | no       | no        |                                               |
| light    | 60 to 100 %              | half     | no        |                                               |
| standard | 50 to 100 %              | half     | to 15 deg | light, contrast, colour: +-30 % each          |
| strong   | 25 to 100 %              | half     | see else  | one change of TrivialAugmentWide, any size;   |
|          |                          |          |           | in a quarter, a rectangle painted over        |
"""

import math
import random
from enum import Enum
from functools import partial
from typing import Protocol

import torch

from ..runtime.vision import torchvision
from ..settings import AUGMENTS, InputSpec
from ..settings_schema import check_choice
from .looks import LONGEST_SIDES, WHOLE

F = torchvision.transforms.v2.functional
InterpolationMode = torchvision.transforms.InterpolationMode
SMALLEST_CROP = {"light": 0.6, "standard": 0.5, "strong": 0.25}  # share of the picture's area
CROP_RATIOS = (3 / 4, 4 / 3)  # width / height
ERASED = (0.02, 0.2)  # share of the view's area


class Augment(Protocol):
    """Turn an image, uint8 (3, H, W), into a view of it, uint8 (3, size, size)."""

    def __call__(self, image: torch.Tensor, rng: random.Random | None = None) -> torch.Tensor: ...


def build_augment(name: str, spec: InputSpec) -> Augment:
    """Return `view(image, rng=None)`: uint8 (3, H, W) in, uint8 (3, size, size) out.

    `rng` is a `random.Random`; without one, a seed is drawn from torch's generator.

    Raises:
        SettingsError: `name` is neither WHOLE nor one of settings.AUGMENTS.
    """
    if name == WHOLE:
        return partial(_view_whole, spec)
    check_choice("augment", name, AUGMENTS)
    return partial(_view, name, spec)


def sharp_side(name: str, spec: InputSpec) -> int:
    """Return the shorter side (px) that a picture needs for its smallest crop not to be enlarged."""
    if name not in SMALLEST_CROP:
        return spec.resize
    return math.ceil(max(spec.resize, spec.size / SMALLEST_CROP[name] ** 0.5))


def view_centre(image: torch.Tensor, spec: InputSpec) -> torch.Tensor:
    """Resize the shorter side to `spec.resize` px and keep the central size x size px."""
    image = _as_pixels(_trim_long_side(image))
    image = F.resize(image, [spec.resize], interpolation=_mode(spec), antialias=True)
    top, left = (round((side - spec.size) / 2) for side in image.shape[1:])
    return _as_pixels(image[:, top : top + spec.size, left : left + spec.size])


def _view_whole(spec: InputSpec, image: torch.Tensor, rng: random.Random | None = None) -> torch.Tensor:
    image = _as_pixels(_trim_long_side(image))
    size = [spec.size, spec.size]
    return _as_pixels(F.resize(image, size, interpolation=_mode(spec), antialias=True))


def _view(name: str, spec: InputSpec, image: torch.Tensor, rng: random.Random | None = None) -> torch.Tensor:
    if name == "none":
        return view_centre(image, spec)
    rng = rng or random.Random(int(torch.randint(2**62, ())))
    view = _crop(image, spec, SMALLEST_CROP[name], rng)
    if rng.random() < 0.5:
        view = F.horizontal_flip(view)
    if name == "standard":
        view = _jitter(_rotate(view, rng.uniform(-15, 15), spec), rng)
    if name == "strong":
        view = _erase(_change_once(view, spec, rng), spec, rng)
    return _as_pixels(view)


def _mode(spec: InputSpec) -> Enum:
    return InterpolationMode(spec.interpolation)


def _fill(spec: InputSpec) -> list[float]:
    """Return the colour (0..255) that normalisation turns into zeros."""
    return [255 * channel for channel in spec.mean]


def _as_pixels(image: torch.Tensor) -> torch.Tensor:
    """Return (3, H, W) laid out in memory as (H, W, 3), where torch resizes fastest."""
    return image.permute(1, 2, 0).contiguous().permute(2, 0, 1)


def _trim_long_side(image: torch.Tensor) -> torch.Tensor:
    """Cut both ends of a very long picture: 1 x 5000 px would else grow to 256 x 1,280,000."""
    height, width = image.shape[1:]
    keep = LONGEST_SIDES * min(height, width) + 4  # 4: what bicubic weights reach beyond the crop
    cut = max(0, (max(height, width) - keep) // 2)  # equal at both ends: the centre stays
    return image[:, cut : height - cut] if height > width else image[:, :, cut : width - cut]


def _crop(image: torch.Tensor, spec: InputSpec, smallest: float, rng: random.Random) -> torch.Tensor:
    """Cut a random rectangle and resize it to the input size (Inception, arXiv 1409.4842)."""
    height, width = _draw_crop(image.shape[1], image.shape[2], smallest, rng)
    top = int(rng.random() * (image.shape[1] - height + 1))
    left = int(rng.random() * (image.shape[2] - width + 1))
    cut = _as_pixels(image[:, top : top + height, left : left + width])
    return F.resize(cut, [spec.size, spec.size], interpolation=_mode(spec), antialias=True)


def _draw_crop(height: int, width: int, smallest: float, rng: random.Random) -> tuple[int, int]:
    low, high = CROP_RATIOS
    for _ in range(10):
        area = height * width * rng.uniform(smallest, 1)
        ratio = math.exp(rng.uniform(math.log(low), math.log(high)))
        crop_width, crop_height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < crop_width <= width and 0 < crop_height <= height:
            return crop_height, crop_width
    # A long picture holds no such rectangle: take the largest one of an allowed ratio.
    return max(1, min(height, round(width / low))), max(1, min(width, round(height * high)))


def _jitter(view: torch.Tensor, rng: random.Random, strength: float = 0.3) -> torch.Tensor:
    changes = [F.adjust_brightness, F.adjust_contrast, F.adjust_saturation]
    rng.shuffle(changes)
    for change in changes:
        view = change(view, rng.uniform(1 - strength, 1 + strength))
    return view


def _affine(
    view: torch.Tensor,
    spec: InputSpec,
    shear_deg: tuple[float, float] = (0, 0),
    shift_px: tuple[float, float] = (0, 0),
) -> torch.Tensor:
    return F.affine(
        view,
        angle=0.0,
        translate=[round(shift) for shift in shift_px],
        scale=1.0,
        shear=list(shear_deg),
        interpolation=InterpolationMode.BILINEAR,
        fill=_fill(spec),
    )


def _rotate(view: torch.Tensor, angle_deg: float, spec: InputSpec) -> torch.Tensor:
    return F.rotate(view, angle_deg, interpolation=InterpolationMode.BILINEAR, fill=_fill(spec))


def _change_once(view: torch.Tensor, spec: InputSpec, rng: random.Random) -> torch.Tensor:
    """Apply one change of random kind and strength: TrivialAugmentWide (arXiv 2103.10158, table 7)."""
    strength = rng.randrange(31) / 30
    signed = strength * rng.choice((-1, 1))
    shear_deg = math.degrees(math.atan(0.99 * signed))
    shift_px = signed * spec.size / 7  # the paper's 32 px of 224
    changes = [
        lambda: view,
        lambda: _affine(view, spec, shear_deg=(shear_deg, 0)),
        lambda: _affine(view, spec, shear_deg=(0, shear_deg)),
        lambda: _affine(view, spec, shift_px=(shift_px, 0)),
        lambda: _affine(view, spec, shift_px=(0, shift_px)),
        lambda: _rotate(view, 135 * signed, spec),
        lambda: F.adjust_brightness(view, 1 + 0.99 * signed),
        lambda: F.adjust_saturation(view, 1 + 0.99 * signed),
        lambda: F.adjust_contrast(view, 1 + 0.99 * signed),
        lambda: F.adjust_sharpness(view, 1 + 0.99 * signed),
        lambda: F.posterize(view, 8 - round(6 * strength)),
        lambda: F.solarize(view, 255 * (1 - strength)),
        lambda: F.autocontrast(view),
        lambda: F.equalize(view),
    ]
    return rng.choice(changes)()


def _erase(view: torch.Tensor, spec: InputSpec, rng: random.Random, share: float = 0.25) -> torch.Tensor:
    """Paint a rectangle over with the mean colour in a quarter of the views (arXiv 1708.04896)."""
    if rng.random() >= share:
        return view
    area = rng.uniform(*ERASED) * spec.size**2
    ratio = math.exp(rng.uniform(math.log(0.3), -math.log(0.3)))
    width, height = (min(spec.size, max(1, round(math.sqrt(side)))) for side in (area * ratio, area / ratio))
    top, left = (int(rng.random() * (spec.size - side + 1)) for side in (height, width))
    colour = torch.tensor(_fill(spec)).round().to(torch.uint8).view(3, 1, 1)
    return F.erase(view, top, left, height, width, colour)
