"""One epoch of training and one evaluation, in shares where there are several processes; for the engine."""

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import nn

from ..data.loaders import CorruptImage
from ..models.inference_form.inference_form import InferenceForm
from ..runtime.seeds import generator_of
from .optimizers import rate_factor, set_rates
from .phase_run import EpochSums, PhaseRun
from .train_step import train_step


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
    group = run.step_group
    shares = [group.share(part) for part in plan[start:]]
    run.classifier.train_unfrozen()
    with _threads_for(run):
        batches = iter(run.source.batches(shares, epoch))
        for step in range(start, len(plan)):
            set_rates(run.optimizer, rate_factor(run.phase, epoch * len(plan) + step, len(plan)))
            train_step(run, (epoch, step, group.rank), batches, len(plan[step]), sums, group)
            after_step(step + 1, len(plan), sums)


@contextlib.contextmanager
def _threads_for(run: PhaseRun) -> Iterator[None]:
    """Use one thread for a head on kept features: its steps are too short to be shared out."""
    before = torch.get_num_threads()
    if run.is_head_alone:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@torch.no_grad()
def evaluate(run: PhaseRun) -> tuple[torch.Tensor, torch.Tensor]:
    """Return logits (N, num_classes) and labels (N,) of the readable validation pictures, on the CPU.

    The blocks run in the same fast form as in prediction, so that both say the same.
    """
    run.classifier.eval()
    device = next(run.classifier.head.parameters()).device
    blocks = nn.Sequential(*(block for _, block in run.classifier.blocks[run.split_at :]))
    fast = InferenceForm(blocks, run.dtype, device) if len(blocks) else None

    def forward(values: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return run.classifier.head((values if fast is None else fast(values)).float())

    chosen = run.val_source.chosen
    logits = torch.zeros(len(chosen), run.classifier.head.output.out_features)
    for parts, bad in run.group.gather(lambda: _evaluate_share(run, forward)):
        chosen.note_bad(bad)
        for indices, part in parts:
            logits[indices] = part
    good = chosen.good_indices()
    return logits[good], chosen.labels[good]


def _evaluate_share(
    run: PhaseRun, forward: Callable[[torch.Tensor], torch.Tensor]
) -> tuple[list[tuple[torch.Tensor, torch.Tensor]], list[CorruptImage]]:
    """Return (places, logits) of this process's share of the validation pictures, and the unreadable ones."""
    values = run.val_source.map(lambda values: run.forward_batch.run(forward, values), run.group)
    parts = [(indices, part.cpu()) for indices, part in values]
    return parts, list(run.val_source.chosen.bad.values())
