"""The source of torchvision's classifiers: all that end in a Linear, and squeezenet."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...settings import InputSpec
from .source import Source

if TYPE_CHECKING:
    import torch
    from torch import nn


FIRST_CLASS = ("alexnet", "vgg11", "vgg16", "resnet18", "resnet50", "mobilenet_v2")
_CLASSIFIER = ("features.*", "avgpool+flatten", "classifier.*")
# The blocks of each class of networks, written as for `split_blocks`; other classes are one block.
ROWS: dict[str, tuple[str, ...]] = {
    "AlexNet": _CLASSIFIER,
    "VGG": _CLASSIFIER,
    "ResNet": ("conv1+bn1+relu+maxpool", "layer1.*", "layer2.*", "layer3.*", "layer4.*", "avgpool+flatten"),
    "MobileNetV2": ("features.*", "mean", "classifier.*"),
    "MobileNetV3": _CLASSIFIER,
    "EfficientNet": ("features.**", "avgpool+flatten"),
    "ConvNeXt": ("features.**", "avgpool", "classifier.*"),
    "DenseNet": ("features.*", "relu+mean"),
    "RegNet": ("stem", "trunk_output.**", "avgpool+flatten"),
    "MNASNet": ("layers.**", "average()"),
    "SqueezeNet": ("features.*", "classifier"),
    "SwinTransformer": ("features.**", "norm+permute+avgpool+flatten"),
    "VisionTransformer": (
        "tokens(.,encoder.,conv_proj,encoder.dropout)",
        "encoder.layers.*",
        "encoder.ln+class_token()",
    ),
}
CHAINS = ("AnyStage",)  # classes that run their children in turn
_AUXILIARY = ("aux1", "aux2", "AuxLogits")  # heads for training from scratch: googlenet, inception_v3


class TorchvisionSource(Source):
    """torchvision's own models, preprocessing presets and weights."""

    name = "torchvision"
    first_class = FIRST_CLASS

    def archs(self) -> list[str]:
        models = _models()
        return list(models.list_models(module=models))

    def build(self, arch: str) -> "nn.Module":
        network: nn.Module = _models().get_model(arch, weights=None, **_build_options(arch))
        return network

    def split_head(self, model: Any, arch: str) -> int:
        from ..pooling import MeanPool
        from .blocks import drop_linear

        auxiliary = [name for name in _AUXILIARY if getattr(model, name, None) is not None]
        for name, value in {**dict.fromkeys(auxiliary), "aux_logits": False}.items() if auxiliary else ():
            setattr(model, name, value)
        if type(model).__name__ == "SqueezeNet":  # its classifier is a convolution, and a mean
            convolution = model.classifier[1]
            model.classifier = MeanPool()
            return int(convolution.in_channels)
        return drop_linear(model, _last_linear(model))

    def blocks(self, backbone: "nn.Module", arch: str) -> list[tuple[str, "nn.Module"]]:
        from .blocks import split_blocks

        return split_blocks(backbone, ROWS.get(type(backbone).__name__, ()), CHAINS, STEPS)

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

    def try_download(self, arch: str) -> None:
        from . import hub

        if not self.weights_path(arch).is_file():
            hub.try_address(_default_weights(arch).url)

    def load_weights(self, arch: str) -> "dict[str, torch.Tensor]":
        from ..safe_load import read_state_dict, rename_densenet

        path = self.weights_path(arch)
        if path.is_file():
            return read_state_dict(path)
        weights = _default_weights(arch)
        return rename_densenet(weights.get_state_dict(progress=False, check_hash=True, weights_only=True))

    def tag(self, arch: str) -> str:
        return str(_default_weights(arch).name)

    def licence(self, arch: str) -> str:
        return str(_default_weights(arch).meta.get("license", "BSD-3-Clause"))


def _tokens(network: Any, images: "torch.Tensor") -> "torch.Tensor":
    """Return a vision transformer's tokens, the class token first: (B, 3, H, W) -> (B, N, D)."""
    import torch

    patches = network._process_input(images)
    tokens = torch.cat([network.class_token.expand(len(patches), -1, -1), patches], dim=1)
    return network.encoder.dropout(tokens + network.encoder.pos_embedding)


def _class_token(network: Any, tokens: "torch.Tensor") -> "torch.Tensor":
    """Return what a vision transformer looks at in the end: (B, N, D) -> (B, D)."""
    return tokens[:, 0]


def _average(network: Any, features: "torch.Tensor") -> "torch.Tensor":
    return features.mean([2, 3])


# what the networks have as code in the middle of their forward pass
STEPS = {"tokens": _tokens, "class_token": _class_token, "average": _average}


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
