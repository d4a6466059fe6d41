"""Global average pooling, in torch's own way and with a gradient that is made channels-last."""

from typing import Any

import torch
from torch import nn


class MeanPool(nn.Module):
    """Global average pooling and flattening: (B, C, H, W) -> (B, C)."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return nn.functional.adaptive_avg_pool2d(images, (1, 1)).flatten(1)


class ChannelsLastMean(torch.autograd.Function):
    """`MeanPool` with the same gradient, made channels-last at once: (B, C, H, W) -> (B, C).

    Torch makes it channels-first, in float32 under autocast, and turning that takes longer than making it.
    """

    @staticmethod
    def forward(ctx: Any, images: torch.Tensor) -> torch.Tensor:
        ctx.shape, ctx.dtype = images.shape, images.dtype
        return MeanPool()(images)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        count, channels, height, width = ctx.shape
        share = (gradient / (height * width)).to(ctx.dtype).view(count, 1, 1, channels)
        return share.expand(count, height, width, channels).contiguous().permute(0, 3, 1, 2)
