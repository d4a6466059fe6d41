"""Measures what makes a checkpoint's answers honest, and writes it into the checkpoint."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..data.dataset import Dataset
from ..data.label_lists import LabelForm
from ..errors import DataError
from ..inference.torch_predictor import TorchPredictor
from ..known.conformal import SetScores
from ..known.reference import MOST_IMAGES, Reference, fit_reference, sample_images
from ..models.tasks import Task
from ..runs.argument_order import refuse_swapped
from ..runs.checkpoint import build_from_checkpoint, load_checkpoint, save_checkpoint
from ..runs.directory import BEST, RunDirectory, find_checkpoint
from ..runtime.files import expand_home
from ..runtime.progress import OnProgress, report_progress
from .calibration import describe_answers, fit_temperature
from .eval_split import choose_images, count_trained_on
from .evaluate import label_form

if TYPE_CHECKING:
    from torch import nn

FOLDS = 5
Log = Callable[[str], None]


@dataclass(frozen=True)
class Calibration:
    """What `calibrate` measured and wrote. Losses are nats, `loss_after` of parts that did not choose it."""

    checkpoint: str
    data: str
    split: str
    num_pictures: int
    num_unreadable: int
    num_trained_on: int
    temperature_before: float
    temperature: float
    loss_before: float
    loss_after: float
    thresholds: dict[str, float] | None
    most_sure: float | None  # the largest rate of --sure
    num_reference: int  # pictures kept to tell strangers by
    least_unknown_rate: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return what `catdog calibrate --json` prints, as plain values."""
        return dict(vars(self))

    def __str__(self) -> str:
        lines = [
            f"Log loss {self.loss_before:.4f} before, {self.loss_after:.4f} after, on parts of "
            f"{self.num_pictures:,} pictures ({self.split}) that did not choose it; temperature "
            f"{self.temperature_before:.4f} before, {self.temperature:.4f} after."
        ]
        if self.least_unknown_rate is not None:
            lines.append(
                f"Strangers are told by {self.num_reference:,} pictures: --unknown-rate "
                f"{_round_up(self.least_unknown_rate):g} at least."
            )
        if self.most_sure:
            lines.append(f"Sets of classes: --sure {int(1e4 * self.most_sure) / 1e4:g} at most.")
        return "\n".join(lines)


def _round_up(rate: float) -> float:
    return float(np.ceil(1e4 * rate) / 1e4)


def calibrate(
    checkpoint: str | Path,
    data: str | Path,
    *,
    split: str | None = None,
    exclude: str | Path | None = None,
    label_delimiter: str = "",
    label_columns: str = "",
    head: "nn.Module | None" = None,
    device: str = "auto",
    precision: str = "auto",
    log: Log | None = None,
    on_progress: OnProgress | None = None,
    progress: bool | None = None,
) -> Calibration:
    """Measure what makes a checkpoint's answers honest on labelled images, and write it into the checkpoint.

    That is its temperature, its thresholds where labels are several, what sets of classes are chosen by, and
    what strangers are told by. The file is replaced whole or not at all. Of a folder that it was trained on,
    the images count that training kept apart.

    Args:
        checkpoint: a file, or a run directory, whose best.pt is meant.
        data: what `train` takes.
        split: "train", "val", "test" or "all"; by default test if there is one, else val, else all.

    The others are as for `evaluate`.

    Raises:
        CatdogError: the checkpoint or the data cannot be used, or the file cannot be written.
    """
    say, data = log or _ignore, expand_home(data)
    refuse_swapped([data], [str(checkpoint)], "calibrate({checkpoint!r}, {data!r})")
    path = find_checkpoint(checkpoint, BEST)
    with _held(path, say):
        content = load_checkpoint(path)
        model = build_from_checkpoint(content, path, head)
        predictor = TorchPredictor(model, device=device, precision=precision)
        labels = label_form(predictor, LabelForm(label_delimiter, label_columns))
        dataset, name = choose_images(
            data, [str(path)], model.class_names, split, say, expand_home(exclude), labels
        )
        with report_progress(on_progress, progress) as report:
            measured = _measure(predictor, dataset, name, say, report)
        num_trained_on = count_trained_on(dataset, [str(path)])
        if num_trained_on:
            say(
                f"Warning: {num_trained_on:,} of these {len(dataset):,} pictures were trained on: the "
                f"network is surer of them than of others, which no temperature makes up for."
            )
        kept = describe_answers(measured.logits, measured.labels, predictor.task)
        reference = measured.fit(name)
        if reference is not None:
            kept["unknown"] = reference.to_dict()
        save_checkpoint(content | kept, path)
    sets = None if "sets" not in kept else SetScores.from_dict(kept["sets"], len(model.class_names))
    before, after = _compare_losses(measured, model.temperature, predictor.task)
    thresholds = kept.get("thresholds")
    return Calibration(
        checkpoint=str(path),
        data=data,
        split=name,
        num_pictures=len(measured.labels),
        num_unreadable=measured.num_unreadable,
        num_trained_on=num_trained_on,
        temperature_before=model.temperature,
        temperature=kept["temperature"],
        loss_before=before,
        loss_after=after,
        thresholds=thresholds and dict(zip(model.class_names, thresholds, strict=True)),
        most_sure=None if sets is None else sets.most_sure(len(model.class_names)),
        num_reference=0 if reference is None else len(reference),
        least_unknown_rate=None if reference is None else reference.least_rate,
    )


