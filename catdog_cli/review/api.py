"""`review_data`: look at a data set, ask a checkpoint, and let somebody decide in a browser."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from ..data.dataset import Dataset
from ..data.decision_log import DecisionLog
from ..data.label_lists import AS_SHOWN, LabelForm
from ..data.quality.check import CheckReport, check_dataset
from ..data.scan import describe_scan, scan_dataset
from ..errors import DataError
from ..images.looks import ONCE
from ..inference.known import UNKNOWN_RATE
from ..runs.argument_order import refuse_swapped
from ..runs.directory import SETTINGS
from ..runtime.files import expand_home
from ..runtime.progress import OnProgress, report_progress
from ..serving.loopback import LoopbackServer
from . import groups
from .app import make_handler
from .evidence import Checkpoint, Evidence
from .groups import Answers, Group
from .session import Review, Summary

REVIEWED = "reviewed.csv"
Log = Callable[[str], None]


def review_data(
    data: str | Path,
    checkpoint: str | Path,
    *,
    output: str | Path | None = None,
    port: int = 0,
    exclude: str | Path | None = None,
    label_delimiter: str = "",
    label_columns: str = "",
    device: str = "auto",
    precision: str = "auto",
    on_ready: Callable[[str], None] | None = None,
    log: Log | None = None,
    on_progress: OnProgress | None = None,
    progress: bool | None = None,
) -> Summary:
    """Show what is doubtful in a data set on a page on this machine, and write down what is decided there.

    The data is never changed. The page is open until KeyboardInterrupt, Ctrl-C, ends it.

    Args:
        data: what `train` takes.
        checkpoint: a file or a run directory.
        output: the CSV of decisions, which goes on where it is there; by default reviewed.csv in the run
            directory, or, of a bare checkpoint file, in the working directory.
        port: where the page is served on 127.0.0.1; 0 takes a free one.
        exclude: a file of paths to leave out.
        label_delimiter, label_columns: how a table holds several labels an image, as for `train`.
        device: "auto", "cpu" or "gpu".
        precision: "auto", "fp32" or "bf16".
        on_ready: called with the address of the page.
        log: gets what the user should know, a sentence each.
        on_progress: called with (step, done, total).
        progress: show a bar; None: in a notebook alone.

    Returns:
        How many decisions the file holds.

    Raises:
        CatdogError: data or checkpoint cannot be used, the port is taken, or the file cannot be written.
    """
    say, data = log or (lambda text: None), expand_home(data)
    refuse_swapped([data], [str(checkpoint)], "review_data({data!r}, {checkpoint!r})")
    with LoopbackServer(port) as server:  # first: a port that is taken costs no waiting
        with report_progress(on_progress, progress) as report:
            review = open_review(
                data,
                checkpoint,
                output=output,
                exclude=exclude,
                labels=LabelForm(label_delimiter, label_columns),
                device=device,
                precision=precision,
                log=say,
                report=report,
            )
        if on_ready is not None:
            on_ready(server.url)
        with contextlib.suppress(KeyboardInterrupt):
            server.run(make_handler(review))
    return review.summarize()


def open_review(
    data: str,
    checkpoint: str | Path,
    *,
    output: str | Path | None = None,
    exclude: str | Path | None = None,
    labels: LabelForm = AS_SHOWN,
    device: str = "auto",
    precision: str = "auto",
    log: Log = lambda text: None,
    report: OnProgress = lambda step, done, total: None,
) -> Review:
    """Return a review with its groups; the arguments are those of `review_data`.

    Raises:
        CatdogError: as of `review_data`.
    """
    asked = Checkpoint.load(checkpoint, device, precision)
    dataset = scan_dataset(data, exclude=expand_home(exclude), leaks=False, labels=asked.label_form(labels))
    for text in [*describe_scan(dataset), *(f"Warning: {warning}" for warning in dataset.warnings)]:
        log(text)
    if dataset.has_several_labels != asked.task.several:
        kinds = ("one class a picture", "several labels a picture")
        told, held = (kinds[several] for several in (asked.task.several, dataset.has_several_labels))
        raise DataError(f"The checkpoint tells {told}, but {data!r} has {held}: choose another of the two.")
    if asked.model.looks != ONCE:
        log("The checkpoint averages several looks at a picture; here it looks at each once.")
    place = choose_output(output, asked.path, dataset)
    decisions = DecisionLog(place)  # first: a place that cannot be written costs no waiting
    found = None
    if dataset.images is None:
        found = check_dataset(dataset, lambda done, total: report("looking at every picture", done, total))
    else:
        log("Pictures of a prepared folder are read already: look-alikes are not looked for.")
    evidence = asked.collect(dataset, lambda done, total: report("asking the network", done, total))
    review = _gather(dataset, asked, evidence, found, decisions)
    for warning in review.warnings:
        log(f"Warning: {warning}")
    return review


def choose_output(output: str | Path | None, checkpoint: Path, dataset: Dataset) -> Path:
    """Return where decisions go: never into a folder of pictures.

    Raises:
        DataError: it would lie there.
    """
    run = checkpoint.parent
    in_run = output is None and (run / SETTINGS).exists()
    place = Path(expand_home(output)) if output is not None else (run if in_run else Path()) / REVIEWED
    root = Path(os.path.realpath(dataset.root))
    inside = dataset.manifest is None and Path(os.path.realpath(place)).is_relative_to(root)
    if inside and not in_run:
        raise DataError(
            f"{str(place)!r} is in the folder of pictures {str(dataset.root)!r}, which stays as it is: "
            f"choose a place outside with --output FILE."
        )
    return place


def _gather(
    dataset: Dataset, asked: Checkpoint, evidence: Evidence, found: CheckReport | None, decisions: DecisionLog
) -> Review:
    pictures = groups.list_pictures(dataset)
    numbers = {(picture.side, picture.path): number for number, picture in enumerate(pictures)}
    answers = Answers(asked.model.class_names, evidence.probabilities, asked.model.thresholds)
    made = [
        groups.make_group("doubtful", "Doubtful labels", lambda: groups.doubtful_labels(dataset, evidence)),
        *_checked(found, numbers),
        *_strange(evidence),
        groups.make_group("mistakes", "Confident mistakes", lambda: groups.mistakes(pictures, answers)),
    ]
    matrix = groups.confusion(dataset, pictures, answers)
    return Review(
        dataset, pictures, made, matrix, answers, evidence.contents, decisions, checkpoint=asked.digest
    )


def _strange(evidence: Evidence) -> list[Group]:
    if evidence.strangeness is None:  # of an older catdog, or of too few pictures
        return []
    return [groups.make_group("unknown", "Unknown", lambda: groups.strangers(evidence, UNKNOWN_RATE))]


def _checked(found: CheckReport | None, numbers: dict[tuple[str, str], int]) -> list[Group]:
    if found is None:
        return []
    return [
        groups.make_group("alike", "Look-alikes", lambda: groups.look_alikes(found, numbers)),
        groups.make_group("damaged", "Damaged", lambda: groups.damaged(found, numbers)),
    ]
