"""The report of a cross-validation: the pages that an evaluation has, about images that were held out."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.dataset import Dataset
from ..evaluation.calibration import describe_calibration, fit_temperature
from ..evaluation.eval_split import image_path
from ..evaluation.metrics import full_metrics
from ..evaluation.multilabel.evaluate import measure_labels
from ..evaluation.multilabel.report import write_label_report
from ..evaluation.multilabel.thresholds import choose_thresholds
from ..evaluation.report import find_mistakes
from ..evaluation.report_files import photo_reader, write_files
from ..models.tasks import Task

if TYPE_CHECKING:
    from .cross_result import CrossValidation

DPI = 100


def write_report(result: "CrossValidation", folder: Path) -> None:
    """Write the report of the first repeat: each image as the network that had not seen it answers.

    Raises:
        CatdogError: it cannot be written.
    """
    times = ", the first repeat" if result.repeats > 1 else ""
    title = f"{result.settings.arch}, {result.folds} folds of {result.data}, each held out once{times}"
    write_held_out(result.task, result.dataset, result.probabilities[0], folder, title)


def write_held_out(
    task: Task, dataset: Dataset, probabilities: np.ndarray, folder: Path, title: str
) -> dict[str, Any]:
    """Write a report on held-out probabilities (N, C) of the images of "train"; return its document.

    Rows that are not finite, of unreadable images, are left out.
    """
    known = np.flatnonzero(np.isfinite(probabilities).all(1))
    split = dataset.splits["train"].take(known)
    paths = [image_path(dataset, path) for path in split.paths]
    names, found, labels = dataset.class_names, probabilities[known], split.labels
    read_photo = photo_reader(dataset, "train")
    import torch

    logits = task.logits_of(torch.from_numpy(found)).numpy()
    if task.several:
        thresholds = choose_thresholds(found, labels)
        document, scores = measure_labels(logits, labels, names, paths, 1.0, thresholds)
        write_label_report(folder, title, document, (scores, labels), read_photo, DPI, paths)
        return document
    metrics = full_metrics(found, labels, names, task=task)
    temperature = fit_temperature(logits, labels, task)
    document = {
        **metrics,
        "temperature": 1.0,
        "calibration": describe_calibration(logits, labels, temperature, task) | {"temperature": 1.0},
        "mistakes": find_mistakes(found, labels, names, paths, task),
    }
    document["calibration"]["after"] = None
    write_files(folder, title, document, (found, labels), read_photo, DPI, paths)
    return document
