"""The learning-rate schedule: how the rates move from step to step."""

import math

import torch

from ..settings import Phase

STEP_DECAY = 0.1  # the step scheduler multiplies by this after each third of the epochs
WARMUP_START = 0.01
ONE_CYCLE_WARMUP = 0.3  # share of the steps; Smith and Topin, arXiv 1708.07120, as torch's OneCycleLR has it


def rate_factor(phase: Phase, step: int, steps_per_epoch: int) -> float:
    """Return what the rates are multiplied by at `step` (0-based, over the whole phase).

    A pure function of the step, so that a resumed run has the rates of one that was never stopped.
    """
    warmup = round(phase.warmup_epochs * steps_per_epoch)
    total = max(1, phase.epochs * steps_per_epoch)
    if phase.scheduler == "one-cycle":
        return _one_cycle(step, total)
    if step < warmup:
        return WARMUP_START + (1 - WARMUP_START) * step / warmup
    progress = (step - warmup) / max(1, total - warmup)
    if phase.scheduler == "cosine":
        return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    if phase.scheduler == "step":
        third = max(1, math.ceil(phase.epochs / 3))
        return STEP_DECAY ** (step // steps_per_epoch // third)
    return 1.0


def _one_cycle(step: int, total: int) -> float:
    """Rise from 1/25 to 1, then fall to 1/250,000, along half cosines."""
    top = max(1, ONE_CYCLE_WARMUP * total)
    if step < top:
        return 1 / 25 + (1 - 1 / 25) * 0.5 * (1 - math.cos(math.pi * step / top))
    return 4e-6 + (1 - 4e-6) * 0.5 * (1 + math.cos(math.pi * min(1, (step - top) / max(1, total - top))))


def set_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Give every group its base rate times `factor`."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor
