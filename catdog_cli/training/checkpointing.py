"""What a run has reached: progress, best, patience and history, to and from `last.pt` and `best.pt`."""

import copy
import functools
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..evaluation.calibration import describe_answers
from ..models.classifier import Classifier
from ..models.tasks import SINGLE_LABEL, Task
from ..models.weights import Origin
from ..runs.checkpoint import describe_model, save_checkpoint, versions
from ..runs.directory import RunDirectory
from ..runtime.distributed import processes
from ..runtime.memory import MicroBatch
from ..settings import TrainSettings
from ..settings_networks import AnySpec
from ..settings_schema import save_interval
from .known import fit_trained

if TYPE_CHECKING:
    from .optimizers import WeightAverage
    from .setup import Setup

SAVE_SHARE = 0.1  # saving may take this share of the time, or cheap epochs would only write
LAST_EPOCH = "last"  # of `monitor`: validation images choose no epoch
MONITOR_MIN = ("loss",)  # the others are better when higher
EVIDENCE_IMAGES = (
    3  # that only one of two epochs gets right, and always the same one: chance does so 1 in 4 times
)
FAR_ABOVE_CHANCE = 10  # times the log loss of equal probabilities: such an epoch is never the best


@dataclass
class Progress:
    """Where a run is. `epoch` counts finished epochs of the phase, `step` batches of the one under way."""

    phase: int = 0
    epoch: int = 0
    step: int = 0
    sums: dict[str, Any] = field(default_factory=dict)  # of `EpochSums`
    best: dict[str, Any] | None = None  # over all phases
    phase_best: dict[str, Any] | None = None
    patience: int = 0  # epochs since the phase's best improved
    history: list[dict[str, Any]] = field(default_factory=list)
    bad: list[list] = field(default_factory=list)  # unreadable: [split, place in it, path, reason]

    def start_phase(self, phase: int) -> None:
        """Move on to another phase: its best and its patience start again."""
        self.phase, self.epoch, self.step = phase, 0, 0
        self.sums, self.phase_best, self.patience = {}, None, 0


def better(row: dict[str, Any], best: dict[str, Any] | None, monitor: str, min_delta: float = 0.0) -> bool:
    """Say whether a row of the history improves on the best so far by more than `min_delta`.

    Of two with the same value, which accuracies on a few hundred pictures often have, the one with the
    lower loss is better. A row of an earlier phase, trained by an older catdog, may lack what a later one
    watches: then accuracies are compared. Where LAST_EPOCH is watched nothing is chosen: the latest is best.
    """
    if best is None or monitor == LAST_EPOCH:
        return True
    if f"val_{monitor}" not in best:
        monitor = "accuracy"
    value, old = row[f"val_{monitor}"], best[f"val_{monitor}"]
    if math.isnan(old):
        return True
    if value == old and not min_delta:
        return row["val_loss"] < best["val_loss"]
    return (old - value if monitor in MONITOR_MIN else value - old) > min_delta


def takes_over(row: dict[str, Any], best: dict[str, Any] | None, monitor: str, num_images: int) -> bool:
    """Say whether an epoch becomes the best of the run.

    Against one of an earlier phase, an accuracy that is higher by fewer than EVIDENCE_IMAGES of the
    `num_images` validation images says nothing by itself: the loss must be lower, too.
    """
    if best is None or not better(row, best, monitor):
        return best is None
    if monitor != "accuracy" or best.get("phase") == row["phase"]:
        return True
    gained = (row["val_accuracy"] - best["val_accuracy"]) * num_images
    return round(gained) >= EVIDENCE_IMAGES or row["val_loss"] < best["val_loss"]


def has_failed(train_loss: float, val_loss: float, chance: float) -> bool:
    """Say whether an epoch has gone so wrong that it is never the best.

    Its validation loss (nats) is far above that of guessing, `chance`; or its training loss is, and on the
    validation images it is no better than that. An epoch may begin wildly and end well.
    """
    return val_loss > FAR_ABOVE_CHANCE * chance or (
        train_loss > FAR_ABOVE_CHANCE * chance and val_loss > chance
    )


