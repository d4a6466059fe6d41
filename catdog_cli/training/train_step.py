"""One training step: a batch in shares and micro-batches, with the gradients of the whole. Called by `steps`.

A process works on its share of the batch, and on fewer pictures at once where memory does not hold more. What
comes out is what the whole batch at once would give: gradients of its mean loss, BatchNorm's running
statistics as `norms` puts them together. (What BatchNorm makes of a picture still depends on the part that it
is in, as it does wherever several GPUs train.)
"""

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch.nn import functional as F

from ..data.loaders import CorruptImage
from ..errors import CatdogError
from ..features.batches import Inputs
from ..features.extractor import ImageSet
from ..models.classifier import Classifier
from ..runtime.distributed import Group
from ..runtime.memory import free_memory
from ..runtime.seeds import seed_torch
from .batchnorm import RunningStatistics, count_elements, still
from .mixup import mix_batch
from .phase_run import EpochSums, PhaseRun


@dataclass
class Share:
    """What a process says of its share of a batch: sums over its pictures, and what the others must know."""

    loss: float = 0.0  # over the planned pictures of the whole batch
    weight: float = 0.0  # by which the batch's loss is divided: pictures, or their class weights
    correct: int = 0
    seen: int = 0
    bad: list[CorruptImage] = field(default_factory=list)
    micro_batch: int = 0


def train_step(
    run: PhaseRun, key: tuple, batches: Iterator[Inputs], planned: int, sums: EpochSums, group: Group
) -> None:
    """Train on the next batch: forward, backward, clip, step; an error leaves the weights as they were.

    Args:
        key: (epoch, step, process), from which dropout and mixing draw.
        batches: gives this process's share.
        planned: how many pictures the whole batch has, unreadable ones included.
        group: the processes that share the batch; each must call this.

    Raises:
        CatdogError: the loss is not a finite number, or not even one picture fits into memory.
        LostProcessError: another process has ended.
    """
    statistics = RunningStatistics(run.training_norms)
    _drop_gradients(run)
    try:
        shares = group.gather(lambda: _compute(run, key, next(batches), planned, statistics, group))
        for share in shares:
            run.source.chosen.note_bad(share.bad)
            run.micro_batch.lower(share.micro_batch)
        weight, seen = sum(share.weight for share in shares), sum(share.seen for share in shares)
        if not seen:  # not one picture of the batch can be read
            return
        _join(run, group, planned / weight, statistics)
    except BaseException:
        statistics.undo()
        raise
    _move(run)
    sums.loss += sum(share.loss for share in shares) * (planned / weight) * seen
    sums.correct += sum(share.correct for share in shares)
    sums.seen += seen


def _drop_gradients(run: PhaseRun) -> None:
    for parameter in run.parameters:  # as the optimizer would, but for what it writes down for profilers
        parameter.grad = None


def _compute(
    run: PhaseRun, key: tuple, inputs: Inputs, planned: int, statistics: RunningStatistics, group: Group
) -> Share:
    """Leave the gradients of the share's losses over `planned` in place; in smaller parts until they fit."""
    share = Share(bad=inputs.bad, micro_batch=run.micro_batch.size)
    if not len(inputs.indices):
        return share
    while True:
        parts = run.micro_batch.parts(len(inputs.values))
        divided = len(parts) > 1 or group.size > 1
        elements = _elements(run, inputs.values) if divided else []
        seed_torch(run.seed, run.index, *key, "step")  # dropout, mixing
        num_classes = len(run.classifier.head.output.bias)
        values, targets = mix_batch(inputs.values, inputs.labels, num_classes, run.phase)
        share = Share(bad=inputs.bad, micro_batch=run.micro_batch.size, seen=len(values))
        try:
            for part in parts:
                rows = slice(part.start, part.stop)
                _backward(run, values[rows], targets[rows], inputs, rows, planned, share)
                if divided:
                    statistics.take(len(part), elements)
            return share
        except RuntimeError as error:
            run.micro_batch.shrink(error, len(parts[0]))
        statistics.undo()
        _drop_gradients(run)
        free_memory()


