"""Measures one checkpoint on labelled images, and writes the report of it."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..data.dataset import Dataset
from ..data.label_lists import AS_SHOWN, LabelForm
from ..images.looks import ONCE, describe_looks
from ..inference.mean import MeanPredictor, describe_mean
from ..inference.predictor import Predictor
from ..inference.torch_predictor import require_checkpoint
from ..runs.category_names import tell_apart
from ..runs.directory import create_folder
from ..runtime.progress import OnProgress
from .calibration import describe_calibration, describe_temperature
from .collect_logits import SplitLogits, collect_logits
from .eval_split import TOO_GOOD, choose_images, count_trained_on, image_path
from .metrics import full_metrics
from .multilabel.evaluate import measure_labels
from .multilabel.report import write_label_report
from .multilabel.result import LabelEvaluation
from .report import find_mistakes
from .result import Evaluation
from .strangers import find_strangers, leave_classes_out, measure_strangers

MOST_TRAINED_ON = 0.05  # share of the pictures up to which intervals still say something


def evaluate_predictor(
    predictor: Predictor,
    checkpoints: Sequence[str],
    data: str,
    split: str | None,
    exclude: str | Path | None,
    output: str | Path | None,
    log: Callable[[str], None],
    on_progress: OnProgress,
    labels: LabelForm = AS_SHOWN,
    decisions: str | Path | None = None,
    strangers: str | None = None,
    leave_class_out: bool = False,
) -> Evaluation | LabelEvaluation:
    """Measure a checkpoint that has been loaded, or the mean of several; see `evaluation.api.evaluate`.

    Where several processes predict, the main one calls this and the others `answer_shares`.
    """
    if leave_class_out:
        require_checkpoint(predictor, "--leave-class-out")
    form, class_names = label_form(predictor, labels), predictor.class_names
    dataset, split = choose_images(data, list(checkpoints), class_names, split, log, exclude, form, decisions)
    sources = [] if strangers is None else find_strangers(predictor, strangers)  # now, as the folder below
    if output is not None:
        create_folder(Path(output))  # now: a name that cannot be used should not cost a measurement
    log(_introduce(predictor, len(dataset), split))
    found = collect_logits(predictor, dataset, split, log, on_progress)
    num_trained_on = count_trained_on(dataset, checkpoints)
    if num_trained_on:
        log(f"Warning: {num_trained_on:,} of these {len(dataset):,} pictures were trained on: {TOO_GOOD}")
    names = tell_apart(predictor.class_names, predictor.names)
    paths = [image_path(dataset, dataset.splits[split].paths[index]) for index in found.indices]
    measure = _measure_labels if predictor.task.several else _measure
    kind = LabelEvaluation if predictor.task.several else Evaluation
    measured, probabilities = measure(predictor, names, paths, found)
    if strangers is not None:
        measured["strangers"] = measure_strangers(predictor, strangers, sources, found, log, on_progress)
    if leave_class_out:
        measured["left_out"] = leave_classes_out(predictor, dataset, split, on_progress)
        measured["notes"]["left out"] = measured["left_out"]["note"]
    _qualify_strangers(measured, predictor, dataset, checkpoints)
    _qualify(measured, predictor, dataset, checkpoints, num_trained_on)
    result: Evaluation | LabelEvaluation = kind(
        data=data,
        checkpoint=describe_mean(checkpoints),
        checkpoints=list(checkpoints),
        split=split,
        **measured,
        num_trained_on=num_trained_on,
        num_unreadable=len(found.unreadable),
        unreadable=found.list_unreadable(),
        calibrated=predictor.calibrated,
        tta=predictor.looks != ONCE,
    )
    if output is not None:
        scores = probabilities, found.labels
        page = _write_report(Path(output), result, dataset, scores, paths, predictor, names)
        log(f"Report: {page}")
    return result


def label_form(predictor: Predictor, labels: LabelForm) -> LabelForm:
    """Return how a table is read for a checkpoint: as said, else as the one that it was trained on."""
    if not predictor.task.several:
        return labels
    names = tuple(predictor.class_names)
    return dataclasses.replace(labels, several=True, class_names=names, usual=predictor.label_delimiter)


def _introduce(predictor: Predictor, number: int, split: str) -> str:
    looks = describe_looks(predictor.looks)
    return f"Measuring {predictor.arch} on {number:,} pictures ({split}){looks}; {predictor.runs_on}"


def _measure(
    predictor: Predictor, names: list[str], paths: list[str], found: SplitLogits
) -> tuple[dict[str, Any], np.ndarray]:
    """Return all that `full_metrics` says, what the temperature changes, mistakes; and probabilities."""
    probabilities = predictor.task.probabilities(found.logits, predictor.temperature)
    metrics = full_metrics(probabilities, found.labels, names, task=predictor.task)
    if predictor.temperature != 1:
        metrics["notes"]["probabilities"] = describe_temperature(predictor.temperature)
    calibration = describe_calibration(found.logits, found.labels, predictor.temperature, predictor.task)
    mistakes = find_mistakes(probabilities, found.labels, names, paths, predictor.task)
    facts = {"temperature": predictor.temperature, "calibration": calibration, "mistakes": mistakes}
    return {**metrics, **facts}, probabilities


def _measure_labels(
    predictor: Predictor, names: list[str], paths: list[str], found: SplitLogits
) -> tuple[dict[str, Any], np.ndarray]:
    thresholds = np.array(predictor.thresholds)
    return measure_labels(found.logits, found.labels, names, paths, predictor.temperature, thresholds)


def _qualify(
    metrics: dict[str, Any],
    predictor: Predictor,
    dataset: Dataset,
    checkpoints: Sequence[str],
    num_trained_on: int,
) -> None:
    """Take away the intervals where many pictures were trained on, and say where thresholds were chosen.

    Intervals say where the score on other pictures lies, which nobody knows from pictures that were learnt.
    """
    if num_trained_on > MOST_TRAINED_ON * metrics["num_samples"]:
        metrics["intervals"] = dict.fromkeys(metrics["intervals"])
        metrics["notes"] = {
            name: text for name, text in metrics["notes"].items() if not name.endswith(" interval")
        }
        metrics["notes"]["intervals"] = (
            f"There are none, for {num_trained_on:,} pictures were trained on: scores on others are lower."
        )
        for row in metrics["classes"].values():
            row.update({"ap_interval": None} if "ap_interval" in row else {})
    if predictor.task.several:
        chosen_on = count_trained_on(dataset, checkpoints, "val")
        if chosen_on:
            metrics["notes"]["thresholds"] = (
                f"They were chosen on {chosen_on:,} of these pictures, which flatters precision, recall and "
                f"F1; mAP needs none."
            )


def _qualify_strangers(
    metrics: dict[str, Any], predictor: Predictor, dataset: Dataset, checkpoints: Sequence[str]
) -> None:
    """Say where the images that set what is unknown are among those that were measured."""
    reference = predictor.reference
    if reference is None or "strangers" not in metrics or isinstance(predictor, MeanPredictor):
        return
    set_by = count_trained_on(dataset, checkpoints, reference.split)
    if set_by:
        metrics["notes"]["own called unknown"] = (
            f"{set_by:,} of these pictures set where unknown begins, which makes this rate hold on them."
        )


def _write_report(
    output: Path,
    result: Evaluation | LabelEvaluation,
    dataset: Dataset,
    scores: tuple[np.ndarray, np.ndarray],
    paths: list[str],
    predictor: Predictor,
    names: list[str],
) -> Path:
    """Write the report and return its page."""
    from .report_files import photo_reader, source_finder, write_files  # and with it matplotlib
    from .report_maps import mistake_explainer

    title = f"{result.checkpoint} on {result.data} ({result.split})"
    explain = mistake_explainer(predictor, names, source_finder(dataset, result.split))
    read, document = photo_reader(dataset, result.split), result.to_dict()
    if isinstance(result, LabelEvaluation):
        return write_label_report(output, title, document, scores, read, paths=paths, explain=explain)
    return write_files(output, title, document, scores, read, paths=paths, explain=explain)[2]
