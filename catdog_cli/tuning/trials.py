"""Trials of each stage: what was tried as settings of a run, and how it is scored."""

import dataclasses
from typing import Any

import numpy as np

from ..settings import HeadSpec, Phase, TrainSettings
from ..training.checkpointing import LAST_EPOCH
from ..training.setup import Setup
from .feature_bank import Sight
from .journal import Trial

FINE_TUNE_VIEWS = 4  # of an augmented image, kept at the border


def as_settings(
    common: TrainSettings, sight: Sight, trial: Trial, base: Setup | None = None
) -> TrainSettings:
    """Return the settings of a run that does what a trial did; no validation image chooses anything in it.

    Args:
        common: what all trainings of the search share.
        sight: the network and its views, which the trial names.
        base: the network, by which a fine-tuning trial's blocks are counted.
    """
    params = trial.params
    phases, head = {
        "solved": solved_phases,
        "heads": head_phases,
        "fine-tune": lambda sight, params: fine_tune_phases(sight, params, base),
    }[trial.stage](sight, params)
    return dataclasses.replace(
        common,
        arch=sight.arch,
        weights=sight.weights,
        image_size=sight.image_size,
        looks=sight.looks,
        head=head,
        phases=phases,
    )


Made = tuple[tuple[Phase, ...], HeadSpec]


def solved_phases(sight: Sight, params: dict[str, Any]) -> Made:
    phase = Phase(
        "head",
        1,
        optimizer="lbfgs",
        weight_decay=params["l2"],
        class_weights=params.get("class_weights", "none"),
        augment=sight.augment,
        views=sight.views,
    )
    return (phase,), HeadSpec()


def head_phases(sight: Sight, params: dict[str, Any]) -> Made:
    """Return a phase that trains a head with hidden layers for as many epochs as the trial did."""
    names = (
        "learning_rate",
        "weight_decay",
        "label_smoothing",
        "scheduler",
        "batch_size",
        "optimizer",
        "epochs",
    )
    phase = Phase(
        name="head",
        augment=sight.augment,
        views=sight.views,
        monitor=LAST_EPOCH,
        class_weights=params.get("class_weights", "none"),
        **{name: params[name] for name in names},
    )
    return (phase,), head_spec(params)


def head_spec(params: dict[str, Any]) -> HeadSpec:
    return HeadSpec(
        tuple(params["hidden_layers"]), params["dropout"], params["activation"], params["head_norm"]
    )


def fine_tune_phases(sight: Sight, params: dict[str, Any], base: Setup | None) -> Made:
    """Return the solved head, and a phase that trains the last blocks of the network with it."""
    assert base is not None
    (first,), head = solved_phases(sight, {"l2": params["l2"], **params})
    augment, epochs = params["fine_tune_augment"], params["fine_tune_epochs"]
    second = Phase(
        "fine-tune",
        epochs,
        params["fine_tune_learning_rate"],
        unfreeze=count_layers(base, params["blocks"]),
        optimizer="adamw",
        scheduler="cosine",
        augment=augment,
        views=0 if augment == "none" else min(FINE_TUNE_VIEWS, epochs),
        class_weights=params.get("class_weights", "none"),
        layer_decay=params["layer_decay"],
        ema=params["ema"],
        monitor=LAST_EPOCH,
    )
    return (first, second), head


def count_layers(base: Setup, blocks: int) -> int:
    """Return how many layers from the end, as `unfreeze` counts them, the last blocks with weights have."""
    classifier = base.classifier
    trainable = [block for _, block in classifier.blocks if any(True for _ in block.parameters())]
    last = {module for block in trainable[-blocks:] for module in block.modules()}
    layers = [module for _, module in classifier.layers()]
    first = next((place for place, module in enumerate(layers) if module in last), len(layers))
    return len(layers) - first


def largest_batch(params: dict[str, Any], num_images: int) -> dict[str, Any]:
    """Return params with batches of at most a quarter of the images: few images need steps, too."""
    return {**params, "batch_size": int(min(params["batch_size"], max(4, num_images // 4)))}


def known_rows(probabilities: np.ndarray) -> np.ndarray:
    """Return which images (N,) a trial has answered."""
    return np.isfinite(probabilities).all(1)