@contextlib.contextmanager
def _held(path: Path, log: Log) -> Any:
    """Hold the run that a checkpoint lies in, if it does: a training would write over what is measured."""
    run = RunDirectory(path.parent)
    with run.locked(log) if run.settings.exists() else contextlib.nullcontext():
        yield


@dataclass(frozen=True, eq=False)
class _Measured:
    """Logits (N, C) and labels of readable images; features (n, D) of a sample of them, with its labels."""

    logits: np.ndarray
    labels: np.ndarray
    features: torch.Tensor
    sample_labels: np.ndarray
    num_unreadable: int
    block: str
    border: int

    def fit(self, split: str) -> Reference | None:
        return fit_reference(
            self.features, self.sample_labels, self.block, self.border, len(self.labels), split
        )


def _measure(
    predictor: TorchPredictor, dataset: Dataset, split: str, log: Log, report: OnProgress
) -> _Measured:
    labels, step = dataset.splits[split].labels, f"measuring {predictor.arch}"
    chosen = set(sample_images(labels, MOST_IMAGES, seed=0).tolist())
    logits, features, good, sampled = [], [], [], []
    unreadable = 0
    found = predictor.logits_and_seen(dataset.source(split, index) for index in range(len(labels)))
    for index, each in enumerate(found):
        if isinstance(each, str):
            log(f"Skipped: {each}")
            unreadable += 1
        else:
            good.append(index)
            logits.append(each[0])
            if index in chosen:
                sampled.append(index)
                features.append(each[1].clone())
        report(step, index + 1, len(labels))
    if not good:
        raise DataError(f"None of the {len(labels)} pictures under {str(dataset.root)!r} can be read.")
    border, block = predictor.known_by
    return _Measured(
        torch.stack(logits).double().numpy(),
        labels[good],
        torch.stack(features) if features else torch.empty(0, 1),
        labels[sampled],
        unreadable,
        block,
        border,
    )


def _compare_losses(measured: _Measured, temperature: float, task: Task) -> tuple[float, float]:
    """Return the mean log loss at a temperature, and at those that other parts of the images choose."""
    logits, labels = measured.logits, measured.labels
    terms = task.terms_per_image(logits.shape[1])
    before = task.label_losses(logits, labels, temperature)
    part = np.random.RandomState(0).permutation(len(labels)) % min(FOLDS, len(labels))
    after = np.empty_like(before)
    for number in range(part.max() + 1):
        held = part == number
        others = ~held if (~held).any() else held
        chosen = fit_temperature(logits[others], labels[others], task)
        after[held] = task.label_losses(logits[held], labels[held], chosen)
    return float(before.mean() / terms), float(after.mean() / terms)


def _ignore(text: str) -> None:
    pass
