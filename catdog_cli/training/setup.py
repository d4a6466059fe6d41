"""What a run needs before its first phase: device, network, data; and what opens each phase."""

import dataclasses
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..data.dataset import Dataset
from ..data.digests import content_keys, fingerprint
from ..data.loaders import CorruptImage, Images
from ..errors import DataError, SettingsError, UnavailableError
from ..features.batches import FreshImages, KeptFeatures
from ..features.extractor import ImageSet, View, image_set, run_prefix
from ..models.classifier import Classifier, build_classifier
from ..models.inference_form.compiled import compile_network
from ..models.meta import check_image_size
from ..models.tasks import SINGLE_LABEL, Task, task_of
from ..models.weights import Origin, check_weights, load_backbone, origin_of
from ..models.zoo.registry import check_arch, source_of
from ..runs.category_names import read_category_names
from ..runtime.devices import pick_device, pick_precision, repeat_exactly
from ..runtime.distributed import processes
from ..runtime.memory import MicroBatch
from ..runtime.seeds import generator_of, seed_of
from ..settings import Phase, TrainSettings
from ..settings_head import CUSTOM
from ..settings_networks import WORDS, AnySpec, describe_sizes, join_specs, split_arch, weights_of
from ..settings_rules import check_combinations, check_labels
from .events import Listener, MemoryRanOut, Warned, ignore
from .optimizers import WeightAverage, build_optimizer
from .phase_run import PhaseRun

NORM_PICTURES = 2048  # enough to know a mean and a standard deviation to 2 %


@dataclass(eq=False)
class Setup:
    """Settings turned into things: the network on its device, the pictures, how to compute."""

    settings: TrainSettings
    dataset: Dataset
    classifier: Classifier
    spec: AnySpec
    device: torch.device
    dtype: torch.dtype
    sets: dict[str, ImageSet]
    fingerprint: dict[str, Any]
    task: Task = SINGLE_LABEL
    micro_batch: MicroBatch = field(default_factory=MicroBatch)  # of training steps
    forward_batch: MicroBatch = field(default_factory=MicroBatch)  # of what needs no gradients
    reported_bad: set[str] = field(default_factory=set)
    contents: dict[str, list[str]] = field(default_factory=dict)  # by split: a digest a picture
    category_names: dict[str, str] = field(default_factory=dict)  # to show, by class, where there are any
    origin: Origin = field(default_factory=Origin)

    def class_weights(self, phase: Phase) -> torch.Tensor | None:
        """Return the weights (C,) that make up for how often classes occur, or None."""
        if phase.class_weights == "none":
            return None
        labels = self.dataset.splits["train"].labels
        weights = self.task.balanced_weights(labels, len(self.dataset.class_names))
        return torch.from_numpy(weights).to(self.device)


def separate_head(head: "str | nn.Module | None") -> tuple[str | None, nn.Module | None]:
    """Return the option's word for a head as Python users give it, and the module if it is one."""
    return (CUSTOM, head) if isinstance(head, nn.Module) else (head, None)


def choose_spec(settings: TrainSettings) -> AnySpec:
    """Return the input spec of the run: the weights' own, at `image_size` where that is given.

    Of several networks each has its own, or all the size that is given.
    """
    chosen = zip(split_arch(settings.arch), weights_of(settings.arch, settings.weights), strict=True)
    spec = join_specs([source_of(arch).input_spec(arch, weights) for arch, weights in chosen])
    return spec.with_size(settings.image_size) if settings.image_size else spec


