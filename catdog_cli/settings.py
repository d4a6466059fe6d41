"""What a run is asked to do, as frozen dataclasses that check themselves.

Each class turns into a plain dict (`to_dict`) and back (`from_dict`), which is how settings reach
checkpoints, `settings.json` and recipe files. A field has the same name as its command-line option.
"""

import dataclasses
import difflib
import math
import re
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from .errors import SettingsError, quote

OPTIMIZERS = ("adam", "adamw", "sgd", "lbfgs")
SCHEDULERS = ("constant", "cosine", "step", "one-cycle")
AUGMENTS = ("none", "light", "standard", "strong")
MONITORS = ("accuracy", "loss", "f1", "auc")
PRECISIONS = ("auto", "fp32", "bf16")
DEVICES = ("auto", "cpu", "gpu")
INTERPOLATIONS = ("bilinear", "bicubic")
LARGEST = 10**15  # of whole numbers without another limit: a file may hold one of 5,000 digits


class PlainDict:
    """Turns a frozen dataclass into plain containers and back."""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain containers: tuples become lists, nested settings become dicts."""
        return _plain(dataclasses.asdict(self))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Build from `to_dict`'s output; a missing field takes its default.

        Raises:
            SettingsError: a field is unknown, or its value fails the class's checks.
        """
        if not isinstance(values, dict):
            raise SettingsError(f"{cls.__name__} is {quote(values)}, but must be names with values.")
        fields = {item.name: item for item in dataclasses.fields(cls)}
        for name in values:
            if name not in fields:
                close = difflib.get_close_matches(quote(name).strip("'"), fields, 1)
                hint = f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(fields)}."
                raise SettingsError(f"Unknown setting {quote(name)}{hint}")
        made = {name: _revive(fields[name], value) for name, value in values.items()}
        try:
            return cls(**made)
        except TypeError as error:
            raise SettingsError(f"Incomplete {cls.__name__}: {error}.") from error


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _revive(item: dataclasses.Field, value: Any) -> Any:
    kind = item.metadata.get("kind")
    if kind is not None and isinstance(value, dict):
        return kind.from_dict(value)
    if kind is not None and isinstance(value, list):
        return tuple(kind.from_dict(entry) if isinstance(entry, dict) else entry for entry in value)
    return tuple(value) if isinstance(value, list) else value


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raise SettingsError unless `value` is one of `choices`."""
    if value not in choices:
        raise SettingsError(f"{name} is {quote(value)}, but must be one of: {', '.join(choices)}.")


def check_range(name: str, value: Any, low: float, high: float = math.inf, whole: bool = False) -> None:
    """Raise SettingsError unless `value` is a number in [low, high], and whole if asked."""
    number = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    high = LARGEST if isinstance(value, int) and high == math.inf else high
    if not number or not low <= value <= high or value == math.inf:
        wide = high == math.inf or (high == LARGEST and not (number and value > high))
        bounds = f"of at least {low:g}" if wide else f"from {low:g} to {high:g}"
        kind = "whole number" if whole else "number"
        raise SettingsError(f"{name} is {quote(value)}, but must be a {kind} {bounds}.")


def check_kind(name: str, value: Any, kind: type | tuple[type, ...], wanted: str) -> None:
    """Raise SettingsError unless `value` is of `kind`, which a person would call `wanted`."""
    if not isinstance(value, kind):
        raise SettingsError(f"{name} is {quote(value)}, but must be {wanted}.")


def save_interval(text: str) -> tuple[float, float]:
    """Return (seconds, batches) between saves within an epoch: one of them, or both, is infinite.

    `text` is a time (30s, 10m, 2h), a number of batches (200 or 200b), or off (also 0).

    Raises:
        SettingsError: it is something else.
    """
    form = r"(\d{1,9}(?:\.\d{1,9})?)(s|m|h)|(\d{1,9})b?|off"
    found = re.fullmatch(form, text) if isinstance(text, str) else None
    if found is None:
        raise SettingsError(
            f"save every is {quote(text)}, but must be a time (30s, 10m, 2h), a number of batches (200) or "
            f"off."
        )
    number, unit, batches = found.groups()
    seconds = float(number or 0) * {"s": 1, "m": 60, "h": 3600, None: 1}[unit]
    return seconds or math.inf, int(batches or 0) or math.inf


@dataclass(frozen=True)
class InputSpec(PlainDict):
    """How a picture becomes a network's input: the one contract between data and models.

    The shorter side is resized to `resize` px, the central `size` x `size` px are kept, scaled to 0..1,
    and normalised by channel with `mean` and `std`.
    """

    size: int = 224
    resize: int = 256
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    interpolation: str = "bilinear"

    def __post_init__(self):
        check_range("image size", self.size, 8, 4096, whole=True)
        check_range("resize", self.resize, self.size, 8192, whole=True)
        check_choice("interpolation", self.interpolation, INTERPOLATIONS)
        for name, values, low in (("mean", self.mean, -1e6), ("std", self.std, 1e-6)):
            if not isinstance(values, tuple) or len(values) != 3:
                raise SettingsError(f"{name} is {quote(values)}, but must be three numbers, one a colour.")
            for value in values:
                check_range(name, value, low, 1e6)

    def with_size(self, size: int) -> "InputSpec":
        """Return the spec for another input size, keeping the ratio of resize to size."""
        return dataclasses.replace(self, size=size, resize=max(size, round(size * self.resize / self.size)))


@dataclass(frozen=True)
class HeadSpec(PlainDict):
    """What replaces a network's last Linear: hidden layers (units), ReLU, dropout, one output per class."""

    hidden_layers: tuple[int, ...] = ()
    dropout: float = 0.2

    def __post_init__(self):
        check_kind("hidden layers", self.hidden_layers, (tuple, list), "a list of whole numbers")
        check_range("number of hidden layers", len(self.hidden_layers), 0, 100, whole=True)
        for units in self.hidden_layers:
            check_range("hidden layers", units, 1, 65536, whole=True)
        check_range("dropout", self.dropout, 0, 0.99)


