"""What makes a checkpoint's answers honest, measured on images that it was not trained on."""

from typing import Any

import numpy as np

from ..known.conformal import SetScores
from ..models.tasks import Task
from .calibration import fit_temperature
from .multilabel.thresholds import choose_thresholds


def describe_answers(logits: np.ndarray, labels: np.ndarray, task: Task) -> dict[str, Any]:
    """Return what a checkpoint keeps of images that it was not trained on, with logits (N, C) and labels.

    That is the temperature; of several labels the thresholds, of one class an image the scores of sets.
    """
    temperature = fit_temperature(logits, labels, task)
    probabilities = task.probabilities(logits, temperature)
    if task.several:
        return {"temperature": temperature, "thresholds": choose_thresholds(probabilities, labels).tolist()}
    return {"temperature": temperature, "sets": SetScores.measure(probabilities, labels).to_dict()}
