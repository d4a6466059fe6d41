"""A checkpoint as one graph of ONNX: pixels of any size in, probabilities out.

What goes in and what comes out, for whoever runs the file (N images of one size, C classes):

- `images` (in), uint8 (N, H, W, 3): RGB, upright. Exif's orientation is the caller's to apply.
- `probabilities`, float32 (N, C): calibrated; of several labels each by itself.
- `logits`, float32 (N, C): before the temperature.
- `known_p`, float64 (N,): of images of the trained kind at most this share is as strange; an image is
  unknown where `known_p <= rate`. Not there where the checkpoint keeps nothing to tell strangers by.
- `class_map`, float32 (N, C, h, w): how much each place of the view speaks for each class, in logits; its
  mean and the class's bias are the logit. There where maps are exact. Of further networks, and of the look at
  the whole image, there are `class_map_1` and so on.

The file's metadata hold one text of JSON, `catdog`: see `inference.onnx_metadata`. Images of different sizes
are run one by one.

In the graph: floats, antialiased resizing, rounding, the crop, each look at the image and its mirror image,
normalisation, the networks, the head, the mean over looks, temperature, softmax or sigmoid, and the distances
to the images trained on.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..images.looks import ONCE, UNCUT, WHOLE, list_looks
from ..inference.onnx_metadata import IMAGES, KNOWN, LOGITS, MAP, PROBABILITIES, MapOutput, Maps
from ..models.tasks import Task
from ..runs.checkpoint import LoadedModel
from ..settings_networks import specs_of
from .builder import GraphBuilder
from .known import add_known
from .network import MapHead, NetworkOutputs, add_head, add_maps, add_network, find_map_head
from .views import cut_view, normalise_view, open_canvas

MOST_MAPS = 100
NETWORK, HEAD = "network", "head"  # parts of the graph: what the names of their nodes begin with
FLOAT, UINT8, DOUBLE = 1, 2, 11  # of onnx.TensorProto


class Written(NamedTuple):
    """A graph with what it has to say beside it."""

    graph: GraphBuilder
    inputs: list[Any]
    outputs: list[Any]
    maps: Maps | None


def write_graph(model: LoadedModel, looks: str) -> Written:
    """Return the graph of a checkpoint.

    Args:
        looks: one of settings.LOOKS, over which answers are means.

    Raises:
        CatdogError: one of its networks, or its head, cannot be written as ONNX.
    """
    names = [MAP, *(f"{MAP}_{number}" for number in range(1, MOST_MAPS))]
    graph = GraphBuilder(IMAGES, PROBABILITIES, LOGITS, KNOWN, *names)
    count, turns = len(specs_of(model.input_spec)), 1 if looks == ONCE else 2
    inputs = _add_inputs(graph, model, looks, turns)
    border = 0 if model.reference is None else model.reference.border
    pairs = zip(model.classifier.networks, specs_of(model.input_spec), inputs, strict=True)
    with graph.part(NETWORK):
        outputs = [add_network(graph, network, border, spec.size, value) for network, spec, value in pairs]
    rows = [each.features for each in outputs]
    features = rows[0] if count == 1 else graph.op("Concat", *rows, axis=1, name="features")
    with graph.part(HEAD):
        logits = add_head(graph, model.classifier, features)
    num_looks = turns * (2 if looks == UNCUT else 1)
    classes = len(model.class_names)
    if num_looks > 1:
        apart = graph.op("Reshape", logits, graph.integers(num_looks, -1, classes))
        logits = graph.op("ReduceMean", apart, graph.integers(0), keepdims=0)
    graph.rename(logits, LOGITS)
    graph.rename(_activate(graph, logits, model.temperature, model.task), PROBABILITIES)
    info = graph.onnx.helper.make_tensor_value_info
    found = [info(PROBABILITIES, FLOAT, ["N", classes]), info(LOGITS, FLOAT, ["N", classes])]
    if model.reference is not None:
        seen = outputs[0].middle or features
        graph.rename(add_known(graph, model.reference, _first(graph, seen, num_looks)), KNOWN)
        found.append(info(KNOWN, DOUBLE, ["N"]))
    head = find_map_head(model.classifier)
    maps = None
    if head is not None and all(each.grid for each in outputs):
        maps = _add_maps(graph, outputs, features, head, looks, turns)
        sides = [each.grid_shape[1:] for each in outputs]
        found += [info(each.name, FLOAT, ["N", classes, *sides[each.network]]) for each in maps.outputs]
    return Written(graph, [info(IMAGES, UINT8, ["N", "H", "W", 3])], found, maps)


def _add_inputs(graph: GraphBuilder, model: LoadedModel, looks: str, turns: int) -> list[str]:
    """Return what each network gets, all looks one after the other: (looks * N, 3, size, size)."""
    canvas, count = open_canvas(graph, IMAGES), len(specs_of(model.input_spec))
    parts: list[list[str]] = [[] for _ in range(count)]
    for place, (spec, kind) in enumerate(list_looks(model.input_spec, looks)):
        value = normalise_view(graph, cut_view(graph, canvas, spec, kind), spec)
        own = parts[place % count]
        own.append(value)
        if turns == 2:
            own.append(_flip(graph, value))
    return [own[0] if len(own) == 1 else graph.op("Concat", *own, axis=0, name="input") for own in parts]


def _flip(graph: GraphBuilder, value: str) -> str:
    """Return values (M, C, rows, columns) mirrored."""
    ends = graph.integers(-1), graph.integers(np.iinfo(np.int64).min), graph.integers(3), graph.integers(-1)
    return graph.op("Slice", value, *ends)


def _first(graph: GraphBuilder, values: str, num_looks: int) -> str:
    """Return the rows of the first look."""
    return _split(graph, values, num_looks)[0]


def _activate(graph: GraphBuilder, logits: str, temperature: float, task: Task) -> str:
    scaled = graph.op("Div", logits, graph.constant(np.float32(temperature), "temperature"))
    return graph.op("Sigmoid", scaled) if task.several else graph.op("Softmax", scaled, axis=1)


def _add_maps(
    graph: GraphBuilder,
    outputs: Sequence[NetworkOutputs],
    features: str,
    head: MapHead,
    looks: str,
    turns: int,
) -> Maps:
    """Add the maps of each network at each look, every one the mean over the image and its mirror image."""
    kinds = ["none", WHOLE] if looks == UNCUT else ["none"]
    each_map = add_maps(graph, outputs, features, head)
    named: list[MapOutput] = []
    split = [_split(graph, value, len(kinds) * turns) for value in each_map]
    for row, kind in enumerate(kinds):
        for place, parts in enumerate(split):
            own = parts[row * turns : (row + 1) * turns]
            name = f"{MAP}_{len(named)}" if named else MAP
            graph.rename(_mean_of_turns(graph, own), name)
            named.append(MapOutput(name, place, kind))
    return Maps(tuple(named), tuple(head.bias.tolist()))


def _split(graph: GraphBuilder, value: str, count: int) -> list[str]:
    return [value] if count == 1 else graph.ops("Split", value, count=count, axis=0, num_outputs=count)


def _mean_of_turns(graph: GraphBuilder, maps: Sequence[str]) -> str:
    if len(maps) == 1:
        return maps[0]
    total = graph.op("Add", maps[0], _flip(graph, maps[1]))
    return graph.op("Mul", total, graph.constant(np.float32(0.5), "half"))
