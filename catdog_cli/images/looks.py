"""How a predictor looks at an image: once, with its mirror image, or at the whole of it, too.

Answers are means over the looks: test-time augmentation.
"""

from collections.abc import Sequence

import torch

from ..errors import SettingsError
from ..settings import LOOKS, InputSpec
from ..settings_networks import AnySpec, specs_of
from ..settings_schema import check_choice
from .augment import WHOLE, build_augment, sharp_side
from .read import ImageSource, read_image_for
from .transforms import join_row, load_image

Look = tuple[InputSpec, str]  # one network's image, and how it is cut out: "none" or WHOLE
ONCE, MIRROR, UNCUT = LOOKS


def choose_looks(kept: str, looks: str | None, mirror: bool | None) -> str:
    """Return how to look: as asked, else as the checkpoint was trained to, which is `kept`.

    Raises:
        SettingsError: `looks` is not one of settings.LOOKS, or `mirror` (--tta) says otherwise.
    """
    if looks is None:
        return kept if mirror is None else MIRROR if mirror else ONCE
    check_choice("looks", looks, LOOKS)
    if mirror is not None and (looks == ONCE) == mirror:
        given, meant = ("--tta", MIRROR) if mirror else ("--no-tta", ONCE)
        raise SettingsError(f"looks is {looks}, but {given} means {meant}: give one of them.")
    return looks


def describe_looks(looks: str) -> str:
    """Return what to say behind "pictures" of how they are looked at."""
    return {ONCE: "", MIRROR: ", each with its mirror image", UNCUT: ", each looked at four times"}[looks]


def list_looks(spec: AnySpec, looks: str) -> tuple[Look, ...]:
    """Return what a predictor loads of an image: all networks' centres, then the whole one for all if asked.

    Args:
        looks: one of settings.LOOKS.
    """
    kinds = ("none", WHOLE) if looks == UNCUT else ("none",)
    return tuple((part, kind) for kind in kinds for part in specs_of(spec))


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
