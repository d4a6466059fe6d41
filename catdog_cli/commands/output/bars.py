"""A bar on stderr that fits the terminal, however narrow; nothing where stderr is none."""

import time
from collections.abc import Sequence
from typing import Any

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from ...runtime.talk import talk
from .terminal import make_console, printable, wrap_words_to

WIDEST, NARROWEST = 40, 6  # columns of the bar itself
TIME = 8  # columns of the time left, and one between each two parts
SETTLED_S = 0.5  # before that a rate says nothing


class Pace:
    """How many a second, from the first count on."""

    def __init__(self) -> None:
        self._started_s: float | None = None
        self._before = 0

    def describe(self, done: int, unit: int = 1) -> str:
        """Return "12 pictures/s", "" as long as that cannot be told; one count is `unit` pictures."""
        now = time.monotonic()
        if self._started_s is None:
            self._started_s, self._before = now, done
        passed_s = now - self._started_s
        if passed_s < SETTLED_S or done <= self._before:
            return ""
        return f"{(done - self._before) * unit / passed_s:.0f} pictures/s"


class TaskBar:
    """One task at a time: what is done, how far it has come, facts, the time left."""

    def __init__(self) -> None:
        self.console = make_console(err=True)
        self._bar = BarColumn(WIDEST)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            self._bar,
            TextColumn("{task.fields[facts]}", markup=False),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=talk.quiet or not self.console.is_terminal,
        )
        self.task: TaskID | None = None

    @property
    def is_shown(self) -> bool:
        """Whether there is a terminal to show it on."""
        return not self._progress.disable

    def __enter__(self) -> "TaskBar":
        self._progress.start()
        return self

    def __exit__(self, *exception: Any) -> None:
        self.stop()

    def show(self, description: str, done: int, total: int | None, facts: Sequence[str] = ()) -> None:
        """Draw the task; a `total` that is not known yet (None) makes a bar that only moves.

        Of the facts, those in front matter most: as many are shown as there is room for.
        """
        if not self.is_shown:
            return
        description, shown = self._fit(printable(description), done, total, facts)
        if self.task is None:
            self.task = self._progress.add_task(description, total=total, facts=shown)
        self._progress.update(self.task, description=description, completed=done, total=total, facts=shown)

    def hide(self) -> None:
        """Take the task away: it is done."""
        if self.task is not None:
            self._progress.remove_task(self.task)
            self.task = None

    def stop(self) -> None:
        """Take the bar away."""
        self._progress.stop()

    def log(self, text: str, wrap: bool = True) -> None:
        """Print a line above the bar, as far as --quiet lets it."""
        talk.record(printable(text))
        if not talk.shows(text):
            return
        line = talk.mark(printable(text))
        if self.is_shown and wrap:
            line = wrap_words_to(line, self.console.width)
        self.console.print(line)

    def _fit(self, description: str, done: int, total: int | None, facts: Sequence[str]) -> tuple[str, str]:
        """Return the description and the facts that a line has room for; the bar gets what is left of it."""
        room = self.console.width - TIME - 3
        count = "" if not done and not total else f"{done}" if total is None else f"{done}/{total}"
        longest = max(10, room - NARROWEST - len(count))
        if len(description) > longest:
            description = description[: longest - 1] + "…"
        room -= len(description) + len(count) + NARROWEST
        shown = [count]
        for fact in filter(None, map(printable, facts)):
            if len(fact) >= room:
                break
            shown.append(fact)
            room -= len(fact) + 1
        self._bar.bar_width = min(WIDEST, NARROWEST + max(0, room))
        return description, " ".join(filter(None, shown))
