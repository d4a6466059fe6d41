"""Option decorators that commands share, and reading an option file."""

import tomllib
from collections.abc import Callable
from typing import Any

import click

from ..errors import SettingsError, quote
from ..recipes.build import (
    build_settings,
    parse_layers,
    parse_unfreeze,
)
from ..runtime.files import read_text
from ..settings import AUGMENTS, MONITORS, OPTIMIZERS, PRECISIONS, SCHEDULERS, TrainSettings

TRAIN_ALONE = ("recipe", "output", "save_every", "mlflow", "mlflow_experiment", "mlflow_model", "tensorboard")


class Layers(click.ParamType):
    """A list of whole numbers with commas: 512,256."""

    name = "N,N"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, ...]:
        try:
            return parse_layers(value)
        except SettingsError as error:
            self.fail(str(error), param, ctx)


class Unfreeze(click.ParamType):
    """`all` or a number of layers."""

    name = "all|N"

    def convert(self, value: Any, param: Any, ctx: Any) -> int | str:
        try:
            return parse_unfreeze(value)
        except SettingsError as error:
            self.fail(str(error), param, ctx)


def add_options(*options: Callable) -> Callable:
    """Return a decorator that adds options to a command in the order given."""

    def decorate(command: Callable) -> Callable:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


device_options = add_options(
    click.option("--gpu", "device", flag_value="gpu", help="Compute on the GPU; an error if there is none."),
    click.option("--cpu", "device", flag_value="cpu", help="Compute on the CPU."),
)
exclude_option = click.option(
    "--exclude", metavar="FILE", help="Pictures to leave out; `data check` writes such a list."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document to stdout.")
precision_option = click.option(
    "--precision", type=click.Choice(PRECISIONS), help="Default auto: bf16 where the processor has it."
)

network_options = add_options(
    click.option(
        "--arch", help="Network, as torchvision spells it; `catdog info` lists them.  [default: resnet18]"
    ),
    click.option(
        "--weights",
        metavar="imagenet|none|FILE",
        help="First weights of the backbone.  [default: imagenet; simple_cnn: none]",
    ),
    click.option(
        "--hidden-layers", type=Layers(), help="Hidden layers of the head, such as 512,256.  [default: none]"
    ),
    click.option("--dropout", type=float, help="Dropout in the head.  [default: 0.2]"),
    click.option("--image-size", type=int, metavar="PX", help="Input size; default: the weights' own."),
)
phase_options = add_options(
    click.option("--epochs", type=int, help="Epochs of the first phase.  [default: 5, from scratch 20]"),
    click.option("--learning-rate", type=float, help="Rate of the first phase.  [default: 0.001]"),
    click.option("--fine-tune-epochs", type=int, help="Epochs of a second phase.  [default: 0]"),
    click.option("--fine-tune-learning-rate", type=float, help="Its rate.  [default: a hundredth]"),
    click.option("--unfreeze", type=Unfreeze(), help="Layers that it trains, from the end.  [default: all]"),
    click.option("--batch-size", type=int, help="Pictures a step.  [default: 32]"),
    click.option(
        "--optimizer", type=click.Choice(OPTIMIZERS), help="lbfgs: the exact linear head.  [default: adam]"
    ),
    click.option("--weight-decay", type=float, help="L2 strength.  [default: 0; lbfgs: found by folds]"),
    click.option(
        "--scheduler", type=click.Choice(SCHEDULERS), help="How the rate moves.  [default: constant]"
    ),
    click.option("--warmup-epochs", type=float, help="Epochs in which the rate rises.  [default: 0]"),
    click.option(
        "--label-smoothing", type=float, help="Share of the label spread over all classes.  [default: 0]"
    ),
    click.option(
        "--class-weights", type=click.Choice(("none", "balanced")), help="Weight of a class.  [default: none]"
    ),
    click.option(
        "--sampler",
        type=click.Choice(("shuffle", "balanced")),
        help="How pictures are drawn.  [default: shuffle]",
    ),
    click.option("--augment", type=click.Choice(AUGMENTS), help="How pictures are varied.  [default: none]"),
    click.option(
        "--views", type=int, help="Fixed variations a picture, kept in the cache.  [default: 0: always fresh]"
    ),
    click.option("--mixup", type=float, metavar="ALPHA", help="Blend pictures.  [default: 0]"),
    click.option(
        "--cutmix", type=float, metavar="ALPHA", help="Paste parts of other pictures.  [default: 0]"
    ),
    click.option(
        "--layer-decay",
        type=float,
        help="Factor of the rate from block to block, to the front.  [default: 1]",
    ),
    click.option("--clip-norm", type=float, help="Longest gradient.  [default: 0: any]"),
    click.option(
        "--ema", type=float, metavar="DECAY", help="Average the weights, such as 0.99.  [default: 0]"
    ),
    click.option(
        "--patience", type=int, help="Stop after this many epochs without gain.  [default: 0: never]"
    ),
    click.option("--min-delta", type=float, help="Smallest gain that counts.  [default: 0]"),
    click.option("--monitor", type=click.Choice(MONITORS), help="What is best.  [default: accuracy]"),
)
run_options = add_options(
    click.option("--seed", type=int, help="Seed of all random numbers.  [default: 0]"),
    exclude_option,
    click.option("--val-fraction", type=float, help="Share kept for validation.  [default: 0.2]"),
    click.option("--workers", type=int, help="Processes that load pictures.  [default: by machine]"),
    click.option(
        "--micro-batch-size",
        type=int,
        help="Most pictures at once in memory; a larger batch goes in parts.  [default: 0: all that fit]",
    ),
    click.option(
        "--compile/--no-compile",
        default=None,
        help="torch.compile what trains of the backbone: a minute first, then faster on GPUs.  [default: no]",
    ),
    click.option(
        "--deterministic/--no-deterministic",
        default=None,
        help="The same bits each time on GPUs, too, but slower; CPUs always do.  [default: no]",
    ),
    click.option(
        "--cache/--no-cache",
        default=None,
        help="Keep what the frozen network makes of pictures.  [default: cache]",
    ),
    click.option(
        "--cache-limit", type=float, metavar="GB", help="Most that the feature cache takes.  [default: 10]"
    ),
    click.option("--max-bad-fraction", type=float, help="Share of unreadable pictures.  [default: 0.01]"),
)
trial_options = add_options(  # of commands that train a little, as `catdog train` would
    network_options,
    phase_options,
    run_options,
    device_options,
    precision_option,
    click.option("--recipe", metavar="NAME|FILE", help="Phases from a recipe instead of options."),
    click.option("--config", type=click.Path(), help="Options from a TOML file; the command line wins."),
)
save_every_option = click.option(
    "--save-every",
    metavar="TIME|N",
    help="Save within an epoch: 30s, 10m, 2h, or every N batches; off: only after epochs.  [default: 5m]",
)
tracking_options = add_options(
    click.option(
        "--mlflow", metavar="URI", help="Follow the run in MLflow: server, sqlite:///FILE or folder."
    ),
    click.option("--mlflow-experiment", metavar="NAME", help="Where the run goes.  [default: catdog]"),
    click.option("--mlflow-model", metavar="NAME", help="Register the best checkpoint there as this model."),
    click.option(
        "--tensorboard", is_flag=True, default=None, help="Write event files into the run directory."
    ),
)


def read_config(path: str | None, known: set[str]) -> dict[str, Any]:
    """Return the options of a TOML file, names as on the command line (with - or _).

    Raises:
        SettingsError: the file cannot be read, or holds an option that does not exist.
    """
    if path is None:
        return {}
    try:
        values = tomllib.loads(read_text(path))
    except (OSError, ValueError, RecursionError) as error:  # ValueError: no TOML, no UTF-8, too large
        reason = getattr(error, "strerror", None) or str(error)[:200]
        raise SettingsError(f"Cannot read the option file {path!r} ({reason}).") from error
    named = {name.replace("-", "_"): value for name, value in values.items()}
    for name in ("gpu", "cpu"):  # flags that share one setting
        if named.pop(name, False):
            named["device"] = name
    for name in named:
        if name not in known:
            raise SettingsError(
                f"{path!r} has the unknown option {quote(name)}: `catdog train --help` lists all."
            )
    return named


def trial_settings(data: str, config: str | None, recipe: str | None, given: dict[str, Any]) -> TrainSettings:
    """Return the settings of a command with `trial_options`, which reads the option files of `catdog train`.

    Raises:
        SettingsError: as of `read_config` and `build_settings`.
    """
    read = read_config(config, {*given, *TRAIN_ALONE})
    merged = {**read, **{name: value for name, value in given.items() if value is not None}}
    return build_settings(data, merged, recipe or merged.get("recipe"))
