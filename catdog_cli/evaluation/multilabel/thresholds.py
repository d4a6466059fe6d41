"""From which probability a label is said: one threshold a label, where F1 on validation images is best."""

from typing import Any

import numpy as np

from .metrics import count_decisions, f1_scores, mean_over_known

DEFAULT = 0.5
LEAST = 1e-6  # a threshold of 0 or 1 would say a label always or never, whatever comes


def choose_thresholds(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the threshold (C,) of each label with the best F1; of several, the one nearest to a half.

    A label that no image has keeps a half.

    Args:
        probabilities: (N, C), of images that the network was not trained on.
        labels: (N, C).
    """
    columns = range(probabilities.shape[1])
    return np.array([_choose(probabilities[:, c], labels[:, c]) for c in columns], dtype=np.float64)


def _choose(scores: np.ndarray, labels: np.ndarray) -> float:
    known = labels >= 0
    scores, there = scores[known], labels[known] == 1
    if not there.any():
        return DEFAULT
    order = np.argsort(-scores, kind="stable")
    high = scores[order]
    ends = np.append(np.flatnonzero(np.diff(high)), len(high) - 1)  # images of one score are said together
    right = np.cumsum(there[order])[ends]
    f1 = 2 * right / (ends + 1 + there.sum())
    low = np.append(high[ends[:-1] + 1], 0.0)  # the next score below each cut: the threshold lies above it
    best = np.flatnonzero(f1 >= f1.max() - 1e-12)
    spans = [(float(low[cut]), float(high[ends[cut]])) for cut in best]
    chosen = [DEFAULT if below < DEFAULT <= above else (below + above) / 2 for below, above in spans]
    return float(np.clip(min(chosen, key=lambda value: abs(value - DEFAULT)), LEAST, 1 - LEAST))


def held_out_f1(
    probabilities: np.ndarray, labels: np.ndarray, folds: int = 5, seed: int = 0
) -> dict[str, Any]:
    """Return the macro F1 at a half, and at thresholds that other images chose: what thresholds are worth.

    Args:
        folds: each part is measured with the thresholds of the other parts.
        seed: deals the images to the parts.
    """
    part = np.random.default_rng(seed).permutation(len(labels)) % min(folds, len(labels))
    said = np.zeros(labels.shape, dtype=bool)
    for number in range(part.max() + 1):
        held = part == number
        others = ~held if (~held).any() else held
        said[held] = probabilities[held] >= choose_thresholds(probabilities[others], labels[others])
    every = np.ones((len(labels), 1))
    f1 = [
        mean_over_known(f1_scores(count_decisions(chosen, labels, every)))[0]
        for chosen in (probabilities >= DEFAULT, said)
    ]
    return {
        name: float(v) if np.isfinite(v) else None for name, v in zip(("half", "held_out"), f1, strict=True)
    }
