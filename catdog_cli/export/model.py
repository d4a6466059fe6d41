"""A checkpoint as an ONNX file: the graph, and what the file says of itself."""

import hashlib
from typing import Any

from .. import __version__
from ..errors import CatdogError
from ..inference.onnx_metadata import KEY, KnownImages, Maps, Metadata
from .graph import write_graph
from .job import Job

MOST_BYTES = 2**31 - 1  # of a Protocol Buffer


def make_onnx(job: Job, weights: str = "float32") -> Any:
    """Return a checkpoint as a ModelProto, which says of itself all that answers need.

    Args:
        weights: what it will say that they are kept in; they are float32 here.

    Raises:
        CatdogError: one of its networks, or its head, cannot be written as ONNX.
    """
    written = write_graph(job.model, job.looks)
    text = describe(job, weights, written.maps).to_json()
    return written.graph.model(written.inputs, written.outputs, {KEY: text})


def describe(job: Job, weights: str, maps: Maps | None, known: bool = True) -> Metadata:
    """Return what a file says of itself.

    Args:
        weights: what they are kept in, one of `onnx_metadata.WEIGHTS`.
        maps: its class maps, if it has any.
        known: whether it tells strangers.
    """
    model, reference = job.model, job.model.reference if known else None
    return Metadata(
        class_names=model.class_names,
        input_spec=model.input_spec,
        arch=model.arch,
        weights=weights,
        task=model.task,
        category_names=model.category_names,
        looks=job.looks,
        temperature=model.temperature,
        thresholds=model.thresholds,
        label_delimiter=model.label_delimiter,
        reference=None if reference is None else KnownImages(len(reference), reference.split),
        sets=model.sets,
        maps=maps,
        checkpoint=job.checkpoint.name,
        digest=hashlib.sha256(job.checkpoint.read_bytes()).hexdigest(),
        version=__version__,
    )


def to_bytes(model: Any) -> bytes:
    """Return the content of the file of a ModelProto.

    Raises:
        CatdogError: it is larger than any such file.
    """
    if model.ByteSize() > MOST_BYTES:
        raise CatdogError(
            f"The network has {model.ByteSize() / 1e9:.1f} GB, and an ONNX file holds 2 GB at most: export a "
            f"smaller --arch, or --to onnx-fp16."
        )
    content: bytes = model.SerializeToString()
    return content
