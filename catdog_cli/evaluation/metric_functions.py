"""The single numbers behind every metric: arrays in, arrays out.

numpy alone: no function of sklearn.metrics comes without scipy.stats, and a training on kept features takes a
quarter longer with both. The tests hold the formulas equal to those of the two packages. Those that take
weights (N, B) serve an epoch (a column of ones) and a thousand resamples alike.
"""

from typing import Any

import numpy as np

from ..errors import CatdogError
from ..models.tasks import SINGLE_LABEL, Task

Curve = tuple[np.ndarray, np.ndarray]


def check_scores(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return scores (N, C) as float64 and labels (N,) as integers.

    Raises:
        CatdogError: they are empty, not finite, or do not fit each other.
    """
    scores, labels = np.asarray(scores, dtype=np.float64), np.asarray(labels)
    if scores.ndim != 2 or labels.shape != scores.shape[:1]:
        raise CatdogError(f"Scores of shape {scores.shape} do not fit labels of shape {labels.shape}.")
    if not scores.size:
        raise CatdogError("There are no pictures to measure: give at least one with a known label.")
    if not np.isfinite(scores).all():
        raise CatdogError(
            "The network's scores are not all finite: its weights are damaged or training diverged."
        )
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= scores.shape[1]:
        raise CatdogError(f"Labels must be whole numbers from 0 to {scores.shape[1] - 1}, one a picture.")
    return scores, labels.astype(np.int64)


def macro_auc(probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the area under the ROC curve, one class against the rest, averaged over classes: (B,).

    Args:
        probabilities: (N, C); with two classes, the second's area is both's.
        labels: (N,).
        weights: (N, B), how often each picture counts; a column of ones gives scikit-learn's number.

    A class that has no weight, or all of it, is left out of the mean; NaN where every class is.
    """
    classes = [1] if probabilities.shape[1] == 2 else range(probabilities.shape[1])
    areas = [_auc(probabilities[:, c], labels == c, weights) for c in classes]
    known = np.sum([np.isfinite(area) for area in areas], axis=0)
    with np.errstate(invalid="ignore"):
        return np.nansum(areas, axis=0) / known


def report_auc(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the number that `macro_auc` gives for weights of one, where every class has pictures."""
    return float(np.mean([area_below(*curve) for curve in roc_curves(probabilities, labels).values()]))


def roc_curves(probabilities: np.ndarray, labels: np.ndarray) -> dict[int, Curve]:
    """Return the ROC curve of each class against the rest, by class; with two classes, the second's.

    Args:
        probabilities: (N, C).
        labels: (N,) class indices; a class that has none, or all, has no curve.

    A curve has the shares of false alarms and of finds, each from 0 up to 1, for thresholds from the highest
    probability down; what lies on the straight line between its neighbours is left out.
    """
    classes = [1] if probabilities.shape[1] == 2 else range(probabilities.shape[1])
    return {
        c: _roc_curve(probabilities[:, c], labels == c)
        for c in classes
        if 0 < (labels == c).sum() < len(labels)
    }


def _roc_curve(scores: np.ndarray, positive: np.ndarray) -> Curve:
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)  # equal scores move as one
    found = np.cumsum(positive[order], dtype=float)[ends]
    alarms = 1 + ends - found
    corners = np.ones(len(ends), dtype=bool)
    corners[1:-1] = (np.diff(alarms, 2) != 0) | (np.diff(found, 2) != 0)
    across, up = (np.append(0.0, counts[corners] / counts[-1]) for counts in (alarms, found))
    return across, up


def area_below(across: np.ndarray, up: np.ndarray) -> float:
    """Return the area below a curve, by the trapezoidal rule."""
    return float((np.diff(across) * (up[1:] + up[:-1]) / 2).sum())


def brier_score(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean over pictures of the squared errors of all classes, 0 to 2 (Brier 1950).

    Args:
        probabilities: (N, C).
        labels: (N,).
    """
    return float(((probabilities - np.eye(probabilities.shape[1])[labels]) ** 2).sum(1).mean())


def _auc(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> np.ndarray:
    # The Mann-Whitney form: the mean rank of the positives, ties sharing the middle of their ranks.
    # Pairs of two positives add count^2 / 2 to the ranks' sum whatever their order.
    order = np.argsort(scores)
    ranks = np.zeros((len(scores) + 1, weights.shape[1]))  # ranks[i]: weight of the i lowest scores
    np.cumsum(weights[order], axis=0, out=ranks[1:])
    low, high = (np.searchsorted(scores[order], scores[positive], side) for side in ("left", "right"))
    own = weights[positive]
    count = own.sum(0)
    total = (own * (ranks[low] + ranks[high])).sum(0) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        return (total - count**2 / 2) / (count * (ranks[-1] - count))


def macro_f1(predicted: np.ndarray, labels: np.ndarray, num_classes: int, weights: np.ndarray) -> np.ndarray:
    """Return the mean F1 over the classes that are shown or predicted: (B,) for weights (N, B)."""
    shown, named, right = (
        np.stack([weights[groups == c].sum(0) for c in range(num_classes)])  # (C, B)
        for groups in (labels, predicted, np.where(predicted == labels, labels, -1))
    )
    both = shown + named
    return (2 * right / np.maximum(both, 1)).sum(0) / (both > 0).sum(0)


def confusion_matrix(predicted: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Return (C, C) counts: row i, column j holds the pictures of class i that were named j."""
    return np.bincount(labels * num_classes + predicted, minlength=num_classes**2).reshape(num_classes, -1)


def reliability(
    probabilities: np.ndarray, labels: np.ndarray, bins: int = 15, task: Task = SINGLE_LABEL
) -> dict[str, Any]:
    """Return how well confidence keeps its word: {"ece", "edges", "count", "confidence", "accuracy"}.

    The likeliest class's probability is cut into `bins` equal parts of 0..1; each has a count, and a mean
    confidence and accuracy, None where it is empty. `ece`, the expected calibration error, is the mean gap
    between the two, weighted by count. Source: Guo et al. 2017, arXiv:1706.04599, section 2.
    """
    top, right = probabilities.max(1), task.is_right(probabilities, labels)
    place = np.clip(np.ceil(top * bins).astype(int) - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    sums = [np.bincount(place, weights=values, minlength=bins) for values in (top, right)]
    means = [[float(s / n) if n else None for s, n in zip(part, count, strict=True)] for part in sums]
    return {
        "ece": float(abs(sums[0] - sums[1]).sum() / len(labels)),
        "edges": np.linspace(0, 1, bins + 1).tolist(),
        "count": count.tolist(),
        "confidence": means[0],
        "accuracy": means[1],
    }
