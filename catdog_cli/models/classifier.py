"""Backbone and head as one network: freezing, blocks, prefix and suffix."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from torch import nn

from ..errors import SettingsError
from ..settings import HeadSpec
from ..settings_networks import split_arch
from .heads import build_head
from .pooling import ChannelsLastMean, MeanPool
from .side_by_side import SideBySide
from .zoo.registry import source_of

if TYPE_CHECKING:
    from torch.nn.modules.module import _IncompatibleKeys

# What is differentiated from its input, which torch copies before it works in place; ReLU6 is a Hardtanh
COPIED_FIRST = (nn.Hardtanh, nn.Hardswish, nn.SiLU)


class Network(NamedTuple):
    """One backbone of a classifier, with the (name, module) pairs that its forward pass goes through."""

    arch: str
    backbone: nn.Module
    feature_dim: int
    blocks: tuple[tuple[str, nn.Module], ...]

    def whole(self) -> nn.Sequential:
        """Return the blocks as one module that shares their parameters: (B, 3, H, W) -> (B, feature_dim)."""
        return nn.Sequential(*(block for _, block in self.blocks))

    @property
    def num_prefix_tokens(self) -> int:
        """How many tokens a transformer puts before those of its patches, as timm or torchvision says."""
        count = getattr(self.backbone, "num_prefix_tokens", None)
        return count if isinstance(count, int) else int(hasattr(self.backbone, "class_token"))


class Classifier(nn.Module):
    """A backbone with a head: (B, 3, H, W) normalised pictures -> (B, num_classes) logits.

    `blocks` are the (name, module) pairs that the backbone's forward pass goes through. Of several networks
    side by side (arch "a+b") the backbone takes a tuple of inputs, one each, and is one block.
    """

    def __init__(
        self,
        arch: str,
        networks: Sequence[Network],
        num_classes: int,
        head: HeadSpec,
        custom_head: nn.Module | None = None,
    ):
        super().__init__()
        self.arch, self.num_classes = arch, num_classes
        self.networks = tuple(networks)  # in a tuple: not registered a second time
        self.feature_dim = sum(network.feature_dim for network in networks)
        alone = len(networks) == 1
        self.backbone = networks[0].backbone if alone else SideBySide(each.backbone for each in networks)
        self.head = build_head(self.feature_dim, num_classes, head, custom_head)
        self._blocks = networks[0].blocks if alone else (("backbone", self.backbone),)

    @property
    def blocks(self) -> tuple[tuple[str, nn.Module], ...]:
        return self._blocks

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.backbone(images))

    def prefix(self, split_at: int) -> nn.Sequential:
        """Return the blocks before `split_at` as one module that shares their parameters."""
        return nn.Sequential(*(block for _, block in self.blocks[:split_at]))

    def suffix(self, split_at: int) -> "Suffix":
        """Return the blocks from `split_at` on and the head as one module to train, with their parameters."""
        suffix = Suffix(*(block for _, block in self.blocks[split_at:]), self.head)
        for module in suffix.modules():
            if isinstance(module, COPIED_FIRST):
                module.inplace = False
        return suffix

    def layers(self) -> list[tuple[str, nn.Module]]:
        """Return the backbone's leaf modules in order, as Keras's `base.layers` counts them.

        A module with parameters of its own beside its children, such as the tokens of a transformer, is
        one too and stands before them: every parameter belongs to exactly one layer.
        """
        return [(name, module) for name, module in self.backbone.named_modules() if _is_layer(module)]

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> "_IncompatibleKeys":
        """Load as torch does, from the plain dict of a checkpoint too."""
        return super().load_state_dict(with_versions(self, state_dict), strict, assign)

    def unfreeze(self, count: int | Literal["all"]) -> int:
        """Make the head and the last `count` leaf modules trainable, all else frozen; return the border.

        The border is the index of the first block with a trainable parameter. Takes effect on train and
        eval mode with `train_unfrozen`.

        Raises:
            SettingsError: the backbone has fewer leaf modules.
        """
        layers = self.layers()
        if count != "all" and count > len(layers):
            raise SettingsError(
                f"unfreeze is {count}, but {self.arch} has {len(layers)} layers: give at most that, or 'all'."
            )
        self._unfrozen = layers if count == "all" else layers[len(layers) - count :]
        for parameter in self.backbone.parameters():
            parameter.requires_grad_(False)
        for _, module in self._unfrozen:
            module.requires_grad_(True)
        self.head.requires_grad_(True)
        trainable = (i for i, (_, block) in enumerate(self.blocks) if _has_trainable(block))
        return next(trainable, len(self.blocks))

    def train_unfrozen(self) -> None:
        """Put what is unfrozen in training mode, and all else, BatchNorm and dropout too, in eval mode."""
        self.eval()
        if len(self._unfrozen) == len(self.layers()):
            self.train()
        for _, module in self._unfrozen:
            module.train()
        self.head.train()

    def moving_names(self) -> set[str]:
        """Return the names in `state_dict` that training may change: what is unfrozen, buffers included."""
        if len(self._unfrozen) == len(self.layers()):
            return set(self.state_dict())
        prefixes = ("head.", *(f"backbone.{name}." for name, _ in self._unfrozen))
        return {name for name in self.state_dict() if name.startswith(prefixes)}

    def moving_tensors(self) -> list[torch.Tensor]:
        """Return what `moving_names` names, in the order of `state_dict`, sharing its memory."""
        moving = self.moving_names()
        return [tensor for name, tensor in self.state_dict().items() if name in moving]

    def trainable_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield the (name, parameter) pairs that receive gradients."""
        return ((name, p) for name, p in self.named_parameters() if p.requires_grad)


