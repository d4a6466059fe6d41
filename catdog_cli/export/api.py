"""Export in one call: a checkpoint as one file that answers without torch, and the proof that it does."""

import dataclasses
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..errors import CatdogError, DataError, SettingsError, UnavailableError
from ..images.looks import choose_looks
from ..inference.torch_predictor import TorchPredictor
from ..runs.checkpoint import build_from_checkpoint, load_checkpoint
from ..runs.directory import find_checkpoint
from ..runtime.files import expand_home, write_atomic
from ..runtime.progress import OnProgress, report_progress
from ..settings_schema import check_choice, check_range
from .accuracy import measure_cost
from .formats import FORMATS, Format
from .job import Job
from .parity import Parity, compare_answers
from .web.page_folder import check_folder

if TYPE_CHECKING:
    from torch import nn

MAX_LOSS = 0.5  # points of accuracy
MOST_COMPARED = 300  # images, where nothing but answers is compared
MOST_MEASURED = 1000  # where accuracy is

__all__ = ["ExportResult", "Parity", "ParityError", "export"]


class ParityError(CatdogError):
    """A file does not say what its checkpoint says, and was not written; `result` tells how far it is off."""

    def __init__(self, message: str, result: "ExportResult"):
        super().__init__(message)
        self.result = result


@dataclass(frozen=True)
class ExportResult:
    """Where an exported file is, and how it compares with its checkpoint."""

    path: Path
    format: str
    checkpoint: Path
    num_bytes: int
    report: Path  # the comparison, as JSON
    parity: Parity
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return what `catdog export --json` prints, and what lies beside the file, as plain values."""
        paths = {name: str(getattr(self, name)) for name in ("path", "checkpoint", "report")}
        return {
            "catdog": __version__,
            "format": self.format,
            **paths,
            "bytes": self.num_bytes,
            "seconds": round(self.seconds, 1),
            "parity": self.parity.to_dict(),
        }

    def __str__(self) -> str:
        cost = [] if self.parity.cost is None else [str(self.parity.cost)]
        size = f"{self.num_bytes / 1e6:.1f} MB, {self.seconds:.1f} s"
        return "\n".join([f"Exported: {self.path} ({size})", str(self.parity), *cost])


def export(
    checkpoint: str | Path,
    to: str = "onnx",
    *,
    output: str | Path | None = None,
    data: str | Path | None = None,
    max_loss: float = MAX_LOSS,
    ort: str | Path | None = None,
    tta: bool | None = None,
    looks: str | None = None,
    head: "nn.Module | None" = None,
    log: Callable[[str], None] | None = None,
    on_progress: OnProgress | None = None,
    progress: bool | None = None,
) -> ExportResult:
    """Write a checkpoint as a file that answers without torch, once it says the same about your images.

    The file holds its preprocessing, its classes, its temperature and what it tells strangers by. How its
    answers compare with the checkpoint's lies beside it, as JSON.

    Args:
        checkpoint: a checkpoint file or a run directory.
        to: "onnx"; "onnx-fp16", half as large; "onnx-int8", a quarter, and faster on most processors;
            "pte", for apps that use ExecuTorch; or "web", a folder with a page that answers in any browser,
            offline too.
        output: the file, or the folder; None: beside the checkpoint.
        data: labelled images to compare on, what `train` takes; None: those that the checkpoint's run kept
            apart. Without either they are drawn.
        max_loss: the most points of accuracy that int8 may cost.
        ort: the npm package of onnxruntime-web, a .tgz file, for "web"; None: out of catdog's cache, else
            fetched from npm's registry.
        tta: average each image with its mirror image; None: as the checkpoint was trained to.
        looks: "once", "mirror", which is what `tta` means, or "whole": see `Predictor`.
        head: a module like the one that was trained, where the checkpoint has a custom head.
        log: gets what the user should know.
        on_progress: called with (step, done, total).
        progress: show a bar; None: in a notebook alone.

    Raises:
        ParityError: the file does not say the same, and was not written.
        CatdogError: the checkpoint cannot be used, or cannot be written in that format; or a package is
            missing.
    """
    check_choice("to", to, tuple(FORMATS))
    check_range("max loss", max_loss, 0, 100)
    if ort is not None and to != "web":
        raise SettingsError(f"ort does nothing for {to}: leave --ort out, or export --to web.")
    started = time.monotonic()
    FORMATS[to].check()
    kind, path = FORMATS[to], find_checkpoint(checkpoint)
    place = _choose_place(path, kind, output)
    model = build_from_checkpoint(load_checkpoint(path), path, head)
    with report_progress(on_progress, progress) as report:
        job = Job(
            model,
            path,
            choose_looks(model.looks, looks, tta),
            place,
            data,
            max_loss,
            log or _ignore,
            report,
            ort,
        )
        report("writing the graph", 0, 1)
        content = kind.make(job)
        report("writing the graph", 1, 1)
        parity = _prove(job, kind, content)
    seconds = time.monotonic() - started
    result = ExportResult(place, to, path, len(content), kind.report(place), parity, seconds)
    _refuse_failure(result, job)
    kind.write(job, content)
    result = dataclasses.replace(result, num_bytes=_measure(place))
    text = json.dumps(result.to_dict(), indent=1) + "\n"
    write_atomic(result.report, text.encode(), CatdogError, "choose another --output")
    return result


def _choose_place(checkpoint: Path, kind: Format, output: str | Path | None) -> Path:
    """Return where the file goes.

    Raises:
        CatdogError: the name has another suffix, or something else is there.
    """
    if kind.is_folder:
        place = checkpoint.with_suffix(kind.suffix) if output is None else Path(expand_home(output))
        check_folder(place)
        return place
    if output is None:
        place = checkpoint.with_suffix(kind.suffix)
    else:
        place = Path(expand_home(output))
        wanted = Path(kind.suffix).suffix or kind.suffix
        if not place.name.lower().endswith(wanted):
            raise UnavailableError(
                f"--output is {str(output)!r}, but must end in {wanted}: give such a name."
            )
    if place.exists() and not kind.report(place).exists():
        raise UnavailableError(
            f"{str(place)!r} is there already, and catdog did not export it: give another --output."
        )
    return place


def _measure(place: Path) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    files = [place] if place.is_file() else [path for path in place.rglob("*") if path.is_file()]
    return sum(path.stat().st_size for path in files)


def _prove(job: Job, kind: Format, content: bytes) -> Parity:
    """Compare what the content says with what the checkpoint says."""
    by_accuracy = kind.bound is None
    images = job.images.first(MOST_MEASURED if by_accuracy else MOST_COMPARED)
    if by_accuracy and images.labels is None:
        raise DataError(
            "int8 is held by its accuracy, and there are no labelled images: give some with --data."
        )
    # Not bfloat16, which a processor may have and the file has not.
    own = TorchPredictor(job.model, device="cpu", precision="fp32", looks=job.looks)
    file = kind.answers(job, content)
    parity, before, after, good = compare_answers(own, file, images, kind.bound, job.on_progress)
    if not by_accuracy or images.labels is None:
        return parity
    cost = measure_cost(before.probabilities, after.probabilities, images.labels[good], job.model.task)
    return dataclasses.replace(parity, cost=cost)


def _refuse_failure(result: ExportResult, job: Job) -> None:
    """Raise ParityError if a file is out of its bounds."""
    parity, named = result.parity, f"{result.format} was not written"
    if parity.cost is not None and not 100 * parity.cost.loss <= job.max_loss:
        raise ParityError(
            f"{named}: it costs {100 * parity.cost.loss:.2f} points, more than --max-loss {job.max_loss:g}. "
            f"{parity.cost} Allow more, or export --to onnx-fp16.",
            result,
        )
    reason = parity.why_failed
    if reason is not None:
        worst = "".join(f", {each.path!r}" for each in parity.changed[:3])
        changed = f" Changed: {worst[2:]}." if worst else ""
        raise ParityError(f"{named}: {reason}. {parity}{changed} Keep to the checkpoint itself.", result)


def _ignore(text: str) -> None:
    pass
