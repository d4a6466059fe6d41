"""From which probability a label is said, at another temperature than it was chosen at."""

import math
from collections.abc import Sequence

import numpy as np

from ..models.tasks import MULTI_LABEL


def fit_thresholds(thresholds: Sequence[float] | None, temperature: float, used: float) -> list[float] | None:
    """Return the thresholds at the temperature that is used: the same logits stay above them."""
    if thresholds is None or used == temperature:
        return None if thresholds is None else list(thresholds)
    logits = [temperature * (math.log(value) - math.log1p(-value)) for value in thresholds]
    return list(map(float, MULTI_LABEL.probabilities(np.array(logits), used)))
