"""Options that commands share, made from what the settings say of themselves; and reading an option file."""

import functools
from collections.abc import Callable
from typing import Any

import click

from ..errors import SettingsError, UnavailableError, quote
from ..runtime.files import expand_home, read_text
from ..settings import LOOKS, TrainSettings, list_options, option_name
from ..settings_schema import MACHINE, RUN, Setting, check_kind
from .grouped_help import TRACKING, GroupedOption
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


class UserPath(click.Path):
    """A path as the user wrote it, but with ~ as the home folder, which no shell does in --output=~/run."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        found = super().convert(value, param, ctx)
        return expand_home(found) if isinstance(found, str) else found


PATH = UserPath()


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


def add_options(*options: Callable) -> Callable:
    """Return a decorator that adds options to a command in the order given."""

    def decorate(command: Callable) -> Callable:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def setting_option(name: str) -> Callable:
    """Return the option of a setting: its type, help and default are what the setting says."""
    setting = TRAIN_OPTIONS[name]
    text = setting.help + (f"  [default: {setting.default}]" if setting.default else "")
    declared, kind = option_name(name), _click_type(setting)
    if setting.kind is bool:
        declared, kind = f"{declared}/--no-{name.replace('_', '-')}", None
    return click.option(
        declared,
        cls=GroupedOption,
        group=setting.group,
        type=kind,
        default=None,
        metavar=setting.metavar,
        help=text,
    )


def _click_type(setting: Setting) -> Any:
    special = {"hidden layers": Layers(), "dropout": Dropout(), "unfreeze": Unfreeze()}
    if setting.label in special:
        return special[setting.label]
    return click.Choice(setting.choices, case_sensitive=False) if setting.choices else setting.kind


run_option = functools.partial(click.option, cls=GroupedOption, group=RUN)
machine_option = functools.partial(click.option, cls=GroupedOption, group=MACHINE)
tracking_option = functools.partial(click.option, cls=GroupedOption, group=TRACKING)

device_options = add_options(
    machine_option(
        "--gpu", "device", flag_value="gpu", help="Compute on the GPU; an error if there is none."
    ),
    machine_option("--cpu", "device", flag_value="cpu", help="Compute on the CPU."),
)
exclude_option = setting_option("exclude")
decisions_option = setting_option("decisions")
label_options = add_options(setting_option("label_delimiter"), setting_option("label_columns"))
category_names_option = click.option(
    "--category-names",
    type=PATH,
    metavar="FILE.json",
    help="Names to show for classes.  [default: those that the checkpoint keeps]",
)
with_option = click.option(
    "--with",
    "with_",
    type=PATH,
    multiple=True,
    metavar="CKPT",
    help="Another checkpoint of the same classes, repeatable: the mean of their calibrated probabilities.",
)
class_option = click.option(
    "--class",
    "class_name",
    metavar="NAME",
    help="The class to explain.  [default: the likeliest; of several labels, each one said]",
)
looks_options = add_options(
    click.option(
        "--tta/--no-tta",
        default=None,
        help="Average each picture with its mirror image; twice the time.  [default: as trained]",
    ),
    click.option(
        "--looks",
        type=click.Choice(LOOKS),
        help="once; mirror: what --tta does; whole: with the uncut picture, four times the time.",
    ),
)
unknown_rate_option = click.option(
    "--unknown-rate",
    type=float,
    metavar="P",
    help="Call at most this share of pictures of your own kind unknown; 0: never.  [default: 0.01]",
)
group_by_option = click.option(
    "--group-by", metavar="REGEX", help="Keep pictures together whose paths match in the same text."
)
precision_option = setting_option("precision")
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document to stdout.")
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
