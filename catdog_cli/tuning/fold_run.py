"""One fold: a training as `catdog train` does it on the others, and what it says of the images held out."""

import contextlib
import dataclasses
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..data.dataset import Dataset, Split
from ..data.digests import fingerprint
from ..data.folds import draw_folds
from ..data.loaders import Images
from ..errors import CatdogError
from ..evaluation.metrics import monitor_value
from ..evaluation.multilabel.metrics import score_labels
from ..features.batches import FreshImages, KeptFeatures
from ..features.cache_fill import build_feature_table
from ..features.extractor import ImageSet, frozen_prefix, image_set
from ..models.tasks import Task
from ..runs.checkpoint import load_checkpoint
from ..runs.directory import RunDirectory
from ..settings import TrainSettings
from ..training.batch_source import evaluation_views
from ..training.checkpointing import LAST_EPOCH
from ..training.events import (
    CacheTooSmall,
    CorruptImagesFound,
    Event,
    FeaturesComputed,
    Listener,
    MemoryRanOut,
    PhaseEnded,
    StepEnded,
    Warned,
)
from ..training.known import frozen_border
from ..training.loop import fit
from ..training.setup import Setup, prepare_run

PASSED_ON = (CacheTooSmall, CorruptImagesFound, FeaturesComputed, MemoryRanOut, StepEnded, Warned)
MEASURES = {False: ("accuracy", "loss", "f1", "auc"), True: ("map", "loss", "f1", "auc", "subset_accuracy")}


@dataclass(eq=False)
class FoldOutcome:
    """What a fold's training says of the images that it did not see."""

    places: np.ndarray  # (M,), of the readable ones among all images
    logits: np.ndarray  # (M, C), float64
    best: dict[str, Any] | None  # the row of the epoch that was kept
    num_train: int
    num_val: int  # of the training images, that chose the epoch
    seconds: float
    bad: dict[str, str] = field(default_factory=dict)  # path: reason


def join_splits(splits: list[Split]) -> Split:
    """Return the images of several splits in a row."""
    rows = [split.rows for split in splits if split.rows is not None]
    keys = [split.keys for split in splits if split.keys is not None]
    return Split(
        [path for split in splits for path in split.paths],
        np.concatenate([split.labels for split in splits]),
        np.concatenate(rows) if len(rows) == len(splits) else None,
        [key for part in keys for key in part] if len(keys) == len(splits) else None,
    )


def open_base(
    settings: TrainSettings, dataset: Dataset, listener: Listener, head: "torch.nn.Module | None" = None
) -> Setup:
    """Return what all folds share: the network with its first weights, and the images of "train", hashed."""
    split = dataset.splits["train"]
    none = np.arange(0)
    only = dataclasses.replace(dataset, splits={"train": split, "val": split.take(none)})
    return prepare_run(settings, only, None, listener, head)


class FoldTrainer:
    """Trains folds one after the other with one network, which begins each time with its first weights."""

    def __init__(self, base: Setup, groups: list[str], listener: Listener):
        self.base, self.groups = base, groups
        self.listener = _once(listener)
        self.first = {name: tensor.clone() for name, tensor in base.classifier.state_dict().items()}

    def run(
        self, held: np.ndarray, seed: int, should_stop: Callable[[], bool] = lambda: False
    ) -> FoldOutcome:
        """Train on all images but those that are `held` (N,) out, and return what it says of these.

        Where validation images choose an epoch, they are drawn from the training part, with `seed`: the
        images held out choose nothing.

        Raises:
            InterruptedRunError: `should_stop` said so.
        """
        began = time.monotonic()
        inside = np.flatnonzero(~held)
        chosen = self._choose_val(inside, seed) if chooses_epochs(self.base.settings) else inside[:0]
        parts = {"train": np.setdiff1d(inside, chosen), "val": chosen, "test": np.flatnonzero(held)}
        if not len(chosen):  # they choose nothing, and are what is measured
            parts["val"] = parts.pop("test")
        setup = self._narrow(parts)
        setup.classifier.load_state_dict(self.first)
        ended: list[PhaseEnded] = []

        def listen(event: Event) -> None:
            if isinstance(event, PhaseEnded):
                ended.append(event)
            elif isinstance(event, PASSED_ON):
                self.listener(event)

        with tempfile.TemporaryDirectory(prefix="catdog-fold-") as folder:
            directory = RunDirectory(Path(folder))
            result = fit(setup, directory, listen, should_stop)
            if "test" in parts:
                setup.classifier.load_state_dict(load_best(directory, self.base))
                logits, places = held_out_logits(setup, "test", self.listener)
            else:
                logits, places = ended[-1].logits, ended[-1].indices
        measured = parts.get("test", parts["val"])
        return FoldOutcome(
            measured[places.numpy()],
            logits.double().numpy(),
            result.best,
            len(parts["train"]),
            len(chosen),
            time.monotonic() - began,
            self._describe_bad(setup),
        )

    def _choose_val(self, inside: np.ndarray, seed: int) -> np.ndarray:
        """Return the images of the training part that choose the epoch: whole groups, every class."""
        share = self.base.settings.val_fraction
        labels = self.base.dataset.splits["train"].labels[inside]
        groups = [self.groups[place] for place in inside]
        parts = draw_folds(labels, groups, max(2, round(1 / share)), seed)
        return inside[parts == 0]

    def _narrow(self, parts: dict[str, np.ndarray]) -> Setup:
        """Return the setup of a training on some of the images."""
        base = self.base
        split, keys = base.dataset.splits["train"], base.contents["train"]
        splits = {name: split.take(places) for name, places in parts.items()}
        dataset = dataclasses.replace(base.dataset, splits=splits)
        contents = {name: [keys[place] for place in places] for name, places in parts.items()}
        sets = {name: image_set(Images(dataset, name, base.spec), found) for name, found in contents.items()}
        return dataclasses.replace(
            base,
            dataset=dataset,
            contents=contents,
            sets=sets,
            fingerprint=fingerprint(dataset, contents),
            reported_bad=set(),
        )

    def _describe_bad(self, setup: Setup) -> dict[str, str]:
        return {
            setup.dataset.splits[name].paths[index]: image.reason
            for name, chosen in setup.sets.items()
            for index, image in chosen.bad.items()
        }


