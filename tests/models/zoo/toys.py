"""A third source of networks, as a library with weights of its own would be: all of it in this file."""

from pathlib import Path

import torch
from torch import nn

from catdog_cli.models.safe_load import read_state_dict
from catdog_cli.models.zoo.blocks import drop_linear, split_blocks
from catdog_cli.models.zoo.source import Source
from catdog_cli.settings import InputSpec

WIDTHS = {"toy_thin": 4, "toy_wide": 6, "toy_odd": 3}
NO_WEIGHTS = "toy_odd"


class Toy(nn.Module):
    """One convolution and a mean."""

    def __init__(self, width: int):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, stride=2, padding=1)
        self.act = nn.ReLU()
        self.head = nn.Linear(width, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.act(self.stem(images)).mean((2, 3)))


class ToySource(Source):
    """Networks of three sizes; weights are downloaded to `folder`."""

    name = "toys"
    first_class = ("toy_thin",)

    def __init__(self, folder: Path):
        self.folder = folder

    def archs(self) -> list[str]:
        return list(WIDTHS)

    def why_not(self, arch: str) -> str:
        return "is made of wood" if arch == "toy_block" else ""

    def build(self, arch: str) -> nn.Module:
        return Toy(WIDTHS[arch])

    def split_head(self, model: nn.Module, arch: str) -> int:
        return drop_linear(model, "head")

    def blocks(self, backbone: nn.Module, arch: str) -> list[tuple[str, nn.Module]]:
        return split_blocks(backbone, ("stem+act", "mean") if arch in self.first_class else ())

    def input_spec(self, arch: str, weights: str) -> InputSpec:
        return InputSpec(16, 20, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bicubic")

    def has_weights(self, arch: str) -> bool:
        return arch != NO_WEIGHTS

    def weights_path(self, arch: str) -> Path:
        return self.folder / f"{arch}.pth"

    def load_weights(self, arch: str) -> dict[str, torch.Tensor]:
        if not self.weights_path(arch).is_file():
            raise OSError("the shop is closed")
        return read_state_dict(self.weights_path(arch))

    def licence(self, arch: str) -> str:
        return "CC0-1.0"
