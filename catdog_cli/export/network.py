"""A classifier's networks and its head as parts of a graph."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from ..errors import CatdogError
from ..explanation.class_maps import linear_head
from ..explanation.network_cut import Cut, find_cut
from ..models.classifier import Classifier, Network
from ..models.heads import CosineLinear, Standardise
from ..models.inference_form.inference_form import InferenceForm
from ..runtime.onnx_packages import require_exporter
from .builder import OPSET, GraphBuilder
from .plain_ops import UnknownOperationError, add_traced, array, convert_module

CPU = torch.device("cpu")
PROBED = 2  # images: a batch of one is a constant to torch's exporter


class NetworkOutputs(NamedTuple):
    """What a network makes of its inputs (M, 3, size, size); names of values."""

    features: str  # (M, D)
    middle: str | None  # (M, E), what strangers are told by where that is not the features
    grid: str | None  # (M, D, rows, columns), whose mean over places the features are, if they are
    grid_shape: tuple[int, ...]  # (D, rows, columns)


def add_network(graph: GraphBuilder, network: Network, border: int, size: int, inputs: str) -> NetworkOutputs:
    """Add a network of a classifier.

    Args:
        border: how many of its blocks come up to what strangers are told by; 0: what the head gets.
        size: side of its inputs in px.
        inputs: the name of normalised images (M, 3, size, size).

    Raises:
        CatdogError: it cannot be written as ONNX.
    """
    parts = [network.blocks[:border], network.blocks[border:]] if border else [network.blocks]
    forms = [_plain_form(nn.Sequential(*(block for _, block in part))) for part in parts]
    values, example = inputs, torch.randn(PROBED, 3, size, size, generator=torch.Generator().manual_seed(0))
    cut: Cut | None = find_cut(forms, network.num_prefix_tokens, size)
    middle = None
    if border:
        values = add_module(graph, forms[0].body, values, example, network.arch)
        with torch.no_grad():
            example = forms[0].body(example)
        middle = _pool(graph, values, example)
        cut = _behind(cut, forms[0].body)
    if cut is None or not cut.is_mean:
        return NetworkOutputs(
            add_module(graph, forms[-1].body, values, example, network.arch), middle, None, ()
        )
    values = add_module(graph, cut.trunk, values, example, network.arch)
    with torch.no_grad():
        example = cut.trunk(example)
    grid, shape = _to_grid(graph, cut, values, example)
    features = graph.op("ReduceMean", grid, graph.integers(2, 3), keepdims=0, name="features")
    return NetworkOutputs(features, middle, grid, shape)


def _plain_form(module: nn.Module) -> InferenceForm:
    return InferenceForm(module, torch.float32, CPU, plain=True)


def _behind(cut: Cut | None, front: nn.Module) -> Cut | None:
    """Return a cut of a network whose front runs by itself, None where the cut is within the front."""
    trunk = None if cut is None else cut.trunk
    if cut is None or type(trunk) is not nn.Sequential or trunk[0] is not front:
        return None
    return cut._replace(trunk=nn.Sequential(*trunk[1:]))


def _pool(graph: GraphBuilder, values: str, example: torch.Tensor) -> str:
    """Do what `known.reference.pool` does."""
    if example.ndim == 2:
        return values
    if example.ndim not in (3, 4):
        return graph.op("Flatten", values, axis=1)
    channels_last = example.ndim == 4 and example.shape[1] == example.shape[2] != example.shape[3]
    axes = (1,) if example.ndim == 3 else (1, 2) if channels_last else (2, 3)
    return graph.op("ReduceMean", values, graph.integers(*axes), keepdims=0)


def _to_grid(
    graph: GraphBuilder, cut: Cut, values: str, example: torch.Tensor
) -> tuple[str, tuple[int, ...]]:
    """Do what `Cut.to_grid` does; return the shape of an image's grid, too."""
    shape = tuple(cut.to_grid(example).shape[1:])
    if example.ndim == 4:
        turned = example.shape[2] != example.shape[3]
        return (graph.op("Transpose", values, perm=[0, 3, 1, 2]) if turned else values), shape
    start, end = graph.integers(cut.prefix), graph.integers(example.shape[1])
    places = graph.op("Slice", values, start, end, graph.integers(1)) if cut.prefix else values
    turned_places = graph.op("Transpose", places, perm=[0, 2, 1])
    return graph.op("Reshape", turned_places, graph.integers(-1, *shape)), shape


