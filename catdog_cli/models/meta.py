"""Networks with shapes and names but without numbers: built at once and in no memory, whatever their size.

Used to load checkpoints (their tensors replace the empty ones), to tell whose weights a file holds, and to
describe networks.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from ..errors import SettingsError
from ..settings_networks import split_arch
from .classifier import with_versions
from .zoo.registry import source_of

FILLS = {
    torch.Tensor.normal_,
    torch.Tensor.uniform_,
    nn.init.normal_,
    nn.init.uniform_,
    nn.init.trunc_normal_,
}
# Up to here a picture's way through a network of zeros on the CPU is found out sooner than the meta device
# imports sympy and torch's compiler.
SMALL_PX, SMALL_PARAMETERS = 256, 30_000_000


class _OnlyShapes(TorchFunctionMode):
    """Leaves out random numbers, for which the meta device would import sympy, and small sums on the CPU.

    RegNet computes the widths of its layers with tensors.
    """

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        given = kwargs or {}
        if func in FILLS:
            target: torch.Tensor = args[0] if args else given["tensor"]
            if target.is_meta:
                return target
        if func in (torch.arange, torch.tensor):
            given = {"device": "cpu", **given}
        return func(*args, **given)


@contextlib.contextmanager
def meta_networks() -> Iterator[None]:
    """Build every network in this context on torch's meta device."""
    with torch.device("meta"), _OnlyShapes():
        yield


class _NoRandomNumbers(TorchFunctionMode):
    """Leaves numbers as they are where a network would draw them: what is wanted of it is something else."""

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        given = kwargs or {}
        if func in FILLS:
            return args[0] if args else given["tensor"]
        return func(*args, **given)


def compute_buffers(arch: str, backbone: nn.Module) -> None:
    """Give the empty backbone of `arch` the buffers that no state_dict has: they are computed, not trained.

    Swin's and others' tables of relative positions are such. Nothing happens where there are none.
    """
    networks = split_arch(arch)
    if len(networks) > 1:
        for network, part in zip(networks, backbone.children(), strict=True):
            compute_buffers(network, part)
        return
    missing = {name for name, _ in backbone.named_buffers()} - set(backbone.state_dict())
    if not missing:
        return
    source = source_of(arch)
    with torch.device("cpu"), _NoRandomNumbers():
        model = source.build(arch)
        source.split_head(model, arch)
    for name in missing:
        parent, _, own_name = name.rpartition(".")
        setattr(backbone.get_submodule(parent), own_name, model.get_buffer(name))


def check_image_size(arch: str, size: int) -> None:
    """Raise SettingsError unless `arch` takes pictures of `size` x `size` px; costs well under a second."""
    for network in split_arch(arch):
        _check_size(network, size)


def _check_size(arch: str, size: int) -> None:
    source = source_of(arch)
    with meta_networks():
        model = source.build(arch)
        source.split_head(model, arch)
    small = size <= SMALL_PX and sum(part.numel() for part in model.parameters()) <= SMALL_PARAMETERS
    device = "cpu" if small else "meta"
    try:
        with torch.inference_mode():
            if small:
                zeros = {name: torch.zeros(t.shape, dtype=t.dtype) for name, t in model.state_dict().items()}
                model.load_state_dict(with_versions(model, zeros), assign=True)
                compute_buffers(arch, model)
            model.to(device).eval()(torch.zeros(1, 3, size, size, device=device))
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = " ".join(str(error).split())[:100].rstrip(".")
        raise SettingsError(
            f"{arch} takes no pictures of {size} px ({reason}): leave out --image-size, or give another."
        ) from error
