"""The pieces of an epoch: its plan of batches, the batches themselves, and the evaluation after it."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from ..data.loaders import CorruptImage
from ..evaluation.metrics import monitor_value, quick_metrics
from ..evaluation.multilabel.metrics import score_labels
from ..features.batches import Inputs
from ..models.inference_form.inference_form import InferenceForm
from ..models.tasks import Task
from ..runtime.distributed import processes
from ..runtime.seeds import generator_of
from ..settings import Phase
from .checkpointing import LAST_EPOCH, Progress, RunState, better, has_failed
from .hooks import check_logits
from .phase_run import PhaseRun

LEAST_FALL = 1e-3  # of the validation loss, as a share of it, that counts as a gain


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


def training_batches(run: PhaseRun, plan: list[torch.Tensor], epoch: int, start: int) -> Iterator[Inputs]:
    """Put the network into training mode and return this process's shares of the batches from `start` on."""
    run.classifier.train_unfrozen()
    shares = [run.step_processes.share(indices) for indices in plan[start:]]
    return iter(run.source.batches(shares, epoch))


def copy_weights_from_main(run: PhaseRun) -> None:
    """Give every process the weights that the main one has, so that rounding cannot part them."""
    processes().copy_from_main(run.classifier.moving_tensors())


@contextlib.contextmanager
def step_threads(run: PhaseRun) -> Iterator[None]:
    """Use one thread for a head on kept features: its steps are too short to be shared out."""
    before = torch.get_num_threads()
    if run.is_head_alone:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@torch.no_grad()
def evaluate_features(run: PhaseRun, keep: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return logits (N, num_classes) and labels of the readable validation pictures, on the CPU.

    Labels are (N,), or (N, num_classes) of several. With `keep` there is also what the head gets of each
    picture, (N, D), else (N, 0).

    The blocks run in the same fast form as in prediction, so that both say the same.
    """
    run.classifier.eval()
    device = next(run.classifier.head.parameters()).device
    blocks = nn.Sequential(*(block for _, block in run.classifier.blocks[run.split_at :]))
    fast = InferenceForm(blocks, run.dtype, device) if len(blocks) else None

    def forward(values: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            features = (values if fast is None else fast(values)).float()
            logits = run.classifier.head(features)
            return torch.cat([logits, features], 1) if keep else logits

    chosen, num_classes = run.val_source.chosen, run.classifier.num_classes
    outputs = torch.zeros(len(chosen), num_classes + keep * run.classifier.feature_dim)
    for parts, bad in processes().gather(lambda: _evaluate_share(run, forward)):
        chosen.note_bad(bad)
        for indices, part in parts:
            outputs[indices] = part
    good = chosen.good_indices()
    return outputs[good, :num_classes], chosen.labels[good], outputs[good, num_classes:]


def _evaluate_share(
    run: PhaseRun, forward: Callable[[torch.Tensor], torch.Tensor]
) -> tuple[list[tuple[torch.Tensor, torch.Tensor]], list[CorruptImage]]:
    """Return (places, logits) of this process's share of the validation pictures, and the unreadable ones."""
    values = run.val_source.map(lambda values: run.forward_batch.run(forward, values))
    parts = [(indices, part.cpu()) for indices, part in values]
    return parts, list(run.val_source.chosen.bad.values())


def measure(run: PhaseRun, state: RunState, train_loss: float) -> dict[str, float]:
    """Evaluate, with averaged weights where there are any, and keep the weights if they are the best.

    An epoch that has failed, its loss far above that of guessing, is never the best.

    Raises:
        CatdogError: the logits are not finite.
    """
    monitor, progress = run.phase.monitor, state.progress
    with run.average.applied() if run.average is not None else contextlib.nullcontext():
        logits, labels, features = evaluate_features(run, keep=state.learns_features)
        check_logits(run, logits)
        monitors = {monitor, state.monitor} - {LAST_EPOCH}
        metrics = processes().from_main(lambda: _score(run.task, logits, labels, monitors))
        row = {"phase": progress.phase, "phase_name": run.phase.name, "epoch": progress.epoch + 1, **metrics}
        failed = has_failed(train_loss, metrics["val_loss"], run.task.chance_loss(logits.shape[1]))
        improved = not failed and better(row, progress.phase_best, monitor, run.phase.min_delta)
        progress.patience = 0 if gains(row, improved, progress, run.phase) else progress.patience + 1
        state.note_best(row, improved, len(labels))
        if improved and state.unsaved_best:
            state.calibrate(logits, labels)
        state.note_features(features, labels, improved, is_average=run.average is not None)
    return metrics


def gains(row: dict[str, Any], improved: bool, progress: Progress, phase: Phase) -> bool:
    """Say whether an epoch is one by which patience goes on: what is watched improved, or the loss fell.

    The loss counts, too, because with few validation images the accuracy stands still for epochs in which the
    network still learns; by a thousandth at least, or it would creep on for ever.
    """
    best, name = progress.phase_best, f"val_{phase.monitor}"
    if best is None or phase.monitor == LAST_EPOCH or (improved and row[name] != best[name]):
        return True
    before = [past["val_loss"] for past in progress.history if past["phase"] == progress.phase]
    return row["val_loss"] < (1 - LEAST_FALL) * min(before) - phase.min_delta


def _score(task: Task, logits: torch.Tensor, labels: torch.Tensor, monitors: set[str]) -> dict[str, float]:
    probabilities = task.activate(logits).numpy()
    if task.several:
        metrics = score_labels(probabilities, labels.numpy(), monitors)
        return {f"val_{name}": value for name, value in metrics.items()}
    metrics = quick_metrics(probabilities, labels.numpy(), task)
    for name in sorted(monitors - metrics.keys()):
        metrics[name] = monitor_value(name, probabilities, labels.numpy(), task)
    return {f"val_{name}": value for name, value in metrics.items()}
