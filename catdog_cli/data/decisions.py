"""Decisions about labels: what somebody has looked at, a row each, and what becomes of a data set by them.

    path,label,decision,new_label,when,checkpoint,key
    cats/7.jpg,cats,wrong,dogs,2026-11-29T02:10:00Z,9f2c...,77ab...

A picture has the last of its decisions; `undo` takes that back. Pictures that were renamed since are known by
their content, which `key` is the digest of. The data itself is never changed.
"""

import csv
import io
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from ..errors import DataError, quote
from .class_names import class_name
from .tables import Columns, open_table, show_header

RIGHT, WRONG, EXCLUDE, UNDO = "right", "wrong", "exclude", "undo"
WORDS = (RIGHT, WRONG, EXCLUDE, UNDO)
KEY_LETTERS = 32
DECISION_COLUMN = "decision"
FILE = "file of decisions"


@dataclass(frozen=True)
class Decision:
    """What somebody decided about one picture.

    Attributes:
        path: relative to the data set's root, or absolute.
        label: the class that it had then, or its labels, joined; None where the file has no such column.
        decision: one of WORDS.
        new_label: what it is, where the label is wrong.
        when: in UTC, as ISO 8601 has it.
        checkpoint: the digest of the checkpoint that had doubts.
        key: the digest of the picture's content; "" where several pictures have the same, or it is unknown.
    """

    path: str
    label: str | None
    decision: str
    new_label: str = ""
    when: str = ""
    checkpoint: str = ""
    key: str = ""


COLUMNS = tuple(item.name for item in fields(Decision))


def read_decisions(path: str | Path) -> list[Decision]:
    """Return the decision of each picture that has one, in the order of the file.

    The file may have been through a spreadsheet: delimiter, encoding and order of columns are found out. What
    a broken off write left as its last row is no decision.

    Raises:
        DataError: the file cannot be read, or is not of decisions.
    """
    return settle_rows(read_rows(path))


def read_rows(path: str | Path) -> list[Decision]:
    """Return every row of a file of decisions, those that were taken back and the taking back included.

    Raises:
        DataError: as of `read_decisions`.
    """
    path = Path(path)
    try:
        data = _whole_rows(path.read_bytes())
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"The {FILE} {str(path)!r} cannot be read ({reason}): check the path.") from error
    if not data:
        return []
    with open_table(path, data, FILE) as table:
        places = _find_columns(path, table.columns)
        return [_read_row(path, number, values, places) for number, values in table.rows]


def settle_rows(rows: Iterable[Decision]) -> list[Decision]:
    """Return the last decision of each picture that is not taken back, in the order of the rows."""
    taken: dict[str, list[tuple[int, Decision]]] = defaultdict(list)
    for number, row in enumerate(rows):
        own = taken[os.path.normpath(row.path)]
        if row.decision != UNDO:
            own.append((number, row))
        elif own:
            own.pop()
    return [row for _, row in sorted((own[-1] for own in taken.values() if own), key=lambda pair: pair[0])]


def format_rows(rows: Sequence[Decision], header: bool = False) -> bytes:
    """Return rows as the bytes of a file of decisions, with the names of the columns first if asked."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    if header:
        writer.writerow(COLUMNS)
    writer.writerows([getattr(row, name) for name in COLUMNS] for row in rows)
    return text.getvalue().encode("utf-8", "surrogateescape")


def is_decisions(columns: Columns) -> bool:
    """Say whether a table with these columns is a file of decisions."""
    return {DECISION_COLUMN, "new_label"} <= {name.strip().lower() for name in columns.header}


def _whole_rows(data: bytes) -> bytes:
    """Return a file's content without the last row, where that has no end: a write of it broke off.

    A row that lacks but the end of its line, as some editors leave it, is kept.
    """
    header = format_rows([], header=True)
    if not data.startswith(header):  # a spreadsheet or a person wrote it, whole
        return b"" if header.startswith(data) else data
    end, quoted = 0, False
    for found in re.finditer(rb'["\n]', data):
        if found[0] == b'"':
            quoted = not quoted
        elif not quoted:
            end = found.end()
    try:
        cells = next(csv.reader([data[end:].decode("utf-8", "surrogateescape")]), [])
    except csv.Error:  # no row at all
        cells = []
    is_whole = len(cells) == len(COLUMNS) and len(cells[-1]) in (0, KEY_LETTERS)
    return data if is_whole and not quoted else data[:end]


def _find_columns(path: Path, columns: Columns) -> dict[str, int]:
    """Return the place of each of COLUMNS that is there."""
    names = [name.strip().lower() for name in columns.header]
    places = {name: names.index(name) for name in COLUMNS if name in names}
    if not {"path", DECISION_COLUMN} <= places.keys():
        raise DataError(
            f"{str(path)!r} is not a {FILE}: its first line holds {show_header(columns)}; expected "
            f"{','.join(COLUMNS[:4])}, as `catdog data review` writes it."
        )
    return places


def _read_row(path: Path, number: int, values: list[str], places: dict[str, int]) -> Decision:
    cells = {name: values[at] for name, at in places.items()}
    cells[DECISION_COLUMN] = word = cells[DECISION_COLUMN].strip().lower()
    if word not in WORDS:
        raise DataError(
            f"Row {number} of the {FILE} {str(path)!r} has the decision {quote(word)}: use "
            f"{', '.join(WORDS)}."
        )
    if not cells["path"].strip():
        raise DataError(f"Row {number} of the {FILE} {str(path)!r} lacks its path: complete or remove it.")
    label = class_name(cells.pop("label").strip()) if "label" in cells else None
    new_label = class_name(cells.pop("new_label", "").strip())
    return Decision(label=label, new_label=new_label, **cells)
