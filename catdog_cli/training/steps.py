"""One epoch of training and one evaluation: the only place where gradients are made. Called by the engine."""

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from ..errors import CatdogError
from ..models.classifier import Classifier
from ..models.fast import FastForm
from ..settings import Phase
from .features import PictureSet
from .mixing import mix_batch
from .optim import Average, rate_factor, set_rates
from .seeds import generator_of, seed_torch
from .sources import FreshPictures, Inputs, KeptFeatures


@dataclass
class EpochSums:
    """Running sums over an epoch's pictures; saved in the middle of an epoch, so plain numbers."""

    loss: float = 0.0
    correct: float = 0.0
    seen: int = 0

    def mean(self) -> dict[str, float]:
        count = max(1, self.seen)
        return {"train_loss": self.loss / count, "train_accuracy": self.correct / count}


@dataclass(eq=False)
class PhaseRun:
    """What one phase works with; `suffix` is what trains, wrapped by Accelerate."""

    classifier: Classifier
    suffix: nn.Module
    border: int
    phase: Phase
    index: int
    seed: int
    source: KeptFeatures | FreshPictures
    val_source: KeptFeatures | FreshPictures
    optimizer: torch.optim.Optimizer
    accelerator: object
    dtype: torch.dtype
    class_weights: torch.Tensor | None = None
    average: Average | None = None


def plan_epoch(run: PhaseRun, epoch: int) -> list[torch.Tensor]:
    """Return the epoch's batches: places in the split, shuffled, or drawn so that classes are equal.

    Unreadable pictures are planned too and leave their batch later: when they are found out differs
    between runs with and without kept features, or stopped and resumed, and the order must not.
    A last batch of one picture joins the one before it, or BatchNorm could not tell a variance.
    """
    labels = run.source.chosen.labels
    generator = generator_of(run.seed, run.index, epoch, "order")
    if run.phase.sampler == "balanced":
        weights = 1.0 / torch.bincount(labels).clamp_min(1)[labels].double()
        order = torch.multinomial(weights, len(labels), replacement=True, generator=generator)
    else:
        order = torch.randperm(len(labels), generator=generator)
    batches = list(order.split(run.phase.batch_size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


def train_epoch(
    run: PhaseRun,
    epoch: int,
    start: int,
    sums: EpochSums,
    after_step: Callable[[int, int, EpochSums], None],
) -> None:
    """Train from batch `start` of an epoch on (both counted from 0), adding to `sums`.

    `after_step(done, total, sums)` is called behind every batch; it may raise to stop.

    Raises:
        CatdogError: the loss is not a finite number.
    """
    train_batches(run, epoch, plan_epoch(run, epoch), start, sums, after_step)


def train_batches(
    run: PhaseRun,
    epoch: int,
    plan: list[torch.Tensor],
    start: int,
    sums: EpochSums,
    after_step: Callable[[int, int, EpochSums], None],
) -> None:
    """Train on the batches of `plan` from `start` on; see `train_epoch`."""
    rank, processes = run.accelerator.process_index, run.accelerator.num_processes
    shares = [part[rank::processes] for part in plan[start:]]
    run.classifier.train_unfrozen()
    with _threads_for(run):
        for step, inputs in enumerate(run.source.batches(shares, epoch), start):
            run.source.chosen.note_bad(inputs.bad)
            set_rates(run.optimizer, rate_factor(run.phase, epoch * len(plan) + step, len(plan)))
            if len(inputs.indices):
                train_step(run, (epoch, step, rank), inputs, len(plan[step]) / processes, sums)
            after_step(step + 1, len(plan), sums)


@contextlib.contextmanager
def _threads_for(run: PhaseRun) -> Iterator[None]:
    """Use one thread for a head on kept features: its steps are too short to be shared out."""
    before = torch.get_num_threads()
    if isinstance(run.source, KeptFeatures) and run.border == len(run.classifier.blocks):
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def _one_picture(classifier: Classifier, inputs: Inputs) -> Iterator[None]:
    """Let BatchNorm use its running statistics for a batch of one, which has no variance."""
    norms = []
    if len(inputs.indices) == 1:
        norms = [
            m for m in classifier.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training
        ]
    for norm in norms:
        norm.eval()
    yield
    for norm in norms:
        norm.train()


def train_step(run: PhaseRun, key: tuple, inputs: Inputs, share: float, sums: EpochSums) -> None:
    """Forward, backward, clip, step. `share` is the batch's size, by process, before unreadable ones left."""
    phase = run.phase
    seed_torch(run.seed, run.index, *key, "step")  # dropout, mixing
    values, targets = mix_batch(inputs.values, inputs.labels, len(run.classifier.head.output.bias), phase)
    mixed = torch.autocast(inputs.values.device.type, run.dtype, enabled=_mixed(run, values))
    with _one_picture(run.classifier, inputs), mixed:
        logits = run.suffix(values)
    logits = logits.float()
    loss = F.cross_entropy(
        logits, targets, run.class_weights, reduction="mean", label_smoothing=phase.label_smoothing
    )
    value = loss.item()  # waits for a GPU, once a step, so that a loss gone wrong stops the run at once
    if not math.isfinite(value):
        raise CatdogError(
            not_finite(run, run.source.chosen, inputs.indices[:4].tolist(), f"The loss became {value}")
        )
    run.optimizer.zero_grad(set_to_none=True)
    run.accelerator.backward(
        loss * (len(inputs.indices) / share) if run.accelerator.num_processes > 1 else loss
    )
    if phase.clip_norm:
        run.accelerator.clip_grad_norm_(
            [p for _, p in run.classifier.trainable_parameters()], phase.clip_norm
        )
    run.optimizer.step()
    if run.average is not None:
        run.average.update()
    sums.loss += value * len(inputs.indices)
    sums.correct += (logits.detach().argmax(1) == inputs.labels).sum().item()
    sums.seen += len(inputs.indices)


def _mixed(run: PhaseRun, values: torch.Tensor) -> bool:
    """Use bfloat16 for blocks of the backbone; a head alone is too small to gain from it."""
    return run.dtype == torch.bfloat16 and run.border < len(run.classifier.blocks)


def not_finite(run: PhaseRun, chosen: PictureSet, places: list[int], what: str) -> str:
    """Return a sentence that says `what` went wrong, at which pictures, in which phase, and what to do."""
    paths = chosen.pictures.dataset.splits[chosen.pictures.split].paths
    names = ", ".join(repr(paths[i]) for i in places)
    where = f", at a batch with {names}" if names else ""
    return (
        f"{what} in phase {run.phase.name!r}{where}: lower the learning rate "
        f"({run.phase.learning_rate:g}) or clip gradients; the last good checkpoint is kept."
    )


@torch.no_grad()
def evaluate(run: PhaseRun) -> tuple[torch.Tensor, torch.Tensor]:
    """Return logits (N, num_classes) and labels (N,) of the readable validation pictures, on the CPU.

    The blocks run in the same fast form as in prediction, so that both say the same.
    """
    run.classifier.eval()
    device = next(run.classifier.head.parameters()).device
    blocks = nn.Sequential(*(block for _, block in run.classifier.blocks[run.border :]))
    fast = FastForm(blocks, run.dtype, device) if len(blocks) else None

    def forward(values: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return run.classifier.head((values if fast is None else fast(values)).float())

    chosen = run.val_source.chosen
    logits = torch.zeros(len(chosen), run.classifier.head.output.out_features)
    for indices, part in run.val_source.map(forward):
        logits[indices] = part.cpu()
    good = chosen.good_indices()
    return logits[good], chosen.labels[good]
