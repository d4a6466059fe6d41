"""What `catdog evaluate` and `catdog compare` print: tables, notes and a sentence; and their bar."""

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from .terminal import echo, make_console, printable

if TYPE_CHECKING:
    from rich.table import Table

    from ...evaluation.multilabel.compare import LabelComparison
    from ...evaluation.multilabel.result import LabelEvaluation
    from ...evaluation.result import Comparison, Evaluation
    from .bars import Pace, TaskBar

MOST_IN_MATRIX = 12  # classes; with more, the confusion matrix is left to the picture
LONGEST_WORD = 24
Row = tuple[str, ...]
TRUE_CLASS = "true class \\ answer"


class StepBar:
    """A bar on stderr for each step of a call, if that is a terminal."""

    def __init__(self) -> None:
        self.bar: TaskBar | None = None
        self.pace: Pace | None = None

    def __enter__(self) -> "StepBar":
        return self

    def __exit__(self, *exception: Any) -> None:
        self._stop()

    def __call__(self, step: str, done: int, total: int) -> None:
        """Show how far a step has come; the bar goes when it is done."""
        from .bars import Pace, TaskBar

        if self.bar is None or self.pace is None:
            self.bar, self.pace = TaskBar().__enter__(), Pace()
        self.bar.show(step, done, total, [self.pace.describe(done)])
        if done == total:
            self._stop()

    def _stop(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


def print_evaluation(found: "Evaluation | LabelEvaluation", all_classes: bool = False) -> None:
    """Print the numbers, the classes (of many the weakest, unless all are asked for), what was mixed up."""
    from ...evaluation.multilabel.result import LabelEvaluation

    if isinstance(found, LabelEvaluation):
        _print_labels(found, all_classes)
        return
    from ...evaluation.result import CLASSES, CONFUSED, MOST_CLASSES, NUMBERS, WORST_CLASSES

    _print_table(NUMBERS, found.list_numbers())
    names, classes = found.class_names, found.list_classes()
    if all_classes or len(names) <= MOST_CLASSES:
        _print_table(CLASSES, classes)
    else:
        worst = found.list_worst_classes()
        _print_table(WORST_CLASSES, worst, spare=("precision", "F1"))
        _print_table(CLASSES, classes[-2:])  # the means
        echo(f"{len(names) - len(worst):,} more classes: --all-classes lists them.")
    rows = [(name, *map(str, row)) for name, row in zip(names, found.confusion, strict=True)]
    if len(names) > MOST_IN_MATRIX or not _print_table((TRUE_CLASS, *names), rows, whole=True):
        pairs = found.list_confused_pairs()
        if pairs:
            _print_table(CONFUSED, pairs)
    _print_end(found)


def _print_labels(found: "LabelEvaluation", all_classes: bool) -> None:
    """Print the numbers and the labels, of many the weakest, unless all are asked for."""
    from ...evaluation.multilabel.report import CLASSES, NUMBERS, WORST
    from ...evaluation.multilabel.result import MOST_LABELS

    _print_table(NUMBERS, found.list_numbers())
    whole = all_classes or len(found.class_names) <= MOST_LABELS
    rows = found.list_classes() if whole else found.list_worst_classes()
    _print_table(CLASSES, rows, spare=("precision", "recall", "threshold"))
    if not whole:
        echo(f"The weakest {WORST} of {len(found.class_names):,} labels: --all-classes lists them all.")
    _print_end(found)


def print_comparison(found: "Comparison | LabelComparison") -> None:
    """Print both checkpoints' numbers, their differences (second minus first), counts and the conclusion."""
    from ...evaluation.multilabel import compare
    from ...evaluation.result import COUNTS, SCORES

    if isinstance(found, compare.LabelComparison):
        _print_table(compare.SCORES, found.list_scores())
        _print_table(compare.COUNTS, found.list_counts())
        _print_end(found)
        return
    _print_table(SCORES, found.list_scores())
    _print_table(COUNTS, found.list_counts())
    _print_end(found)


def _print_end(found: "Evaluation | Comparison | LabelEvaluation | LabelComparison") -> None:
    for note in found.list_notes():
        echo(note, wrap=True)
    echo(found.summary, wrap=True)


def _print_table(header: Row, rows: Iterable[Row], spare: Row = (), whole: bool = False) -> bool:
    """Print a table as wide as the terminal; return whether it was printed.

    Names break between words. Where that is not enough, the columns of `spare` are left out, the last first;
    where even that is not, the terminal breaks lines. A table that has to be `whole` is not printed then.
    """
    console = make_console()
    cells = [header, *rows]
    for name in ("", *reversed(spare)):
        kept = [place for place, column in enumerate(cells[0]) if column != name or not name]
        cells = [tuple(row[place] for place in kept) for row in cells]
        if not console.is_terminal or _least_width(cells) <= console.width:
            break
    width = _least_width(cells)
    if whole and console.is_terminal and width > console.width:
        return False
    table = build_table(cells[0], cells[1:])
    console.print(table, width=max(console.width, width), crop=False, soft_wrap=True)
    return True


def _least_width(cells: Sequence[Row]) -> int:
    """Return how wide a table is at least if no word breaks."""
    return 1 + sum(3 + _column_width(column) for column in zip(*cells, strict=True))


def _column_width(column: Sequence[str]) -> int:
    """Return how wide a column is at least: numbers stay whole, names break at blanks, long words within."""
    header, *cells = column
    words = [word for cell in cells for word in ([cell] if _is_number(cell) else cell.split())]
    return max(min(LONGEST_WORD, max(map(len, part), default=0)) for part in (words, header.split()))


def _is_number(cell: str) -> bool:
    return re.match(r"[-+<> ]*[\d-]", cell) is not None


def build_table(header: Row, rows: Iterable[Row]) -> "Table":
    """Return a table: names to the left, numbers to the right and unbroken."""
    from rich.table import Table

    cells = [tuple(map(printable, row)) for row in (header, *rows)]
    table = Table()
    for place, column in enumerate(zip(*cells, strict=True)):
        is_text = place == 0 or not all(map(_is_number, filter(None, column[1:])))
        table.add_column(
            column[0],
            justify="left" if is_text else "right",
            overflow="fold",
            min_width=_column_width(column),
        )
    for row in cells[1:]:
        table.add_row(*row)
    return table
