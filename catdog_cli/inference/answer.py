"""What a checkpoint says of one image: its classes with probabilities, and the labels among them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import SettingsError


@dataclass(frozen=True)
class ClassProbability:
    """One class of an answer: its folder name, its display name, its probability."""

    class_name: str
    name: str
    probability: float


@dataclass(frozen=True)
class Known:
    """Whether an image is of the kind that was trained on.

    Of the images of that kind, at most a share `p_value` is as strange as this one.
    """

    p_value: float
    is_known: bool


@dataclass(frozen=True)
class SureSet:
    """The classes that an image may be, the likeliest first; the right one is among them at rate `level`."""

    level: float
    classes: tuple[ClassProbability, ...]
    num_classes: int  # in all

    def __str__(self) -> str:
        names = [each.name for each in self.classes]
        if not names:
            return "neither" if self.num_classes == 2 else "none of them"
        if len(names) == 1:
            return names[0]
        return f"cannot tell: {', '.join(names[:-1])} or {names[-1]}"


@dataclass(frozen=True, eq=False)
class Answer:
    """What a checkpoint says of one picture: logits and probabilities (C,), or an error.

    They are tensors of torch, or arrays where an exported file answers. Two answers are equal if they say the
    same of the same source.
    """

    source: Any
    logits: Any = None
    probabilities: Any = None
    error: str | None = None
    class_names: Sequence[str] = field(default=(), repr=False)  # C of each: folder names, display names
    names: Sequence[str] = field(default=(), repr=False)
    thresholds: Sequence[float] | None = field(default=None, repr=False)  # (C,) where labels are several
    known: Known | None = None  # None where the checkpoint keeps nothing to tell strangers by
    sure: SureSet | None = None  # None where it was not asked for

    @property
    def class_name(self) -> str | None:
        """The folder name of the likeliest class; None where the picture could not be read."""
        return None if self.probabilities is None else self.top_k(1)[0].class_name

    @property
    def name(self) -> str | None:
        """The display name of the likeliest class; None where the picture could not be read."""
        return None if self.probabilities is None else self.top_k(1)[0].name

    @property
    def probability(self) -> float | None:
        """The probability of the likeliest class; None where the picture could not be read."""
        return None if self.probabilities is None else self.top_k(1)[0].probability

    @property
    def labels(self) -> list[ClassProbability] | None:
        """The labels that the picture has, the likeliest first, maybe none; None where there is one class."""
        if self.probabilities is None or self.thresholds is None:
            return None
        limits = dict(zip(self.class_names, self.thresholds, strict=True))
        ranked = self.top_k(len(self.class_names))
        return [each for each in ranked if each.probability >= limits[each.class_name]]

    def top_k(self, k: int = 5) -> list[ClassProbability]:
        """Return the `k` likeliest classes, best first, never more than there are; none of an error.

        Raises:
            SettingsError: `k` is less than 1.
        """
        if self.probabilities is None:
            return []
        return rank_classes(self.probabilities, self.class_names, self.names, k)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Answer):
            return NotImplemented
        mine = (self.source, self.logits, self.probabilities, self.error)
        theirs = (other.source, other.logits, other.probabilities, other.error)
        return all(map(_is_equal, mine, theirs))

    __hash__ = None  # type: ignore[assignment]  # as of all that compares by arrays


def _is_equal(one: Any, other: Any) -> bool:
    """Say whether two values are equal, arrays and tensors by all their elements."""
    if type(one) is not type(other):
        return False
    if hasattr(one, "__array__") and not isinstance(one, np.generic):
        return np.array_equal(np.asarray(one), np.asarray(other))
    return bool(one == other)


def rank_classes(
    probabilities: Any, class_names: Sequence[str], names: Sequence[str], k: int
) -> list[ClassProbability]:
    """Return the `k` likeliest classes of probabilities (C,), best first, never more than there are.

    Raises:
        SettingsError: `k` is less than 1.
    """
    if k < 1:
        raise SettingsError(f"top-k is {k}, but must be at least 1.")
    values = np.asarray(probabilities)
    places = np.argsort(-values, kind="stable")[:k]
    return [
        ClassProbability(class_names[i], names[i], value)
        for i, value in zip(places.tolist(), values[places].tolist(), strict=True)
    ]
