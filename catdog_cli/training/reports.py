"""The reports and curves of a run, written by a listener: what training from Python leaves, too."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import CatdogError
from ..evaluation.calibration import (
    describe_calibration,
    describe_temperature,
    fit_temperature,
    measure_calibration,
)
from ..evaluation.eval_split import image_path
from ..evaluation.metrics import full_metrics
from ..evaluation.multilabel.evaluate import describe_chosen_thresholds, measure_labels
from ..evaluation.multilabel.report import summarize_labels, write_label_report
from ..evaluation.multilabel.thresholds import choose_thresholds
from ..evaluation.report import find_mistakes, summarize
from ..images.looks import describe_looks
from ..runs.category_names import tell_apart
from ..runs.directory import RunDirectory
from .events import Event, PhaseEnded, RunEnded, RunStarted
from .result import RunResult
from .setup import Setup

DPI = 100  # a report at the end of a training of one second should not take another one


class ReportWriter:
    """A listener that writes the report of each phase's best epoch, and the curves of the run.

    Training is worth more than its report: one that cannot be written is said through `log`.
    """

    def __init__(self, log: Callable[[str], None] = lambda text: None):
        self.log = log
        self.started: RunStarted | None = None

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self.started = event
        elif isinstance(event, PhaseEnded) and self.started is not None:
            self._write_report(self.started, event)
        elif isinstance(event, RunEnded) and event.result.history and self.started is not None:
            self._draw_curves(event.result, self.started)

    def _write_report(self, started: RunStarted, ended: PhaseEnded) -> None:
        try:
            sentence = write_phase_report(started.setup, started.run_dir, ended)
        except CatdogError as error:
            sentence = f"Warning: no report of phase {ended.phase.name!r}: {error}"
        if sentence:
            self.log(sentence)

    def _draw_curves(self, result: RunResult, started: RunStarted) -> None:
        from ..plots import plot_curves

        names = [(row["phase"], row["epoch"]) for row in result.history]
        best = names.index((result.best["phase"], result.best["epoch"])) if result.best else None
        monitor = started.setup.settings.phases[-1].monitor
        try:
            plot_curves(result.history, RunDirectory(result.run_dir).curves, best, monitor)
        except CatdogError as error:
            self.log(f"Warning: no curves: {error}")


def write_phase_report(setup: Setup, run_dir: Path, ended: PhaseEnded) -> str | None:
    """Write the report of a phase's best epoch into run_dir/reports/N-NAME and return a sentence on it.

    Its numbers are those that `catdog evaluate` gives of the checkpoint on the same pictures: calibrated, and
    beside them as trained, as the epochs showed them. What the temperature is worth on parts of these
    pictures that did not choose it is a note.

    Args:
        ended: has the logits (N, C), labels and indices (N,) of the readable validation images.

    Returns:
        None where no epoch was trained or nothing could be measured.

    Raises:
        CatdogError: the logits are not finite, or the report cannot be written.
    """
    phase, best = ended.phase, ended.best
    if best is None or not len(ended.labels):
        return None
    document, scores = (_measure_labels if setup.task.several else _measure)(setup, ended)
    from ..evaluation.report_files import photo_reader, write_files  # and with it matplotlib

    directory = RunDirectory(run_dir).report(ended.index, phase.name)
    what = f"{phase.name!r}, best epoch {best['epoch']}"
    looks = describe_looks(setup.settings.looks)
    title = f"{setup.settings.arch}, phase {what}, on validation pictures{looks}"
    read_photo = photo_reader(setup.dataset, "val")
    if setup.task.several:
        write_label_report(directory, title, document, scores, read_photo, DPI)
        summary = summarize_labels(document)
    else:
        write_files(directory, title, document, scores, read_photo, DPI)
        summary = summarize(document)
    return f"Phase {what}: {summary} Report: {directory / 'report.html'}"


def _measure_labels(setup: Setup, ended: PhaseEnded) -> tuple[dict[str, Any], tuple[Any, Any]]:
    """As `_measure`, where images have several labels; thresholds are those that best.pt has."""
    logits, labels, names, shown = _collect(setup, ended)
    temperature = fit_temperature(logits, labels, setup.task)
    thresholds = choose_thresholds(setup.task.probabilities(logits, temperature), labels)
    document, probabilities = measure_labels(logits, labels, names, shown, temperature, thresholds)
    document["notes"]["thresholds"] = describe_chosen_thresholds(probabilities, labels)
    return document, (probabilities, labels)


def _collect(setup: Setup, ended: PhaseEnded) -> tuple[Any, Any, list[str], list[str]]:
    """Return logits (N, C), labels, the names of classes and the paths of the images, to show."""
    logits, labels = ended.logits.double().cpu().numpy(), ended.labels.cpu().numpy()
    own, paths = setup.dataset.class_names, setup.dataset.splits["val"].paths
    names = tell_apart(own, [setup.category_names.get(name, name) for name in own])
    return (
        logits,
        labels,
        names,
        [image_path(setup.dataset, paths[index]) for index in ended.indices.tolist()],
    )


def _measure(setup: Setup, ended: PhaseEnded) -> tuple[dict[str, Any], tuple[Any, Any]]:
    """Return the report's document, and the probabilities (N, C) and labels (N,) that it is about."""
    logits, labels, names, shown = _collect(setup, ended)
    task = setup.task
    held_out = measure_calibration(logits, labels, task=task)
    temperature = held_out["temperature"]
    probabilities = task.probabilities(logits, temperature)
    metrics = full_metrics(probabilities, labels, names, task=task)
    metrics["notes"]["probabilities"] = (
        f"{describe_temperature(temperature)} It was chosen on these pictures; on parts of them that did not "
        f"choose it, the loss is {held_out['after']['loss']:.4f}."
    )
    document = {
        **metrics,
        "temperature": temperature,
        "calibration": describe_calibration(logits, labels, temperature, task),
        "mistakes": find_mistakes(probabilities, labels, names, shown, task),
    }
    return document, (probabilities, labels)
