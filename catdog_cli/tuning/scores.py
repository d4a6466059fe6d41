"""Scores of held-out answers; when a trial is given up; by how much a search flatters itself."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import SettingsError
from ..evaluation.calibration import fit_temperature
from ..evaluation.intervals import Z_95, draw_weights
from ..evaluation.metric_functions import macro_auc, macro_f1
from ..evaluation.multilabel.metrics import average_precisions, count_decisions, f1_scores, mean_over_known
from ..models.tasks import TINY, Task
from .fold_run import measure

METRICS = ("accuracy", "loss", "f1", "auc", "map")
Z_GIVE_UP = 2.0  # standard errors by which the loss is worse: chance does so once in 40 times
LOSS_SHARE = 0.4  # nats to accuracy: from network to network, photographs of cats and dogs lose 0.4 of it
MOST_FITTED = 5000  # images that a temperature is fitted to
RESAMPLES = 400
FEW_RESAMPLES = 100  # of what takes long to compute
MOST_COMPARED = 64  # trials: those further behind win no resample


def check_metric(metric: str | None, task: Task) -> str:
    """Return the metric to search by: as given, or the task's headline.

    Raises:
        SettingsError: it is not known, or means nothing for such labels.
    """
    if metric is None:
        return task.headline
    if metric not in METRICS:
        raise SettingsError(f"metric is {metric!r}, but must be one of: {', '.join(METRICS)}.")
    if task.several and metric == "accuracy":
        raise SettingsError("--metric accuracy has no meaning where a picture has several labels: use map.")
    if not task.several and metric == "map":
        raise SettingsError(
            "--metric map is of several labels a picture, and this data has one: use accuracy."
        )
    return metric


def score(
    metric: str, task: Task, probabilities: np.ndarray, labels: np.ndarray
) -> tuple[float, dict[str, Any]]:
    """Return the score of held-out probabilities (N, C), and all measures; rows that are NaN are left out.

    Of a few thousand images accuracies differ by chance more than most trials do. The score is the accuracy
    less LOSS_SHARE of the log loss at its best temperature, which tells the same with less noise.

    Raises:
        SettingsError: the labels do not define the metric.
    """
    known = np.isfinite(probabilities).all(1)
    found = measure(task, probabilities[known], labels[known])
    value = found[metric]
    if value is None:
        raise SettingsError(f"--metric {metric} is not defined by these labels: choose another.")
    if metric == "loss":
        return -value, found
    if metric != "accuracy":
        return value, found
    losses = calibrated_losses(task, probabilities[known], labels[known])
    return value - LOSS_SHARE * float(losses.mean()), found


def calibrated_losses(task: Task, probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the log losses (N,) of probabilities (N, C) at the temperature that suits them best.

    A head that is merely too sure, or not sure enough, is as good as another one: its checkpoint is
        calibrated.
    """
    logits = np.log(np.clip(probabilities, TINY, 1).astype(np.float64))
    some = slice(None, None, max(1, len(labels) // MOST_FITTED))
    return task.label_losses(logits, labels, fit_temperature(logits[some], labels[some], task))


def is_hopeless(
    metric: str, task: Task, probabilities: np.ndarray, best: np.ndarray | None, labels: np.ndarray
) -> bool:
    """Say whether a trial, (N, C) with NaN where a fold is not done, is worse than the best so far.

    Compared on the same images: its loss is larger by more than chance would make it, and its score no
        better.
    """
    if best is None:
        return False
    there = np.isfinite(probabilities).all(1) & np.isfinite(best).all(1)
    if there.sum() < 2:
        return False
    own, other, true = probabilities[there], best[there], labels[there]
    worse = np.nan_to_num(task.log_losses(own, true) - task.log_losses(other, true))
    error = worse.std(ddof=1) / np.sqrt(len(worse))
    if worse.mean() <= Z_GIVE_UP * error:
        return False
    return metric == "loss" or score(metric, task, own, true)[0] <= score(metric, task, other, true)[0]


@dataclass(frozen=True)
class Flattery:
    """What the best of many trials is worth on images that did not choose it.

    `corrected` is the bootstrap's estimate and `interval` its 95 %; `by` is how much the best cross-validated
    score is above it. All in the metric's own unit; of a loss lower is better, and `by` still positive where
    the search flatters itself.
    """

    best: float
    corrected: float
    interval: tuple[float, float]
    by: float
    compared: int

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "interval": list(self.interval)}


def measure_flattery(
    metric: str, task: Task, answers: list[np.ndarray], labels: np.ndarray, seed: int
) -> Flattery | None:
    """Return by how much the best of several trials flatters itself; None where there is nothing to compare.

    The images are drawn again, with replacement; the trial that is best on those drawn is measured on those
    that were not, and so several hundred times. It needs no further training (Tsamardinos, Greasidou and
    Borboudakis 2018, "Bootstrapping the out-of-sample predictions for efficient and accurate
    cross-validation").

    Args:
        answers: held-out probabilities (N, C) of each trial that was scored on all folds.
    """
    known = np.logical_and.reduce([np.isfinite(each).all(1) for each in answers]) if answers else np.zeros(0)
    if len(answers) < 2 or known.sum() < 10:
        return None
    found, true = [each[known].astype(np.float64) for each in answers], labels[known]
    whole = np.ones((len(true), 1))
    ranked = np.array([float(_criterion(metric, task, each, true)(whole)[0]) for each in found])
    order = np.argsort(-ranked, kind="stable")[:MOST_COMPARED]
    found = [found[index] for index in order]
    criteria = [_criterion(metric, task, each, true) for each in found]
    resamples = RESAMPLES if metric in ("accuracy", "loss") else FEW_RESAMPLES
    chosen: list[np.ndarray] = []
    for drawn in draw_weights(len(true), resamples, seed):
        inside = np.stack([criterion(drawn) for criterion in criteria])
        left = (drawn == 0).astype(float)
        outside = np.stack([_weighted(metric, task, each, true, left) for each in found])
        winners = np.nan_to_num(inside, nan=-np.inf).argmax(0)
        chosen.append(outside[winners, np.arange(drawn.shape[1])])
    values = np.concatenate(chosen)
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    sign = -1.0 if metric == "loss" else 1.0
    corrected, best = float(values.mean()), float(_weighted(metric, task, found[0], true, whole)[0])
    # the images outside are a third of all: the deviation of their mean is that much too large
    spread = Z_95 * float(values.std()) * np.sqrt(np.exp(-1))
    low, high = sorted((sign * (corrected - spread), sign * (corrected + spread)))
    if metric != "loss":
        low, high = max(0.0, low), min(1.0, high)
    return Flattery(sign * best, sign * corrected, (float(low), float(high)), best - corrected, len(found))


def _criterion(
    metric: str, task: Task, probabilities: np.ndarray, labels: np.ndarray
) -> Callable[[np.ndarray], np.ndarray]:
    """Return what trials are ranked by, as a function of how often images count: (N, b) gives (b,)."""
    if metric != "accuracy":
        return lambda weights: _weighted(metric, task, probabilities, labels, weights)
    right = task.is_right(probabilities, labels).astype(float)
    values = right - LOSS_SHARE * calibrated_losses(task, probabilities, labels)
    return lambda weights: values @ weights / weights.sum(0)


def _weighted(
    metric: str, task: Task, probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Return the metric (b,), higher being better, of images that count as often as `weights` (N, b) say."""
    with np.errstate(invalid="ignore", divide="ignore"):
        if metric == "accuracy":
            return task.is_right(probabilities, labels).astype(float) @ weights / weights.sum(0)
        if metric == "loss":
            return -(np.nan_to_num(task.log_losses(probabilities, labels)) @ weights) / weights.sum(0)
        if task.several and metric == "map":
            return mean_over_known(average_precisions(probabilities, labels, weights))
        if task.several and metric == "f1":
            return mean_over_known(f1_scores(count_decisions(probabilities >= 0.5, labels, weights)))
        if task.several:
            from ..evaluation.multilabel.metrics import area_under_roc

            columns = range(probabilities.shape[1])
            areas = [area_under_roc(probabilities[:, c], labels[:, c], weights) for c in columns]
            return mean_over_known(np.stack(areas))
        if metric == "f1":
            return macro_f1(task.decide(probabilities), labels, probabilities.shape[1], weights)
        return macro_auc(probabilities, labels, weights)
