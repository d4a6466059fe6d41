"""Several networks side by side under one head: how --arch and --weights name them, what each gets to see."""

import itertools
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .errors import SettingsError, quote
from .settings_input import InputSpec

JOIN = "+"  # between the names of networks, and between their weights in the same order
WORDS = ("imagenet", "none")  # of --weights; all else is a file
Weights = str | tuple[str, ...]  # one word or file for all networks, or one each


@dataclass(frozen=True)
class InputSpecs:
    """How one image becomes the inputs of several networks, in their order."""

    parts: tuple[InputSpec, ...]

    def with_size(self, size: int) -> "InputSpecs":
        """Return the specs for another input size, the same of all networks."""
        return InputSpecs(tuple(part.with_size(size) for part in self.parts))

    def to_dict(self) -> list[dict[str, Any]]:
        """Return the specs as plain containers."""
        return [part.to_dict() for part in self.parts]

    @property
    def num_values(self) -> tuple[int, ...]:
        """How many values an image has as each network's input."""
        return tuple(3 * part.size**2 for part in self.parts)


AnySpec = InputSpec | InputSpecs


def specs_of(spec: AnySpec) -> tuple[InputSpec, ...]:
    """Return the spec of each network."""
    return (spec,) if isinstance(spec, InputSpec) else spec.parts


def join_specs(parts: list[InputSpec]) -> AnySpec:
    """Return the spec of one network, or of several side by side."""
    return parts[0] if len(parts) == 1 else InputSpecs(tuple(parts))


def read_spec(values: Any) -> AnySpec:
    """Return what `to_dict` of a spec, or of several, gave.

    Raises:
        SettingsError: it makes no sense.
    """
    if isinstance(values, list) and 2 <= len(values) <= 100:
        return InputSpecs(tuple(map(InputSpec.from_dict, values)))
    return InputSpec.from_dict(values)


def memory_side(spec: AnySpec) -> int:
    """Return the side (px) of a square image that takes as much memory as the inputs of all networks."""
    return math.ceil(math.hypot(*(part.size for part in specs_of(spec))))


def describe_sizes(spec: AnySpec) -> str:
    """Return the input sizes (px) as people read them: 224, or 224+260."""
    return JOIN.join(str(part.size) for part in specs_of(spec))


def split_arch(arch: str) -> tuple[str, ...]:
    """Return the networks that an arch names: one, or several joined by JOIN."""
    return tuple(arch.split(JOIN))


def is_several(arch: str) -> bool:
    """Say whether an arch names several networks."""
    return JOIN in arch


def weights_of(arch: str, weights: Weights) -> tuple[str, ...]:
    """Return the weights of each network of `arch`; one word or file counts for all.

    Raises:
        SettingsError: there are not as many as networks.
    """
    archs = split_arch(arch)
    if isinstance(weights, str):
        return (weights,) * len(archs)
    if len(weights) != len(archs):
        raise SettingsError(
            f"weights are {len(weights)}, {quote(describe_weights(weights))}, but --arch names {len(archs)} "
            f"networks, {arch}: give one for all, or one each in the same order, joined by {JOIN}."
        )
    return weights


def describe_weights(weights: Weights) -> str:
    """Return weights as people read and write them: imagenet, or a.pth+b.pth."""
    return weights if isinstance(weights, str) else JOIN.join(weights)


def parse_weights(arch: str, given: Any) -> Any:
    """Return what --weights says, as settings keep it: one text, or of several networks a tuple.

    Of several, a text is divided at JOIN; where file names hold one themselves, so that each part is a word
    or a file that is there. A list says the parts itself. What is neither text nor list is returned as it is.
    """
    count = len(split_arch(arch))
    if isinstance(given, (list, tuple)):
        parts = tuple(given)
        return parts[0] if len(set(parts)) == 1 and (count == 1 or parts[0] in WORDS) else parts
    if not isinstance(given, str) or count == 1 or JOIN not in given:
        return given
    pieces = given.split(JOIN)
    known = (parts for parts in _groups(pieces, count) if all(map(_is_there, parts)))
    return parse_weights(arch, next(known, tuple(pieces)))


def _groups(pieces: list[str], count: int) -> Iterator[tuple[str, ...]]:
    """Yield all ways to join neighbours among `pieces` so that `count` parts are left."""
    for cuts in itertools.combinations(range(1, min(len(pieces), 20)), count - 1):
        edges = [0, *cuts, len(pieces)]
        yield tuple(JOIN.join(pieces[start:end]) for start, end in itertools.pairwise(edges))


def _is_there(part: str) -> bool:
    return part in WORDS or os.path.exists(os.path.expanduser(part))  # noqa: PTH110, PTH111
