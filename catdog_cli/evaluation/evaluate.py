"""Measures one checkpoint on labelled images, and writes the report of it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..data.dataset import Dataset
from ..inference.mean import describe_mean
from ..inference.predictor import Predictor
from ..runs.category_names import tell_apart
from ..runs.directory import create_folder
from ..runtime.progress import OnProgress
from .calibration import describe_calibration, describe_temperature
from .collect_logits import SplitLogits, collect_logits
from .eval_split import TOO_GOOD, choose_images, count_trained_on, image_path
from .metrics import full_metrics
from .report import find_mistakes
from .result import Evaluation

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
) -> Evaluation:
    """Measure a checkpoint that has been loaded, or the mean of several; see `evaluation.api.evaluate`.

    Where several processes predict, the main one calls this and the others `answer_shares`.
    """
    dataset, split = choose_images(data, list(checkpoints), predictor.class_names, split, log, exclude)
    if output is not None:
        create_folder(Path(output))  # now: a name that cannot be used should not cost a measurement
    log(_introduce(predictor, len(dataset), split))
    found = collect_logits(predictor, dataset, split, log, on_progress)
    probabilities = predictor.task.probabilities(found.logits, predictor.temperature)
    num_trained_on = count_trained_on(dataset, checkpoints)
    if num_trained_on:
        log(f"Warning: {num_trained_on:,} of these {len(dataset):,} pictures were trained on: {TOO_GOOD}")
    names = tell_apart(predictor.class_names, predictor.names)
    paths = [image_path(dataset, dataset.splits[split].paths[index]) for index in found.indices]
    result = Evaluation(
        data=data,
        checkpoint=describe_mean(checkpoints),
        checkpoints=list(checkpoints),
        split=split,
        **_measure(predictor, names, probabilities, found, num_trained_on),
        num_trained_on=num_trained_on,
        num_unreadable=len(found.unreadable),
        unreadable=found.list_unreadable(),
        mistakes=find_mistakes(probabilities, found.labels, names, paths, predictor.task),
        calibrated=predictor.calibrated,
        tta=predictor.mirror,
    )
    if output is not None:
        page = _write_report(Path(output), result, dataset, (probabilities, found.labels))
        log(f"Report: {page}")
    return result


def _introduce(predictor: Predictor, number: int, split: str) -> str:
    where = f"{predictor.device.type}, {str(predictor.dtype).removeprefix('torch.')}"
    mirrored = ", each with its mirror image" if predictor.mirror else ""
    return f"Measuring {predictor.arch} on {number:,} pictures ({split}){mirrored}; {where}"


def _measure(
    predictor: Predictor,
    names: list[str],
    probabilities: np.ndarray,
    found: SplitLogits,
    num_trained_on: int,
) -> dict[str, Any]:
    """Return all that `full_metrics` says, and what the temperature changes.

    Intervals say where the score on other pictures lies: there are none where many were trained on.
    """
    metrics = full_metrics(probabilities, found.labels, names, task=predictor.task)
    if num_trained_on > MOST_TRAINED_ON * len(found.labels):
        metrics["intervals"] = dict.fromkeys(metrics["intervals"])
        metrics["notes"] = {
            name: text for name, text in metrics["notes"].items() if not name.endswith(" interval")
        }
        metrics["notes"]["intervals"] = (
            f"There are none, for {num_trained_on:,} pictures were trained on: scores on others are lower."
        )
    if predictor.temperature != 1:
        metrics["notes"]["probabilities"] = describe_temperature(predictor.temperature)
    calibration = describe_calibration(found.logits, found.labels, predictor.temperature, predictor.task)
    return {**metrics, "temperature": predictor.temperature, "calibration": calibration}


def _write_report(
    output: Path, result: Evaluation, dataset: Dataset, scores: tuple[np.ndarray, np.ndarray]
) -> Path:
    """Write the report and return its page."""
    from .report_files import photo_reader, write_files  # and with it matplotlib

    title = f"{result.checkpoint} on {result.data} ({result.split})"
    return write_files(output, title, result.to_dict(), scores, photo_reader(dataset, result.split))[2]