class Suffix(nn.Sequential):
    """Blocks in a row, between which gradients have the layout in memory of what they are gradients of.

    That of a pooled mean comes back channels-first, and torch's BatchNorm takes ten times as long to go
    back where its output is channels-last and its gradient is not.
    """

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        for block in self:
            if isinstance(block, MeanPool) and _has_layout_to_keep(values):
                values = ChannelsLastMean.apply(values)
                continue
            values = block(values)
            if _has_layout_to_keep(values):
                values.register_hook(_channels_last)
        return values


def _has_layout_to_keep(values: torch.Tensor) -> bool:
    if values.ndim != 4 or not values.requires_grad or torch.compiler.is_compiling():
        return False
    return values.is_contiguous(memory_format=torch.channels_last)


def _channels_last(gradient: torch.Tensor) -> torch.Tensor:
    return gradient.contiguous(memory_format=torch.channels_last)


def _is_layer(module: nn.Module) -> bool:
    if isinstance(module, nn.Identity):
        return False
    return not any(True for _ in module.children()) or any(True for _ in module.parameters(recurse=False))


def with_versions(module: nn.Module, state_dict: Mapping[str, Any]) -> "OrderedDict[str, Any]":
    """Return `state_dict` with the versions that torch keeps beside it; MNASNet loads nothing without."""
    versioned = OrderedDict(state_dict)
    vars(versioned)["_metadata"] = vars(module.state_dict())["_metadata"]
    return versioned


def _has_trainable(module: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters())


def build_classifier(
    arch: str, num_classes: int, head: HeadSpec, seed: int = 0, custom_head: nn.Module | None = None
) -> Classifier:
    """Build a classifier with random weights drawn from `seed`, leaving torch's generator as it was.

    `custom_head` is the module that a custom head is a copy of, weights included. Each of several networks
    has the numbers that it has alone.
    """
    with torch.random.fork_rng(devices=[]):
        networks = [_build_network(each, seed) for each in split_arch(arch)]
        torch.manual_seed(seed + 1)  # the head's numbers do not depend on the arch
        return Classifier(arch, networks, num_classes, head, custom_head)


def _build_network(arch: str, seed: int) -> Network:
    source = source_of(arch)
    torch.manual_seed(seed)
    model = source.build(arch)
    feature_dim = source.split_head(model, arch)
    return Network(arch, model, feature_dim, tuple(source.blocks(model, arch)))
