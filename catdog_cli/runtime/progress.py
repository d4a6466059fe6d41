"""How far a call has come: the callback that reports it, and a bar for Python users.

The bar needs no package: in a notebook it is a piece of HTML, on a terminal one line of stderr that is
written over. IPython is looked for, never imported.
"""

import contextlib
import html
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from .talk import talk
from .text import printable

OnProgress = Callable[[str, int, int], None]  # (step, done, total): what is done, and how much of it
LEAST_S = 0.1  # between two drawings


class _Canvas(Protocol):
    def draw(self, step: str, done: int, total: int) -> None: ...

    def clear(self) -> None: ...


@contextlib.contextmanager
def report_progress(on_progress: OnProgress | None, show: bool | None) -> Iterator[OnProgress]:
    """Yield what reports progress: to the caller's function and to a bar that is gone afterwards.

    Args:
        show: whether there is a bar, where one can be drawn; None: in a notebook alone.
    """
    canvas = _choose_canvas(show)
    shown = -LEAST_S

    def report(step: str, done: int, total: int) -> None:
        nonlocal shown
        if on_progress is not None:
            on_progress(step, done, total)
        if canvas is not None and (time.monotonic() - shown >= LEAST_S or done == total):
            canvas.draw(step, done, total)
            shown = time.monotonic()

    try:
        yield report
    finally:
        if canvas is not None:
            canvas.clear()


def _choose_canvas(show: bool | None) -> _Canvas | None:
    if show is False or talk.quiet:
        return None
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if getattr(shell, "kernel", None) is not None:  # IPython in a terminal has none
        return _NotebookBar(sys.modules["IPython.display"].display)
    return _TerminalLine() if show and sys.stderr.isatty() else None


class _NotebookBar:
    """HTML that is replaced as the work goes on."""

    def __init__(self, display: Callable[..., Any]):
        self.display, self.handle = display, None
        self.content = self.text = ""

    def draw(self, step: str, done: int, total: int) -> None:
        self.text = f"{step}: {done:,} of {total:,}"
        bar = f'<progress value="{done}" max="{max(total, 1)}" style="width:20em"></progress>'
        self._show(f"<div>{bar} {html.escape(self.text)}</div>")

    def clear(self) -> None:
        if self.handle is not None:
            self.text = ""
            self._show("")

    def _show(self, content: str) -> None:
        self.content = content
        if self.handle is None:
            self.handle = self.display(self, display_id=True)
        else:
            self.handle.update(self)

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return self.content


class _TerminalLine:
    """One line on stderr, written over."""

    def __init__(self) -> None:
        self.width = 0

    def draw(self, step: str, done: int, total: int) -> None:
        share = f"{done / total:.0%} of {total:,}" if total else f"{done:,}"
        self._write(printable(f"{step}: {share}"))

    def clear(self) -> None:
        if self.width:
            self._write("")
            sys.stderr.write("\r")

    def _write(self, text: str) -> None:
        encoding = sys.stderr.encoding or "ascii"
        text = text[: shutil.get_terminal_size().columns - 1]  # a line that breaks is not written over
        sys.stderr.write("\r" + f"{text:<{self.width}}".encode(encoding, "backslashreplace").decode(encoding))
        sys.stderr.flush()
        self.width = len(text)
