"""The one way to the user's screen: a name from a file or a checkpoint must not steer a terminal.

`cli` and all commands print through this file (a test holds that). A file may be called ESC[2J, which clears
a screen, or hold a line break, or bytes that are no text; a screen may know no letters but ASCII.
"""

import json
import os
import sys
import textwrap
from typing import IO, TYPE_CHECKING, Any

import click

from ...runtime.talk import talk
from ...runtime.text import printable as printable

if TYPE_CHECKING:
    from rich.console import Console

ERROR = "Error:"


def counted(number: int, noun: str, nouns: str = "") -> str:
    """Return a number with its noun: 1 epoch, 2 epochs; `nouns` is a plural that is more than an s."""
    return f"{number:,} {noun if number == 1 else nouns or noun + 's'}"


def echo(text: str, err: bool = False, wrap: bool | None = None) -> None:
    """Print one line: results to stdout, talk to stderr, as far as --quiet lets it.

    On a terminal, talk (or what is to `wrap`) is broken between words where it is too long.
    """
    if err:
        talk.record(printable(text))
        if not talk.shows(text):
            return
        text = talk.mark(text)
    stream = sys.stderr if err else sys.stdout
    line = _encodable(printable(text), stream)
    click.echo(wrap_words(line, stream) if (err if wrap is None else wrap) else line, err=err)


def log(text: str) -> None:
    """Print one line of talk, to stderr."""
    echo(text, err=True)


def echo_lines(text: str, err: bool = False) -> None:
    """Print a text of several lines; names in it must be quoted, or a line break in them passes."""
    for line in text.split("\n"):
        echo(line, err)


def echo_error(text: str) -> None:
    """Print an error of one or more lines to stderr, in red where that is a terminal with colours."""
    first, *rest = f"{ERROR} {text}".split("\n")
    talk.record(printable(first))
    line = wrap_words(_encodable(printable(first), sys.stderr), sys.stderr)
    if has_colors(sys.stderr):
        line = click.style(ERROR, fg="red", bold=True) + line.removeprefix(ERROR)
    click.echo(line, err=True)
    for line in rest:
        talk.record(printable(line))
        click.echo(wrap_words(_encodable(printable(line), sys.stderr), sys.stderr), err=True)


def echo_json(document: Any, start: str = "", end: str = "\n") -> None:
    """Print a JSON document to stdout, in ASCII.

    Raises:
        ValueError: it holds a number that is none, for which JSON has no word.
    """
    click.echo(start + json.dumps(document, allow_nan=False), nl=False)
    click.echo(end, nl=False)


def make_console(err: bool = False) -> "Console":
    """Return what draws tables and bars, taking text as it is; give it printable text."""
    from rich.console import Console

    return Console(stderr=err, soft_wrap=err, markup=False, highlight=False, emoji=False)


def has_colors(stream: IO[str]) -> bool:
    """Say whether a stream is a terminal that shows colours, and nobody asked for none (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def wrap_words(line: str, stream: IO[str]) -> str:
    """Return a line broken between words so that a terminal does not break it within one.

    What is no terminal gets it whole; a word that is longer than the terminal is wide stays whole, too.
    """
    width = _width(stream)
    return line if width is None else wrap_words_to(line, width)


def wrap_words_to(line: str, width: int) -> str:
    """Return a line broken between words so that no part is longer than `width`, unless it is one word."""
    if len(line) <= width:
        return line
    indent = line[: len(line) - len(line.lstrip())]
    how: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False, "replace_whitespace": False}
    return textwrap.fill(line, width, subsequent_indent=indent, **how)


def _width(stream: IO[str]) -> int | None:
    """Return the columns of a terminal, None where the stream is none."""
    if not stream.isatty():
        return None
    try:
        columns = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):  # one that has no descriptor
        columns = 0
    import shutil

    return max(20, columns or shutil.get_terminal_size().columns)


def _encodable(line: str, stream: IO[str]) -> str:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return line.encode(encoding, "backslashreplace").decode(encoding)
