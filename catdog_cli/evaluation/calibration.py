"""Makes a network's confidence mean what it says: temperature scaling, fitted on validation logits.

The order of the classes, and with it the accuracy, stays as it is. Source: Guo et al. 2017, "On Calibration
of Modern Neural Networks", arXiv:1706.04599.
"""

from typing import Any

import numpy as np

from ..known.conformal import SetScores
from ..models.tasks import SINGLE_LABEL, Task
from .brent import minimize
from .metric_functions import brier_score, check_scores, reliability, report_auc
from .multilabel.metrics import check_labels
from .multilabel.thresholds import choose_thresholds

LOWEST, HIGHEST = 0.05, 20.0


def fit_temperature(logits: np.ndarray, labels: np.ndarray, task: Task = SINGLE_LABEL) -> float:
    """Return the temperature, 0.05 to 20, that makes the labels likeliest; above 1: the network was too sure.

    Args:
        logits: (N, C), of pictures that the network was not trained on.
        labels: (N,) class indices, or (N, C) of several.

    A prior worth about one picture, (log T)^2 / 2, holds T near 1: without it, labels that are all right
    would drive T to 0 and every probability to 1.

    Raises:
        CatdogError: there are no logits, they are not finite, or do not fit the labels.
    """
    logits, labels = (check_labels if task.several else check_scores)(logits, labels)

    def cost(log_temperature: float) -> float:
        losses = task.label_losses(logits, labels, np.exp(log_temperature))
        return float(losses.sum() + log_temperature**2 / 2)

    grid = np.linspace(np.log(LOWEST), np.log(HIGHEST), 25)  # small logits have two valleys: the deeper one
    best = int(np.argmin([cost(log_temperature) for log_temperature in grid]))
    around = float(grid[max(best - 1, 0)]), float(grid[min(best + 1, len(grid) - 1)])
    return float(np.exp(minimize(cost, *around)))


def measure_calibration(
    logits: np.ndarray, labels: np.ndarray, folds: int = 5, seed: int = 0, task: Task = SINGLE_LABEL
) -> dict[str, Any]:
    """Return {"temperature", "before", "after"}, the latter two with "loss", "brier", "auc" (None
    where a class has no picture) and all of `reliability`.

    Args:
        logits: (N, C), as for `fit_temperature`.
        labels: (N,).
        folds: `after` is measured on each of so many parts with the temperature of the other parts, since
            the pictures that chose a temperature flatter it; "temperature" itself is fitted on all.
        seed: deals the pictures to the parts.

    Raises:
        CatdogError: as `fit_temperature`.
    """
    logits, labels = check_scores(logits, labels)
    part = np.random.default_rng(seed).permutation(len(labels)) % min(folds, len(labels))
    after = np.empty_like(logits)
    for number in range(part.max() + 1):
        held = part == number
        others = ~held if (~held).any() else held  # one picture in all: nothing to hold out
        temperature = fit_temperature(logits[others], labels[others], task)
        after[held] = task.probabilities(logits[held], temperature)
    return {
        "temperature": fit_temperature(logits, labels, task),
        "before": _describe(task, task.probabilities(logits), labels),
        "after": _describe(task, after, labels),
    }


def describe_calibration(
    logits: np.ndarray, labels: np.ndarray, temperature: float, task: Task = SINGLE_LABEL
) -> dict[str, Any]:
    """Return {"temperature", "before", "after"} as `measure_calibration` does, for a temperature that stands.

    "after" is None for a temperature of 1, which changes nothing.
    """
    after = None if temperature == 1 else _describe(task, task.probabilities(logits, temperature), labels)
    return {
        "temperature": temperature,
        "before": _describe(task, task.probabilities(logits), labels),
        "after": after,
    }


def describe_answers(logits: np.ndarray, labels: np.ndarray, task: Task) -> dict[str, Any]:
    """Return what a checkpoint keeps of images that it was not trained on, with logits (N, C) and labels.

    That is the temperature; of several labels the thresholds, of one class an image the scores of sets.
    """
    temperature = fit_temperature(logits, labels, task)
    probabilities = task.probabilities(logits, temperature)
    if task.several:
        return {"temperature": temperature, "thresholds": choose_thresholds(probabilities, labels).tolist()}
    return {"temperature": temperature, "sets": SetScores.measure(probabilities, labels).to_dict()}


def describe_temperature(temperature: float) -> str:
    """Return in a sentence what was done to the probabilities."""
    return f"Calibrated with temperature {temperature:.4f}."


def _describe(task: Task, probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    complete = len(np.unique(labels)) == probabilities.shape[1] > 1
    return {
        "loss": float(task.log_losses(probabilities, labels).mean()),
        "brier": brier_score(probabilities, labels),
        "auc": report_auc(probabilities, labels) if complete else None,
        **reliability(probabilities, labels, task=task),
    }
