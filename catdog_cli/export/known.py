"""How far an image lies from those trained on, as nodes of a graph: what `known.reference` computes."""

import numpy as np

from ..known.reference import Reference, random_signs
from .builder import GraphBuilder
from .plain_ops import array, to_length_one

FLOAT, HALF, DOUBLE = 1, 10, 11  # of onnx.TensorProto


def add_known(graph: GraphBuilder, reference: Reference, seen: str) -> str:
    """Add the p-values, float64 (N,), of what images are known by (N, D): small ones are of strangers."""
    rows = to_length_one(graph, seen)
    signs = random_signs(reference.feature_dim)
    if signs is not None:  # all of one size, so that a byte each says them
        values = array(signs)
        kept = graph.constant(np.sign(values).astype(np.int8), "signs")
        product = graph.op("MatMul", rows, graph.op("Cast", kept, to=FLOAT))
        rows = graph.op("Mul", product, graph.constant(np.abs(values[0, 0]), "size"))
    rows = graph.op("Cast", graph.op("Cast", rows, to=HALF), to=FLOAT)
    distances = _add_near(graph, reference, rows), _add_far(graph, reference, rows)
    pairs = zip(distances, (reference.near, reference.far), strict=True)
    one = graph.constant(np.array(1.0), "one")
    found = [graph.op("Div", one, _rank(graph, each, kept)) for each, kept in pairs]
    return _rank(graph, graph.op("Add", *found), reference.joint)


def _add_near(graph: GraphBuilder, reference: Reference, rows: str) -> str:
    """Return the mean squared distance to the nearest rows of the reference, (N,)."""
    others = array(reference.rows)
    kept = graph.op("Cast", graph.constant(others.astype(np.float16), "rows"), to=FLOAT)
    lengths = graph.constant(array(reference.rows.square().sum(1)), "lengths")
    own = graph.op("ReduceSumSquare", rows, graph.integers(1), keepdims=1)
    products = graph.op("MatMul", rows, graph.op("Transpose", kept, perm=[1, 0]))
    twice = graph.op("Mul", products, graph.constant(np.float32(2), "two"))
    squares = graph.op("Sub", graph.op("Add", own, lengths), twice)
    neighbours = graph.integers(reference.neighbours)
    nearest, _ = graph.ops("TopK", squares, neighbours, count=2, axis=1, largest=0, sorted=0)
    return graph.op("ReduceMean", nearest, graph.integers(1), keepdims=0, name="near")


def _add_far(graph: GraphBuilder, reference: Reference, rows: str) -> str:
    """Return Mahalanobis' squared distance, (N,)."""
    offset = graph.op("Sub", rows, graph.constant(array(reference.mean), "mean"))
    product = graph.op("MatMul", offset, graph.constant(array(reference.precision), "precision"))
    return graph.op("ReduceSum", graph.op("Mul", product, offset), graph.integers(1), keepdims=0, name="far")


def _rank(graph: GraphBuilder, scores: str, ordered: np.ndarray) -> str:
    """Do what `known.conformal.rank_p` does: count the kept scores that are at least as large."""
    column = graph.op("Unsqueeze", graph.op("Cast", scores, to=DOUBLE), graph.integers(1))
    at_least = graph.op("GreaterOrEqual", graph.constant(ordered[None], "ordered"), column)
    count = graph.op("ReduceSum", graph.op("Cast", at_least, to=DOUBLE), graph.integers(1), keepdims=0)
    more = graph.op("Add", count, graph.constant(np.array(1.0), "one"))
    return graph.op("Div", more, graph.constant(np.array(len(ordered) + 1.0), "number"), name="p")
