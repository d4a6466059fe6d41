"""The kinds of files that a checkpoint can be exported to: a new one is a row of FORMATS."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import CatdogError
from ..inference.predictor import OnnxModel, Predictor
from ..runtime.files import write_atomic
from ..runtime.onnx_packages import import_onnx, import_runtime
from .executorch_file import answer_pte, make_pte, require_executorch
from .halve import halve_weights
from .job import Job
from .model import describe, make_onnx, to_bytes
from .parity import Answers
from .quantise import find_training_images, quantise
from .web.page_folder import write_page


def require_onnx() -> None:
    """Make sure that ONNX files can be written and run.

    Raises:
        CatdogError: a package is not installed.
    """
    import_onnx()
    import_runtime()


def answer_onnx(job: Job, content: bytes) -> Answers:
    """Return what answers with the content of an ONNX file."""
    return Predictor(OnnxModel(str(job.output), content))


def write_file(job: Job, content: bytes) -> None:
    """Write the content as one file, whole or not at all.

    Raises:
        CatdogError: the disk is full, read-only, or the folder is gone.
    """
    write_atomic(job.output, content, CatdogError, "choose another --output", parents=True)


def write_folder(job: Job, content: bytes) -> None:
    """Write the page of an ONNX file as a folder.

    Raises:
        CatdogError: the folder holds something else, or cannot be written.
    """
    write_page(job.output, content, job.fetch_runtime(), job.model.origin.licence)


def _beside(output: Path) -> Path:
    return output.with_suffix(".parity.json")


def _behind(output: Path) -> Path:
    """Return the place of a comparison that is not that of the ONNX file beside it.

    A folder's is not in it: a comparison names pictures, and a page is published.
    """
    return Path(f"{output}.parity.json")


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes:
        suffix: what it ends in; by itself it goes beside the checkpoint, with this instead of .pt.
        make: returns the content.
        check: raises CatdogError where a package is missing, before minutes of work.
        bound: what a probability may differ by; None: any amount, and accuracy decides.
        answers: returns who answers with the content, for the comparison with the checkpoint.
        write: puts the content where the job says.
        report: returns where the comparison goes, of the place of the output.
        is_folder: whether it is a folder, of any name.
    """

    suffix: str
    make: Callable[[Job], bytes]
    bound: float | None
    check: Callable[[], object] = require_onnx
    answers: Callable[[Job, bytes], Answers] = answer_onnx
    write: Callable[[Job, bytes], None] = write_file
    report: Callable[[Path], Path] = _beside
    is_folder: bool = False


def _make_float(job: Job) -> bytes:
    return to_bytes(make_onnx(job))


def _make_page(job: Job) -> bytes:
    job.fetch_runtime()  # first: where there is no network, nobody should wait for the graph
    return _make_float(job)


def _make_half(job: Job) -> bytes:
    model = make_onnx(job, "float16")
    halve_weights(model)
    return to_bytes(model)


def _make_int8(job: Job) -> bytes:
    images = find_training_images(job)
    return to_bytes(quantise(make_onnx(job, "int8"), images, job))


def _write_pte(job: Job, content: bytes) -> None:
    write_file(job, content)
    text = describe(job, "float32", None, known=False).to_json()
    write_atomic(Path(f"{job.output}.json"), text.encode(), CatdogError, "choose another --output")


FORMATS = {
    "onnx": Format(".onnx", _make_float, 0.03),
    "onnx-fp16": Format(".fp16.onnx", _make_half, 0.05),
    "onnx-int8": Format(".int8.onnx", _make_int8, None),
    "pte": Format(".pte", make_pte, 0.03, require_executorch, answer_pte, _write_pte, _behind),
    "web": Format(".page", _make_page, 0.03, write=write_folder, report=_behind, is_folder=True),
}
