"""Convolutions that apply what follows them before they write: one kernel instead of two or three.

An activation after a convolution reads and writes all of its output again, which in bfloat16 costs as much
as the convolution. oneDNN, which torch uses on x86, computes `activation(conv(x) + other)` in one go; torch
offers it to its own compiler as `torch.ops.mkldnn._convolution_pointwise`, and needs no compiler for it.
"""

import copy
import functools
import operator
from collections.abc import Callable
from typing import Any, TypeGuard

import torch
from torch import fx, nn
from torch.nn import functional as F

from ...runtime.vision import torchvision
from .plain_modules import SamePad

Activation = tuple[str, list[float], str]  # oneDNN's name, its numbers, its algorithm
ADDITIONS = (operator.add, operator.iadd, torch.add)
ACTIVATIONS: dict[type[nn.Module], Callable[[Any], Activation]] = {
    nn.ReLU: lambda module: ("relu", [], ""),
    nn.ReLU6: lambda module: ("hardtanh", [0.0, 6.0], ""),
    nn.Hardswish: lambda module: ("hardswish", [], ""),
    nn.SiLU: lambda module: ("swish", [], ""),
    nn.GELU: lambda module: ("gelu", [], module.approximate),
}


# oneDNN's activations make a number of NaN, as after an overflow, which must stay to be seen: a network with
# larger weights than this, or none that are numbers, has gone wrong and runs as it is.
LARGEST = 1e4
NOTHING: Activation = ("none", [], "")
# The same activations in torch's own words, for whoever needs their gradient.
GRADIENTS: dict[str, Callable[[torch.Tensor, list[float], str], torch.Tensor]] = {
    "none": lambda values, numbers, algorithm: values,
    "relu": lambda values, numbers, algorithm: F.relu(values),
    "hardtanh": lambda values, numbers, algorithm: F.hardtanh(values, numbers[0], numbers[1]),
    "hardswish": lambda values, numbers, algorithm: F.hardswish(values),
    "swish": lambda values, numbers, algorithm: F.silu(values),
    "gelu": lambda values, numbers, algorithm: F.gelu(values, approximate=algorithm),
}


