"""How sure an answer about a label is."""

import numpy as np


def measure_sureness(probabilities: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Return how far probabilities (N, C) lie from their thresholds (C,), on the scale of the logits."""
    return np.abs(_logit(probabilities) - _logit(thresholds))


def _logit(chances: np.ndarray) -> np.ndarray:
    clipped = np.clip(chances, 1e-12, 1 - 1e-12)
    return np.log(clipped) - np.log1p(-clipped)
