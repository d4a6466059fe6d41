"""Cut a network: take its last Linear off, list the blocks that its forward pass goes through."""

from collections.abc import Sequence

from torch import nn

from ..pooling import MeanPool

Block = tuple[str, nn.Module]
_FUNCTIONS = {"flatten": nn.Flatten, "mean": MeanPool}  # steps that torchvision writes as functions
_LABELS = {"conv1": "stem", "avgpool": "pool", "mean": "pool"}


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


def split_blocks(backbone: nn.Module, entries: Sequence[str]) -> list[Block]:
    """Return the blocks that `entries` name, in order; without entries, the backbone as one block.

    An entry names one module, or several joined with "+" that are one block; `NAME.*` is every child of NAME;
    "flatten" and "mean" are steps without a module.
    """
    if not entries:
        return [("backbone", backbone)]
    blocks: list[Block] = []
    for entry in entries:
        if entry.endswith(".*"):
            parent = backbone.get_submodule(entry[:-2])
            blocks += [(f"{entry[:-2]}.{name}", child) for name, child in parent.named_children()]
        else:
            blocks.append(_join(backbone, entry.split("+")))
    return [(name, block) for name, block in blocks if not isinstance(block, nn.Identity)]


def _join(backbone: nn.Module, names: list[str]) -> Block:
    parts = [_FUNCTIONS[name]() if name in _FUNCTIONS else backbone.get_submodule(name) for name in names]
    return _LABELS.get(names[0], names[0]), parts[0] if len(parts) == 1 else nn.Sequential(*parts)
