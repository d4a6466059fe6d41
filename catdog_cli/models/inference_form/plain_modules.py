"""Modules that do several things at once, taken apart into torch's own, which tracing and fusing know.

timm's are known by their names: it need not be installed for this file.
"""

import math
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import fx, nn
from torch.nn import functional as F

Kind = TypeVar("Kind", bound=nn.Module)
Pair = tuple[int, int]
# What timm's activations are called in torch; the others of timm do what no module of torch does.
ACTIVATIONS = {"Swish": nn.SiLU, "HardSwish": nn.Hardswish, "HardSigmoid": nn.Hardsigmoid, "GELU": nn.GELU}


class SamePad(nn.Module):
    """TensorFlow's padding, zeros on both sides and one more at the end: (B, C, H, W) -> (B, C, H', W').

    How many depends on the input's size, so that a convolution gives ceil(size / stride).
    """

    def __init__(self, conv: nn.Conv2d):
        super().__init__()
        rows, columns = zip(conv.kernel_size, conv.stride, conv.dilation, strict=True)
        self.geometry: tuple[tuple[int, ...], tuple[int, ...]] = (rows, columns)

    def amounts(self, shape: torch.Size) -> tuple[Pair, Pair]:
        """Return the zeros (before, after) the rows and the columns of an input of `shape`."""
        rows, columns = (_same(size, *each) for size, each in zip(shape[2:], self.geometry, strict=True))
        return rows, columns

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        rows, columns = self.amounts(inputs.shape)
        return F.pad(inputs, (*columns, *rows))


def _same(size: int, kernel: int, stride: int, dilation: int) -> Pair:
    needed = (math.ceil(size / stride) - 1) * stride + (kernel - 1) * dilation + 1
    total = max(needed - size, 0)
    return total // 2, total - total // 2


class PlainTracer(fx.Tracer):
    """torch.fx's tracer, to which the padding is one step: its numbers depend on the input.

    While it traces, torch.fx hears every call of every module in the process. Those of other threads, which
    compute with other networks meanwhile, are none of its business and go through.
    """

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.get_ident()

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if threading.get_ident() != self._thread:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        if threading.get_ident() != self._thread:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, SamePad) or super().is_leaf_module(m, module_qualified_name)


def take_apart(network: nn.Module) -> nn.Module:
    """Put plain modules for what does several things at once, in place; `network` is in evaluation."""
    for name, child in network.named_children():
        plain = _plain(child)
        if plain is child:
            take_apart(child)
        else:
            setattr(network, name, plain)
    return network


def _plain(module: nn.Module) -> nn.Module:
    """Return torch's modules for one of timm's, sharing its tensors; others as they are."""
    kind = type(module)
    if not kind.__module__.startswith("timm."):
        return module
    if kind.__name__ == "BatchNormAct2d":
        return nn.Sequential(
            _as(nn.BatchNorm2d, module),
            _plain(module.get_submodule("drop")),
            _plain(module.get_submodule("act")),
        )
    if kind.__name__ == "Conv2dSame":
        conv = _as(nn.Conv2d, module)
        return nn.Sequential(SamePad(conv), conv)
    return ACTIVATIONS[kind.__name__]() if kind.__name__ in ACTIVATIONS else module


def _as(kind: type[Kind], module: nn.Module) -> Kind:
    """Return a module of a parent class with the same state, but for children."""
    plain = kind.__new__(kind)
    plain.__dict__.update({**vars(module), "_modules": {}})
    return plain
