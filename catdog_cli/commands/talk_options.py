"""--quiet, --verbose and --log-file, which every command has."""

import platform
import shlex
import sys
from typing import Any

import click

from .. import __version__
from ..runtime.files import expand_home
from ..runtime.talk import talk
from .grouped_help import OTHERS, GroupedOption
from .output.terminal import log

TRACEBACK_CAUSES = 5


def with_talk_options(command: click.Command) -> click.Command:
    """Return a command, or a group's commands, with the three options, which no command need know of."""
    if isinstance(command, click.Group):
        for child in command.commands.values():
            with_talk_options(child)
    elif not any(option.name == "log_file" for option in command.params):
        command.params += [_make(*row) for row in OPTIONS]
    return command


def describe_start() -> str:
    """Return what --verbose and logs begin with: what runs, where, and what was asked."""
    where = f"Python {platform.python_version()}, {platform.platform()}"
    return f"catdog {__version__}, {where}: {shlex.join(['catdog', *sys.argv[1:]])}"


def list_causes(error: BaseException) -> list[str]:
    """Return a line for each error that led to another, the nearest first."""
    lines: list[str] = []
    cause = error.__cause__ or error.__context__
    while cause is not None and len(lines) < TRACEBACK_CAUSES:
        lines.append(f"caused by {type(cause).__name__}: {str(cause)[:500]}")
        cause = cause.__cause__ or cause.__context__
    return lines


def _make(name: str, is_flag: bool, metavar: str | None, text: str, callback: Any) -> click.Option:
    kind = click.Path(dir_okay=False) if metavar else None
    return GroupedOption(
        [name],
        group=OTHERS,
        is_flag=is_flag,
        metavar=metavar,
        help=text,
        type=kind,
        callback=callback,
        expose_value=False,
        is_eager=True,
    )


def _set_quiet(ctx: click.Context, option: click.Parameter, value: bool) -> None:
    talk.quiet = talk.quiet or bool(value)
    _refuse_both()


def _set_verbose(ctx: click.Context, option: click.Parameter, value: bool) -> None:
    talk.verbose = talk.verbose or bool(value)
    _refuse_both()
    if value:
        kept, talk.file = talk.file, None  # which has it already, or will
        log(describe_start())
        talk.file = kept


def _set_file(ctx: click.Context, option: click.Parameter, value: str | None) -> None:
    if value and not ctx.resilient_parsing:
        talk.open_file(str(expand_home(value)))
        talk.record(describe_start())


def _refuse_both() -> None:
    if talk.quiet and talk.verbose:
        raise click.UsageError("--quiet and --verbose contradict each other: give one.")


OPTIONS = (
    ("--log-file", False, "FILE", "Keep all that is said there, too, with the time of day.", _set_file),
    ("--quiet", True, None, "Say nothing but results, warnings and errors.", _set_quiet),
    (
        "--verbose",
        True,
        None,
        "Say what runs, when each line was said, and what caused an error.",
        _set_verbose,
    ),
)
