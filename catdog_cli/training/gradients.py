"""The gradients of a batch that several micro-batches or processes compute: parts and sums."""

from dataclasses import dataclass, field

import torch

from ..data.loaders import CorruptImage
from .batchnorm import RunningStatistics
from .phase_run import PhaseRun


@dataclass
class Share:
    """What a process says of its share of a batch: sums over its images, and what the others must know."""

    loss: float = 0.0  # over the planned images of the whole batch
    weight: float = 0.0  # by which the batch's loss is divided: images, or their class weights
    correct: int = 0
    seen: int = 0
    bad: list[CorruptImage] = field(default_factory=list)
    micro_batch: int = 0  # images at once that fit here; 0 for all

    def add(self, loss: float, weight: float, correct: int) -> None:
        """Add a micro-batch."""
        self.loss += loss
        self.weight += weight
        self.correct += correct


def drop_gradients(run: PhaseRun) -> None:
    """Forget all gradients, as the optimizer would, but for what it writes down for profilers."""
    for parameter in run.parameters:
        parameter.grad = None


@torch.no_grad()
def read_loss(
    run: PhaseRun, loss: torch.Tensor, logits: torch.Tensor, targets: torch.Tensor, labels: torch.Tensor
) -> tuple[float, float, int]:
    """Return the loss, by what it is divided for a mean, and the number of right answers.

    Waits for a GPU, once a step, so that a loss gone wrong stops the run at once.
    """
    correct = run.task.num_correct(logits, labels)
    weight = run.task.loss_weight(targets, run.class_weights)
    return loss.item(), weight, int(correct.item())


def join_gradients(run: PhaseRun, factor: float, statistics: RunningStatistics) -> None:
    """Add up the gradients and statistics of all processes; `factor` makes them those of the mean loss."""
    if run.step_processes.size > 1:
        for parameter in run.parameters:
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        if not statistics.sums:
            statistics.take(0, [0] * len(statistics.norms))
        run.step_processes.add([p.grad for p in run.parameters if p.grad is not None])
        run.step_processes.add(statistics.sums)  # in float64
    gradients = [parameter.grad for parameter in run.parameters if parameter.grad is not None]
    if factor != 1:
        torch._foreach_mul_(gradients, factor)
    if statistics.sums:
        statistics.settle()
