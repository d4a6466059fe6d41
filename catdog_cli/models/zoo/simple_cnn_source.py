"""The source of `simple_cnn`, catdog's own network, which has no weights to download."""

from pathlib import Path
from typing import TYPE_CHECKING

from ...settings import InputSpec
from .source import Source

if TYPE_CHECKING:
    import torch
    from torch import nn


class SimpleCNNSource(Source):
    """One network, trained from scratch."""

    name = "catdog"
    first_class = ("simple_cnn",)

    def archs(self) -> list[str]:
        return list(self.first_class)

    def build(self, arch: str) -> "nn.Module":
        from .simple_cnn import SimpleCNN

        return SimpleCNN()

    def split_head(self, model: "nn.Module", arch: str) -> int:
        from .blocks import drop_linear

        return drop_linear(model, "classifier")

    def blocks(self, backbone: "nn.Module", arch: str) -> list[tuple[str, "nn.Module"]]:
        from .blocks import split_blocks

        return split_blocks(backbone, ("features.*", "mean"))

    def input_spec(self, arch: str, weights: str) -> InputSpec:
        return InputSpec(size=128, resize=128)

    def has_weights(self, arch: str) -> bool:
        return False

    def weights_path(self, arch: str) -> Path:
        raise FileNotFoundError(f"{arch} has no weights")

    def load_weights(self, arch: str) -> "dict[str, torch.Tensor]":
        raise FileNotFoundError(f"{arch} has no weights")

    def licence(self, arch: str) -> str:
        return "MIT"
