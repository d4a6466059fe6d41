"""`simple_cnn`: a small network of our own to train from scratch, and the pooling that blocks need."""

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


def _stage(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2, ceil_mode=True),  # ceil: pictures down to 8 px still have something to pool
    )


class SimpleCNN(nn.Module):
    """Five stages of convolution, BatchNorm, ReLU and pooling, then a global mean: 256 features."""

    def __init__(self, num_classes: int = 1000, channels: tuple[int, ...] = (16, 32, 64, 128, 256)):
        super().__init__()
        self.features = nn.Sequential(*map(_stage, (3, *channels[:-1]), channels))
        self.pool = MeanPool()
        self.classifier = nn.Linear(channels[-1], num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.pool(self.features(images)))
