"""Several backbones side by side: each looks at its own input, and their features stand in a row."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import nn


class SideBySide(nn.ModuleList):
    """Backbones of several networks: a tuple of (B, 3, H, W), one each -> (B, sum of their feature_dim)."""

    def forward(self, inputs: Sequence[torch.Tensor]) -> torch.Tensor:
        return join_features(self, inputs)


def join_features(
    networks: Iterable[Callable[[torch.Tensor], torch.Tensor]], inputs: Sequence[torch.Tensor]
) -> torch.Tensor:
    """Return the features of each network of its own input, in a row: (B, sum of feature_dim)."""
    found = [network(part) for network, part in zip(networks, inputs, strict=True)]
    return found[0] if len(found) == 1 else torch.cat(found, 1)
