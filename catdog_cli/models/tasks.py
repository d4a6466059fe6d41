"""What a network's outputs mean: which targets and loss it is trained with, how they become an answer.

Whatever stands between a network's logits and a number or a name asks a `Task`: the training step, the solved
head, evaluation, calibration, prediction. `SINGLE_LABEL` is one class an image, `MULTI_LABEL` several labels,
or none; another one is another object of this shape.
"""

import math
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ..settings_input import UNKNOWN_LABEL

if TYPE_CHECKING:
    import torch

TINY = float(np.finfo(np.float32).tiny)  # what a float32 softmax rounds to 0 counts as this: 87 nats


class Task(Protocol):
    """Targets, loss, activation, decision, and how right an answer is. B, N: images; C: classes.

    Labels are (N,) indices of one class an image, or (N, C) of several: 1, 0, or UNKNOWN_LABEL, which counts
    nowhere.
    """

    name: str
    headline: str  # the number by which an epoch is best where nobody says otherwise, as the history has it
    train_score: str  # what the history says of training beside the loss: the share that `num_correct` counts
    several: bool  # labels an image

    def chance_loss(self, num_classes: int) -> float:
        """Return the loss of guessing, nats."""

    def terms_per_image(self, num_classes: int) -> int:
        """Return over how many outputs of an image the mean loss averages."""

    def balanced_weights(self, labels: np.ndarray, num_classes: int) -> np.ndarray:
        """Return the class weights (C,), float32, that make up for how often labels occur."""

    def soft_targets(self, labels: "torch.Tensor", num_classes: int) -> "torch.Tensor":
        """Return targets (B, C), float32, that can be mixed; `labels` are as the data set has them."""

    def loss(
        self,
        logits: "torch.Tensor",
        targets: "torch.Tensor",
        class_weights: "torch.Tensor | None" = None,
        label_smoothing: float = 0.0,
        reduction: str = "mean",
    ) -> "torch.Tensor":
        """Return the loss () of logits (B, C); targets are labels, or soft ones (B, C)."""

    def loss_weight(self, targets: "torch.Tensor", class_weights: "torch.Tensor | None") -> float:
        """Return by what the sum of losses is divided for their mean."""

    def num_correct(self, logits: "torch.Tensor", labels: "torch.Tensor") -> "torch.Tensor":
        """Return how many of the logits (B, C) are right, as a tensor ()."""

    def probabilities(self, logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
        """Return probabilities (N, C), float64, of logits (N, C) divided by `temperature`."""

    def activate(self, logits: "torch.Tensor") -> "torch.Tensor":
        """Return probabilities (N, C) in the precision of the logits (N, C): what an epoch is measured by."""

    def logits_of(self, probabilities: "torch.Tensor") -> "torch.Tensor":
        """Return logits (N, C) that `activate` makes these probabilities (N, C) of."""

    def label_losses(self, logits: np.ndarray, labels: np.ndarray, temperature: float) -> np.ndarray:
        """Return (N,) negative log-likelihoods of the labels by the logits, without rounding to 0 first."""

    def decide(self, probabilities: np.ndarray) -> np.ndarray:
        """Return the answers (N,) that probabilities (N, C) amount to."""

    def is_right(self, probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return (N,) booleans: the answer is right, and its probability a number."""

    def log_losses(self, probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return (N,) negative log-likelihoods of the labels, in nats."""


class SingleLabel:
    """One class an image: softmax, cross-entropy, the likeliest class. Labels are class indices (B,)."""

    name = "single-label"
    headline = "accuracy"
    train_score = "accuracy"
    several = False

    def chance_loss(self, num_classes: int) -> float:
        return math.log(num_classes)

    def terms_per_image(self, num_classes: int) -> int:
        return 1

    def balanced_weights(self, labels: np.ndarray, num_classes: int) -> np.ndarray:
        """Return weights inverse to the class counts with mean 1 over images."""
        counts = np.bincount(labels, minlength=num_classes).astype(np.float32)
        return counts.sum() / (len(counts) * np.maximum(counts, 1))

    def soft_targets(self, labels: "torch.Tensor", num_classes: int) -> "torch.Tensor":
        from torch.nn import functional as F

        return F.one_hot(labels, num_classes).float()

    def loss(
        self,
        logits: "torch.Tensor",
        targets: "torch.Tensor",
        class_weights: "torch.Tensor | None" = None,
        label_smoothing: float = 0.0,
        reduction: str = "mean",
    ) -> "torch.Tensor":
        from torch.nn import functional as F  # not before: metrics of arrays need no torch

        return F.cross_entropy(
            logits, targets, class_weights, reduction=reduction, label_smoothing=label_smoothing
        )

    def loss_weight(self, targets: "torch.Tensor", class_weights: "torch.Tensor | None") -> float:
        if class_weights is None or targets.is_floating_point():  # as torch's cross_entropy does
            return len(targets)
        return class_weights[targets].sum().item()

    def num_correct(self, logits: "torch.Tensor", labels: "torch.Tensor") -> "torch.Tensor":
        return (logits.argmax(1) == labels).sum()

    def probabilities(self, logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
        """As `Task.probabilities`. In numpy: torch would wake its threads, which then wait for more work on
        the cores that compute the next answers, and cost a quarter of the rate."""
        scaled = np.asarray(logits, dtype=np.float64) / temperature
        powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    def activate(self, logits: "torch.Tensor") -> "torch.Tensor":
        return logits.softmax(1)

    def logits_of(self, probabilities: "torch.Tensor") -> "torch.Tensor":
        return probabilities.clamp_min(TINY).log()

    def label_losses(self, logits: np.ndarray, labels: np.ndarray, temperature: float) -> np.ndarray:
        scaled = logits / temperature
        top = scaled.max(axis=1)
        normaliser = top + np.log(np.exp(scaled - top[:, None]).sum(axis=1))
        return normaliser - scaled[np.arange(len(labels)), labels]

    def decide(self, probabilities: np.ndarray) -> np.ndarray:
        return probabilities.argmax(1)

    def is_right(self, probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
        chosen = probabilities[np.arange(len(labels)), labels]
        return (self.decide(probabilities) == labels) & np.isfinite(chosen)

    def log_losses(self, probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
        chosen = probabilities[np.arange(len(labels)), labels].astype(np.float64)
        return 0.0 - np.log(np.clip(chosen, TINY, 1))  # 0 - : no negative zero


class MultiLabel:
    """Several labels an image, or none: a sigmoid and binary cross-entropy for each, over what is known.

    Labels are (B, C): 1, 0 or UNKNOWN_LABEL. Soft targets have NaN for what is unknown, so that whatever is
    mixed with it is unknown, too. The mean loss is over known cells, in nats. A label is said where its
    probability reaches a threshold, here a half; checkpoints keep better ones.
    """

    name = "multi-label"
    headline = "map"
    train_score = "subset_accuracy"
    several = True
    threshold = 0.5

    def chance_loss(self, num_classes: int) -> float:
        return math.log(2)

    def terms_per_image(self, num_classes: int) -> int:
        return num_classes

    def balanced_weights(self, labels: np.ndarray, num_classes: int) -> np.ndarray:
        """Return by how much a label that is there counts more than one that is not: pos_weight."""
        there, absent = ((labels == value).sum(0) for value in (1, 0))
        return (np.maximum(absent, 1) / np.maximum(there, 1)).astype(np.float32)

    def soft_targets(self, labels: "torch.Tensor", num_classes: int) -> "torch.Tensor":
        return labels.float().masked_fill(labels == UNKNOWN_LABEL, math.nan)

    def loss(
        self,
        logits: "torch.Tensor",
        targets: "torch.Tensor",
        class_weights: "torch.Tensor | None" = None,
        label_smoothing: float = 0.0,
        reduction: str = "mean",
    ) -> "torch.Tensor":
        """As `Task.loss`; smoothing pulls 1 and 0 towards a half, `class_weights` are for the ones."""
        from torch.nn import functional as F

        known = targets >= 0  # NaN is not
        wanted = targets.to(logits.dtype).where(known, 0)
        if label_smoothing:
            wanted = wanted * (1 - label_smoothing) + label_smoothing / 2
        losses = F.binary_cross_entropy_with_logits(
            logits, wanted, pos_weight=class_weights, reduction="none"
        ).where(known, 0)
        if reduction == "none":
            return losses
        return losses.sum() if reduction == "sum" else losses.sum() / known.sum().clamp_min(1)

    def loss_weight(self, targets: "torch.Tensor", class_weights: "torch.Tensor | None") -> float:
        return int((targets >= 0).sum().item())

    def num_correct(self, logits: "torch.Tensor", labels: "torch.Tensor") -> "torch.Tensor":
        """Return how many images have no wrong label."""
        return (((logits >= 0) == (labels == 1)) | (labels < 0)).all(1).sum()

    def probabilities(self, logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
        scaled = np.asarray(logits, dtype=np.float64) / temperature
        small = np.exp(-np.abs(scaled))  # no overflow
        return np.where(scaled >= 0, 1, small) / (1 + small)

    def activate(self, logits: "torch.Tensor") -> "torch.Tensor":
        return logits.sigmoid()

    def logits_of(self, probabilities: "torch.Tensor") -> "torch.Tensor":
        return probabilities.clamp_min(TINY).log() - (1 - probabilities).clamp_min(TINY).log()

    def label_losses(self, logits: np.ndarray, labels: np.ndarray, temperature: float) -> np.ndarray:
        """Return (N,), each image's sum over its known labels."""
        scaled = logits / temperature
        losses = np.maximum(scaled, 0) - scaled * (labels == 1) + np.log1p(np.exp(-np.abs(scaled)))
        return np.where(labels >= 0, losses, 0).sum(1)

    def decide(self, probabilities: np.ndarray) -> np.ndarray:
        """Return (N, C) booleans: the labels that images are said to have."""
        return probabilities >= self.threshold

    def is_right(self, probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return (N,) booleans: none of an image's known labels is wrong."""
        right = (self.decide(probabilities) == (labels == 1)) | (labels < 0)
        return right.all(1) & np.isfinite(probabilities).all(1)

    def log_losses(self, probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return (N,), each image's mean over its known labels; NaN where none is known."""
        chances = np.where(labels == 1, probabilities, 1 - probabilities).astype(np.float64)
        known = labels >= 0
        losses = np.where(known, -np.log(np.clip(chances, TINY, 1)), 0)
        with np.errstate(invalid="ignore"):
            return losses.sum(1) / known.sum(1)


SINGLE_LABEL: Task = SingleLabel()
MULTI_LABEL: Task = MultiLabel()
TASKS = {task.name: task for task in (SINGLE_LABEL, MULTI_LABEL)}


def task_of(several: bool) -> Task:
    """Return the task of data whose images have several labels, or one class each."""
    return MULTI_LABEL if several else SINGLE_LABEL
