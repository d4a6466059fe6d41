"""Where the pictures of a phase come from: kept features, or the files each time."""

from typing import TYPE_CHECKING

import torch

from ..data.shared_memory import describe_shortage
from ..errors import SettingsError
from ..features.batches import FreshImages, KeptFeatures, fixed_view
from ..features.cache_fill import build_feature_table, claim_room, table_bytes
from ..features.extractor import AnyPrefix, ImageSet, View, frozen_prefix
from ..runtime.files import cache_root
from ..runtime.parallel import usable_cores
from ..settings import Phase, TrainSettings
from ..settings_networks import memory_side
from .events import CacheTooSmall, FeaturesComputed, Listener, Warned

if TYPE_CHECKING:
    from .setup import Setup

SLOWER = "What the frozen blocks make of the pictures is computed again in each epoch, which is slower"
FIX_CACHE = "Set CATDOG_CACHE to another folder, or free space"


def choose_sources(
    setup: "Setup", phase: Phase, index: int, split_at: int, listener: Listener
) -> tuple[KeptFeatures | FreshImages, KeptFeatures | FreshImages]:
    """Return where training and validation batches come from: the feature cache where that keeps the
    meaning of the options, fits its limit and can be written, the pictures themselves otherwise."""
    prefix = frozen_prefix(
        setup.classifier, split_at, setup.spec, setup.dtype, setup.device, setup.forward_batch
    )
    views = fixed_views(setup.settings, phase)
    train, val = setup.sets["train"], setup.sets["val"]
    looks = evaluation_views(setup.settings)
    fresh = phase.augment != "none" and not phase.views
    limit_bytes = setup.settings.cache_limit * 1e9

    def keep(chosen: ImageSet, views: list[View], name: str) -> KeptFeatures:
        def passed(done: int, total: int) -> None:
            listener(FeaturesComputed(name, done, total))

        tables = [build_feature_table(prefix, chosen, view, passed) for view in views]
        return KeptFeatures(chosen, tables, setup.device, averaged=chosen is val)

    def images(chosen: ImageSet) -> FreshImages:
        workers = pick_workers(setup.settings.workers, setup.device)
        short = describe_shortage(workers, phase.batch_size, memory_side(setup.spec))
        if short and chosen is train:
            listener(Warned(short))
        seed = setup.settings.seed
        return FreshImages(chosen, prefix, phase.augment, phase.views, seed, index, workers, looks)

    wanted = [(val, view) for view in looks] + ([] if fresh else [(train, view) for view in views])
    if split_at and setup.settings.cache:
        try:
            if _fits(phase, prefix, wanted, limit_bytes, listener):
                val_source = keep(val, looks, "val")
                return images(train) if fresh else keep(train, views, "train"), val_source
        except OSError as error:
            problem = f"the feature cache {str(cache_root())!r} cannot be used ({error.strerror or error})"
            refuse_unkept(phase, problem, FIX_CACHE)
            listener(Warned(f"{SLOWER}, for {problem}. {FIX_CACHE}."))
    return images(train), images(val)


def _fits(
    phase: Phase,
    prefix: AnyPrefix,
    wanted: list[tuple[ImageSet, View]],
    limit_bytes: float,
    listener: Listener,
) -> bool:
    """Make room in the cache for the tables of a phase, or report that they do not fit; nothing is deleted
    for what would not fit into an empty cache."""
    needed_bytes = table_bytes(prefix, sum(len(chosen) for chosen, _ in wanted))
    if needed_bytes <= limit_bytes and claim_room(prefix, wanted, limit_bytes):
        return True
    refuse_too_large(phase, needed_bytes, limit_bytes)
    listener(CacheTooSmall(needed_bytes, limit_bytes))
    return False


def refuse_too_large(phase: Phase, needed_bytes: float, limit_bytes: float) -> None:
    """Raise SettingsError where a phase cannot do without features that outgrow the cache's limit."""
    sizes = f"they take {needed_bytes / 1e9:.2g} GB, more than --cache-limit {limit_bytes / 1e9:g}"
    refuse_unkept(phase, sizes, "Raise it" + (", or give fewer --views" if phase.views > 1 else ""))


def refuse_unkept(phase: Phase, problem: str, cure: str) -> None:
    """Raise SettingsError where a phase cannot do without kept features, saying why there are none."""
    if phase.optimizer == "lbfgs":
        cure = cure[0].lower() + cure[1:]
        raise SettingsError(
            f"--optimizer lbfgs needs the features of all pictures at hand, but {problem}: {cure}, or choose "
            f"another --optimizer."
        )


def evaluation_views(settings: TrainSettings) -> list[View]:
    """Return the views over which an evaluation averages, in the order in which a predictor looks."""
    views = [View(), View(mirrored=True), View(whole=True), View(mirrored=True, whole=True)]
    return views[: {"once": 1, "mirror": 2, "whole": 4}[settings.looks]]


def fixed_views(settings: TrainSettings, phase: Phase) -> list[View]:
    """Return the fixed views that a phase looks through: a plain one without augmentation, none if fresh."""
    if phase.augment == "none":
        return [View()]
    count = phase.views if phase.optimizer == "lbfgs" else min(phase.views, phase.epochs)
    return [fixed_view(phase.augment, settings.seed, number) for number in range(count)]


def pick_workers(workers: int, device: torch.device) -> int:
    """Return the number of loading processes: as asked, or what suits the machine."""
    if workers >= 0:
        return workers
    return min(8, usable_cores()) if device.type == "cuda" else min(2, usable_cores() // 2)
