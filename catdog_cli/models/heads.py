"""The head: what replaces a network's last Linear."""

import torch
from torch import nn

from ..settings import HeadSpec

GAIN = 0.3  # standard deviation of what the head gets
NEARLY_CONSTANT = 0.1  # times the mean deviation: what a column's counts as at least
DEAD = 0.005  # times the largest deviation: a median below says that most columns tell nothing


class Standardise(nn.Module):
    """Subtract a mean and divide by a standard deviation, both fixed: (B, D) -> (B, D).

    Until `fit` is called it passes features through. A head on standardised features trains several
    times faster: every direction has the same scale (LeCun et al., Efficient BackProp, 1998, 4.3). They
    are brought to GAIN, not to 1: at 1 and the default rate a head on 2,000 pictures has its best epoch
    first and overfits from then on; at 0.3 its log loss falls through all five.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, feature_dim: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(feature_dim))
        self.register_buffer("std", torch.ones(feature_dim))

    @torch.no_grad()
    def fit(self, features: torch.Tensor) -> bool:
        """Take mean and deviation from `features` (N, D); nearly constant columns are not blown up.

        Where most columns are nearly constant, as those of a network that looks at far smaller images than it
        was trained on, all are divided by the largest deviation: any other one would be of noise, and would
        make enormous numbers of what the columns become once the network itself trains.

        Returns:
            Whether most columns are nearly constant.
        """
        self.mean.copy_(features.mean(0))
        std = features.std(0, correction=0)
        is_dead = bool(std.median() < DEAD * std.max())
        least = std.max() if is_dead else NEARLY_CONSTANT * std.mean()
        self.std.copy_(std.clamp_min(least.item() or 1.0) / GAIN)
        return is_dead

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        # (features - mean) / std in one pass; a step on kept features is little more than such passes
        return torch.addcmul(-self.mean / self.std, features, 1 / self.std)


class Dropout(nn.Dropout):
    """`nn.Dropout` that draws 15 bits an element on a CPU, where torch's own draw takes most of a step.

    The share dropped is `p` to 1/32768. Random numbers come from torch's global generator.
    """

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        if not self.training or not self.p or features.device.type != "cpu":
            return super().forward(features)
        words = torch.empty(-(-features.numel() // 4), dtype=torch.int64).random_()  # 63 random bits each
        bits = words.view(torch.int16)[: features.numel()].view(features.shape)
        dropped = round(self.p * 2**15)
        kept = bits.bitwise_and_(0x7FFF).ge_(dropped)  # 0 or 1, in int16: half the time of a bool
        return features * kept.to(features.dtype).mul_(1 / (1 - dropped / 2**15))


class Head(nn.Sequential):
    """Standardisation, hidden layers with ReLU and dropout, one output per class: (B, D) -> (B, C)."""

    norm: Standardise
    output: nn.Linear


def build_head(feature_dim: int, num_classes: int, spec: HeadSpec) -> Head:
    """Build a head; without hidden layers the dropout stands before the only Linear.

    Names of its modules: `norm`, `hiddenN`, `reluN`, `dropoutN` (or `dropout`), `output`.
    """
    layers = Head()
    layers.add_module("norm", Standardise(feature_dim))
    width = feature_dim
    for index, units in enumerate(spec.hidden_layers):
        layers.add_module(f"hidden{index}", nn.Linear(width, units))
        layers.add_module(f"relu{index}", nn.ReLU())
        layers.add_module(f"dropout{index}", Dropout(spec.dropout))
        width = units
    if not spec.hidden_layers:
        layers.add_module("dropout", Dropout(spec.dropout))
    layers.add_module("output", nn.Linear(width, num_classes))
    return layers
