"""The proof that an exported file says what its checkpoint says: both are asked about the same images."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..errors import DataError
from ..evaluation.intervals import wilson_interval
from ..inference.answer import Answer
from ..runtime.progress import OnProgress
from .accuracy import Cost
from .pictures import Images

MOST_NAMED = 50  # images whose answer changed
LEAST_AGREEMENT = 0.99
KNOWN_RATE = 0.01


class Answers(Protocol):
    """Whoever answers: a checkpoint's predictor, or what runs an exported file."""

    def predict(self, sources: Any) -> Iterator[Answer]:
        """Yield an answer for every source, in order."""


@dataclass(frozen=True, eq=False)
class Said:
    """What was said of N images: probabilities (N, C), the answers in words, p-values of being known (N,)."""

    probabilities: np.ndarray
    answers: list[str]
    p_values: np.ndarray | None


@dataclass(frozen=True)
class Change:
    """An image whose answer changed: what the checkpoint says, and what the file says."""

    path: str
    checkpoint: str
    file: str
    difference: float  # of its most different probability


@dataclass(frozen=True)
class Parity:
    """How far a file's answers are from its checkpoint's; fractions, not percentages.

    `bound` is what a probability may differ by at most; None where the accuracy decides, as of int8.
    """

    images: str  # what they are, in words
    num_images: int
    num_unreadable: int
    agreement: float
    agreement_interval: list[float]
    max_difference: float
    mean_difference: float
    num_changed: int
    changed: list[Change]  # MOST_NAMED at most, the largest first
    num_known_changed: (
        int | None
    )  # images of which one says that it does not know their kind, and not the other
    max_known_difference: float | None  # of p-values
    bound: float | None
    least_agreement: float | None
    cost: Cost | None = None

    @property
    def why_failed(self) -> str | None:
        """What is out of bounds, as a part of a sentence; None where nothing is."""
        if self.bound is not None and not self.max_difference <= self.bound:
            return f"a probability differs by {self.max_difference:.3f}, more than {self.bound:g}"
        # of few images a single one says little
        if (
            self.least_agreement is not None
            and self.agreement < self.least_agreement
            and self.num_changed > 1
        ):
            return f"{self.agreement:.1%} of the answers agree, fewer than {self.least_agreement:.0%}"
        return None

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain values."""
        return {"passed": self.why_failed is None, **dataclasses.asdict(self)}

    def __str__(self) -> str:
        same = self.num_images - self.num_changed
        text = (
            f"Compared on {self.images}: the same answer on {same:,} of {self.num_images:,}, probabilities "
            f"differ by {self.max_difference:.2g} at most and {self.mean_difference:.2g} on average"
        )
        if self.num_known_changed:
            text += f", {self.num_known_changed:,} differ in being unknown"
        return f"{text}."


def compare_answers(
    checkpoint: Answers,
    file: Answers,
    images: Images,
    bound: float | None,
    on_progress: OnProgress,
) -> tuple[Parity, Said, Said, list[int]]:
    """Ask a checkpoint and a file about images.

    Args:
        bound: what a probability may differ by; None: any amount, and any number of answers may change.

    Returns:
        How they compare, what each said, and the places of the images that can be read.

    Raises:
        DataError: not one image can be read.
    """
    first = _ask(checkpoint, images, "asking the checkpoint", on_progress)
    second = _ask(file, images, "asking the file", on_progress)
    good = [place for place, answer in enumerate(first) if answer is not None and second[place] is not None]
    if not good:
        raise DataError(f"None of {images.origin} can be read: give others with --data.")
    before, after = (_gather([found[place] for place in good]) for found in (first, second))
    names = [images.names[place] for place in good]
    differences = np.abs(before.probabilities - after.probabilities).max(1)
    differences[~np.isfinite(differences)] = 1.0
    changes = [
        Change(names[row], before.answers[row], after.answers[row], float(differences[row]))
        for row in np.argsort(-differences, kind="stable").tolist()
        if before.answers[row] != after.answers[row]
    ]
    same = len(good) - len(changes)
    known = _compare_known(before.p_values, after.p_values)
    parity = Parity(
        images.origin,
        len(good),
        len(images) - len(good),
        same / len(good),
        wilson_interval(same, len(good)),
        float(differences.max()),
        float(differences.mean()),
        len(changes),
        changes[:MOST_NAMED],
        *known,
        bound,
        None if bound is None else LEAST_AGREEMENT,
    )
    return parity, before, after, good


def _ask(answers: Answers, images: Images, step: str, on_progress: OnProgress) -> list[Answer | None]:
    found: list[Answer | None] = []
    on_progress(step, 0, len(images))
    for answer in answers.predict(images.sources):
        found.append(answer if answer.error is None else None)
        on_progress(step, len(found), len(images))
    return found


def _gather(answers: list[Answer | None]) -> Said:
    kept = [answer for answer in answers if answer is not None]
    p_values = [answer.known.p_value for answer in kept if answer.known is not None]
    return Said(
        np.array([np.asarray(answer.probabilities, np.float64) for answer in kept]),
        [_in_words(answer) for answer in kept],
        np.array(p_values) if len(p_values) == len(kept) else None,
    )


def _in_words(answer: Answer) -> str:
    if answer.labels is None:
        return str(answer.class_name)
    return "; ".join(sorted(each.class_name for each in answer.labels)) or "none of the labels"


def _compare_known(before: np.ndarray | None, after: np.ndarray | None) -> tuple[int | None, float | None]:
    if before is None or after is None:
        return None, None
    changed = int(((before > KNOWN_RATE) != (after > KNOWN_RATE)).sum())
    return changed, float(np.abs(before - after).max())