def add_module(graph: GraphBuilder, module: nn.Module, value: str, example: torch.Tensor, name: str) -> str:
    """Add what a module in evaluation mode does with a value; return the name of what comes out.

    Args:
        example: such a value of PROBED images.
        name: of the network, for an error.

    Raises:
        CatdogError: it cannot be written as ONNX.
    """
    nodes, constants = len(graph.nodes), len(graph.constants)
    try:
        if type(module) is nn.Sequential:
            with torch.no_grad():
                for part in module:
                    value = add_traced(graph, part, value, example)
                    example = part(example)
            return value
        return add_traced(graph, module, value, example)
    except UnknownOperationError:
        del graph.nodes[nodes:], graph.constants[constants:]
    proto = _export(module, example, name)
    (found,) = graph.insert(proto.graph, [value])
    return found


def _export(module: nn.Module, example: torch.Tensor, name: str) -> Any:
    """Return a module as torch's own exporter writes it, a ModelProto."""
    require_exporter()
    batch = torch.export.Dim("batch", min=1)
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                module,
                (example,),
                dynamo=True,
                opset_version=OPSET,
                dynamic_shapes=({0: batch},),
                verbose=False,
            )
            assert program is not None
            return program.model_proto
    except Exception as error:  # of code that is not ours, and of all kinds
        reason = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
        raise CatdogError(
            f"The network {name} cannot be written as ONNX ({reason}): use its checkpoint as it is, or train "
            f"another --arch."
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the exporter says on its way off the screen."""
    levels = {name: logging.getLogger(name).level for name in ("torch.onnx", "onnxscript", "onnx_ir")}
    for name in levels:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def add_head(graph: GraphBuilder, classifier: Classifier, features: str) -> str:
    """Add the head: features (M, D) -> logits (M, C)."""
    example = torch.randn(PROBED, classifier.feature_dim, generator=torch.Generator().manual_seed(0))
    return add_module(graph, classifier.head.eval(), features, example, "of the head")


class MapHead(NamedTuple):
    """A linear head as maps need it, on all networks' features in a row: (C, D), (D,) and (C,).

    A cosine head is linear for features of a given length: `norm` then makes those whose length counts.
    """

    weight: torch.Tensor
    centre: torch.Tensor
    bias: torch.Tensor
    norm: Standardise | None


def find_map_head(classifier: Classifier) -> MapHead | None:
    """Return the head as one linear function, None of a head with hidden layers."""
    head = classifier.head
    norm = head.norm if any(isinstance(layer, CosineLinear) for layer in head) else None
    unit = torch.zeros(1, classifier.feature_dim)
    unit[0, 0] = 1  # of length 1 once it is standardised
    with torch.no_grad():
        linear = linear_head(head, unit if norm is None else norm.mean + norm.std * unit)
    return None if linear is None else MapHead(linear.weight, linear.centre, linear.bias, norm)


def add_maps(
    graph: GraphBuilder, outputs: Sequence[NetworkOutputs], features: str, head: MapHead
) -> list[str]:
    """Add the exact class maps of each network: (M, C, rows, columns), whose means add up to the logits.

    Args:
        features: of all networks in a row (M, D).
    """
    length = None
    if head.norm is not None:
        scaled = convert_module(graph, head.norm, features)
        length = graph.op("ReduceL2", scaled, graph.integers(1), keepdims=1)
        length = graph.op("Unsqueeze", length, graph.integers(2))
    widths = [each.grid_shape[0] for each in outputs]
    parts = head.weight.split(widths, 1), head.centre.split(widths)
    found = []
    for each, weight, centre in zip(outputs, *parts, strict=True):
        assert each.grid is not None
        dim, rows, columns = each.grid_shape
        middle = graph.constant(array(centre)[:, None, None], "centre")
        offset = graph.op("Sub", each.grid, middle)
        places = graph.op("Reshape", offset, graph.integers(-1, dim, rows * columns))
        product = graph.op("MatMul", graph.constant(array(weight), "weight"), places)
        product = product if length is None else graph.op("Div", product, length)
        shape = graph.integers(-1, len(weight), rows, columns)
        found.append(graph.op("Reshape", product, shape, name="map"))
    return found
