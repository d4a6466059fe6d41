"""What probabilities are worth against labels, as plain numbers; for the training loop and evaluation.

No import here costs time: a training on kept features takes a few seconds with its report.
"""

from typing import Any

import numpy as np

from ..errors import CatdogError, SettingsError
from ..models.tasks import SINGLE_LABEL, Task
from .intervals import Statistic, affordable, bootstrap_intervals, mcnemar, wilson_interval
from .metric_functions import (
    brier_score,
    check_scores,
    confusion_matrix,
    macro_auc,
    macro_f1,
    reliability,
    report_auc,
)

_BLIND = "All resamples agree (as when every picture is right): the bootstrap cannot tell how sure this is."


def quick_metrics(
    probabilities: np.ndarray, labels: np.ndarray, task: Task = SINGLE_LABEL
) -> dict[str, float]:
    """Return {"accuracy", "loss"} of probabilities (N, C) against labels (N,); cheap enough for every epoch.

    A picture whose probabilities are not finite counts as wrong, and makes the loss NaN, which tells the
    caller that training has diverged.

    Raises:
        CatdogError: there are no pictures.
    """
    if not len(labels):
        raise CatdogError("There are no pictures to measure: give at least one with a known label.")
    right, losses = task.is_right(probabilities, labels), task.log_losses(probabilities, labels)
    return {"accuracy": float(right.mean()), "loss": float(losses.mean())}


def monitor_value(
    name: str, probabilities: np.ndarray, labels: np.ndarray, task: Task = SINGLE_LABEL
) -> float:
    """Return the number that early stopping and the choice of the best epoch watch.

    Args:
        name: "accuracy", "loss", "f1" (macro) or "auc" (one against rest, over the classes in `labels`).
        probabilities: (N, C).
        labels: (N,) class indices.

    Probabilities that are not finite make it NaN, or a wrong answer in the accuracy.

    Raises:
        SettingsError: "auc" is asked for, and all labels are the same.
    """
    if name in ("accuracy", "loss"):
        return quick_metrics(probabilities, labels, task)[name]
    if not np.isfinite(probabilities).all():
        return float("nan")
    every = np.ones((len(labels), 1))
    if name == "f1":
        return float(macro_f1(task.decide(probabilities), labels, probabilities.shape[1], every)[0])
    area = float(macro_auc(probabilities, labels, every)[0])
    if np.isnan(area):
        raise SettingsError("monitor is 'auc', but all validation pictures have one class: watch 'accuracy'.")
    return area


def full_metrics(
    probabilities: np.ndarray,
    labels: np.ndarray,
    class_names: list[str],
    bootstrap: int = 1000,
    seed: int = 0,
    task: Task = SINGLE_LABEL,
) -> dict[str, Any]:
    """Return all that a report says about probabilities (N, C) against labels (N,), as JSON-plain values.

    Args:
        probabilities: rows that sum to 1.
        labels: class indices, 0 to C - 1.
        class_names: `class_names[i]` is the label of output i.
        bootstrap: how many resamples the intervals rest on; 0 leaves all but the accuracy's out.
        seed: draws the resamples.

    `intervals` holds 95 % [low, high] or null. The accuracy's is Wilson's, because the bootstrap's has no
    width when every picture is right; `accuracy_bootstrap` is there beside it. `notes` says why a value is
    null. As in scikit-learn, a class that is never predicted has precision 0; one with neither pictures nor
    predictions has nulls and counts in no mean. `confusion[i][j]` counts pictures of class i named j.
    `ece` is the expected calibration error, `brier` the sum over classes of squared errors (0 to 2, Brier
    1950), `top_k` how often the label is among the k likeliest.

    Raises:
        CatdogError: there is nothing to measure, or the arrays do not fit each other.
    """
    probabilities, labels = check_scores(probabilities, labels)
    _check_names(class_names, probabilities)
    if abs(probabilities.sum(1) - 1).max() > 1e-3 or probabilities.min() < 0:
        raise CatdogError("These scores are not probabilities: give rows that are positive and sum to 1.")
    predicted = task.decide(probabilities)
    tables = _class_tables(predicted, labels, class_names)
    auc, notes = _area(probabilities, labels, class_names)
    resamples = affordable(bootstrap, *probabilities.shape)
    intervals = _intervals(task, probabilities, labels, resamples, seed, auc is not None)
    notes |= {
        f"{name} interval": _BLIND for name, pair in intervals.items() if pair is None and name not in notes
    }
    return {
        "num_samples": len(labels),
        **quick_metrics(probabilities, labels, task),
        "top_k": _top_k(probabilities, labels),
        "auc": auc,
        "f1_macro": tables["macro"]["f1"],
        "ece": reliability(probabilities, labels, task=task)["ece"],
        "brier": brier_score(probabilities, labels),
        "intervals": intervals,
        "resamples": resamples,
        "notes": notes,
        **tables,
        "class_names": list(class_names),
    }


