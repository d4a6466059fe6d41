"""What a network says of a split: the logits of each of its images that can be read."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..data.dataset import Dataset
from ..errors import DataError
from ..inference.predictor import Predictor
from ..runtime.progress import OnProgress

MOST_NAMED = 20  # unreadable images that are named one by one


@dataclass(frozen=True, eq=False)
class SplitLogits:
    """The readable images of a split, and why the others are not.

    `logits` is (N, C) float64, `labels` (N,), `indices` the N places in the split; `unreadable` says why, by
    path.
    """

    logits: np.ndarray
    labels: np.ndarray
    indices: list[int]
    unreadable: dict[str, str]
    p_values: np.ndarray | None = None  # (N,) of being known, where the checkpoint tells

    def list_unreadable(self) -> list[dict[str, str]]:
        """Return the unreadable images as a document holds them."""
        return [{"path": path, "error": error} for path, error in self.unreadable.items()]


def collect_logits(
    predictor: Predictor,
    dataset: Dataset,
    split: str,
    log: Callable[[str], None],
    on_progress: OnProgress,
) -> SplitLogits:
    """Run a network over a split; unreadable images are named to `log` and left out.

    Raises:
        DataError: not one image can be read.
    """
    paths, labels = dataset.splits[split].paths, dataset.splits[split].labels
    step, total = f"measuring {predictor.arch}", len(paths)
    logits: list[np.ndarray] = []
    p_values: list[float] = []
    indices: list[int] = []
    unreadable: dict[str, str] = {}
    on_progress(step, 0, total)
    answers = predictor.predict(dataset.source(split, index) for index in range(total))
    for index, answer in enumerate(answers):
        if answer.logits is None:
            unreadable[paths[index]] = str(answer.error)
        else:
            indices.append(index)
            logits.append(np.asarray(answer.logits, np.float64))
            p_values += [] if answer.known is None else [answer.known.p_value]
        on_progress(step, index + 1, total)
    if not indices:
        first = next(iter(unreadable.values()), "there is none")
        raise DataError(f"None of the {total} pictures under {str(dataset.root)!r} can be read: {first}")
    _name_unreadable(unreadable, log)
    known = np.array(p_values) if len(p_values) == len(indices) else None
    return SplitLogits(np.stack(logits), labels[indices], indices, unreadable, known)


def _name_unreadable(unreadable: dict[str, str], log: Callable[[str], None]) -> None:
    for reason in list(unreadable.values())[:MOST_NAMED]:
        log(f"Skipped: {reason}")
    if len(unreadable) > MOST_NAMED:
        log(f"Skipped: {len(unreadable) - MOST_NAMED} more.")
