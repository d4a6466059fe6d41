"""Options that commands share; those made from the settings of a training are in `setting_options`."""

import functools
from collections.abc import Callable
from typing import Any

import click

from ..runtime.files import expand_home
from ..settings_input import LOOKS, PRECISION
from ..settings_schema import MACHINE, Setting
from .grouped_help import GroupedOption


class UserPath(click.Path):
    """A path as the user wrote it, but with ~ as the home folder, which no shell does in --output=~/run."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        found = super().convert(value, param, ctx)
        return expand_home(found) if isinstance(found, str) else found


PATH = UserPath()


def add_options(*options: Callable) -> Callable:
    """Return a decorator that adds options to a command in the order given."""

    def decorate(command: Callable) -> Callable:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def make_option(name: str, setting: Setting, kind: Any = None) -> Callable:
    """Return the option of a setting: its help and default are what the setting says, and so is its type.

    Args:
        kind: another type of click.
    """
    text = setting.help + (f"  [default: {setting.default}]" if setting.default else "")
    declared = "--" + name.replace("_", "-")
    kind = kind or (click.Choice(setting.choices, case_sensitive=False) if setting.choices else setting.kind)
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


machine_option = functools.partial(click.option, cls=GroupedOption, group=MACHINE)

device_options = add_options(
    machine_option(
        "--gpu", "device", flag_value="gpu", help="Compute on the GPU; an error if there is none."
    ),
    machine_option("--cpu", "device", flag_value="cpu", help="Compute on the CPU."),
)
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
precision_option = make_option("precision", PRECISION["setting"])
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document to stdout.")


def __getattr__(name: str) -> Any:
    """Return an option, or what reads an option file, that needs the settings of a training.

    They are not imported before a command asks: predicting with an exported file would wait for them.
    """
    from . import setting_options

    if name.startswith("__") or not hasattr(setting_options, name):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(setting_options, name)