class FusedConv(nn.Module):
    """activation(conv(x) + other): x (B, C, H, W) channels-last on the CPU, `other` shaped as the output.

    `pad` comes before the convolution: oneDNN then reads zeros beyond the edge, where padding by itself would
    copy all of x and take up to five times as long as the convolution.
    """

    def __init__(
        self, conv: nn.Conv2d, activation: Activation, dtype: torch.dtype, pad: SamePad | None = None
    ):
        super().__init__()
        self.padding, self.pad = conv.padding, pad
        self.geometry = (conv.stride, conv.dilation, conv.groups)
        self.weight = conv.weight.detach().to(dtype)
        self.arranged: tuple[torch.Size, torch.Tensor, tuple] | None = None
        self.bias = None if conv.bias is None else conv.bias.detach().to(dtype)
        self.activation = activation

    def forward(self, inputs: torch.Tensor, other: torch.Tensor | None = None) -> torch.Tensor:
        if inputs.requires_grad and torch.is_grad_enabled():
            return self._differentiable(inputs, other)
        weight, padding = self._arrange(inputs.shape)
        conv = (weight, self.bias, padding, *self.geometry)
        if other is None:
            return torch.ops.mkldnn._convolution_pointwise(inputs, *conv, *self.activation)
        activated = self.activation != NOTHING
        if other.shape[2:] == (1, 1):  # torch 2.11 fails there
            summed = torch.ops.mkldnn._convolution_pointwise(inputs, *conv, *NOTHING) + other
            return summed.relu() if activated else summed  # a sum has no other activation
        unary = self.activation if activated else (None, [], None)
        return torch.ops.mkldnn._convolution_pointwise.binary(inputs, other, *conv, "add", 1.0, *unary)

    def _differentiable(self, inputs: torch.Tensor, other: torch.Tensor | None) -> torch.Tensor:
        """Return the same in torch's own steps, in the dtype of `inputs`: oneDNN's have no gradient."""
        weight, padding = self._pad_kernel(inputs.shape)
        bias = None if self.bias is None else self.bias.to(inputs.dtype)
        stride, dilation, groups = self.geometry
        found = F.conv2d(inputs, weight.to(inputs.dtype), bias, stride, padding, dilation, groups)
        found = found if other is None else found + other
        name, numbers, algorithm = self.activation
        return GRADIENTS[name](found, numbers, algorithm)

    def __deepcopy__(self, memo: dict[int, Any]) -> "FusedConv":
        own = type(self).__new__(type(self))
        memo[id(self)] = own
        kept = {**vars(self), "arranged": None}  # in a layout that torch does not copy
        vars(own).update(copy.deepcopy(kept, memo))
        return own

    def _arrange(self, shape: torch.Size) -> tuple[torch.Tensor, tuple]:
        """Return weights and padding as oneDNN wants them for inputs of `shape`, of any batch size.

        In another layout they are arranged again at every call: 145 ms for 512 x 512 kernels of 3 x 3, whose
        own work on 7 x 7 pixels takes 3. The last layout is kept, in one tuple, for threads share it.
        """
        arranged = self.arranged
        if arranged is None or arranged[0] != shape[1:]:
            weight, padding = self._pad_kernel(shape)
            geometry = (padding, *self.geometry, list(shape))
            reordered = torch.ops.mkldnn._reorder_convolution_weight(weight, *geometry)
            self.arranged = arranged = (shape[1:], reordered, padding)
        return arranged[1:]

    def _pad_kernel(self, shape: torch.Size) -> tuple[torch.Tensor, tuple]:
        """Return weights and a padding that is the same on both sides, as oneDNN wants it, for `shape`.

        Where one more zero belongs behind the image than before it, the kernel gets a first row of zeros and
        begins one pixel earlier.
        """
        if self.pad is None:
            return self.weight, tuple(self.padding)
        (top, bottom), (left, right) = self.pad.amounts(shape)
        return F.pad(self.weight, (right - left, 0, bottom - top, 0)), (bottom, right)


@functools.cache
def can_fuse(dtype: torch.dtype = torch.float32) -> bool:
    """Return whether oneDNN's fused convolutions are here and compute what they should.

    In bfloat16 they need a processor with AVX-512 or AVX_NE_CONVERT.
    """
    if not torch.backends.mkldnn.is_available():
        return False
    conv = nn.Conv2d(16, 16, 1).requires_grad_(False)
    for name, parameter in conv.named_parameters():
        nn.init.constant_(parameter, 0.25 if name == "weight" else 0)
    inputs = torch.arange(-8.0, 8.0, dtype=dtype).view(1, 16, 1, 1).repeat(1, 1, 2, 2)
    try:
        alone = FusedConv(conv, ("hardtanh", [-1.0, 6.0], ""), dtype)(inputs)
        summed = FusedConv(conv, ("relu", [], ""), dtype)(inputs, inputs)
        return torch.equal(alone, torch.full_like(inputs, -1)) and torch.equal(summed, (inputs - 2).relu())
    except (AttributeError, RuntimeError, TypeError):  # an operator that is not there, or is another one
        return False


def fuse_convolutions(traced: fx.GraphModule, dtype: torch.dtype) -> fx.GraphModule:
    """Put a FusedConv for each convolution of a traced network, with the sum and the activation behind it.

    For inference on the CPU, in `dtype`. `traced` is changed.
    """
    modules = dict(traced.named_modules())
    _drop_identities(traced, modules)
    for index, node in enumerate(list(traced.graph.nodes)):
        conv = _module_of(node, modules)
        if _is_plain(conv):
            _replace(traced, node, conv, modules, f"fused_{index}", dtype)
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced


