"""What a run is asked to do, as frozen dataclasses that check themselves.

Each class turns into a plain dict (`to_dict`) and back (`from_dict`), which is how settings reach
checkpoints, `settings.json` and recipe files. A field has the same name as its command-line option, and says
all there is to know about it; see `settings_schema`. What may not stand together is in `settings_rules`.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from .errors import SettingsError
from .settings_head import HeadSpec as HeadSpec
from .settings_input import INTERPOLATIONS as INTERPOLATIONS
from .settings_input import LOOKS as LOOKS
from .settings_input import PRECISION
from .settings_input import UNKNOWN_LABEL as UNKNOWN_LABEL
from .settings_input import InputSpec as InputSpec
from .settings_schema import (
    FINE_TUNING,
    GROUPS,
    IMAGES,
    MACHINE,
    NETWORK,
    RUN,
    TRAINING,
    PlainDict,
    Setting,
    about,
    check_kind,
    check_range,
    check_save_every,
    settings_of,
)

AUGMENTS = ("none", "light", "standard", "strong")


def _check_unfreeze(label: str, value: Any) -> None:
    if value != "all":
        check_range(label, value, 0, whole=True)


def _check_weights(label: str, value: Any) -> None:
    for each in value if isinstance(value, tuple) and 2 <= len(value) <= 100 else (value,):
        check_kind(label, each, str, "a text, or one for each of several networks")


def _check_image_size(label: str, value: Any) -> None:
    if value != 0 or isinstance(value, bool):
        check_range(label, value, 8, 4096, whole=True)


def _check_head(label: str, value: Any) -> None:
    check_kind(label, value, HeadSpec, "the settings of a head")


def _check_phases(label: str, value: Any) -> None:
    check_kind(label, value, tuple, "a list of phases")
    for phase in value:
        check_kind("phase", phase, Phase, "the settings of a phase")
    if not value:
        raise SettingsError("There is no phase to train: give at least one.")


@dataclass(frozen=True)
class Phase(PlainDict):
    """A stretch of training with one answer to what is trainable, at which rate, for how long.

    `unfreeze` is how much of the backbone trains beside the head: 0 (nothing), N (its last N leaf
    modules) or "all".
    """

    name: str = field(metadata=about(label="phase name"))
    epochs: int = field(
        metadata=about(
            "Epochs of the first phase.", TRAINING, int, low=0, default="while it gains", on_resume=True
        )
    )
    learning_rate: float = field(
        default=1e-3, metadata=about("Learning rate of the first phase.", TRAINING, float, low=0)
    )
    unfreeze: int | Literal["all"] = field(
        default=0,
        metadata=about(
            "Layers that the second phase trains, from the end.",
            FINE_TUNING,
            metavar="all|N",
            default="all",
            check=_check_unfreeze,
        ),
    )
    batch_size: int = field(default=32, metadata=about("Pictures a step.", TRAINING, int, low=1))
    optimizer: str = field(
        default="adam",
        metadata=about("lbfgs: the exact linear head.", TRAINING, choices=("adam", "adamw", "sgd", "lbfgs")),
    )
    weight_decay: float = field(
        default=0.0,
        metadata=about("L2 strength.", TRAINING, float, low=0, default="0; lbfgs: found by folds"),
    )
    scheduler: str = field(
        default="constant",
        metadata=about(
            "How the learning rate moves.", TRAINING, choices=("constant", "cosine", "step", "one-cycle")
        ),
    )
    warmup_epochs: float = field(
        default=0.0, metadata=about("Epochs in which the learning rate rises.", TRAINING, float, low=0)
    )
    label_smoothing: float = field(
        default=0.0,
        metadata=about("Share of the label spread over all classes.", IMAGES, float, low=0, high=0.99),
    )
    class_weights: str = field(
        default="none", metadata=about("Weight of a class.", IMAGES, choices=("none", "balanced"))
    )
    sampler: str = field(
        default="shuffle", metadata=about("How pictures are drawn.", IMAGES, choices=("shuffle", "balanced"))
    )
    augment: str = field(default="none", metadata=about("How pictures are varied.", IMAGES, choices=AUGMENTS))
    views: int = field(
        default=0,
        metadata=about(
            "Fixed variations a picture, kept in the cache.",
            IMAGES,
            int,
            low=0,
            high=1000,
            default="0: always fresh",
        ),
    )
    mixup: float = field(
        default=0.0, metadata=about("Blend pictures.", IMAGES, float, low=0, metavar="ALPHA")
    )
    cutmix: float = field(
        default=0.0, metadata=about("Paste parts of other pictures.", IMAGES, float, low=0, metavar="ALPHA")
    )
    layer_decay: float = field(
        default=1.0,
        metadata=about(
            "Factor of the learning rate from block to block, to the front.",
            FINE_TUNING,
            float,
            low=1e-6,
            high=1,
        ),
    )
    clip_norm: float = field(
        default=0.0, metadata=about("Longest gradient.", TRAINING, float, low=0, default="0: any")
    )
    ema: float = field(
        default=0.0,
        metadata=about(
            "Average the weights, such as 0.99.", TRAINING, float, low=0, high=0.999999, metavar="DECAY"
        ),
    )
    patience: int = field(
        default=0,
        metadata=about("Stop after this many epochs without gain.", TRAINING, int, low=0, default="0: never"),
    )
    min_delta: float = field(
        default=0.0,
        metadata=about("Smallest gain that counts.", TRAINING, float, low=0, label="minimum change"),
    )
    monitor: str = field(
        default="auto",  # what the task is measured by, once DATA is known
        metadata=about(
            "By what the best epoch is chosen; map: of several labels; last: none, the last one is kept.",
            TRAINING,
            choices=("auto", "accuracy", "map", "loss", "f1", "auc", "last"),
            default="auto: accuracy; map with several labels",
        ),
    )

    skip_accuracy: float = field(
        default=0.0,  # never skipped
        metadata=about("", kind=float, low=0, high=1),  # in recipes alone
    )


@dataclass(frozen=True)
class FineTuneOptions(PlainDict):
    """What the command line says of a second phase, which `recipes.build` makes of it."""

    fine_tune_epochs: int = field(
        default=0, metadata=about("Epochs of a second phase.", FINE_TUNING, int, low=0, on_resume=True)
    )
    fine_tune_learning_rate: float = field(
        default=0.0,
        metadata=about(
            "Learning rate of the second phase.", FINE_TUNING, float, low=0, default="a hundredth"
        ),
    )


@dataclass(frozen=True)
class TrainSettings(PlainDict):
    """All that one training run is asked to do."""

    data: str = field(metadata=about())
    arch: str = field(
        default="resnet18",
        metadata=about(
            "Network of torchvision or timm; `catdog info` lists them. A+B: side by side, one head.",
            NETWORK,
        ),
    )
    weights: str | tuple[str, ...] = field(
        default="imagenet",
        metadata=about(
            "First weights of the backbone; of several networks all the same, or A+B.",
            NETWORK,
            metavar="imagenet|none|FILE",
            default="imagenet; simple_cnn: none",
            check=_check_weights,
        ),
    )
    head: HeadSpec = field(default=HeadSpec(), metadata={"kind": HeadSpec, **about(check=_check_head)})
    phases: tuple[Phase, ...] = field(
        default=(Phase("head", 5),), metadata={"kind": Phase, **about(check=_check_phases)}
    )
    image_size: int = field(
        default=0,
        metadata=about(
            "Input size.",
            NETWORK,
            int,
            low=8,
            high=4096,
            metavar="PX",
            default="the weights' own",
            check=_check_image_size,
        ),
    )
    looks: str = field(
        default="once",
        metadata=about(
            "How each picture is looked at where answers are averaged; mirror: 2, whole: 4 times.",
            NETWORK,
            choices=LOOKS,
        ),
    )
    exclude: str = field(
        default="",
        metadata=about(
            "Pictures to leave out; `data check` writes such a list.", IMAGES, metavar="FILE", default=""
        ),
    )
    decisions: str = field(
        default="",
        metadata=about(
            "Labels put right and pictures left out, as `data review` writes them.",
            IMAGES,
            metavar="FILE",
            default="",
        ),
    )
    category_names: str = field(
        default="",
        metadata=about(
            "Names to show for classes, kept in the checkpoint.", IMAGES, metavar="FILE.json", default=""
        ),
    )
    label_delimiter: str = field(
        default="",
        metadata=about(
            "What divides labels in a table's column, such as ' '; in a column `labels`, ; and | are seen.",
            IMAGES,
        ),
    )
    label_columns: str = field(
        default="",
        metadata=about(
            "Columns of a table with 1 (has the label), 0 or nothing (unknown): NAME,NAME, or all others.",
            IMAGES,
            metavar="NAMES|all",
            default="where no column is of classes: all such",
        ),
    )
    val_fraction: float = field(
        default=0.2, metadata=about("Share kept for validation.", IMAGES, float, low=0.01, high=0.9)
    )
    seed: int = field(
        default=0, metadata=about("Seed of all random numbers.", RUN, int, low=0, high=2**63 - 1)
    )
    device: str = field(
        default="auto",
        metadata=about("Where to compute.", MACHINE, choices=("auto", "cpu", "gpu"), on_resume=True),
    )
    precision: str = field(
        default="auto",
        metadata=PRECISION,
    )
    workers: int = field(
        default=-1,  # chosen for the machine
        metadata=about(
            "Processes that load pictures.",
            MACHINE,
            int,
            low=-1,
            high=1024,
            default="by machine",
            on_resume=True,
        ),
    )
    micro_batch_size: int = field(
        default=0,
        metadata=about(
            "Most pictures at once in memory; a larger batch goes in parts.",
            MACHINE,
            int,
            low=0,
            default="0: all that fit",
            on_resume=True,
        ),
    )
    compile: bool = field(
        default=False,
        metadata=about(
            "torch.compile what trains of the backbone: a minute first, then faster on GPUs.", MACHINE, bool
        ),
    )
    deterministic: bool = field(
        default=False,
        metadata=about("The same bits each time on GPUs, too, but slower; CPUs always do.", MACHINE, bool),
    )
    cache: bool = field(
        default=True,
        metadata=about(
            "Keep what the frozen network makes of pictures.", MACHINE, bool, default="yes", on_resume=True
        ),
    )
    cache_limit: float = field(
        default=10.0,
        metadata=about(
            "Most that the feature cache takes.", MACHINE, float, low=0, metavar="GB", on_resume=True
        ),
    )
    max_bad_fraction: float = field(
        default=0.01,
        metadata=about("Share of unreadable pictures.", IMAGES, float, low=0, high=1, on_resume=True),
    )
    save_every: str = field(
        default="5m",
        metadata=about(
            "Save within an epoch: 30s, 10m, 2h, or every N batches; off: only after epochs.",
            RUN,
            metavar="TIME|N",
            on_resume=True,
            check=check_save_every,
        ),
    )


def list_options() -> dict[str, Setting]:
    """Return every setting that is an option of `catdog train`, by its name, those of a group together."""
    kinds = (TrainSettings, HeadSpec, FineTuneOptions, Phase)
    found = {name: setting for kind in kinds for name, setting in settings_of(kind).items() if setting.group}
    return {name: found[name] for group in GROUPS for name in found if found[name].group == group}


def option_name(name: str) -> str:
    """Return a setting's name as the command line spells it: --batch-size."""
    return "--" + name.replace("_", "-")