@dataclass(eq=False)
class RunState:
    """A run directory and what goes into its checkpoints, which the main process alone writes."""

    directory: RunDirectory
    settings: TrainSettings
    classifier: Classifier
    class_names: list[str]
    category_names: dict[str, str]
    origin: Origin
    input_spec: AnySpec
    fingerprint: dict[str, Any]
    progress: Progress = field(default_factory=Progress)
    micro_batch: MicroBatch = field(default_factory=MicroBatch)
    best_state: dict[str, torch.Tensor] | None = None  # the phase's best weights
    unsaved_best: bool = False
    calibration: dict[str, Any] = field(
        default_factory=lambda: {"temperature": 1.0}
    )  # see `describe_answers`
    task: Task = SINGLE_LABEL
    learns_features: bool = False  # the phase trains the whole network
    unknown: dict[str, Any] | None = None  # what tells strangers from what was trained on
    best_unknown: dict[str, Any] | None = None  # the same for the best weights
    _saved_at: float = field(default_factory=lambda: time.monotonic())
    _save_cost_s: float = 0.0
    _batches: int = 0  # since the last save
    _rows_written: int = -1  # of the history; -1: what is there may be an older run's

    @classmethod
    def of(
        cls, setup: "Setup", directory: RunDirectory, progress: Progress, resume: dict[str, Any] | None
    ) -> "RunState":
        """Return the state of a run that starts, or continues from the content of last.pt (`resume`)."""
        kept = resume or {}
        return cls(
            directory,
            setup.settings,
            setup.classifier,
            setup.dataset.class_names,
            setup.category_names,
            setup.origin,
            setup.spec,
            setup.fingerprint,
            progress,
            setup.micro_batch,
            best_state=kept.get("best_state"),
            task=setup.task,
        )

    def model_content(self) -> dict[str, Any]:
        """Return the part of a checkpoint that predicting needs."""
        return describe_model(
            self.classifier,
            self.settings.head,
            self.class_names,
            self.input_spec,
            self.category_names,
            self.origin,
            self.task,
            self.settings.label_delimiter,
            self.settings.looks,
        )

    def calibrate(self, logits: torch.Tensor, labels: torch.Tensor) -> None:
        """Fit what turns the best epoch's logits (N, C) of the validation images into answers."""
        self.calibration = describe_answers(logits.numpy(), labels.numpy(), self.task)

    def start_features(self, unknown: dict[str, Any] | None, learns_features: bool) -> None:
        """Take what tells strangers apart in a phase; where that is learnt, what last.pt had, if anything."""
        self.unknown = self.best_unknown = unknown
        self.learns_features = learns_features

    def note_features(
        self, features: torch.Tensor, labels: torch.Tensor, improved: bool, is_average: bool
    ) -> None:
        """Take what the head gets of the validation images (N, D), where the whole network is trained.

        Averaged weights are those of best.pt alone: last.pt has others, and nothing to tell strangers by.
        """
        if not self.learns_features or not processes().is_main:
            return
        found = fit_trained(features, labels)
        self.unknown = None if is_average else found
        if improved:
            self.best_unknown = found

    def describe_unknown(self) -> dict[str, Any]:
        """Return what last.pt holds to tell strangers by: nothing where the weights have moved since."""
        moved = self.learns_features and self.progress.step > 0
        return {} if self.unknown is None or moved else {"unknown": self.unknown}

    @property
    def monitor(self) -> str:
        """By what the best epoch of the whole run is chosen: what its last phase watches."""
        return self.settings.phases[-1].monitor

    def note_best(self, row: dict[str, Any], improved: bool, num_images: int) -> None:
        """Keep the weights if the epoch is the phase's best; they become best.pt if best over all.

        `num_images` are those that the row's validation figures are of.
        """
        if not improved:
            return
        self.progress.phase_best = row
        moving = self.classifier.moving_names()  # what is frozen stays one tensor, and is saved once
        self.best_state = {
            name: tensor.detach().cpu().clone() if name in moving else tensor.detach().cpu()
            for name, tensor in self.classifier.state_dict().items()
        }
        if takes_over(row, self.progress.best, self.monitor, num_images):
            self.progress.best = row
            self.unsaved_best = True

    def save(
        self, optimizer: torch.optim.Optimizer | None, average: "WeightAverage | None", force: bool = False
    ) -> bool:
        """Write best.pt if it changed, then last.pt and the history; skip it where saves come too thick.

        What is skipped is made again, bit for bit, by a run that resumes from the save before.
        """
        if not processes().is_main:
            return False
        now = time.monotonic()
        if not force and 0 <= now - self._saved_at < self._save_cost_s / SAVE_SHARE:
            return False
        if self.unsaved_best:
            self.save_best()
        save_checkpoint(self.resume_content(optimizer, average), self.directory.last)
        self._write_history()
        self._saved_at, self._batches = time.monotonic(), 0
        self._save_cost_s = self._saved_at - now
        return True

    @functools.cached_property
    def save_interval(self) -> tuple[float, float]:
        """Seconds and batches between saves within an epoch."""
        return save_interval(self.settings.save_every)

    def is_save_due(self) -> bool:
        """Count one more batch and say whether `save_every` wants a save in the middle of the epoch."""
        if not processes().is_main:
            return False
        self._batches += 1
        seconds, batches = self.save_interval
        passed_s = time.monotonic() - self._saved_at
        late = seconds < math.inf and not 0 <= passed_s < seconds  # below 0: the clock was set back
        return late or self._batches >= batches

    def save_best(self) -> None:
        """Write best.pt: the best weights so far, with only what predicting needs, and its metrics."""
        self._save_best(self.progress.best, self.calibration, self.directory.best)
        self.unsaved_best = False

    def _save_best(self, best: dict[str, Any] | None, calibration: dict[str, Any], path: Path) -> None:
        content = {**self.model_content(), "state_dict": self.best_state, "best": best, **calibration}
        unknown = {} if self.best_unknown is None else {"unknown": self.best_unknown}
        save_checkpoint(content | unknown, path)

    def save_phase_best(
        self, logits: torch.Tensor, labels: torch.Tensor, features: torch.Tensor, task: Task
    ) -> None:
        """Write best-N-NAME.pt: a finished phase's best, which a later phase builds on and may surpass.

        Args:
            logits: (N, C) of the validation images, by which it is calibrated.
            labels: (N,), or (N, C) of several.
            features: (N, D) that the head gets of them, where the whole network was trained.
        """
        best = self.progress.phase_best
        if not processes().is_main or best is None:
            return
        if self.learns_features:
            self.best_unknown = fit_trained(features, labels)
        calibration = describe_answers(logits.numpy(), labels.numpy(), task)
        self._save_best(best, calibration, self.directory.phase_best(self.progress.phase, best["phase_name"]))

    def resume_content(
        self, optimizer: torch.optim.Optimizer | None, average: "WeightAverage | None"
    ) -> dict[str, Any]:
        """Return the whole content of last.pt: one dict of plain containers and tensors."""
        progress = self.progress
        return {
            **self.model_content(),
            **self.describe_unknown(),
            "epoch": progress.epoch,
            "phase": progress.phase,
            "step": progress.step,
            "sums": dict(progress.sums),
            "optimizer": None if optimizer is None else optimizer.state_dict(),
            "scheduler": {"name": self.settings.phases[progress.phase].scheduler, "stateless": True},
            "rng": {"seed": self.settings.seed, "stateless": True},
            "average": None if average is None else average.state_dict(),
            "best": progress.best,
            "phase_best": progress.phase_best,
            "best_state": self.best_state,
            "patience": progress.patience,
            "history": copy.deepcopy(progress.history),
            "bad": copy.deepcopy(progress.bad),
            "micro_batch_size": self.micro_batch.size,
            "settings": self.settings.to_dict(),
            "data_fingerprint": self.fingerprint,
            "versions": versions(),
        }

    def _write_history(self) -> None:
        if len(self.progress.history) == self._rows_written:
            return
        self._rows_written = len(self.progress.history)
        self.directory.write_history(self.progress.history)


def restore_progress(content: dict[str, Any]) -> Progress:
    """Rebuild the progress that a checkpoint of `RunState.resume_content` holds."""
    return Progress(
        phase=content["phase"],
        epoch=content["epoch"],
        step=content["step"],
        sums=copy.copy(content.get("sums", {})),  # what is no dict is refused with the rest
        best=content["best"],
        phase_best=content.get("phase_best"),
        patience=content["patience"],
        history=copy.deepcopy(content["history"]),
        bad=copy.deepcopy(content.get("bad", [])),
    )