def _elements(run: PhaseRun, values: torch.Tensor) -> list[int]:
    """Return how many values a picture brings to each norm that trains; tried once a phase.

    Before the step's seed is set: dropout may draw, and a run that goes on tries it at another step.
    """
    if run.norm_elements is None:
        with _mixed(run, values):
            suffix = run.classifier.suffix(run.split_at)
            run.norm_elements = count_elements(run.classifier, suffix, run.training_norms, values[:1])
    return run.norm_elements


def _backward(
    run: PhaseRun,
    values: torch.Tensor,
    targets: torch.Tensor,
    inputs: Inputs,
    rows: slice,
    planned: int,
    share: Share,
) -> None:
    """Add the gradients of some rows of the share, and their sums."""
    with _one_image(run.classifier, len(values)), _mixed(run, values):
        logits = run.suffix(values)
    logits = logits.float()
    loss = F.cross_entropy(
        logits, targets, run.class_weights, reduction="sum", label_smoothing=run.phase.label_smoothing
    )
    loss = loss / planned
    value, weight, correct = _look(loss, logits, targets, inputs.labels[rows], run.class_weights)
    if not math.isfinite(value):
        places = inputs.indices[rows][:4].tolist()
        raise CatdogError(not_finite(run, run.source.chosen, places, f"The loss became {value}"))
    loss.backward()
    share.loss += value
    share.weight += weight
    share.correct += correct


@torch.no_grad()
def _look(
    loss: torch.Tensor,
    logits: torch.Tensor,
    targets: torch.Tensor,
    labels: torch.Tensor,
    class_weights: torch.Tensor | None,
) -> tuple[float, float, int]:
    """Return the loss, by what torch's cross_entropy divides it for a mean, and the number of right answers.

    Waits for a GPU, once a step, so that a loss gone wrong stops the run at once.
    """
    correct = (logits.argmax(1) == labels).sum()
    if class_weights is None or targets.is_floating_point():
        weight = len(targets)
    else:
        weight = class_weights[targets].sum().item()
    return loss.item(), weight, correct.item()


def _join(run: PhaseRun, group: Group, factor: float, statistics: RunningStatistics) -> None:
    """Add up the gradients and statistics of all processes; `factor` makes them those of the mean loss."""
    if group.size > 1:
        for parameter in run.parameters:
            if parameter.grad is None:  # this process had no pictures
                parameter.grad = torch.zeros_like(parameter)
        if not statistics.sums:
            statistics.take(0, [0] * len(statistics.norms))
        group.add([parameter.grad for parameter in run.parameters])
        group.add(statistics.sums)  # in float64
    gradients = [parameter.grad for parameter in run.parameters if parameter.grad is not None]
    if factor != 1:
        torch._foreach_mul_(gradients, factor)
    if statistics.sums:
        statistics.settle()


def _move(run: PhaseRun) -> None:
    """Clip and step; both see the gradients of the whole batch."""
    if run.phase.clip_norm:
        torch.nn.utils.clip_grad_norm_(run.parameters, run.phase.clip_norm)
    run.optimizer.step()
    if run.average is not None:
        run.average.update()


def _mixed(run: PhaseRun, values: torch.Tensor) -> contextlib.AbstractContextManager:
    """Use bfloat16 for blocks of the backbone; a head alone is too small to gain from it."""
    if run.dtype == torch.bfloat16 and run.split_at < len(run.classifier.blocks):
        return torch.autocast(values.device.type, run.dtype)
    return contextlib.nullcontext()


def _one_image(classifier: Classifier, count: int) -> contextlib.AbstractContextManager:
    """Let BatchNorm use its running statistics for a batch of one, which has no variance."""
    return still(classifier) if count == 1 else contextlib.nullcontext()


def not_finite(run: PhaseRun, chosen: ImageSet, places: list[int], what: str) -> str:
    """Return a sentence that says `what` went wrong, at which pictures, in which phase, and what to do."""
    paths = chosen.images.dataset.splits[chosen.images.split].paths
    names = ", ".join(repr(paths[i]) for i in places)
    where = f", at a batch with {names}" if names else ""
    return (
        f"{what} in phase {run.phase.name!r}{where}: lower the learning rate "
        f"({run.phase.learning_rate:g}) or clip gradients; the last good checkpoint is kept."
    )
