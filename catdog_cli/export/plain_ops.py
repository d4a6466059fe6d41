"""What torch's plain modules and functions are in ONNX, for networks that torch.fx can trace.

Most convolutional networks consist of these alone. They are written in a second, where torch's own exporter
takes ten times as long; whatever is not here is left to it.
"""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import fx, nn
from torch.nn import functional as F

from ..models.heads import CosineLinear, Standardise
from ..models.heads import Dropout as HeadDropout
from ..models.inference_form.plain_modules import PlainTracer, SamePad
from ..models.pooling import MeanPool
from .builder import GraphBuilder


class UnknownOperationError(Exception):
    """A network does what is not in these tables."""


class LeafTracer(PlainTracer):
    """torch.fx's tracer, to which every module of these tables is one step."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return type(m) in MODULES or super().is_leaf_module(m, module_qualified_name)


def array(tensor: torch.Tensor) -> np.ndarray:
    """Return a tensor as a float32 array, whole numbers as they are."""
    plain = tensor.detach().cpu()
    found: np.ndarray = (plain.float() if plain.is_floating_point() else plain).numpy()
    return found


def pair(value: Any) -> list[int]:
    """Return a side, or two, as two."""
    return [int(value), int(value)] if isinstance(value, int) else [int(each) for each in value]


def _conv(graph: GraphBuilder, conv: nn.Conv2d, x: str, shape: torch.Size) -> str:
    if conv.padding_mode != "zeros" or isinstance(conv.padding, str):
        raise UnknownOperationError("padding of a convolution")
    weights = [graph.constant(array(conv.weight), "weight")]
    weights += [] if conv.bias is None else [graph.constant(array(conv.bias), "bias")]
    return graph.op(
        "Conv",
        x,
        *weights,
        kernel_shape=pair(conv.kernel_size),
        strides=pair(conv.stride),
        dilations=pair(conv.dilation),
        pads=pair(conv.padding) * 2,
        group=conv.groups,
    )


def _batch_norm(graph: GraphBuilder, norm: Any, x: str, shape: torch.Size) -> str:
    if norm.running_mean is None:
        raise UnknownOperationError("a normalisation by the batch")
    scale = torch.ones_like(norm.running_mean) if norm.weight is None else norm.weight
    shift = torch.zeros_like(norm.running_mean) if norm.bias is None else norm.bias
    tensors = scale, shift, norm.running_mean, norm.running_var
    return graph.op(
        "BatchNormalization",
        x,
        *(graph.constant(array(each), "norm") for each in tensors),
        epsilon=float(norm.eps),
    )


def _layer_norm(graph: GraphBuilder, norm: nn.LayerNorm, x: str, shape: torch.Size) -> str:
    if len(norm.normalized_shape) != 1 or norm.weight is None:
        raise UnknownOperationError("a normalisation of several axes")
    tensors = [norm.weight] if norm.bias is None else [norm.weight, norm.bias]
    named = (graph.constant(array(each), "norm") for each in tensors)
    return graph.op("LayerNormalization", x, *named, axis=-1, epsilon=float(norm.eps))


def _linear(graph: GraphBuilder, linear: nn.Linear, x: str, shape: torch.Size) -> str:
    weight = graph.constant(array(linear.weight), "weight")
    bias = [] if linear.bias is None else [graph.constant(array(linear.bias), "bias")]
    if len(shape) == 2:
        return graph.op("Gemm", x, weight, *bias, transB=1)
    turned = graph.constant(array(linear.weight.T), "weight")
    product = graph.op("MatMul", x, turned)
    return graph.op("Add", product, *bias) if bias else product


def _clip(graph: GraphBuilder, x: str, low: float, high: float) -> str:
    ends = (graph.constant(np.float32(end), "end") for end in (low, high))
    return graph.op("Clip", x, *ends)


def _silu(graph: GraphBuilder, module: Any, x: str, shape: torch.Size) -> str:
    return graph.op("Mul", x, graph.op("Sigmoid", x))


def _gelu(graph: GraphBuilder, module: nn.GELU, x: str, shape: torch.Size) -> str:
    if module.approximate != "none":
        raise UnknownOperationError("an approximated GELU")
    half, one, root = (graph.constant(np.float32(value), "gelu") for value in (0.5, 1, 0.5**0.5))
    error = graph.op("Erf", graph.op("Mul", x, root))
    return graph.op("Mul", graph.op("Mul", x, half), graph.op("Add", error, one))


def _mish(graph: GraphBuilder, module: Any, x: str, shape: torch.Size) -> str:
    return graph.op("Mul", x, graph.op("Tanh", graph.op("Softplus", x)))


def _max_pool(graph: GraphBuilder, pool: nn.MaxPool2d, x: str, shape: torch.Size) -> str:
    return graph.op(
        "MaxPool",
        x,
        kernel_shape=pair(pool.kernel_size),
        strides=pair(pool.stride),
        pads=pair(pool.padding) * 2,
        dilations=pair(pool.dilation),
        ceil_mode=int(pool.ceil_mode),
    )


def _average_pool(graph: GraphBuilder, pool: nn.AvgPool2d, x: str, shape: torch.Size) -> str:
    if pool.divisor_override is not None or pool.ceil_mode:
        raise UnknownOperationError("a mean that is divided by something else")
    return graph.op(
        "AveragePool",
        x,
        kernel_shape=pair(pool.kernel_size),
        strides=pair(pool.stride),
        pads=pair(pool.padding) * 2,
        count_include_pad=int(pool.count_include_pad),
    )


def _global_pool(graph: GraphBuilder, x: str, wanted: Any, shape: torch.Size) -> str:
    if pair(wanted) != [1, 1]:
        if pair(wanted) == list(shape[2:]):
            return x
        raise UnknownOperationError("a mean over parts of the image")
    return graph.op("GlobalAveragePool", x)


def _mean_pool(graph: GraphBuilder, module: MeanPool, x: str, shape: torch.Size) -> str:
    return graph.op("Flatten", graph.op("GlobalAveragePool", x), axis=1)


def _flatten(graph: GraphBuilder, x: str, start: int, end: int) -> str:
    if start != 1 or end != -1:
        raise UnknownOperationError("axes that are joined")
    return graph.op("Flatten", x, axis=1)


def _same_pad(graph: GraphBuilder, module: SamePad, x: str, shape: torch.Size) -> str:
    (top, bottom), (left, right) = module.amounts(shape)
    if not any((top, bottom, left, right)):
        return x
    return graph.op("Pad", x, graph.integers(0, 0, top, left, 0, 0, bottom, right))


def _standardise(graph: GraphBuilder, norm: Standardise, x: str, shape: torch.Size) -> str:
    scaled = graph.op("Mul", x, graph.constant(array(1 / norm.std), "scale"))
    return graph.op("Add", scaled, graph.constant(array(-norm.mean / norm.std), "shift"))


def to_length_one(graph: GraphBuilder, x: str) -> str:
    """Return rows (N, D) brought to length 1, as torch.nn.functional.normalize does."""
    length = graph.op("ReduceL2", x, graph.integers(1), keepdims=1)
    return graph.op("Div", x, graph.op("Max", length, graph.constant(np.float32(1e-12), "least")))


def _cosine(graph: GraphBuilder, layer: CosineLinear, x: str, shape: torch.Size) -> str:
    weight = array((layer.scale * F.normalize(layer.weight)).T)
    return graph.op("MatMul", to_length_one(graph, x), graph.constant(weight, "weight"))


def _leave(graph: GraphBuilder, module: Any, x: str, shape: torch.Size) -> str:
    return x


def _simple(kind: str, **attributes: Any) -> Callable[..., str]:
    return lambda graph, module, x, shape: graph.op(kind, x, **attributes)


MODULES: dict[type[nn.Module], Callable[..., str]] = {
    nn.Conv2d: _conv,
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.LayerNorm: _layer_norm,
    nn.Linear: _linear,
    nn.ReLU: _simple("Relu"),
    nn.ReLU6: lambda graph, module, x, shape: _clip(graph, x, 0, 6),
    nn.Hardtanh: lambda graph, module, x, shape: _clip(graph, x, module.min_val, module.max_val),
    nn.LeakyReLU: lambda graph, module, x, shape: graph.op("LeakyRelu", x, alpha=module.negative_slope),
    nn.ELU: lambda graph, module, x, shape: graph.op("Elu", x, alpha=module.alpha),
    nn.SELU: _simple("Selu"),
    nn.Sigmoid: _simple("Sigmoid"),
    nn.Tanh: _simple("Tanh"),
    nn.Hardsigmoid: _simple("HardSigmoid", alpha=1 / 6, beta=0.5),
    nn.Hardswish: _simple("HardSwish"),
    nn.SiLU: _silu,
    nn.GELU: _gelu,
    nn.Mish: _mish,
    nn.MaxPool2d: _max_pool,
    nn.AvgPool2d: _average_pool,
    nn.AdaptiveAvgPool2d: lambda graph, module, x, shape: _global_pool(graph, x, module.output_size, shape),
    MeanPool: _mean_pool,
    nn.Flatten: lambda graph, module, x, shape: _flatten(graph, x, module.start_dim, module.end_dim),
    SamePad: _same_pad,
    Standardise: _standardise,
    CosineLinear: _cosine,
    HeadDropout: _leave,
    nn.Dropout: _leave,
    nn.Dropout2d: _leave,
    nn.Identity: _leave,
}


def _binary(kind: str) -> Callable[..., str]:
    def convert(graph: GraphBuilder, x: Any, other: Any, **options: Any) -> str:
        if options or not (isinstance(x, str) or isinstance(other, str)):
            raise UnknownOperationError(kind)
        values = (
            each if isinstance(each, str) else graph.constant(np.float32(each), "number")
            for each in (x, other)
        )
        return graph.op(kind, *values)

    return convert


def _concat(graph: GraphBuilder, parts: Any, dim: int = 0) -> str:
    return graph.op("Concat", *parts, axis=dim)


def _mean(graph: GraphBuilder, x: str, dim: Any = None, keepdim: bool = False) -> str:
    if dim is None:
        raise UnknownOperationError("a mean over all")
    axes = [dim] if isinstance(dim, int) else list(dim)
    return graph.op("ReduceMean", x, graph.integers(*axes), keepdims=int(keepdim))


def _flatten_function(graph: GraphBuilder, x: str, start_dim: int = 0, end_dim: int = -1) -> str:
    return _flatten(graph, x, start_dim, end_dim)


def _function_of(module: nn.Module) -> Callable[..., str]:
    """Return what a function without numbers of its own does, as its module does it."""
    return lambda graph, x, inplace=False: MODULES[type(module)](graph, module, x, torch.Size())


FUNCTIONS: dict[Any, Callable[..., str]] = {
    **dict.fromkeys((operator.add, operator.iadd, torch.add, "add", "add_"), _binary("Add")),
    **dict.fromkeys((operator.mul, operator.imul, torch.mul, "mul", "mul_"), _binary("Mul")),
    **dict.fromkeys((operator.sub, torch.sub, "sub"), _binary("Sub")),
    **dict.fromkeys((torch.cat, torch.concat), _concat),
    **dict.fromkeys((torch.mean, "mean"), _mean),
    **dict.fromkeys((torch.flatten, "flatten"), _flatten_function),
    **dict.fromkeys((F.relu, torch.relu, "relu", "relu_"), _function_of(nn.ReLU())),
    **dict.fromkeys((torch.sigmoid, F.sigmoid, "sigmoid"), _function_of(nn.Sigmoid())),
    F.relu6: _function_of(nn.ReLU6()),
    F.silu: _function_of(nn.SiLU()),
    F.hardswish: _function_of(nn.Hardswish()),
    F.hardsigmoid: _function_of(nn.Hardsigmoid()),
    F.dropout: lambda graph, x, *more, **options: x,
    "contiguous": lambda graph, x: x,
}
POOLED = (F.adaptive_avg_pool2d,)


def add_traced(graph: GraphBuilder, module: nn.Module, x: str, example: torch.Tensor) -> str:
    """Add what a module in evaluation mode does with a value; return the name of what comes out.

    Args:
        example: such a value, whose shape beyond the first axis is the one that it will have.

    Raises:
        UnknownOperationError: it does what is not in these tables.
    """
    if type(module) in MODULES:
        return MODULES[type(module)](graph, module, x, example.shape)
    body = module if isinstance(module, fx.GraphModule) else _trace(module)
    recorder = _Shapes(body)
    with torch.no_grad():
        recorder.run(example)
    named: dict[fx.Node, Any] = {}
    for node in body.graph.nodes:
        if node.op == "placeholder":
            named[node] = x
        elif node.op == "get_attr":
            named[node] = graph.constant(array(_find(body, str(node.target))), "kept")
        elif node.op == "output":
            found = fx.node.map_arg(node.args[0], named.__getitem__)
            if isinstance(found, str):
                return found
            raise UnknownOperationError("several outputs")
        else:
            named[node] = _convert(graph, body, node, named, recorder.shapes)
    raise UnknownOperationError("no output")


def _trace(module: nn.Module) -> fx.GraphModule:
    try:
        return fx.GraphModule(module, LeafTracer().trace(module))
    except Exception as error:  # torch.fx raises TraceError, TypeError and others on control flow
        raise UnknownOperationError("control flow") from error


def _convert(
    graph: GraphBuilder,
    body: fx.GraphModule,
    node: fx.Node,
    named: dict[fx.Node, Any],
    shapes: dict[fx.Node, torch.Size],
) -> str:
    args: Any = fx.node.map_arg(node.args, named.__getitem__)
    options: Any = fx.node.map_arg(node.kwargs, named.__getitem__)
    shape = next((shapes[each] for each in node.all_input_nodes if each in shapes), torch.Size())
    if node.op == "call_module":
        module = body.get_submodule(str(node.target))
        convert = MODULES.get(type(module))
        if convert is None and type(module).__name__ in ("StochasticDepth", "DropPath"):
            convert = _leave
        if convert is None or len(args) != 1 or options:
            raise UnknownOperationError(type(module).__name__)
        return convert(graph, module, *args, shape)
    if node.target in POOLED:
        return _global_pool(graph, args[0], options.get("output_size", args[-1]), shape)
    if node.target not in FUNCTIONS:
        raise UnknownOperationError(str(node.target))
    try:
        return FUNCTIONS[node.target](graph, *args, **options)
    except TypeError as error:  # arguments that are not in these tables
        raise UnknownOperationError(str(node.target)) from error


def convert_module(graph: GraphBuilder, module: nn.Module, x: str) -> str:
    """Add what one module of these tables does with rows (N, D)."""
    return MODULES[type(module)](graph, module, x, torch.Size())


class _Shapes(fx.Interpreter):
    """Runs a traced module and keeps the shapes of what its nodes give."""

    def __init__(self, body: fx.GraphModule):
        super().__init__(body)
        self.shapes: dict[fx.Node, torch.Size] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if isinstance(value, torch.Tensor):
            self.shapes[n] = value.shape
        return value


def _find(body: nn.Module, path: str) -> torch.Tensor:
    *parents, name = path.split(".")
    found: torch.Tensor = getattr(body.get_submodule(".".join(parents)), name)
    return found
