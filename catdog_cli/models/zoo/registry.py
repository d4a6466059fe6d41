"""The registry of networks: how each is built, where its last Linear sits, which blocks it runs through.

A backbone is torchvision's own model with its last `Linear` replaced by `Identity`: (B, 3, H, W) in,
(B, feature_dim) out. torch is imported inside the functions, so that listing names costs nothing.
"""

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...errors import SettingsError
from ...settings import InputSpec

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Row:
    """One first-class arch: where the last Linear sits, and its forward pass as an ordered list of blocks.

    A block is named by one module or by several joined with "+"; `NAME.*` is every child of NAME;
    "flatten" and "mean" are the steps that torchvision writes as functions.
    """

    linear: str
    blocks: tuple[str, ...]


_VGG = Row("classifier.6", ("features.*", "avgpool+flatten", "classifier.*"))
_RESNET = Row(
    "fc",
    ("conv1+bn1+relu+maxpool", "layer1.*", "layer2.*", "layer3.*", "layer4.*", "avgpool+flatten"),
)
FIRST_CLASS: dict[str, Row] = {
    "alexnet": _VGG,
    "vgg11": _VGG,
    "vgg16": _VGG,
    "resnet18": _RESNET,
    "resnet50": _RESNET,
    "mobilenet_v2": Row("classifier.1", ("features.*", "mean", "classifier.*")),
    "simple_cnn": Row("classifier", ("features.*", "mean")),
}
SIMPLE_CNN_SPEC = InputSpec(size=128, resize=128)


def arch_names() -> list[str]:
    """Return every arch that catdog can train: first-class rows, then torchvision's other classifiers."""
    return [*FIRST_CLASS, *(name for name in _torchvision_names() if name not in FIRST_CLASS)]


def _torchvision_names() -> list[str]:
    from ...runtime.vision import torchvision

    names = torchvision.models.list_models(module=torchvision.models)
    return [name for name in names if not name.startswith("squeezenet")]  # ends in a convolution


def check_arch(arch: str) -> None:
    """Raise SettingsError unless `arch` is a network that catdog can train."""
    if arch in FIRST_CLASS or arch in _torchvision_names():
        return
    if arch.startswith("squeezenet"):
        raise SettingsError(f"{arch!r} ends in a convolution, not in a Linear, so a head cannot replace it.")
    close = difflib.get_close_matches(arch, arch_names(), 3)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    raise SettingsError(f"Unknown arch {arch!r}: {hint}`catdog info` lists all of them.")


def build_model(arch: str) -> "nn.Module":
    """Build the whole network, as torchvision has it, with random weights.

    Raises:
        SettingsError: no such arch.
    """
    check_arch(arch)
    if arch == "simple_cnn":
        from .simple_cnn import SimpleCNN

        return SimpleCNN()
    from ...runtime.vision import torchvision

    return torchvision.models.get_model(arch, weights=None, **_build_options(arch))


def _build_options(arch: str) -> dict[str, object]:
    """Return what torchvision's builders set by themselves when they are asked for their own weights."""
    if arch in ("googlenet", "inception_v3"):
        # their weights expect another mean and std, which they make from the usual ones;
        # their own initialisation takes minutes
        return {"transform_input": True, "init_weights": False}
    if arch.startswith("vit_"):  # the size is built in
        from ...runtime.vision import torchvision

        return {"image_size": torchvision.models.get_model_weights(arch).DEFAULT.meta["min_size"][0]}
    return {}


def split_head(model: "nn.Module", arch: str) -> int:
    """Replace the last Linear of `model` by Identity, drop auxiliary heads; return the feature size."""
    from torch import nn

    for auxiliary in ("aux1", "aux2", "AuxLogits"):
        if getattr(model, auxiliary, None) is not None:
            setattr(model, auxiliary, None)
            model.aux_logits = False
    path = linear_path(model, arch)
    feature_dim = model.get_submodule(path).in_features
    model.set_submodule(path, nn.Identity())
    parent, _, last = path.rpartition(".")
    before = f"{parent}.{int(last) - 1}" if parent and last.isdecimal() and int(last) else None
    if before and isinstance(model.get_submodule(before), nn.Dropout):
        model.set_submodule(before, nn.Identity())  # the head has a dropout of its own
    return feature_dim


def linear_path(model: "nn.Module", arch: str) -> str:
    """Return the dotted name of the network's last Linear."""
    from torch import nn

    if arch in FIRST_CLASS:
        return FIRST_CLASS[arch].linear
    return [name for name, module in model.named_modules() if isinstance(module, nn.Linear)][-1]


def split_blocks(backbone: "nn.Module", arch: str) -> list[tuple[str, "nn.Module"]]:
    """Return the backbone's forward pass as ordered (name, module) pairs; run in turn they equal it.

    An arch without a row of its own is one block. The modules share their parameters with `backbone`.
    """
    if arch not in FIRST_CLASS:
        return [("backbone", backbone)]
    blocks = []
    for entry in FIRST_CLASS[arch].blocks:
        if entry.endswith(".*"):
            parent = backbone.get_submodule(entry[:-2])
            blocks += [(f"{entry[:-2]}.{name}", child) for name, child in parent.named_children()]
        else:
            blocks.append(_join(backbone, entry))
    return _drop_placeholders(blocks)


def _join(backbone: "nn.Module", entry: str) -> tuple[str, "nn.Module"]:
    from torch import nn

    from .simple_cnn import MeanPool

    functions = {"flatten": nn.Flatten, "mean": MeanPool}
    names = entry.split("+")
    parts = [functions[name]() if name in functions else backbone.get_submodule(name) for name in names]
    label = {"conv1": "stem", "avgpool": "pool", "mean": "pool"}.get(names[0], names[0])
    return label, parts[0] if len(parts) == 1 else nn.Sequential(*parts)


def _drop_placeholders(blocks: list) -> list:
    from torch import nn

    return [(name, block) for name, block in blocks if not isinstance(block, nn.Identity)]


def input_spec(arch: str, weights: str) -> InputSpec:
    """Return how `weights` ("imagenet", "none" or a file) of `arch` expect pictures.

    For torchvision's own weights that is their own preset. A file does not say how it was trained, so it
    gets the preset's size, mean and std, and the whole shorter side, resized with bicubic weights: nothing
    is cut off but the ends of the longer side.
    """
    if arch == "simple_cnn":
        return SIMPLE_CNN_SPEC
    from ...runtime.vision import torchvision

    preset = torchvision.models.get_model_weights(arch).DEFAULT.transforms()
    if weights != "imagenet":
        size = preset.crop_size[0]
        return InputSpec(size, size, tuple(preset.mean), tuple(preset.std), "bicubic")
    return InputSpec(
        size=preset.crop_size[0],
        resize=max(preset.crop_size[0], preset.resize_size[0]),
        mean=tuple(preset.mean),
        std=tuple(preset.std),
        interpolation=preset.interpolation.value,
    )