def _is_plain(conv: nn.Module | None) -> TypeGuard[nn.Conv2d]:
    """Return whether a module is a convolution that oneDNN takes, with numbers that do not overflow."""
    if type(conv) is not nn.Conv2d or conv.padding_mode != "zeros" or isinstance(conv.padding, str):
        return False
    numbers = [conv.weight] if conv.bias is None else [conv.weight, conv.bias]
    return all(bool(each.abs().max() < LARGEST) for each in numbers)  # and not where one is NaN


def _drop_identities(traced: fx.GraphModule, modules: dict[str, nn.Module]) -> None:
    """Take out what does nothing in evaluation, so that a sum stands right behind its convolution."""
    for node in list(traced.graph.nodes):
        dropout = isinstance(_module_of(node, modules), (nn.Dropout, nn.Identity))
        if dropout or (node.op == "call_function" and node.target is torchvision.ops.stochastic_depth):
            node.replace_all_uses_with(node.args[0])
            traced.graph.erase_node(node)


def _replace(
    traced: fx.GraphModule,
    node: fx.Node,
    conv: nn.Conv2d,
    modules: dict[str, nn.Module],
    name: str,
    dtype: torch.dtype,
) -> None:
    last, arguments = node, node.args
    addition = _only_user(node)
    if addition is not None and _adds(addition):
        last, arguments = addition, (*node.args, _other(addition, node))
    summed = last is not node
    replaced = [last, node] if summed else [node]
    pad, padded = _padding_before(node, conv, modules)
    if padded is not None:
        arguments = (padded.args[0], *arguments[1:])
        replaced.append(padded)
    activation, user = _activation(last, modules)
    if user is not None and (not summed or activation[0] == "relu"):  # a sum takes no other
        replaced.insert(0, user)
    else:
        activation = NOTHING
    traced.add_submodule(name, FusedConv(conv, activation, dtype, pad))
    with traced.graph.inserting_before(replaced[0]):
        fused = traced.graph.call_module(name, arguments)
    replaced[0].replace_all_uses_with(fused)
    for dead in replaced:
        traced.graph.erase_node(dead)


def _padding_before(
    node: fx.Node, conv: nn.Conv2d, modules: dict[str, nn.Module]
) -> tuple[SamePad | None, fx.Node | None]:
    """Return the padding that is for the convolution at `node` alone, and its node; else None twice."""
    padded = node.args[0]
    pad = _module_of(padded, modules) if isinstance(padded, fx.Node) else None
    if not isinstance(padded, fx.Node) or not isinstance(pad, SamePad):
        return None, None
    if _only_user(padded) is not node or conv.dilation != (1, 1):  # a kernel with gaps cannot begin earlier
        return None, None
    return pad, padded


def _activation(node: fx.Node, modules: dict[str, nn.Module]) -> tuple[Activation, fx.Node | None]:
    """Return the activation that alone uses what `node` gives, and its node; else NOTHING and None."""
    user = _only_user(node)
    module = _module_of(user, modules)
    if module is None or type(module) not in ACTIVATIONS:
        return NOTHING, None
    return ACTIVATIONS[type(module)](module), user


def _module_of(node: fx.Node | None, modules: dict[str, nn.Module]) -> nn.Module | None:
    return modules.get(str(node.target)) if node is not None and node.op == "call_module" else None


def _only_user(node: fx.Node) -> fx.Node | None:
    users = list(node.users)
    return users[0] if len(users) == 1 else None


def _adds(node: fx.Node) -> bool:
    """Return whether `node` is the sum of two different tensors."""
    operands = [each for each in node.args if isinstance(each, fx.Node)]
    return node.op == "call_function" and node.target in ADDITIONS and len(set(operands)) == 2


def _other(addition: fx.Node, node: fx.Node) -> fx.Node:
    operands = (each for each in addition.args if isinstance(each, fx.Node))
    return next(operand for operand in operands if operand is not node)