def chooses_epochs(settings: TrainSettings) -> bool:
    """Say whether validation images choose anything: which epoch is kept, or when to stop."""
    return any(phase.optimizer != "lbfgs" and phase.monitor != LAST_EPOCH for phase in settings.phases)


def load_best(directory: RunDirectory, setup: Setup) -> dict[str, torch.Tensor]:
    """Return the weights of a run's best epoch."""
    head = setup.classifier.head
    custom = head.get_submodule("custom") if setup.settings.head.is_custom else None
    found: dict[str, torch.Tensor] = load_checkpoint(directory.best, head=custom)["state_dict"]
    return found


@torch.no_grad()
def held_out_logits(setup: Setup, name: str, listener: Listener) -> tuple[torch.Tensor, torch.Tensor]:
    """Return logits (M, C) of the readable images of a split, through all looks, and their places (M,)."""
    classifier, chosen = setup.classifier, setup.sets[name]
    looks, last = evaluation_views(setup.settings), len(setup.settings.phases) - 1
    is_frozen = frozen_border(setup, last) == len(classifier.blocks)
    classifier.eval()
    prefix = frozen_prefix(
        classifier, len(classifier.blocks), setup.spec, setup.dtype, setup.device, setup.forward_batch
    )
    source: KeptFeatures | FreshImages = FreshImages(chosen, prefix, "none", 0, 0, 0, 0, looks)
    if is_frozen and setup.settings.cache:
        with contextlib.suppress(OSError):  # a cache that cannot be written, which training has said
            source = _kept(setup, chosen, prefix, name, listener)

    def answer(values: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            logits: torch.Tensor = classifier.head(values.float())
        return logits

    outputs = torch.zeros(len(chosen), classifier.num_classes)
    for indices, part in source.map(answer):
        outputs[indices] = part.cpu()
    good = chosen.good_indices()
    return outputs[good], good


def _kept(setup: Setup, chosen: ImageSet, prefix: Any, name: str, listener: Listener) -> KeptFeatures:
    def report(done: int, total: int) -> None:
        listener(FeaturesComputed(name, done, total))

    views = evaluation_views(setup.settings)
    tables = [build_feature_table(prefix, chosen, view, report) for view in views]
    return KeptFeatures(chosen, tables, setup.device, averaged=True)


def measure(task: Task, probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float | None]:
    """Return the measures of a fold, None for those that its labels do not define."""
    found: dict[str, float | None] = {}
    for name in MEASURES[task.several]:
        value = float("nan")
        with contextlib.suppress(CatdogError):  # these labels do not define it
            if task.several:
                value = score_labels(probabilities, labels, {name})[name]
            else:
                value = monitor_value(name, probabilities, labels, task)
        found[name] = float(value) if np.isfinite(value) else None
    return found


def _once(listener: Listener) -> Listener:
    """Return a listener that passes on each sentence, and each bad image, only the first time."""
    said: set[str] = set()

    def listen(event: Event) -> None:
        text = getattr(event, "text", None)
        if text is None and event.kind in ("bad_pictures", "cache_too_small", "memory"):
            text = f"{event.kind} {vars(event)}"
        if text is None or text not in said:
            said.update([text] if text else [])
            listener(event)

    return listen
