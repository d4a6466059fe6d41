"""How a predictor looks at an image: once, with its mirror image, or at the whole of it, too.

Answers are means over the looks: test-time augmentation.
"""

from ..errors import SettingsError
from ..settings_input import LOOKS, InputSpec
from ..settings_networks import AnySpec, specs_of
from ..settings_schema import check_choice

WHOLE = "whole"  # beside settings.AUGMENTS: nothing is cut off, and sides lose their ratio
LONGEST_SIDES = 8  # times the shorter one: what is longer loses its ends before it is resized
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