@dataclass(frozen=True)
class Phase(PlainDict):
    """A stretch of training with one answer to what is trainable, at which rate, for how long.

    `unfreeze` is how much of the backbone trains beside the head: 0 (nothing), N (its last N leaf
    modules) or "all".
    """

    name: str
    epochs: int
    learning_rate: float = 1e-3
    unfreeze: int | Literal["all"] = 0
    batch_size: int = 32
    optimizer: str = "adam"
    weight_decay: float = 0.0
    scheduler: str = "constant"
    warmup_epochs: float = 0.0
    label_smoothing: float = 0.0
    class_weights: str = "none"
    sampler: str = "shuffle"
    augment: str = "none"
    views: int = 0  # 0: a fresh view each epoch when augmenting; N: N fixed views, which can be cached
    mixup: float = 0.0
    cutmix: float = 0.0
    layer_decay: float = 1.0
    clip_norm: float = 0.0
    ema: float = 0.0
    patience: int = 0
    min_delta: float = 0.0
    monitor: str = "accuracy"

    def __post_init__(self):
        check_kind("phase name", self.name, str, "a text")
        check_range("epochs", self.epochs, 0, whole=True)
        check_range("learning rate", self.learning_rate, 0)
        if self.unfreeze != "all":
            check_range("unfreeze", self.unfreeze, 0, whole=True)
        check_range("batch size", self.batch_size, 1, whole=True)
        check_choice("optimizer", self.optimizer, OPTIMIZERS)
        check_range("weight decay", self.weight_decay, 0)
        check_choice("scheduler", self.scheduler, SCHEDULERS)
        check_range("warmup epochs", self.warmup_epochs, 0)
        check_range("label smoothing", self.label_smoothing, 0, 0.99)
        check_choice("class weights", self.class_weights, ("none", "balanced"))
        check_choice("sampler", self.sampler, ("shuffle", "balanced"))
        check_choice("augment", self.augment, AUGMENTS)
        check_range("views", self.views, 0, 1000, whole=True)
        check_range("mixup", self.mixup, 0)
        check_range("cutmix", self.cutmix, 0)
        check_range("layer decay", self.layer_decay, 1e-6, 1)
        check_range("clip norm", self.clip_norm, 0)
        check_range("ema", self.ema, 0, 0.999999)
        check_range("patience", self.patience, 0, whole=True)
        check_range("minimum change", self.min_delta, 0)
        check_choice("monitor", self.monitor, MONITORS)


