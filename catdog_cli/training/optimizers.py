"""Optimizers, their rates by block, and weight averaging."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from ..models.classifier import Classifier
from ..runtime.startup import without_compiler
from ..settings import Phase

SGD_MOMENTUM = 0.9


def build_optimizer(classifier: Classifier, phase: Phase) -> torch.optim.Optimizer:
    """Build the phase's optimizer over the trainable parameters, one group a block.

    With `layer_decay` below 1 a block's rate is learning_rate * layer_decay ** (blocks after it): earlier
    blocks hold more general features and move less (Howard and Ruder, arXiv 1801.06146, 3.2). Biases and
    norms are not decayed.
    """
    groups = list(_parameter_groups(classifier, phase))
    fused = all(parameter.device.type in ("cpu", "cuda") for group in groups for parameter in group["params"])
    if phase.optimizer in ("sgd", "lbfgs"):  # lbfgs solves in one go (`lbfgs_head`) and never steps this one
        return without_compiler(torch.optim.SGD)(
            groups, lr=phase.learning_rate, momentum=SGD_MOMENTUM, fused=fused
        )
    kind = torch.optim.Adam if phase.optimizer == "adam" else torch.optim.AdamW
    return without_compiler(kind)(groups, lr=phase.learning_rate, fused=fused)


def _parameter_groups(classifier: Classifier, phase: Phase) -> Iterator[dict]:
    parts = [*classifier.blocks, ("head", classifier.head)]
    seen: set[int] = set()
    for place, (name, part) in enumerate(parts):
        rate = phase.learning_rate * phase.layer_decay ** (len(parts) - 1 - place)
        fresh = [p for p in part.parameters() if p.requires_grad and id(p) not in seen]
        seen.update(map(id, fresh))
        for params, decay in (
            ([p for p in fresh if p.ndim > 1], phase.weight_decay),
            ([p for p in fresh if p.ndim <= 1], 0.0),
        ):
            if params:
                yield {"params": params, "lr": rate, "base_lr": rate, "weight_decay": decay, "name": name}


class WeightAverage:
    """An exponential moving average of a module's floating-point parameters and buffers.

    Early steps use a smaller decay, (1 + step) / (10 + step), so that the start is forgotten
    (as in TensorFlow's ExponentialMovingAverage).
    """

    def __init__(self, module: nn.Module, decay: float):
        self.decay, self.steps = decay, 0
        self.live = {
            name: tensor for name, tensor in module.state_dict().items() if tensor.is_floating_point()
        }
        self.kept = {name: tensor.detach().clone() for name, tensor in self.live.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the live values."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(list(self.kept.values()), list(self.live.values()), 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Put the averaged values into the module for the time of a `with` block."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, tensor in self.live.items():
            other = tensor.clone()
            tensor.copy_(self.kept[name])
            self.kept[name].copy_(other)

    def state_dict(self) -> dict:
        return {"steps": self.steps, "kept": {name: tensor.cpu() for name, tensor in self.kept.items()}}

    def load_state_dict(self, state: dict) -> None:
        self.steps = state["steps"]
        for name, tensor in state["kept"].items():
            self.kept[name].copy_(tensor)
