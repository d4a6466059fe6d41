"""What int8 costs: accuracy before and after on the same images, with intervals."""

from dataclasses import dataclass

import numpy as np

from ..evaluation.intervals import affordable, bootstrap_intervals, wilson_interval
from ..evaluation.multilabel.metrics import average_precisions, mean_over_known
from ..models.tasks import Task

RESAMPLES, SEED = 1000, 0
Interval = list[float] | None  # None where resampling finds no spread


@dataclass(frozen=True)
class Cost:
    """A measure before and after, and by how much it fell, as fractions with 95 % intervals.

    `measure` is "accuracy", or of several labels an image "map", the mean of the labels' average precisions.
    """

    measure: str
    num_images: int
    before: float
    before_interval: Interval
    after: float
    after_interval: Interval
    loss: float
    loss_interval: Interval

    def __str__(self) -> str:
        name = "Mean average precision" if self.measure == "map" else "Accuracy"
        return (
            f"{name} on {self.num_images:,} images: {_percent(self.before, self.before_interval)} before, "
            f"{_percent(self.after, self.after_interval)} after, {_points(self.loss, self.loss_interval)}."
        )


def _percent(value: float, interval: Interval) -> str:
    spread = "" if interval is None else f" ({100 * interval[0]:.2f} to {100 * interval[1]:.2f})"
    return f"{100 * value:.2f} %{spread}"


def _points(loss: float, interval: Interval) -> str:
    spread = "" if interval is None else f" ({_negative(interval[1]):+.2f} to {_negative(interval[0]):+.2f})"
    return f"a change of {_negative(loss):+.2f} points{spread}"


def _negative(loss: float) -> float:
    """Return by how many points a measure rose, no negative zero."""
    return 0.0 - 100 * loss


def measure_cost(before: np.ndarray, after: np.ndarray, labels: np.ndarray, task: Task) -> Cost:
    """Return what a change of probabilities (N, C) costs.

    Args:
        before, after: of the same images.
        labels: (N,) or (N, C), as the data set has them.
    """
    return _measure_map(before, after, labels) if task.several else _measure(before, after, labels, task)


def _measure(before: np.ndarray, after: np.ndarray, labels: np.ndarray, task: Task) -> Cost:
    number = len(labels)
    first, second = (task.is_right(each, labels).astype(float) for each in (before, after))
    lost = first - second
    spread = bootstrap_intervals({"loss": lambda weights: lost @ weights / number}, number, RESAMPLES, SEED)
    counts = [int(each.sum()) for each in (first, second)]
    intervals = [wilson_interval(count, number) for count in counts]
    shares = [count / number for count in counts]
    return Cost(
        "accuracy",
        number,
        shares[0],
        intervals[0],
        shares[1],
        intervals[1],
        shares[0] - shares[1],
        spread["loss"],
    )


def _measure_map(before: np.ndarray, after: np.ndarray, labels: np.ndarray) -> Cost:
    number = len(labels)

    def mean(probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return mean_over_known(average_precisions(probabilities, labels, weights))

    found = bootstrap_intervals(
        {
            "before": lambda weights: mean(before, weights),
            "after": lambda weights: mean(after, weights),
            "loss": lambda weights: mean(before, weights) - mean(after, weights),
        },
        number,
        affordable(RESAMPLES, number, labels.shape[1]),
        SEED,
    )
    first, second = (float(mean(each, np.ones((number, 1)))[0]) for each in (before, after))
    return Cost("map", number, first, found["before"], second, found["after"], first - second, found["loss"])