# What solving the head in one go (lbfgs) does not look at; a value other than the default would be ignored.
UNUSED_BY_LBFGS = (
    "learning_rate",
    "batch_size",
    "scheduler",
    "warmup_epochs",
    "sampler",
    "mixup",
    "cutmix",
    "layer_decay",
    "clip_norm",
    "ema",
    "patience",
)
UNUSED_TOGETHER = (  # option, what makes it useless in a phase, what to do
    ("views", lambda phase: phase.augment == "none", "fixes augmented views: add --augment"),
    (
        "warmup_epochs",
        lambda phase: phase.scheduler == "one-cycle",
        "does nothing with --scheduler one-cycle, which warms up by itself: leave it out",
    ),
)


def check_combinations(phases: tuple[Phase, ...]) -> None:
    """Refuse options that would be ignored beside others; checked when a run begins, not when one resumes.

    Raises:
        SettingsError: with the option, and what to do.
    """
    for phase in phases:
        for name in UNUSED_BY_LBFGS if phase.optimizer == "lbfgs" else ():
            if is_changed(phase, name):
                raise SettingsError(
                    f"{_option(name)} does nothing with --optimizer lbfgs, which solves the head in one go: "
                    f"leave it out."
                )
        for name, is_useless, cure in UNUSED_TOGETHER:
            if is_changed(phase, name) and is_useless(phase):
                raise SettingsError(f"{_option(name)} {cure}.")
    decaying = any(is_changed(phase, "layer_decay") for phase in phases)
    if decaying and not any(phase.unfreeze for phase in phases):
        raise SettingsError(
            "--layer-decay slows earlier layers down, but only the head trains: add --fine-tune-epochs N, or "
            "leave it out."
        )


def check_phase_number(phases: tuple[Phase, ...], number: int) -> None:
    """Raise SettingsError unless there is a phase `number`, counted from 1."""
    if not 1 <= number <= len(phases):
        there = "is 1 phase: add --fine-tune-epochs N" if len(phases) == 1 else f"are {len(phases)} phases"
        raise SettingsError(f"--phase {number}: there {there}.")


def is_changed(phase: Phase, name: str) -> bool:
    """Say whether a field of a phase has another value than its default."""
    return getattr(phase, name) != getattr(Phase, name)


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


@dataclass(frozen=True)
class TrainSettings(PlainDict):
    """All that one training run is asked to do."""

    data: str
    arch: str = "resnet18"
    weights: str = "imagenet"
    head: HeadSpec = field(default=HeadSpec(), metadata={"kind": HeadSpec})
    phases: tuple[Phase, ...] = field(default=(Phase("head", 5),), metadata={"kind": Phase})
    image_size: int = 0  # 0: what the weights were trained with
    exclude: str = ""  # a file of pictures to leave out
    val_fraction: float = 0.2
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    workers: int = -1  # -1: chosen for the machine
    micro_batch_size: int = 0  # most pictures at once in a step; 0: the whole batch, if it fits
    compile: bool = False  # torch.compile for what trains of the backbone
    deterministic: bool = False  # the same bits each time on a GPU, too
    cache: bool = True
    cache_limit: float = 10.0  # GB
    max_bad_fraction: float = 0.01
    save_every: str = "5m"  # how often last.pt is written within an epoch; see `save_interval`

    def __post_init__(self):
        for name in ("data", "arch", "weights", "exclude"):
            check_kind(name, getattr(self, name), str, "a text")
        check_kind("head", self.head, HeadSpec, "the settings of a head")
        check_kind("phases", self.phases, tuple, "a list of phases")
        for phase in self.phases:
            check_kind("phase", phase, Phase, "the settings of a phase")
        if not self.phases:
            raise SettingsError("There is no phase to train: give at least one.")
        if self.image_size != 0 or isinstance(self.image_size, bool):
            check_range("image size", self.image_size, 8, 4096, whole=True)
        check_range("val fraction", self.val_fraction, 0.01, 0.9)
        check_range("seed", self.seed, 0, 2**63 - 1, whole=True)
        check_choice("device", self.device, DEVICES)
        check_choice("precision", self.precision, PRECISIONS)
        check_range("workers", self.workers, -1, 1024, whole=True)
        check_range("micro batch size", self.micro_batch_size, 0, whole=True)
        check_kind("compile", self.compile, bool, "true or false")
        check_kind("deterministic", self.deterministic, bool, "true or false")
        check_kind("cache", self.cache, bool, "true or false")
        check_range("cache limit", self.cache_limit, 0)
        check_range("max bad fraction", self.max_bad_fraction, 0, 1)
        save_interval(self.save_every)