def prepare_run(
    settings: TrainSettings,
    dataset: Dataset,
    state_dict: dict | None = None,
    listener: Listener = ignore,
    head: nn.Module | None = None,
) -> Setup:
    """Build the network and hash the pictures; `state_dict` (of a checkpoint) replaces the first weights.

    `head` is the module that a custom head is a copy of.

    Raises:
        SettingsError: no such arch or device; a phase asks for more layers than there are.
        CheckpointError, CatdogError: the weights cannot be had; another machine does not have the data.
    """
    settings = settle_task(settings, dataset)
    if settings.deterministic:
        repeat_exactly()
    own = processes().device
    device = pick_device(settings.device) if own is None or settings.device == "cpu" else own
    dtype = processes().from_main(lambda: pick_precision(settings.precision, device))
    spec = choose_spec(settings)
    classifier = _same_classifier(settings, len(dataset.class_names), state_dict, device, head)
    processes().gather(lambda: _check_here(dataset))
    if len(classifier.blocks) == 1 and any(phase.unfreeze for phase in settings.phases):
        listener(
            Warned(f"{settings.arch} cannot be split into blocks: training a part of it computes all of it.")
        )
    contents, digest = processes().from_main(lambda: _read_contents(dataset))

    def note_shrink(work: str) -> Callable[[int], None]:
        return lambda size: listener(MemoryRanOut(work, size))

    sets = {name: image_set(Images(dataset, name, spec), keys) for name, keys in contents.items()}
    return Setup(
        settings,
        dataset,
        classifier,
        spec,
        device,
        dtype,
        sets,
        digest,
        task_of(dataset.has_several_labels),
        micro_batch=MicroBatch(settings.micro_batch_size, note_shrink("training")),
        forward_batch=MicroBatch(0, note_shrink("looking at pictures")),
        contents=contents,
        origin=processes().from_main(lambda: origin_of(settings.arch, settings.weights)),
    )


def settle_task(settings: TrainSettings, dataset: Dataset) -> TrainSettings:
    """Return the settings with what the labels of the data decide: by what an epoch is best.

    Raises:
        SettingsError: an option means nothing for such labels.
    """
    check_labels(settings, dataset.has_several_labels)
    headline = task_of(dataset.has_several_labels).headline
    phases = tuple(
        dataclasses.replace(phase, monitor=headline) if phase.monitor == "auto" else phase
        for phase in settings.phases
    )
    return dataclasses.replace(settings, phases=phases)


def _same_classifier(
    settings: TrainSettings,
    num_classes: int,
    state_dict: dict | None,
    device: torch.device,
    head: nn.Module | None,
) -> Classifier:
    """Return the run's network on its device, in every process with the weights that the main one has."""
    made: list[Classifier] = []
    processes().from_main(lambda: made.append(make_classifier(settings, num_classes, state_dict, head)))
    blank = dataclasses.replace(settings, weights="none")
    classifier = made[0] if made else make_classifier(blank, num_classes, None, head)
    layout: dict[str, Any] = {"memory_format": torch.channels_last}
    classifier.to(device, **layout)  # at once, or 1 x 1 kernels would keep their strides on a GPU
    processes().copy_from_main(list(classifier.state_dict().values()))
    return classifier


def _check_here(dataset: Dataset) -> None:
    """Raise DataError where this machine lacks the pictures that the main process has found."""
    if not dataset.root.exists():
        raise DataError(
            f"{str(dataset.root)!r} is not there on the machine {socket.gethostname()!r}: every machine "
            f"needs the pictures under the same path."
        )


def _read_contents(dataset: Dataset) -> tuple[dict[str, list[str]], dict[str, Any]]:
    contents = {name: content_keys(dataset, name) for name in ("train", "val")}
    return contents, fingerprint(dataset, contents)


def make_classifier(
    settings: TrainSettings,
    num_classes: int,
    state_dict: dict | None = None,
    head: nn.Module | None = None,
) -> Classifier:
    """Build the run's network with its first weights, and check that every phase fits it."""
    classifier = build_classifier(
        settings.arch, num_classes, settings.head, seed_of(settings.seed, "weights"), head
    )
    for phase in settings.phases:
        classifier.unfreeze(phase.unfreeze)
    if state_dict is None:
        load_backbone(classifier, settings.weights)
    else:
        classifier.load_state_dict(state_dict)
    return classifier


