"""Tables as lines of text: laid out by rich, whole wherever they go, a terminal or a file."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .terminal import make_console, printable

if TYPE_CHECKING:
    from rich.table import Table

NAME_WIDTH = 12  # of what `list_facts` puts in front


def list_rows(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """Return the lines of a table, a row a line: whole numbers to the right, everything else to the left."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name, cell in zip(columns, rows[0], strict=True):
        table.add_column(printable(name), justify="right" if isinstance(cell, int) else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(f"{cell:,}" if isinstance(cell, int) else printable(str(cell)) for cell in row))
    return _render(table)


def list_facts(facts: Sequence[tuple[str, Any]]) -> list[str]:
    """Return a line for each fact: its name, and what it is."""
    from rich.table import Table

    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(min_width=NAME_WIDTH, no_wrap=True)
    table.add_column(no_wrap=True)
    for name, value in facts:
        table.add_row(name, printable(str(value)))
    return _render(table)


def _render(table: "Table") -> list[str]:
    """Return a table's lines at the width that it needs: a terminal breaks them, nothing is cut off."""
    from rich.measure import Measurement

    console = make_console()
    wide = console.options.update(max_width=1_000_000)
    width = Measurement.get(console, wide, table).maximum
    lines = console.render_lines(table, wide.update(width=width), pad=False)
    return ["".join(segment.text for segment in line).rstrip() for line in lines]
