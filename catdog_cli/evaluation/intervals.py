"""How sure a measured number is: Wilson and bootstrap intervals, McNemar's test.

A resample is kept as how often each picture was drawn, (N, B) counts, so that a statistic is computed for
hundreds of resamples at once by weighting: scipy's bootstrap would call a statistic for each.
"""

import math
from collections.abc import Callable, Iterator

import numpy as np

Statistic = Callable[[np.ndarray], np.ndarray]  # of (N, B) counts, (B,)
CHUNK_ELEMENTS = 4_000_000  # counts held at once: 32 MB
Z_95 = 1.959963984540054  # the normal quantile that leaves 2.5 % above it
WORK_LIMIT = 3e8  # resamples x pictures x classes: some 4 s


def wilson_interval(right: int, total: int) -> list[float]:
    """Return the 95 % Wilson score interval [low, high] of the fraction right / total.

    Unlike the bootstrap's and the normal approximation's, it keeps its meaning when every picture is
    right: 100 of 100 gives 0.963 to 1. Source: Wilson 1927, "Probable inference".
    """
    fraction, square = right / total, Z_95**2
    scale = 2 * (total + square)
    middle = (2 * total * fraction + square) / scale
    half = Z_95 / scale * math.sqrt(4 * total * fraction * (1 - fraction) + square)
    return [middle - half if right else 0.0, middle + half if right < total else 1.0]


def draw_weights(num_samples: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Yield (N, b) float64 arrays whose columns count how often a resample drew each picture.

    The b's sum to `resamples`; the same arguments give the same draws.
    """
    rng = np.random.default_rng(seed)
    chunk = max(1, min(resamples, CHUNK_ELEMENTS // num_samples))
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        drawn = rng.integers(0, num_samples, (num_samples, size))
        drawn = drawn * size + np.arange(size)  # column j's draws go to column j's counters
        yield (
            np.bincount(drawn.ravel(), minlength=num_samples * size).reshape(num_samples, size).astype(float)
        )


def affordable(resamples: int, num_samples: int, num_classes: int) -> int:
    """Return how many resamples to draw: fewer, but 100 at least, where all of them would take long."""
    return min(resamples, max(100, int(WORK_LIMIT // (num_samples * num_classes))))


def bootstrap_intervals(
    statistics: dict[str, Statistic], num_samples: int, resamples: int, seed: int
) -> dict[str, list[float] | None]:
    """Return each statistic's 95 % percentile interval [low, high], or None where it says nothing.

    Args:
        statistics: functions of (N, b) counts that return (b,) values, NaN where undefined.

    An interval of no width (every picture right, one picture) is no certainty but a blind spot of the
    method: it comes back as None. Source: Efron and Tibshirani 1993, chapter 13.
    """
    values: dict[str, list[np.ndarray]] = {name: [] for name in statistics}
    for weights in draw_weights(num_samples, resamples, seed):
        for name, statistic in statistics.items():
            values[name].append(statistic(weights))
    return {name: _percentiles(np.concatenate(parts)) for name, parts in values.items()}


def _percentiles(values: np.ndarray) -> list[float] | None:
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    low, high = np.percentile(values, [2.5, 97.5])
    return [float(low), float(high)] if high - low > 1e-12 else None


def mcnemar(only_a: int, only_b: int) -> float:
    """Return the two-sided p-value of McNemar's exact test: the binomial test of the pictures that differ.

    Args:
        only_a: pictures that only the first classifier classifies correctly.
        only_b: pictures that only the second classifies correctly.

    Source: McNemar 1947.
    """
    from scipy.stats import binomtest  # not before: nothing but a comparison needs it

    total = only_a + only_b
    return float(binomtest(only_a, total).pvalue) if total else 1.0
