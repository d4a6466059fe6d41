"""`--dry-run`: what a training would do, and how long it would take, measured on a few batches."""

import time
from typing import Any, cast

import torch

from ..data.dataset import class_counts
from ..features.batches import FreshImages
from ..features.cache_fill import table_bytes
from ..features.extractor import AnyPrefix, View, frozen_prefix, run_prefix
from ..runtime.memory import peak_bytes
from ..settings import Phase, TrainSettings
from ..settings_networks import describe_weights, specs_of
from .batch_source import evaluation_views, fixed_views, refuse_too_large
from .epoch import plan_epoch, step_threads, training_batches
from .loop import train_step
from .phase_run import EpochSums, PhaseRun
from .setup import Setup, check_settings, open_phase, prepare_run

MEASURED_BATCHES = 3
MEASURED_PREFIX = 4  # batches


def estimate_run(settings: TrainSettings, dataset: Any) -> dict[str, Any]:
    """Return classes, counts, device, precision, memory (bytes) and seconds by phase; writes nothing.

    Raises:
        CatdogError: whatever would stop the training itself before its first epoch.
    """
    check_settings(settings)
    setup = prepare_run(settings, dataset)
    phases = [_estimate_phase(setup, phase, index) for index, phase in enumerate(settings.phases)]
    splits = {
        name: dict(zip(dataset.class_names, class_counts(dataset, name).tolist(), strict=True))
        for name in dataset.splits
    }
    several = setup.task.several  # labels a picture: what each has does not sum up to the pictures
    sizes = [part.size for part in specs_of(setup.spec)]
    return {
        "data": settings.data,
        "classes": dataset.class_names,
        "pictures": splits,
        **({"num_pictures": {name: len(part) for name, part in dataset.splits.items()}} if several else {}),
        **({"task": setup.task.name} if several else {}),
        "arch": settings.arch,
        "weights": describe_weights(settings.weights),
        "image_size_px": sizes[0] if len(sizes) == 1 else sizes,
        "device": setup.device.type,
        "precision": str(setup.dtype).removeprefix("torch."),
        "phases": phases,
        "memory_bytes": _peak_memory(setup),
        "seconds": sum(phase["seconds"] for phase in phases),
    }


def _estimate_phase(setup: Setup, phase: Phase, index: int) -> dict[str, Any]:
    """Return what the phase trains, and its seconds: features once if they are kept, then its epochs."""
    split_at = setup.classifier.unfreeze(phase.unfreeze)
    prefix = frozen_prefix(setup.classifier, split_at, setup.spec, setup.dtype, setup.device)
    num_train, num_val = len(setup.sets["train"]), len(setup.sets["val"])
    picture_s = _time_prefix(setup, prefix)
    fresh = phase.augment != "none" and not phase.views
    looks = len(evaluation_views(setup.settings))
    rows = num_val * looks + num_train * len(fixed_views(setup.settings, phase))
    needed = table_bytes(prefix, rows) if split_at else 0
    limit_bytes = setup.settings.cache_limit * 1e9
    if needed > limit_bytes:
        refuse_too_large(phase, needed, limit_bytes)
    kept = split_at > 0 and setup.settings.cache and needed <= limit_bytes
    step_s = _time_steps(setup, phase, index, split_at, prefix)
    train_s = num_train * step_s["train"] + (num_train * step_s["load"] if fresh or not kept else 0)
    val_s = num_val * looks * (step_s["train"] / 3 + (0 if kept else picture_s))
    epochs_s = (1 if phase.optimizer == "lbfgs" else phase.epochs) * (train_s + val_s)
    return {
        "name": phase.name,
        "epochs": phase.epochs,
        "patience": phase.patience,
        "trainable_parameters": sum(p.numel() for _, p in setup.classifier.trainable_parameters()),
        "total_parameters": sum(p.numel() for p in setup.classifier.parameters()),
        "features_kept_bytes": needed if kept else 0,
        "seconds": (rows * picture_s if kept else 0.0) + epochs_s,
    }


def _time_prefix(setup: Setup, prefix: AnyPrefix) -> float:
    """Return seconds a picture for decoding and the prefix, on all cores."""
    places = list(range(min(MEASURED_PREFIX * prefix.batch, len(setup.sets["train"]))))
    for _ in run_prefix(prefix, setup.sets["train"], places[: prefix.batch], View()):
        pass  # the first batch pays for set-up
    started = time.perf_counter()
    for _, _, bad in run_prefix(prefix, setup.sets["train"], places, View()):
        setup.sets["train"].note_bad(bad)
    return (time.perf_counter() - started) / max(1, len(places))


def _time_steps(setup: Setup, phase: Phase, index: int, split_at: int, prefix: AnyPrefix) -> dict[str, float]:
    """Return seconds a picture of training steps ("train") and of loading for them ("load")."""
    source = FreshImages(
        setup.sets["train"], prefix, phase.augment, phase.views, setup.settings.seed, index, 0
    )
    run = open_phase(setup, index, split_at, source, source)
    plan = plan_epoch(run, 0)[: MEASURED_BATCHES + 1]
    started = time.perf_counter()
    batches = list(source.batches(plan, 0))
    load_s = (time.perf_counter() - started) / sum(map(len, plan))
    given = _Given(source.chosen, batches)
    run.source = cast(FreshImages, given)  # of which the training asks batches alone
    _train_on(run, plan[:1], EpochSums())  # the first batch pays for set-up
    sums = EpochSums()
    started = time.perf_counter()
    _train_on(run, plan, sums)
    return {"train": (time.perf_counter() - started) / max(1, sums.seen), "load": load_s}


def _train_on(run: PhaseRun, plan: list[torch.Tensor], sums: EpochSums) -> None:
    with step_threads(run):
        batches = training_batches(run, plan, 0, 0)
        for step, planned in enumerate(plan):
            train_step(run, 0, step, batches, len(planned), sums)


class _Given:
    """A source of batches that are in memory already."""

    def __init__(self, chosen: Any, batches: list):
        self.chosen, self._batches = chosen, batches

    def batches(self, plan: list[torch.Tensor], epoch: int) -> list:
        return self._batches[: len(plan)]


def _peak_memory(setup: Setup) -> int:
    """Return the most memory that this measurement took: what a run takes, to a few per cent."""
    if setup.device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    return peak_bytes()
