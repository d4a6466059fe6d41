"""What a network's outputs mean: which targets and loss it is trained with, how they become an answer.

Whatever stands between a network's logits and a number or a name asks a `Task`: the training step, the solved
head, evaluation, calibration, prediction. `SINGLE_LABEL` (one class an image) is the only one so far;
another one, such as several labels an image, is another object of this shape.
"""

from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    import torch

TINY = float(np.finfo(np.float32).tiny)  # what a float32 softmax rounds to 0 counts as this: 87 nats


class Task(Protocol):
    """Targets, loss, activation, decision, and how right an answer is. B, N: images; C: classes."""

    name: str

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


SINGLE_LABEL: Task = SingleLabel()
