"""The source of torchvision's classifiers: all that end in a Linear."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...settings import InputSpec
from .source import Source

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True)
class Row:
    """One first-class arch: where its last Linear sits, and its blocks, written as for `split_blocks`."""

    linear: str
    blocks: tuple[str, ...]


_VGG = Row("classifier.6", ("features.*", "avgpool+flatten", "classifier.*"))
_RESNET = Row(
    "fc",
    ("conv1+bn1+relu+maxpool", "layer1.*", "layer2.*", "layer3.*", "layer4.*", "avgpool+flatten"),
)
ROWS: dict[str, Row] = {
    "alexnet": _VGG,
    "vgg11": _VGG,
    "vgg16": _VGG,
    "resnet18": _RESNET,
    "resnet50": _RESNET,
    "mobilenet_v2": Row("classifier.1", ("features.*", "mean", "classifier.*")),
}
_AUXILIARY = ("aux1", "aux2", "AuxLogits")  # heads for training from scratch: googlenet, inception_v3
_CONVOLUTIONAL = "squeezenet"  # its classifier is a convolution


class TorchvisionSource(Source):
    """torchvision's own models, preprocessing presets and weights."""

    name = "torchvision"
    first_class = tuple(ROWS)

    def archs(self) -> list[str]:
        models = _models()
        return [name for name in models.list_models(module=models) if not name.startswith(_CONVOLUTIONAL)]

    def why_not(self, arch: str) -> str:
        if arch.startswith(_CONVOLUTIONAL):
            return "ends in a convolution, not in a Linear, so a head cannot replace it"
        return ""

    def build(self, arch: str) -> "nn.Module":
        network: nn.Module = _models().get_model(arch, weights=None, **_build_options(arch))
        return network

    def split_head(self, model: "nn.Module", arch: str) -> int:
        from .blocks import drop_linear

        auxiliary = [name for name in _AUXILIARY if getattr(model, name, None) is not None]
        for name, value in {**dict.fromkeys(auxiliary), "aux_logits": False}.items() if auxiliary else ():
            setattr(model, name, value)
        return drop_linear(model, ROWS[arch].linear if arch in ROWS else _last_linear(model))

    def blocks(self, backbone: "nn.Module", arch: str) -> list[tuple[str, "nn.Module"]]:
        from .blocks import split_blocks

        return split_blocks(backbone, ROWS[arch].blocks if arch in ROWS else ())

    def input_spec(self, arch: str, weights: str) -> InputSpec:
        """Return torchvision's own preset for its weights.

        A file does not say how it was trained, so it gets the preset's size, mean and std, and the whole
        shorter side, resized with bicubic weights: nothing is cut off but the ends of the longer side.
        """
        preset = _default_weights(arch).transforms()
        size, mean, std = preset.crop_size[0], tuple(preset.mean), tuple(preset.std)
        if weights != "imagenet":
            return InputSpec(size, size, mean, std, "bicubic")
        return InputSpec(size, max(size, preset.resize_size[0]), mean, std, preset.interpolation.value)

    def has_weights(self, arch: str) -> bool:
        return True

    def weights_path(self, arch: str) -> Path:
        import torch

        return Path(torch.hub.get_dir()) / "checkpoints" / Path(_default_weights(arch).url).name

    def load_weights(self, arch: str) -> "dict[str, torch.Tensor]":
        from ..safe_load import read_state_dict, rename_densenet

        path = self.weights_path(arch)
        if path.is_file():
            return read_state_dict(path)
        weights = _default_weights(arch)
        return rename_densenet(weights.get_state_dict(progress=False, check_hash=True, weights_only=True))

    def licence(self, arch: str) -> str:
        return str(_default_weights(arch).meta.get("license", "BSD-3-Clause"))


def _models() -> Any:
    """Return `torchvision.models`, which has no types of its own."""
    from ...runtime.vision import torchvision

    return torchvision.models


def _default_weights(arch: str) -> Any:
    return _models().get_model_weights(arch).DEFAULT


def _build_options(arch: str) -> dict[str, Any]:
    """Return what torchvision's builders set by themselves when they are asked for their own weights."""
    if arch in ("googlenet", "inception_v3"):
        # their weights expect another mean and std, which they make from the usual ones;
        # their own initialisation takes minutes
        return {"transform_input": True, "init_weights": False}
    if arch.startswith("vit_"):  # the size is built in
        return {"image_size": _default_weights(arch).meta["min_size"][0]}
    return {}


def _last_linear(model: "nn.Module") -> str:
    from torch import nn

    return [name for name, module in model.named_modules() if isinstance(module, nn.Linear)][-1]
