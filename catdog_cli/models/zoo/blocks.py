"""Cut a network: take its last Linear off, list the blocks that its forward pass goes through."""

import operator
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import torch
from torch import nn

from ..pooling import MeanPool

Block = tuple[str, nn.Module]
StepFunction = Callable[[nn.Module, torch.Tensor], torch.Tensor]
# steps that torchvision writes as functions
_FUNCTIONS: dict[str, Callable[[], nn.Module]] = {"flatten": nn.Flatten, "mean": MeanPool, "relu": nn.ReLU}
_LABELS = {
    **dict.fromkeys(("conv1", "conv_stem", "patch_embed"), "stem"),
    **dict.fromkeys(("avgpool", "global_pool", "mean"), "pool"),
}


def drop_linear(model: nn.Module, path: str) -> int:
    """Replace the Linear at the dotted name `path`, and a dropout before it, by Identity.

    Returns:
        How many features the Linear took.
    """
    linear = model.get_submodule(path)
    if not isinstance(linear, nn.Linear):
        raise TypeError(f"{path} is a {type(linear).__name__}, not a Linear")
    model.set_submodule(path, nn.Identity())
    parent, _, last = path.rpartition(".")
    before = f"{parent}.{int(last) - 1}" if parent and last.isdecimal() and int(last) else None
    if before and isinstance(model.get_submodule(before), nn.Dropout):
        model.set_submodule(before, nn.Identity())  # the head has a dropout of its own
    return linear.in_features


def split_blocks(
    backbone: nn.Module,
    entries: Sequence[str],
    chains: Collection[str] = (),
    steps: Mapping[str, StepFunction] = {},
) -> list[Block]:
    """Return the blocks that `entries` name, in order; without entries, the backbone as one block.

    An entry names one module, or several joined with "+" that are one block; `NAME.*` is every child of NAME,
    and `NAME.**` goes on with the children of those that run theirs in turn: a Sequential, or a class whose
    name is in `chains`. "flatten", "mean" and "relu" are steps without a module, where the network has no
    module of that name. `NAME(HELD,...)` is a step that the network has as code: the function of `steps` with
    that name, or else its method; HELD are the modules that the step runs, and `MODULE.`, or "." for the
    network itself, those whose own parameters it needs.
    """
    if not entries:
        return [("backbone", backbone)]
    blocks: list[Block] = []
    for entry in entries:
        name = entry.rstrip("*").rstrip(".")
        if entry.endswith(".*"):
            children = backbone.get_submodule(name).named_children()
            blocks += [(f"{name}.{key}", child) for key, child in children]
        elif entry.endswith(".**"):
            blocks += _unroll(name, backbone.get_submodule(name), chains)
        else:
            blocks.append(_join(backbone, entry.split("+"), steps))
    return [(name, block) for name, block in blocks if not isinstance(block, nn.Identity)]


def _unroll(name: str, module: nn.Module, chains: Collection[str]) -> Iterator[Block]:
    """Yield what a module runs in turn, and of that what runs its children in turn itself."""
    for key, child in module.named_children():
        path = f"{name}.{key}"
        if type(child) in (nn.Sequential, nn.ModuleList) or type(child).__name__ in chains:
            yield from _unroll(path, child, chains)
        else:
            yield path, child


def _join(backbone: nn.Module, names: list[str], steps: Mapping[str, StepFunction]) -> Block:
    parts = [_part(backbone, name, steps) for name in names]
    parts = [part for part in parts if not isinstance(part, nn.Identity)] or [nn.Identity()]
    return _LABELS.get(names[0], names[0]), parts[0] if len(parts) == 1 else nn.Sequential(*parts)


def _part(backbone: nn.Module, name: str, steps: Mapping[str, StepFunction]) -> nn.Module:
    called = re.fullmatch(r"(\w+)\((.*)\)", name)
    if called:
        function = steps.get(called[1]) or getattr(type(backbone), called[1])
        return Step(backbone, function, called[2].split(",") if called[2] else [])
    if name in _FUNCTIONS and not hasattr(backbone, name):
        return _FUNCTIONS[name]()
    return backbone.get_submodule(name)


class Step(nn.Module):
    """A step of a network that is code and no module of it; it holds parts of the network, but not all of it.

    Args:
        network: whose step it is.
        function: takes the network and the step's input, returns its output.
        held: as in `split_blocks`; a part that the network does not have is left out.
    """

    def __init__(self, network: nn.Module, function: StepFunction, held: Sequence[str]):
        super().__init__()
        self._step = (network, function)  # in a tuple: not registered
        for path in held:
            name = path.rstrip(".").replace(".", "_") or "network"
            part = network if path == "." else operator.attrgetter(path.rstrip("."))(network)
            if part is not None:
                self.add_module(name, _OwnTensors(part) if path.endswith(".") else part)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        network, function = self._step
        return function(network, inputs)


class _OwnTensors(nn.Module):
    """A module's own parameters and buffers without those of its children: the very dicts that hold them, so
    that one that is put in the place of another is in both.
    """

    def __init__(self, owner: nn.Module):
        super().__init__()
        self._parameters, self._buffers = owner._parameters, owner._buffers
        self._non_persistent_buffers_set = owner._non_persistent_buffers_set