def compare_metrics(
    probabilities_a: np.ndarray,
    probabilities_b: np.ndarray,
    labels: np.ndarray,
    resamples: int = 2000,
    seed: int = 0,
    task: Task = SINGLE_LABEL,
) -> dict[str, Any]:
    """Return how two classifiers differ on the same pictures; differences are b minus a.

    Args:
        probabilities_a: (N, C), columns in the same order of classes as the second's.
        probabilities_b: (N, C).
        labels: (N,).

    `accuracy_interval` and `loss_interval` are 95 % bootstrap intervals of the paired differences, null
    where all resamples agree. `mcnemar_p` is the chance of a split at least as uneven as `only_a_right`
    against `only_b_right` if both were equally good (McNemar's exact test).

    Raises:
        CatdogError: the arrays do not fit each other, or are empty.
    """
    first, labels = check_scores(probabilities_a, labels)
    second, labels = check_scores(probabilities_b, labels)
    if first.shape != second.shape:
        raise CatdogError(
            f"Cannot compare scores of shapes {first.shape} and {second.shape}: classes must be the same."
        )
    right = task.is_right(first, labels), task.is_right(second, labels)
    gain = right[1].astype(float) - right[0]
    loss_gain = task.log_losses(second, labels) - task.log_losses(first, labels)
    means = {"accuracy": _weighted_mean(gain), "loss": _weighted_mean(loss_gain)}
    intervals = bootstrap_intervals(means, len(labels), affordable(resamples, len(labels), 1), seed)
    only_a, only_b = int((gain < 0).sum()), int((gain > 0).sum())
    return {
        "num_samples": len(labels),
        "accuracy_a": float(right[0].mean()),
        "accuracy_b": float(right[1].mean()),
        "accuracy_difference": float(gain.mean()),
        "accuracy_interval": intervals["accuracy"],
        "loss_difference": float(loss_gain.mean()),
        "loss_interval": intervals["loss"],
        "only_a_right": only_a,
        "only_b_right": only_b,
        "both_right": int((right[0] & right[1]).sum()),
        "both_wrong": int((~right[0] & ~right[1]).sum()),
        "mcnemar_p": mcnemar(only_a, only_b),
    }


def _check_names(class_names: list[str], probabilities: np.ndarray) -> None:
    if len(class_names) != probabilities.shape[1]:
        raise CatdogError(
            f"{len(class_names)} class names do not fit {probabilities.shape[1]} scores a picture."
        )
    if len(set(class_names)) != len(class_names):
        raise CatdogError(
            f"Class names must differ, but some repeat: {', '.join(map(repr, class_names[:10]))}."
        )


def _weighted_mean(values: np.ndarray) -> Statistic:
    return lambda weights: values @ weights / len(values)


def _top_k(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    ranked = np.argsort(-probabilities, axis=1, kind="stable")[:, :5]
    hits = ranked == labels[:, None]
    return {str(k): float(hits[:, :k].any(1).mean()) for k in (3, 5) if k < probabilities.shape[1]}


def _area(
    probabilities: np.ndarray, labels: np.ndarray, names: list[str]
) -> tuple[float | None, dict[str, str]]:
    missing = sorted(set(range(len(names))) - set(labels.tolist()))
    if missing or len(names) < 2:
        absent = ", ".join(repr(names[c]) for c in missing[:5]) + (", ..." if len(missing) > 5 else "")
        reason = f"no picture of {absent}" if missing else "there is one class only"
        return None, {"auc": f"The area under the ROC curve is not defined: {reason}."}
    return report_auc(probabilities, labels), {}


def _class_tables(predicted: np.ndarray, labels: np.ndarray, names: list[str]) -> dict[str, Any]:
    matrix = confusion_matrix(predicted, labels, len(names))
    right, shown, named = np.diag(matrix), matrix.sum(1), matrix.sum(0)
    known = shown + named > 0
    columns = {
        "precision": right / np.maximum(named, 1),
        "recall": right / np.maximum(shown, 1),
        "f1": 2 * right / np.maximum(shown + named, 1),
    }
    return {
        "macro": {key: float(values[known].mean()) for key, values in columns.items()},
        "weighted": {
            key: float(np.average(values[known], weights=shown[known])) for key, values in columns.items()
        },
        "classes": {
            name: {key: float(values[i]) if known[i] else None for key, values in columns.items()}
            | {"support": int(shown[i])}
            for i, name in enumerate(names)
        },
        "confusion": matrix.tolist(),
    }


def _intervals(
    task: Task, probabilities: np.ndarray, labels: np.ndarray, resamples: int, seed: int, with_auc: bool
) -> dict[str, list[float] | None]:
    right, predicted = task.is_right(probabilities, labels), task.decide(probabilities)
    intervals: dict[str, list[float] | None] = {"accuracy": wilson_interval(int(right.sum()), len(labels))}
    if not resamples:
        return intervals
    statistics: dict[str, Statistic] = {
        "accuracy_bootstrap": _weighted_mean(right),
        "loss": _weighted_mean(task.log_losses(probabilities, labels)),
        "f1_macro": lambda weights: macro_f1(predicted, labels, probabilities.shape[1], weights),
    }
    if with_auc:
        statistics["auc"] = lambda weights: macro_auc(probabilities, labels, weights)
    return intervals | {"auc": None} | bootstrap_intervals(statistics, len(labels), resamples, seed)
