"""What happens in a run, as typed events; whoever follows a run is a `Listener`.

Progress bar, reports, curves, MLflow and TensorBoard are listeners of equal rank: a run calls each of them
with every event, in order. Events are plain data, and none of them expects an answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ..runtime.progress import OnProgress

if TYPE_CHECKING:
    import torch

    from ..data.loaders import CorruptImage
    from ..settings import Phase, TrainSettings
    from .checkpointing import Progress
    from .result import RunResult
    from .resume.data_changes import DataChanges
    from .setup import Setup

Row = dict[str, Any]  # an epoch in the history


@dataclass(frozen=True, eq=False)
class Event:
    """Something that happened; `kind` is its name in text."""

    kind: ClassVar[str]


@dataclass(frozen=True, eq=False)
class Warned(Event):
    """The user should know this, and the run continues."""

    kind = "warning"
    text: str


@dataclass(frozen=True, eq=False)
class Advised(Event):
    """What the user could do to get a better result, as a sentence."""

    kind = "advice"
    text: str


@dataclass(frozen=True, eq=False)
class Reported(Event):
    """What a report says, in a sentence."""

    kind = "report"
    text: str


@dataclass(frozen=True, eq=False)
class RunOpened(Event):
    """A run is about to begin: nothing is read or written yet, and a listener that raises prevents it."""

    kind = "open"
    run_dir: Path
    resuming: bool


@dataclass(frozen=True, eq=False)
class RunResumed(Event):
    """A run continues from `path` with the settings `new`."""

    kind = "resume"
    path: Path
    old: TrainSettings
    new: TrainSettings
    progress: Progress


@dataclass(frozen=True, eq=False)
class RunRestarted(Event):
    """A run that had saved nothing starts again."""

    kind = "begin_again"
    run_dir: Path


@dataclass(frozen=True, eq=False)
class DataChanged(Event):
    """The images differ from those that the run began with, and the user accepted that."""

    kind = "data_changed"
    changes: DataChanges


@dataclass(frozen=True, eq=False)
class RunStarted(Event):
    """Data and network are ready; the first phase follows."""

    kind = "setup"
    setup: Setup
    run_dir: Path


@dataclass(frozen=True, eq=False)
class PhaseStarted(Event):
    """A phase begins, or continues after `done` epochs."""

    kind = "phase"
    phase: Phase
    index: int
    blocks: list[str]  # those that train
    trainable: int  # parameters
    total: int
    done: int


@dataclass(frozen=True, eq=False)
class FeaturesComputed(Event):
    """`done` of `total` images of a split have passed the frozen blocks."""

    kind = "features"
    name: str
    done: int
    total: int


@dataclass(frozen=True, eq=False)
class MemoryRanOut(Event):
    """At most `size` images are worked on at once from here on."""

    kind = "memory"
    what: str
    size: int


@dataclass(frozen=True, eq=False)
class CacheTooSmall(Event):
    """The features of a phase do not fit into the cache and are computed in each epoch."""

    kind = "cache_too_small"
    needed_bytes: int
    limit_bytes: float


@dataclass(frozen=True, eq=False)
class CorruptImagesFound(Event):
    """Images that cannot be read, each named once in a run."""

    kind = "bad_pictures"
    images: list[CorruptImage]


@dataclass(frozen=True, eq=False)
class HeadSolved(Event):
    """The head was solved to its optimum."""

    kind = "solved"
    l2: float
    how: str  # where the strength comes from, in words
    num_features: int
    fold_accuracy: float | None  # on held-out folds of the training images; of one class an image


@dataclass(frozen=True, eq=False)
class StepEnded(Event):
    """A batch was trained on."""

    kind = "batch"
    done: int
    total: int
    phase: Phase
    epoch: int
    train_loss: float
    train_accuracy: float | None = None
    train_subset_accuracy: float | None = None  # where images have several labels


@dataclass(frozen=True, eq=False)
class EpochEnded(Event):
    """An epoch was trained and evaluated; `row` is its row of the history."""

    kind = "epoch"
    row: Row
    epochs: int
    best: Row | None


@dataclass(frozen=True, eq=False)
class StoppedEarly(Event):
    """A phase ends before its last epoch: no gain for `patience` epochs."""

    kind = "early_stop"
    phase: str
    epoch: int
    patience: int


@dataclass(frozen=True, eq=False)
class PhaseEnded(Event):
    """A phase is over; logits (N, C) and labels (N,) are its best epoch's on the validation images."""

    kind = "phase_end"
    index: int
    phase: Phase
    best: Row | None
    logits: torch.Tensor
    labels: torch.Tensor
    indices: torch.Tensor  # (N,) in the split
    last: bool


@dataclass(frozen=True, eq=False)
class RunEnded(Event):
    """All phases are over, and everything that training itself writes is written."""

    kind = "run_end"
    result: RunResult


@dataclass(frozen=True, eq=False)
class RunClosed(Event):
    """Nothing follows; `error` is what ended the run early."""

    kind = "close"
    error: BaseException | None


Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Listen to nothing."""


def broadcast(*listeners: Listener | None) -> Listener:
    """Return a listener that passes each event to every listener, in order; None is left out."""
    heard = [listener for listener in listeners if listener is not None]

    def listen(event: Event) -> None:
        for listener in heard:
            listener(event)

    return listen


def report_steps(report: OnProgress) -> Listener:
    """Return a listener that reports each batch of an epoch, and the features that are computed before."""

    def listen(event: Event) -> None:
        if isinstance(event, StepEnded):
            epoch = f"{event.phase.name} epoch {event.epoch}/{event.phase.epochs}"
            report(f"{epoch}, loss {event.train_loss:.4f}", event.done, event.total)
        elif isinstance(event, FeaturesComputed):
            report(f"features of {event.name}", event.done, event.total)

    return listen
