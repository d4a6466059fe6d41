"""What one phase works with, and what an epoch adds up; made by `setup`."""

import contextlib
import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import nn

from ..features.batches import FreshImages, KeptFeatures
from ..models.classifier import Classifier
from ..models.tasks import SINGLE_LABEL, Task
from ..runtime.distributed import SOLO, Group, processes
from ..runtime.memory import MicroBatch
from ..settings import Phase
from .optimizers import WeightAverage


@dataclass
class EpochSums:
    """Running sums over an epoch's pictures; saved in the middle of an epoch, so plain numbers."""

    loss: float = 0.0
    correct: float = 0.0
    seen: int = 0

    def mean(self, score: str = "accuracy") -> dict[str, float]:
        count = max(1, self.seen)
        return {"train_loss": self.loss / count, f"train_{score}": self.correct / count}


@dataclass(eq=False)
class PhaseRun:
    """What one phase works with; `suffix` is what trains."""

    classifier: Classifier
    suffix: Callable[[torch.Tensor], torch.Tensor]
    split_at: int
    phase: Phase
    index: int
    seed: int
    source: KeptFeatures | FreshImages
    val_source: KeptFeatures | FreshImages
    optimizer: torch.optim.Optimizer
    dtype: torch.dtype
    task: Task = SINGLE_LABEL
    class_weights: torch.Tensor | None = None
    average: WeightAverage | None = None
    micro_batch: MicroBatch = field(default_factory=MicroBatch)  # of training steps
    forward_batch: MicroBatch = field(default_factory=MicroBatch)  # of what needs no gradients
    folds: dict[str, float] = field(default_factory=dict)  # how a solved head did on held-out images
    norm_elements: list[int] | None = None  # that a picture brings to each norm, once they are counted

    def means(self, sums: EpochSums) -> dict[str, float]:
        """Return the means over an epoch's pictures, called as the history calls them."""
        return {**sums.mean(self.task.train_score), **self.folds}

    @functools.cached_property
    def training_norms(self) -> list["TrackingNorm"]:
        """The BatchNorms whose running statistics a step moves; asked for in training mode, then known."""
        norms = filter(is_training_norm, self.classifier.modules())
        return [cast(TrackingNorm, norm) for norm in norms if norm.running_mean is not None]

    @functools.cached_property
    def parameters(self) -> list[nn.Parameter]:
        """What a step moves; looking for it among all takes as long as a step of a head."""
        return [parameter for _, parameter in self.classifier.trainable_parameters()]

    @property
    def step_processes(self) -> Group:
        """The processes that share out each step: this one alone for a head on kept features.

        Its steps are shorter than an exchange: every process takes the same ones, with the same numbers.
        """
        return SOLO if self.is_head_alone else processes()

    def autocast(self, values: torch.Tensor) -> contextlib.AbstractContextManager[object]:
        """Use bfloat16 for blocks of the backbone; a head alone is too small to gain from it."""
        if self.dtype == torch.bfloat16 and self.split_at < len(self.classifier.blocks):
            return torch.autocast(values.device.type, self.dtype)
        return contextlib.nullcontext()

    @property
    def is_head_alone(self) -> bool:
        """Whether each step is just a head on features that are kept."""
        return isinstance(self.source, KeptFeatures) and self.split_at == len(self.classifier.blocks)


class TrackingNorm(nn.modules.batchnorm._BatchNorm):
    """A BatchNorm that has running statistics, as a type."""

    running_mean: torch.Tensor
    running_var: torch.Tensor
    num_batches_tracked: torch.Tensor


def is_training_norm(module: nn.Module) -> bool:
    """Return whether a module is a BatchNorm in training mode."""
    return isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training
