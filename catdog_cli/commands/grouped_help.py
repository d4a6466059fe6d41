"""How `--help` reads: options under headings, and of commands that have many, the first ones alone."""

import re
import textwrap
from collections.abc import Sequence
from typing import Any

import click

from ..settings_schema import GROUPS
from .output.terminal import echo_lines

TRACKING = "Tracking"
OTHERS = "Other options"
HEADINGS = (*GROUPS, TRACKING, OTHERS)  # of --help, in this order
HELP_ALL = "--help-all"


class GroupedOption(click.Option):
    """An option that stands under a heading in `--help`."""

    def __init__(self, *args: Any, group: str, **options: Any) -> None:
        super().__init__(*args, **options)
        self.group = group


class GroupedCommand(click.Command):
    """A command whose options stand under headings.

    `first` names those that `--help` explains, in their order; of the others it gives the names, and
    `--help-all` explains all. Without `first`, `--help` does.
    """

    def __init__(self, *args: Any, first: Sequence[str] = (), **options: Any) -> None:
        super().__init__(*args, **options)
        self.first = tuple(first)
        if first:
            self.params.append(
                click.Option(
                    [HELP_ALL],
                    is_flag=True,
                    is_eager=True,
                    expose_value=False,
                    callback=_show_all,
                    help="All.",
                )
            )

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        options = [option for option in self.get_params(ctx) if isinstance(option, click.Option)]
        shown = [option for option in options if HELP_ALL not in option.opts]
        if self.first and not ctx.meta.get(HELP_ALL):
            self._write_first(ctx, formatter, shown)
        else:
            _write_all(ctx, formatter, shown)

    def _write_first(
        self, ctx: click.Context, formatter: click.HelpFormatter, options: Sequence[click.Option]
    ) -> None:
        named = {option.opts[0]: option for option in options}
        with formatter.section("Options"):
            formatter.write_dl([_record(named[name], ctx) for name in self.first], col_max=30)
        others = [option for option in options if option.opts[0] not in self.first]
        found: dict[str, list[str]] = {}
        for option in others:
            if option.opts[0] not in ("--help", "-h"):
                found.setdefault(_heading(option), []).append(option.opts[0])
        with formatter.section(f"More, which `{ctx.command_path} {HELP_ALL}` explains"):
            for heading in sorted(found, key=HEADINGS.index):
                _write_names(formatter, f"{heading}: {', '.join(found[heading])}")


def _show_all(ctx: click.Context, option: click.Parameter, value: bool) -> None:
    """Print the whole help and end, as --help does."""
    if value and not ctx.resilient_parsing:
        ctx.meta[HELP_ALL] = True
        echo_lines(ctx.get_help())
        ctx.exit()


def _write_all(ctx: click.Context, formatter: click.HelpFormatter, options: Sequence[click.Option]) -> None:
    found: dict[str, list[tuple[str, str]]] = {}
    for option in options:
        record = option.get_help_record(ctx)
        if record is not None:
            found.setdefault(_heading(option), []).append(record)
    for heading in sorted(found, key=HEADINGS.index):
        with formatter.section("Options" if list(found) == [OTHERS] else heading):
            formatter.write_dl(found[heading])


def _heading(option: click.Option) -> str:
    return getattr(option, "group", OTHERS)


def _record(option: click.Option, ctx: click.Context) -> tuple[str, str]:
    """Return an option and the first clause of its help, with its default; where to look is kept, too."""
    record = option.get_help_record(ctx)
    assert record is not None, f"{option.opts[0]} is hidden"
    text, bracket, default = record[1].partition("  [default: ")
    clause = re.split(r"\. |; (?!`catdog)", text, maxsplit=1)[0].rstrip(".")
    return record[0], f"{clause}.{bracket}{default}"


def _write_names(formatter: click.HelpFormatter, text: str) -> None:
    """Write text that breaks at blanks alone: names of options have hyphens."""
    margin = " " * formatter.current_indent
    lines = textwrap.wrap(
        text, formatter.width, initial_indent=margin, subsequent_indent=margin, break_on_hyphens=False
    )
    formatter.write("\n".join(lines) + "\n")
