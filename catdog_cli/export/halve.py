"""Weights kept in float16: half the file. What computes still does so in float32."""

from typing import Any

import numpy as np

from ..runtime.onnx_packages import import_onnx
from .graph import HEAD, NETWORK

LEAST_NUMBERS = 1024  # of a tensor that is worth it
SMALLEST = 2.0**-14  # of float16's numbers with all their digits
LARGEST = 65504.0


def halve_weights(model: Any) -> None:
    """Keep the large weights of a ModelProto's network and head in float16, in place.

    A runtime turns them back when it opens the file. A tensor with numbers that float16 does not hold stays.
    """
    onnx = import_onnx()
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or not tensor.name.startswith((NETWORK, HEAD)):
            continue
        values = onnx.numpy_helper.to_array(tensor)
        if values.size < LEAST_NUMBERS or not _fits(values):
            continue
        name, half = tensor.name, f"{tensor.name}_half"
        tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), half))
        casts.append(onnx.helper.make_node("Cast", [half], [name], name=f"{name}_cast", to=1))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _fits(values: np.ndarray) -> bool:
    """Say whether float16 keeps nearly all that a tensor says."""
    sizes = np.abs(values)
    largest = sizes.max(initial=0)
    return bool(SMALLEST <= largest <= LARGEST)  # of smaller ones the steps are as small as of SMALLEST
