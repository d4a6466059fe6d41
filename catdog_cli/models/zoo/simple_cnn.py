"""`simple_cnn`: a small network of our own to train from scratch."""

import torch
from torch import nn

from ..pooling import MeanPool


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
