"""BatchNorm's running statistics of a batch that is worked on in parts.

Each part moves them from where they were before the step, towards its own mean and variance; here they are
put together to what the whole batch would have made of them.
"""

import contextlib
from collections.abc import Iterator

import torch
from torch import nn

from ..models.classifier import Classifier
from .phase_run import PhaseRun, TrackingNorm, is_training_norm


class RunningStatistics:
    """Those of the BatchNorms that train: as they were before a step, and what its parts make of them."""

    def __init__(self, norms: list[TrackingNorm]):
        self.norms = norms
        self.live = [tensor for norm in norms for tensor in (norm.running_mean, norm.running_var)]
        self.counters = [norm.num_batches_tracked for norm in norms]
        self.before = [tensor.clone() for tensor in (*self.live, *self.counters)]
        # over parts, to be added up over processes: four of each norm, float64
        self.sums: list[torch.Tensor] = []

    def undo(self) -> None:
        """Go back to before the step: it did not happen, or is tried again."""
        self.sums = []
        if self.live:
            torch._foreach_copy_([*self.live, *self.counters], self.before)

    def take(self, count: int, elements: list[int]) -> None:
        """Add what a part of `count` pictures made of them; the next part starts from before the step.

        `elements` is how many values of a channel a picture brings to each norm. A part of one picture has
        moved nothing (see `still`), and says nothing.
        """
        added: list[torch.Tensor] = []
        for index, norm in enumerate(self.norms):
            number = count * elements[index] if count > 1 else 0
            mean, variance = self.before[2 * index : 2 * index + 2]
            moved = norm.running_mean.double() - mean  # momentum * (the part's mean - that from before)
            rest = (1 - self._momentum(index)) * variance.double()
            part = norm.running_var - rest  # momentum * the part's variance
            added += [moved.new_full((1,), number), number * moved, number * moved**2]
            added.append(max(0, number - 1) * part)
        sums = self.sums
        self.undo()
        self.sums = list(torch._foreach_add(sums, added)) if sums else added

    def settle(self) -> None:
        """Set them to what the whole batch, all parts that were taken, would have made of them.

        With n values, mean m and variance v (over n - 1, as torch keeps it) a part, N and M in all:
        (N - 1) V = sum of (n - 1) v + sum of n (m - M)^2. (Chan, Golub and LeVeque, Updating Formulae and a
        Pairwise Algorithm for Computing Sample Variances, 1979; the law of total variance.) The last sum is
        taken about the mean from before, in float64, or it would vanish where a channel is far from 0.
        """
        for index, norm in enumerate(self.norms):
            number, first, second, within = self.sums[4 * index : 4 * index + 4]
            mean, variance = self.before[2 * index : 2 * index + 2]
            momentum, known = self._momentum(index), number > 1
            shift = first / number.clamp_min(1)
            between = (second - first * shift).clamp_min(0) / momentum
            joined = (1 - momentum) * variance + (within + between) / (number - 1).clamp_min(1)
            norm.running_mean.copy_(torch.where(known, mean + shift, mean))
            norm.running_var.copy_(torch.where(known, joined, variance))
        if self.counters:
            torch._foreach_add_(self.counters, 1)

    def _momentum(self, index: int) -> float:
        """Return the weight of this step's statistics; a norm without momentum keeps a mean of all steps."""
        momentum = self.norms[index].momentum
        return 1 / (1 + self.before[len(self.live) + index].item()) if momentum is None else momentum


@torch.no_grad()
def count_elements(
    classifier: Classifier, suffix: nn.Module, norms: list[TrackingNorm], values: torch.Tensor
) -> list[int]:
    """Return how many values of a channel a picture brings to each norm: (D,) with values (1, ...).

    0 for a norm that the suffix does not come by. Found by trying, with the first picture at hand.
    """
    found: dict[nn.Module, int] = dict.fromkeys(norms, 0)

    def note(norm: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        found[norm] = given[0][0, 0].numel()

    with contextlib.ExitStack() as stack:
        for norm in norms:
            stack.callback(norm.register_forward_pre_hook(note).remove)
        stack.enter_context(still(classifier))
        suffix(values)
    return list(found.values())


@contextlib.contextmanager
def still(classifier: Classifier) -> Iterator[None]:
    """Let BatchNorm use its running statistics, and leave them as they are."""
    norms = [module for module in classifier.modules() if is_training_norm(module)]
    for norm in norms:
        norm.eval()
    try:
        yield
    finally:
        for norm in norms:
            norm.train()


def one_image_mode(classifier: Classifier, count: int) -> contextlib.AbstractContextManager[None]:
    """Let BatchNorm use its running statistics for a batch of one, which has no variance."""
    return still(classifier) if count == 1 else contextlib.nullcontext()


def elements_per_image(run: PhaseRun, values: torch.Tensor) -> list[int]:
    """Return how many values an image brings to each norm that trains; tried once a phase.

    Before the step's seed is set: dropout may draw, and a resumed run tries it at another step.
    """
    if run.norm_elements is None:
        with run.autocast(values):
            suffix = run.classifier.suffix(run.split_at)
            run.norm_elements = count_elements(run.classifier, suffix, run.training_norms, values[:1])
    return run.norm_elements
