"""Measures logits against several labels an image; the document of a report comes from here."""

from typing import Any

import numpy as np

from ...models.tasks import MULTI_LABEL
from ..calibration import describe_temperature
from .metrics import full_label_metrics, label_reliability
from .report import find_label_mistakes
from .thresholds import held_out_f1


def measure_labels(
    logits: np.ndarray,
    labels: np.ndarray,
    names: list[str],
    paths: list[str],
    temperature: float,
    thresholds: np.ndarray,
) -> tuple[dict[str, Any], np.ndarray]:
    """Return the document of a report, and the probabilities (N, C) that it is about.

    Args:
        logits: (N, C).
        labels: (N, C).
        names: C names to show.
        paths: N paths, as the user would write them.
        temperature: by which the logits are divided.
        thresholds: (C,), of the probabilities at that temperature.
    """
    probabilities = MULTI_LABEL.probabilities(logits, temperature)
    document = {
        **full_label_metrics(probabilities, labels, names, thresholds),
        "temperature": temperature,
        "calibration": describe_label_calibration(logits, labels, temperature),
        "mistakes": find_label_mistakes(probabilities, labels, thresholds, names, paths),
    }
    if temperature != 1:
        document["notes"]["probabilities"] = describe_temperature(temperature)
    if document["num_unknown"]:
        document["notes"]["unknown"] = f"{document['num_unknown']:,} labels are not known and count nowhere."
    return document, probabilities


def describe_label_calibration(logits: np.ndarray, labels: np.ndarray, temperature: float) -> dict[str, Any]:
    """Return {"temperature", "before", "after"}, the latter two with "loss" and all of `label_reliability`.

    "after" is None for a temperature of 1, which changes nothing.
    """
    after = None if temperature == 1 else _describe(logits, labels, temperature)
    return {"temperature": temperature, "before": _describe(logits, labels, 1.0), "after": after}


def _describe(logits: np.ndarray, labels: np.ndarray, temperature: float) -> dict[str, Any]:
    known = max(1, int((labels >= 0).sum()))
    losses = MULTI_LABEL.label_losses(logits, labels, temperature)
    return {
        "loss": float(losses.sum() / known),
        **label_reliability(MULTI_LABEL.probabilities(logits, temperature), labels),
    }


def describe_chosen_thresholds(probabilities: np.ndarray, labels: np.ndarray) -> str:
    """Return in a sentence what thresholds chosen on these images are worth on others of them."""
    found = held_out_f1(probabilities, labels)
    shown = ["-" if found[name] is None else f"{found[name]:.4f}" for name in ("held_out", "half")]
    return (
        f"They were chosen on these pictures, which flatters F1; on parts that did not choose them its mean "
        f"is {shown[0]}, with a half for every label {shown[1]}."
    )
