"""How an image becomes a network's input: the part of the settings that predicting needs, too."""

import dataclasses
from dataclasses import dataclass

from .errors import SettingsError, quote
from .settings_schema import MACHINE, PlainDict, about, check_choice, check_range

INTERPOLATIONS = ("bilinear", "bicubic")
LOOKS = ("once", "mirror", "whole")
UNKNOWN_LABEL = -1  # of an image that may have the label or not; 1 and 0 are known. Between data and models
PRECISION = about(
    "Of what is frozen, and of prediction.",
    MACHINE,
    choices=("auto", "fp32", "bf16"),
    default="auto: bf16 where the processor has it",
)


@dataclass(frozen=True)
class InputSpec(PlainDict):
    """How a picture becomes a network's input: the one contract between data and models.

    The shorter side is resized to `resize` px, the central `size` x `size` px are kept, scaled to 0..1,
    and normalised by channel with `mean` and `std`.
    """

    size: int = 224
    resize: int = 256
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        check_range("image size", self.size, 8, 4096, whole=True)
        check_range("resize", self.resize, self.size, 8192, whole=True)
        check_choice("interpolation", self.interpolation, INTERPOLATIONS)
        for name, values, low in (("mean", self.mean, -1e6), ("std", self.std, 1e-6)):
            if not isinstance(values, tuple) or len(values) != 3:
                raise SettingsError(f"{name} is {quote(values)}, but must be three numbers, one a colour.")
            for value in values:
                check_range(name, value, low, 1e6)

    def with_size(self, size: int) -> "InputSpec":
        """Return the spec for another input size, keeping the ratio of resize to size."""
        return dataclasses.replace(self, size=size, resize=max(size, round(size * self.resize / self.size)))
