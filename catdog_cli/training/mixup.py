"""Mixup and cutmix of a batch, in the input of whatever trains: pictures, activations or features."""

import torch

from ..models.tasks import Task
from ..settings import Phase


def mix_batch(
    values: torch.Tensor, labels: torch.Tensor, num_classes: int, task: Task, phase: Phase
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mix every picture of a batch with another one, as the phase's `mixup` and `cutmix` alphas say.

    With both above 0 each batch uses one of them, by chance. Random numbers come from torch's global
    generator. mixup: Zhang et al., arXiv 1710.09412; on activations it is manifold mixup, arXiv 1806.05236.
    cutmix: Yun et al., arXiv 1905.04899; what has no height and width is mixed up instead.

    Returns:
        values (B, ...), and labels as given or, if mixed, probabilities (B, num_classes).
    """
    if not phase.mixup and not phase.cutmix:
        return values, labels
    order = torch.randperm(len(values)).to(values.device)
    cut = bool(phase.cutmix) and (not phase.mixup or torch.rand(()).item() < 0.5)
    alpha = phase.cutmix if cut else phase.mixup
    share = torch.distributions.Beta(alpha, alpha).sample().item()
    if cut and values.dim() == 4:
        values, share = _paste(values, order, share)
    else:
        values = torch.lerp(values[order], values, share)
    targets = task.soft_targets(labels, num_classes)
    return values, share * targets + (1 - share) * targets[order]


def _paste(values: torch.Tensor, order: torch.Tensor, share: float) -> tuple[torch.Tensor, float]:
    """Paste a rectangle of the other pictures; return the values and the share that was really kept."""
    height, width = values.shape[2:]
    side = (1 - share) ** 0.5
    middle = torch.rand(2)
    top, bottom = _span(middle[0].item() * height, side * height, height)
    left, right = _span(middle[1].item() * width, side * width, width)
    mixed = values.clone()
    mixed[:, :, top:bottom, left:right] = values[order, :, top:bottom, left:right]
    return mixed, 1 - (bottom - top) * (right - left) / (height * width)


def _span(middle: float, length: float, limit: int) -> tuple[int, int]:
    return max(0, round(middle - length / 2)), min(limit, round(middle + length / 2))
