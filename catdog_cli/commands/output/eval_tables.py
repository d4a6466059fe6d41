"""What `catdog evaluate` and `catdog compare` print: tables, notes and a sentence; and their bar."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .terminal import echo, make_console, printable

if TYPE_CHECKING:
    from rich.progress import Progress
    from rich.table import Table

    from ...evaluation.result import Comparison, Evaluation

MOST_CLASSES = 12  # with more, the confusion matrix is left to the picture


class StepBar:
    """A bar on stderr for each step of a call, if that is a terminal."""

    def __init__(self) -> None:
        self.console = make_console(err=True)
        self.bar: Progress | None = None

    def __enter__(self) -> "StepBar":
        return self

    def __exit__(self, *exception: Any) -> None:
        self._stop()

    def __call__(self, step: str, done: int, total: int) -> None:
        """Show how far a step has come; the bar goes when it is done."""
        if not self.console.is_terminal:
            return
        if self.bar is None:
            self.bar = self._start(step, total)
        self.bar.update(self.bar.task_ids[0], completed=done)
        if done == total:
            self._stop()

    def _start(self, step: str, total: int) -> "Progress":
        from rich.progress import Progress

        bar = Progress(console=self.console, transient=True)
        bar.add_task(printable(step), total=total)
        bar.start()
        return bar

    def _stop(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


def print_evaluation(found: "Evaluation") -> None:
    """Print the numbers, the classes and, for few of them, which was taken for which."""
    from ...evaluation.result import CLASSES, NUMBERS

    console = make_console()
    console.print(build_table(NUMBERS, found.list_numbers()))
    console.print(build_table(CLASSES, found.list_classes()))
    names = found.class_names
    if len(names) <= MOST_CLASSES:
        rows = [(name, *map(str, row)) for name, row in zip(names, found.confusion, strict=True)]
        console.print(build_table(("true class \\ answer", *names), rows))
    _print_end(found)


def print_comparison(found: "Comparison") -> None:
    """Print both checkpoints' numbers, their differences (second minus first), counts and the conclusion."""
    from ...evaluation.result import COUNTS, SCORES

    console = make_console()
    console.print(build_table(SCORES, found.list_scores()))
    console.print(build_table(COUNTS, found.list_counts()))
    _print_end(found)


def _print_end(found: "Evaluation | Comparison") -> None:
    for note in found.list_notes():
        echo(note)
    echo(found.summary)


def build_table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> "Table":
    """Return a table whose first column is text and whose others are numbers."""
    from rich.table import Table

    table = Table()
    for place, name in enumerate(header):
        table.add_column(printable(name), justify="right" if place else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(printable, row))
    return table
