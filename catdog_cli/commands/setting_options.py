"""Options made from what the settings of a training say of themselves; and reading an option file."""

import functools
from collections.abc import Callable
from typing import Any

import click

from ..errors import SettingsError, UnavailableError, quote
from ..runtime.files import expand_home, read_text
from ..settings import TrainSettings, list_options
from ..settings_schema import RUN, check_kind
from .grouped_help import TRACKING, GroupedOption
from .options import PATH, add_options, device_options, make_option
from .output.terminal import log

TRAIN_ALONE = (
    "recipe",
    "output",
    "save_every",
    "category_names",
    "mlflow",
    "mlflow_experiment",
    "mlflow_model",
    "tensorboard",
)
TRAIN_OPTIONS = list_options()
_TEXT, _FLAG = (str, "a text"), (bool, "true or false")
FILE_KINDS = {  # of what an option file may hold and no setting checks
    **dict.fromkeys(("recipe", "output", "mlflow", "mlflow_experiment", "mlflow_model"), _TEXT),
    **dict.fromkeys(("tensorboard", "gpu", "cpu"), _FLAG),
}
FILE_PATHS = ("output", "mlflow")


class Layers(click.ParamType):
    """A list of whole numbers with commas: 512,256."""

    name = "N,N"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, ...]:
        from ..recipes.build import parse_layers

        try:
            return parse_layers(value)
        except SettingsError as error:
            self.fail(str(error), param, ctx)


class Dropout(click.ParamType):
    """A number, or a list of them with commas: 0.3,0.2."""

    name = "P|P,P"

    def convert(self, value: Any, param: Any, ctx: Any) -> float | tuple[float, ...]:
        from ..recipes.build import parse_dropout

        try:
            return parse_dropout(value)
        except SettingsError as error:
            self.fail(str(error), param, ctx)


class Unfreeze(click.ParamType):
    """`all` or a number of layers."""

    name = "all|N"

    def convert(self, value: Any, param: Any, ctx: Any) -> int | str:
        from ..recipes.build import parse_unfreeze

        try:
            return parse_unfreeze(value)
        except SettingsError as error:
            self.fail(str(error), param, ctx)


OWN_TYPES: dict[str, click.ParamType] = {
    "hidden_layers": Layers(),
    "dropout": Dropout(),
    "unfreeze": Unfreeze(),
}


def setting_option(name: str) -> Callable:
    """Return the option of a setting."""
    return make_option(name, TRAIN_OPTIONS[name], OWN_TYPES.get(name))


run_option = functools.partial(click.option, cls=GroupedOption, group=RUN)
tracking_option = functools.partial(click.option, cls=GroupedOption, group=TRACKING)
exclude_option = setting_option("exclude")
decisions_option = setting_option("decisions")
label_options = add_options(setting_option("label_delimiter"), setting_option("label_columns"))
recipe_option = run_option(
    "--recipe",
    type=PATH,
    metavar="NAME|FILE",
    help="Phases from a recipe; `catdog info --recipes` lists them.",
)
config_option = run_option("--config", type=PATH, help="Options from a TOML file; the command line wins.")
train_options = add_options(*(setting_option(name) for name in TRAIN_OPTIONS if name != "device"))
trial_options = add_options(  # of commands that train a little, as `catdog train` would
    *(
        setting_option(name)
        for name in TRAIN_OPTIONS
        if name not in ("device", "save_every", "category_names")
    ),
    device_options,
    recipe_option,
    config_option,
)
tracking_options = add_options(
    tracking_option(
        "--mlflow",
        type=PATH,
        metavar="URI",
        help="Follow the run in MLflow: server, sqlite:///FILE or folder.",
    ),
    tracking_option("--mlflow-experiment", metavar="NAME", help="Where the run goes.  [default: catdog]"),
    tracking_option(
        "--mlflow-model", metavar="NAME", help="Register the best checkpoint there as this model."
    ),
    tracking_option(
        "--tensorboard", is_flag=True, default=None, help="Write event files into the run directory."
    ),
)


def read_config(path: str | None, known: set[str]) -> dict[str, Any]:
    """Return the options of a TOML file, names as on the command line (with - or _).

    Raises:
        UnavailableError: the file cannot be read.
        SettingsError: it holds an option that does not exist, or of a wrong kind.
    """
    if path is None:
        return {}
    import tomllib

    try:
        values = tomllib.loads(read_text(path))
    except (OSError, ValueError, RecursionError) as error:  # ValueError: no TOML, no UTF-8, too large
        reason = getattr(error, "strerror", None) or str(error)[:200]
        raise UnavailableError(f"Cannot read the option file {path!r} ({reason}).") from error
    named = {name.replace("-", "_"): value for name, value in values.items()}
    for name, value in named.items():
        if name not in (*known, "gpu", "cpu"):
            raise SettingsError(f"{path!r} has the unknown option {quote(name)}: {_suggest(name, known)}")
        if name in FILE_KINDS:
            check_kind(f"In the option file {path!r}, {name.replace('_', '-')}", value, *FILE_KINDS[name])
        if name in FILE_PATHS:
            named[name] = expand_home(value)
    for name in ("gpu", "cpu"):  # flags that share one setting
        if named.pop(name, False):
            named["device"] = name
    return named


def _suggest(name: str, known: set[str]) -> str:
    import difflib

    close = difflib.get_close_matches(name[:50], sorted(known), 1)
    return f"did you mean {close[0].replace('_', '-')!r}?" if close else "`catdog train --help` lists all."


def trial_settings(data: str, config: str | None, recipe: str | None, given: dict[str, Any]) -> TrainSettings:
    """Return the settings of a command with `trial_options`, which reads the option files of `catdog train`.

    Raises:
        SettingsError: as of `read_config` and `build_settings`.
    """
    from ..recipes.build import build_settings

    read = read_config(config, {*given, *TRAIN_ALONE})
    merged = {**read, **{name: value for name, value in given.items() if value is not None}}
    return build_settings(data, merged, recipe or merged.get("recipe"), log)
