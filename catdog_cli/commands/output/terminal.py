"""The one way to the user's screen: a name from a file or a checkpoint must not steer a terminal.

`cli` and all commands print through this file (a test holds that). A file may be called ESC[2J, which clears
a screen, or hold a line break, or bytes that are no text; a screen may know no letters but ASCII.
"""

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from ...runtime.text import printable as printable

if TYPE_CHECKING:
    from rich.console import Console


def counted(number: int, noun: str, nouns: str = "") -> str:
    """Return a number with its noun: 1 epoch, 2 epochs; `nouns` is a plural that is more than an s."""
    return f"{number:,} {noun if number == 1 else nouns or noun + 's'}"


def echo(text: str, err: bool = False) -> None:
    """Print one line: results to stdout, talk to stderr."""
    stream = sys.stderr if err else sys.stdout
    encoding = getattr(stream, "encoding", None) or "utf-8"
    click.echo(printable(text).encode(encoding, "backslashreplace").decode(encoding), err=err)


def log(text: str) -> None:
    """Print one line of talk, to stderr."""
    echo(text, err=True)


def echo_lines(text: str, err: bool = False) -> None:
    """Print a text of several lines; names in it must be quoted, or a line break in them passes."""
    for line in text.split("\n"):
        echo(line, err)


def echo_json(document: Any, start: str = "", end: str = "\n") -> None:
    """Print a JSON document to stdout, in ASCII.

    Raises:
        ValueError: it holds a number that is none, for which JSON has no word.
    """
    click.echo(start + json.dumps(document, allow_nan=False), nl=False)
    click.echo(end, nl=False)


def echo_over(text: str) -> None:
    """Write over the line that stands on stderr, and stay on it."""
    click.echo("\r" + printable(text), nl=False, err=True)


def make_console(err: bool = False) -> "Console":
    """Return what draws tables and bars, taking text as it is; give it printable text."""
    from rich.console import Console

    return Console(stderr=err, soft_wrap=err, markup=False, highlight=False, emoji=False)
