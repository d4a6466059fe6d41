"""Cut a network: take its last Linear off, list the blocks that its forward pass goes through."""

from collections.abc import Collection, Iterator, Sequence

from torch import nn

from ..pooling import MeanPool

Block = tuple[str, nn.Module]
_FUNCTIONS = {"flatten": nn.Flatten, "mean": MeanPool}  # steps that torchvision writes as functions
_LABELS = {"conv1": "stem", "conv_stem": "stem", "avgpool": "pool", "global_pool": "pool", "mean": "pool"}


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


def split_blocks(backbone: nn.Module, entries: Sequence[str], chains: Collection[str] = ()) -> list[Block]:
    """Return the blocks that `entries` name, in order; without entries, the backbone as one block.

    An entry names one module, or several joined with "+" that are one block; `NAME.*` is every child of NAME,
    and `NAME.**` goes on with the children of those that run theirs in turn: a Sequential, or a class whose
    name is in `chains`. "flatten" and "mean" are steps without a module.
    """
    if not entries:
        return [("backbone", backbone)]
    blocks: list[Block] = []
    for entry in entries:
        name, _, stars = entry.partition(".*")
        if entry.endswith("*"):
            blocks += _children(name, backbone.get_submodule(name), chains if stars else None)
        else:
            blocks.append(_join(backbone, entry.split("+")))
    return [(name, block) for name, block in blocks if not isinstance(block, nn.Identity)]


def _children(name: str, parent: nn.Module, chains: Collection[str] | None) -> Iterator[Block]:
    """Yield the children of a module, and with `chains` the children of those that run theirs in turn."""
    for own_name, child in parent.named_children():
        path = f"{name}.{own_name}"
        is_chain = type(child) is nn.Sequential or type(child).__name__ in (chains or ())
        if chains is not None and is_chain:
            yield from _children(path, child, chains)
        else:
            yield path, child


def _join(backbone: nn.Module, names: list[str]) -> Block:
    parts = [_FUNCTIONS[name]() if name in _FUNCTIONS else backbone.get_submodule(name) for name in names]
    parts = [part for part in parts if not isinstance(part, nn.Identity)] or [nn.Identity()]
    return _LABELS.get(names[0], names[0]), parts[0] if len(parts) == 1 else nn.Sequential(*parts)
