"""Numbers for several labels an image, as plain values; for the training loop and evaluation.

Labels are (N, C): 1, 0, or UNKNOWN_LABEL, which counts nowhere. scikit-learn's functions take no such cells
and no thousand resamples at once; without unknown cells the tests hold these equal to its.
"""

from typing import Any

import numpy as np

from ...errors import CatdogError, DataError
from ...models.tasks import TINY
from ...settings import UNKNOWN_LABEL
from ..intervals import affordable, bootstrap_intervals, wilson_interval

_BLIND = "All resamples agree (as when every label is right): the bootstrap cannot tell how sure this is."
Counts = tuple[np.ndarray, np.ndarray, np.ndarray]  # right, wrong and missed labels, (C, B)


def check_labels(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return scores (N, C) as float64 and labels (N, C) as int8.

    Raises:
        CatdogError: they are empty, not finite, or do not fit each other.
    """
    scores, labels = np.asarray(scores, dtype=np.float64), np.asarray(labels)
    if scores.ndim != 2 or labels.shape != scores.shape:
        raise CatdogError(f"Scores of shape {scores.shape} do not fit labels of shape {labels.shape}.")
    if not scores.size:
        raise CatdogError("There are no pictures to measure: give at least one with a known label.")
    if not np.isfinite(scores).all():
        raise CatdogError(
            "The network's scores are not all finite: its weights are damaged or training diverged."
        )
    if not np.isin(labels, (0, 1, UNKNOWN_LABEL)).all():
        raise CatdogError(f"Labels must be 1, 0 or {UNKNOWN_LABEL} (unknown).")
    if not (labels >= 0).any():
        raise CatdogError("There is nothing to measure: every label of every picture is unknown.")
    return scores, labels.astype(np.int8)


def average_precision(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the average precision of one label, (B,): the mean of the precision at each of its images.

    Images of the same score come as one, as in scikit-learn. NaN where no image has the label.

    Args:
        scores: (N,).
        labels: (N,).
        weights: (N, B), how often each image counts.
    """
    known = labels >= 0
    scores, there, weights = scores[known], labels[known] == 1, weights[known]
    if not there.any():
        return np.full(weights.shape[1], np.nan)
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    said = np.cumsum(weights[order], axis=0)[ends]  # (K, B)
    right = np.cumsum(weights[order] * there[order, None], axis=0)[ends]
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(said > 0, right / said, 0)
        recall = right / right[-1]
    gained = np.diff(recall, axis=0, prepend=0)
    return (gained * precision).sum(0)


def average_precisions(probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the average precision of each label, (C, B); NaN where no image has it."""
    columns = range(probabilities.shape[1])
    return np.stack([average_precision(probabilities[:, c], labels[:, c], weights) for c in columns])


def mean_over_known(values: np.ndarray) -> np.ndarray:
    """Return the mean over labels (C, B) of those that have a value, (B,); NaN where none has one."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0).sum(0) / known.sum(0)


def area_under_roc(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the area under one label's ROC curve, (B,): how often an image with it scores above one without.

    NaN where all images have it, or none. Arguments as of `average_precision`.
    """
    known = labels >= 0
    scores, there, weights = scores[known], labels[known] == 1, weights[known]
    order = np.argsort(scores, kind="stable")
    starts = np.append(0, np.flatnonzero(np.diff(scores[order])) + 1)
    own, other = (
        np.add.reduceat(weights[order] * chosen[order, None], starts, axis=0) for chosen in (there, ~there)
    )  # (K, B), by score
    below = np.cumsum(other, axis=0) - other
    with np.errstate(invalid="ignore", divide="ignore"):
        return (own * (below + other / 2)).sum(0) / (own.sum(0) * other.sum(0))


def count_decisions(said: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> Counts:
    """Return how many labels are said rightly, said wrongly and missed: (C, B) each.

    Args:
        said: (N, C) booleans.
        labels: (N, C).
        weights: (N, B), how often each image counts.
    """
    there, absent = labels == 1, labels == 0
    kinds = (said & there, said & absent, ~said & there)
    right, wrong, missed = (kind.T.astype(np.float64) @ weights for kind in kinds)
    return right, wrong, missed


def f1_scores(counts: Counts) -> np.ndarray:
    """Return the F1 of each label, (C, B); NaN where no image has it."""
    right, wrong, missed = counts
    with np.errstate(invalid="ignore"):
        return np.where(right + missed > 0, 2 * right / (2 * right + wrong + missed), np.nan)


def micro_f1(counts: Counts) -> np.ndarray:
    """Return the F1 of all labels in one pot, (B,)."""
    right, wrong, missed = (kind.sum(0) for kind in counts)
    with np.errstate(invalid="ignore"):
        return 2 * right / (2 * right + wrong + missed)


def score_labels(probabilities: np.ndarray, labels: np.ndarray, monitors: set[str]) -> dict[str, float]:
    """Return what an epoch is measured by: map, f1 (macro, at a half), subset_accuracy, loss; auc if asked.

    Probabilities that are not finite make all but the subset accuracy NaN.

    Raises:
        CatdogError: there are no images.
        DataError: the best epoch is chosen by a number that these labels do not define.
    """
    if not len(labels):
        raise CatdogError("There are no pictures to measure: give at least one with a known label.")
    every = np.ones((len(labels), 1))
    said = probabilities >= 0.5
    found = {
        "map": float(mean_over_known(average_precisions(probabilities, labels, every))[0]),
        "f1": float(mean_over_known(f1_scores(count_decisions(said, labels, every)))[0]),
        "subset_accuracy": float(subset_right(said, labels).mean()) if (labels >= 0).any() else float("nan"),
        "loss": float(_losses(probabilities, labels).sum() / max(1, (labels >= 0).sum())),
    }
    if "auc" in monitors:
        found["auc"] = float(mean_over_known(_areas(probabilities, labels, every))[0])
    if not np.isfinite(probabilities).all():
        return {name: value if name == "subset_accuracy" else float("nan") for name, value in found.items()}
    undefined = [name for name in sorted(monitors & found.keys()) if np.isnan(found[name])]
    if undefined:
        raise DataError(
            f"The best epoch cannot be chosen by {undefined[0]}: no label that a validation picture has, or "
            f"that all have, gives one; validate on more pictures, or choose by --monitor loss."
        )
    return found


def _areas(probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    columns = range(probabilities.shape[1])
    return np.stack([area_under_roc(probabilities[:, c], labels[:, c], weights) for c in columns])


def subset_right(said: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return booleans, one for each image of which a label is known: none of these is wrong."""
    measured = (labels >= 0).any(1)
    return ((said == (labels == 1)) | (labels < 0)).all(1)[measured]


def _losses(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return (N, C) negative log-likelihoods of the labels, in nats; 0 where they are unknown."""
    chances = np.where(labels == 1, probabilities, 1 - probabilities.astype(np.float64))
    return np.where(labels >= 0, 0.0 - np.log(np.clip(chances, TINY, 1)), 0)


def full_label_metrics(
    probabilities: np.ndarray,
    labels: np.ndarray,
    class_names: list[str],
    thresholds: np.ndarray,
    bootstrap: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Return all that a report says about probabilities (N, C) against labels (N, C), as JSON-plain values.

    Args:
        class_names: `class_names[c]` is the label of column c.
        thresholds: (C,), the probability from which each label is said.
        bootstrap: how many resamples of the images the intervals rest on.
        seed: draws the resamples.

    `map` is the mean average precision, which needs no threshold; precision, recall and F1 stand at the
    thresholds, `macro` averages labels, `micro` puts all in one pot. `subset_accuracy` is the share of images
    with no wrong label, `hamming_loss` that of wrong labels among all. A label that no image has is None and
    counts in no mean over labels, which `notes` says. `intervals` are of 95 %: Wilson's for the subset
    accuracy, the bootstrap's for the others.

    Raises:
        CatdogError: there is nothing to measure, or the arrays do not fit each other.
    """
    probabilities, labels = check_labels(probabilities, labels)
    said, every = probabilities >= thresholds, np.ones((len(labels), 1))
    counts = count_decisions(said, labels, every)
    precisions = average_precisions(probabilities, labels, every)[:, 0]
    areas = _areas(probabilities, labels, every)[:, 0]
    right = subset_right(said, labels)
    wrong = (said != (labels == 1)) & (labels >= 0)
    resamples = affordable(bootstrap, *probabilities.shape)
    intervals, by_class = _intervals(probabilities, labels, said, resamples, seed)
    intervals["subset_accuracy"] = wilson_interval(int(right.sum()), len(right))
    classes = _class_rows(class_names, labels, counts, precisions, areas, thresholds, by_class)
    micro = _micro(counts)
    return {
        "task": "multi-label",
        "num_samples": len(labels),
        "map": _plain(mean_over_known(precisions[:, None])[0]),
        "loss": float(_losses(probabilities, labels).sum() / (labels >= 0).sum()),
        "auc": _plain(mean_over_known(areas[:, None])[0]),
        "f1_macro": _plain(mean_over_known(f1_scores(counts))[0]),
        "f1_micro": micro["f1"],
        "subset_accuracy": float(right.mean()),
        "hamming_loss": float(wrong.sum() / (labels >= 0).sum()),
        "ece": label_reliability(probabilities, labels)["ece"],
        "num_unknown": int((labels < 0).sum()),
        "intervals": intervals,
        "resamples": resamples,
        "notes": _notes(classes, intervals),
        "macro": {key: _mean(classes, key) for key in ("ap", "precision", "recall", "f1")},
        "micro": micro,
        "classes": classes,
        "class_names": list(class_names),
    }


def _intervals(
    probabilities: np.ndarray, labels: np.ndarray, said: np.ndarray, resamples: int, seed: int
) -> tuple[dict[str, list[float] | None], list[list[float] | None]]:
    """Return the intervals of the numbers, and those of each label's average precision."""
    losses, known = _losses(probabilities, labels).sum(1), (labels >= 0).sum(1)
    wrong = ((said != (labels == 1)) & (labels >= 0)).sum(1)
    each = {
        f"ap {c}": lambda weights, c=c: average_precision(probabilities[:, c], labels[:, c], weights)
        for c in range(labels.shape[1])
    }
    statistics = {
        "map": lambda weights: mean_over_known(average_precisions(probabilities, labels, weights)),
        "loss": lambda weights: losses @ weights / np.maximum(known @ weights, 1),
        "auc": lambda weights: mean_over_known(_areas(probabilities, labels, weights)),
        "f1_macro": lambda weights: mean_over_known(f1_scores(count_decisions(said, labels, weights))),
        "f1_micro": lambda weights: micro_f1(count_decisions(said, labels, weights)),
        "hamming_loss": lambda weights: wrong @ weights / np.maximum(known @ weights, 1),
    }
    found = bootstrap_intervals({**statistics, **each}, len(labels), resamples, seed)
    return {name: found[name] for name in statistics}, [found[name] for name in each]


def _class_rows(
    class_names: list[str],
    labels: np.ndarray,
    counts: Counts,
    precisions: np.ndarray,
    areas: np.ndarray,
    thresholds: np.ndarray,
    intervals: list[list[float] | None],
) -> dict[str, dict[str, Any]]:
    """Return the row of each label; what no image has the label for is None."""
    right, wrong, missed = (kind[:, 0] for kind in counts)
    f1 = f1_scores(counts)[:, 0]
    rows = {}
    for c, name in enumerate(class_names):
        there, named = right[c] + missed[c], right[c] + wrong[c]
        rows[name] = {
            "ap": _plain(precisions[c]),
            "ap_interval": intervals[c],
            "auc": _plain(areas[c]),
            "precision": float(right[c] / named) if named else 0.0 if there else None,
            "recall": float(right[c] / there) if there else None,
            "f1": _plain(f1[c]),
            "threshold": float(thresholds[c]),
            "support": int(there),
            "predicted": int(named),
            "known": int((labels[:, c] >= 0).sum()),
        }
    return rows


def _micro(counts: Counts) -> dict[str, float | None]:
    right, wrong, missed = (float(kind.sum()) for kind in counts)
    return {
        "precision": right / (right + wrong) if right + wrong else 0.0,
        "recall": right / (right + missed) if right + missed else None,
        "f1": 2 * right / (2 * right + wrong + missed) if right + wrong + missed else None,
    }


def _mean(classes: dict[str, dict[str, Any]], key: str) -> float | None:
    """Return the mean over the labels that some image has."""
    values = [row[key] for row in classes.values() if row["support"]]
    return float(np.mean(values)) if values else None


def _notes(classes: dict[str, dict[str, Any]], intervals: dict[str, list[float] | None]) -> dict[str, str]:
    from ...runtime.text import name_some

    notes = {f"{name} interval": _BLIND for name, pair in intervals.items() if pair is None}
    absent = [name for name, row in classes.items() if not row["support"]]
    if absent:
        notes["means over labels"] = f"No picture has {name_some(absent)}: left out of them."
    return notes


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def label_reliability(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15) -> dict[str, Any]:
    """Return how well probabilities keep their word, over all known labels: those of `reliability`.

    "confidence" is the mean probability of a bin, "accuracy" how many of its labels are there.
    """
    known = labels >= 0
    chances, there = probabilities[known], labels[known] == 1
    place = np.clip(np.ceil(chances * bins).astype(int) - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    sums = [np.bincount(place, weights=values, minlength=bins) for values in (chances, there)]
    means = [[float(s / n) if n else None for s, n in zip(part, count, strict=True)] for part in sums]
    return {
        "ece": float(abs(sums[0] - sums[1]).sum() / max(1, len(chances))),
        "edges": np.linspace(0, 1, bins + 1).tolist(),
        "count": count.tolist(),
        "confidence": means[0],
        "accuracy": means[1],
    }
