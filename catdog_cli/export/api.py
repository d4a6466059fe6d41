"""Export in one call: a checkpoint as one file that answers without torch, and the proof that it does."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..errors import CatdogError
from ..images.looks import choose_looks
from ..inference.onnx_metadata import KEY, KnownImages, Metadata
from ..runs.checkpoint import LoadedModel, build_from_checkpoint, load_checkpoint
from ..runs.directory import find_checkpoint
from ..runtime.files import expand_home, write_atomic
from ..settings_schema import check_choice
from .graph import write_graph

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, eq=False)
class Job:
    """What a format gets to write: the checkpoint, and where to."""

    model: LoadedModel
    checkpoint: Path
    looks: str
    output: Path


@dataclass(frozen=True)
class Format:
    """A kind of file: what follows the checkpoint's name, and who writes it."""

    suffix: str
    write: Callable[[Job], None]


@dataclass(frozen=True)
class ExportResult:
    """Where an exported file is, and what is in it."""

    path: Path
    format: str


def export(
    checkpoint: str | Path,
    to: str = "onnx",
    *,
    output: str | Path | None = None,
    tta: bool | None = None,
    looks: str | None = None,
    head: "nn.Module | None" = None,
) -> ExportResult:
    """Write a checkpoint as a file that answers without torch.

    Args:
        checkpoint: a checkpoint file or a run directory.
        to: one of FORMATS.
        output: the file; None: beside the checkpoint.
        tta: average each image with its mirror image; None: as the checkpoint was trained to.
        looks: "once", "mirror", which is what `tta` means, or "whole": see `Predictor`.
        head: a module like the one that was trained, where the checkpoint has a custom head.

    Raises:
        CatdogError: the checkpoint cannot be used, or cannot be written in that format.
    """
    check_choice("to", to, tuple(FORMATS))
    path = find_checkpoint(checkpoint)
    model = build_from_checkpoint(load_checkpoint(path), path, head)
    kind = FORMATS[to]
    place = path.with_suffix(kind.suffix) if output is None else Path(expand_home(output))
    kind.write(Job(model, path, choose_looks(model.looks, looks, tta), place))
    return ExportResult(place, to)


def make_onnx(job: Job) -> Any:
    """Return a checkpoint as a ModelProto, which says of itself all that answers need."""
    written = write_graph(job.model, job.looks)
    model = job.model
    metadata = Metadata(
        model.class_names,
        model.input_spec,
        model.arch,
        "float32",
        model.task,
        model.category_names,
        job.looks,
        model.temperature,
        model.thresholds,
        model.label_delimiter,
        None if model.reference is None else KnownImages(len(model.reference), model.reference.split),
        model.sets,
        written.maps,
        job.checkpoint.name,
        hashlib.sha256(job.checkpoint.read_bytes()).hexdigest(),
        __version__,
    )
    return written.graph.model(written.inputs, written.outputs, {KEY: metadata.to_json()})


def _write_onnx(job: Job) -> None:
    content = make_onnx(job).SerializeToString()
    write_atomic(job.output, content, CatdogError, "choose another --output")


FORMATS = {"onnx": Format(".onnx", _write_onnx)}