def open_phase(
    setup: Setup,
    index: int,
    split_at: int,
    source: KeptFeatures | FreshImages,
    val_source: KeptFeatures | FreshImages,
) -> PhaseRun:
    """Return phase `index` ready to train: its suffix, a fresh optimizer, its average if it has one."""
    phase = setup.settings.phases[index]
    suffix = setup.classifier.suffix(split_at)
    compiled = setup.settings.compile and split_at < len(setup.classifier.blocks)
    return PhaseRun(
        classifier=setup.classifier,
        suffix=compile_network(suffix) if compiled else suffix,
        split_at=split_at,
        phase=phase,
        index=index,
        seed=setup.settings.seed,
        source=source,
        val_source=val_source,
        optimizer=build_optimizer(setup.classifier, phase),
        dtype=setup.dtype,
        task=setup.task,
        class_weights=setup.class_weights(phase),
        average=WeightAverage(suffix, phase.ema) if phase.ema else None,
        micro_batch=setup.micro_batch,
        forward_batch=setup.forward_batch,
    )


def fit_norm(setup: Setup, source: KeptFeatures | FreshImages, listener: Listener) -> None:
    """Give the head the mean and standard deviation of the training features, from at most NORM_PICTURES.

    The choice comes from the seed, the view is the plain one: cached and uncached runs get the same.
    """
    if setup.settings.weights == "none":
        return
    chosen = source.chosen
    order = torch.randperm(len(chosen), generator=generator_of(setup.settings.seed, "norm"))[:NORM_PICTURES]
    order = order.sort().values
    if isinstance(source, KeptFeatures):
        readable = torch.tensor([i for i in order.tolist() if i not in chosen.bad], dtype=torch.int64)
        features = source.tables[0].take(readable)
    else:
        found = processes().gather(lambda: _norm_features(source, order.tolist()))
        parts = []
        for part, bad in found:
            chosen.note_bad(bad)
            parts += part
        parts.sort(key=lambda part: part[0])  # as one process would see them
        features = torch.cat([outputs for _, outputs in parts])
    networks = setup.classifier.networks
    widths = [network.feature_dim for network in networks]
    if setup.classifier.head.norm.fit(features.float().to(setup.device), widths):
        which = "" if len(networks) == 1 else "one of "
        listener(
            Warned(
                f"At {describe_sizes(setup.spec)} px most features of {which}{setup.settings.arch} are the "
                f"same for every picture: little can be learnt from them. Give a larger --image-size."
            )
        )


def _norm_features(
    source: FreshImages, wanted: list[int]
) -> tuple[list[tuple[int, torch.Tensor]], list[CorruptImage]]:
    """Return (first index, features) of this process's batches, and the unreadable pictures."""
    mine = [index for chunk in processes().chunks(wanted, source.prefix.batch) for index in chunk]
    parts, found = [], []
    for indices, outputs, bad in run_prefix(source.prefix, source.chosen, mine, View()):
        found += bad
        if len(indices):
            parts.append((int(indices[0]), outputs.float()))
    return parts, found


def check_settings(settings: TrainSettings) -> None:
    """Raise SettingsError for combinations that cannot work, before anything is read.

    Raises:
        CatdogError: as above, or first weights cannot be had: no such file, no network.
    """
    check_arch(settings.arch)
    if settings.category_names:
        read_category_names(settings.category_names)
    check_combinations(settings)
    pick_device(settings.device)
    if settings.image_size:
        check_image_size(settings.arch, settings.image_size)
    for weights in weights_of(settings.arch, settings.weights):
        _check_file(weights)
    if processes().is_main:  # which alone gets the weights
        check_weights(settings.arch, settings.weights)


def _check_file(weights: str) -> None:
    if weights not in WORDS and not Path(weights).exists():
        is_path = Path(weights).suffix or Path(weights).parent.name  # no word like imagnet
        raise (UnavailableError if is_path else SettingsError)(
            f"No weights file {weights!r}: check the path, or give imagenet or none."
        )
