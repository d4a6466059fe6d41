"""The rows of a manifest: blanks, splits and what may be missing, the same for classes and for labels."""

import os
from collections.abc import Iterator

from ..errors import DataError, quote
from .class_names import class_name
from .split_names import split_of
from .tables import Table

Row = tuple[str, str, str, str]  # path, class, split, key


def tidy_rows(table: Table, manifest: str, notes: list[str]) -> Iterator[Row]:
    """Yield the rows of a table with the names of classes and splits as catdog has them."""
    columns = table.columns
    path, label, split = columns.path or 0, columns.label or 0, columns.split
    strict = split is not None and columns.header[split].strip().lower() == "split"
    blanks = 0
    for number, values in table.rows:
        name = class_name(values[label].strip())
        blanks += name != class_name(values[label])
        if not (values[path].strip() and name):
            column = columns.header[label if values[path].strip() else path]
            raise incomplete(manifest, column, number, lacks_label=bool(values[path].strip()))
        yield values[path], name, split_in_row(values, split, strict, manifest, number), ""
    if blanks:
        notes.append(f"The manifest {manifest!r} has blanks around {blanks:,} names of classes: ignored.")


def split_in_row(values: list[str], split: int | None, strict: bool, manifest: str, number: int) -> str:
    """Return the split of a row; a column that is not called split and holds other words says nothing."""
    if split is None:
        return "all"
    written = values[split].strip()
    if not written and strict:
        return ""
    side = "all" if written.lower() == "all" else split_of(written)
    if side is None and strict:
        raise DataError(f"The manifest {manifest!r} has the split {quote(written)}: use train, val or test.")
    return side or "all"


def settle_splits(rows: list[Row]) -> list[Row]:
    """Return rows of which none has a split as rows to split; others as they are."""
    return rows if any(row[2] for row in rows) else [(row[0], row[1], "all", row[3]) for row in rows]


def incomplete(manifest: str, column: str, number: int, lacks_label: bool = False) -> DataError:
    """Return the error that a picture's value in a column is missing."""
    more = ", or add --label-delimiter ';' where a picture may have several labels or none"
    return DataError(
        f"The manifest {manifest!r} lacks a value in its picture {number}, in the column {quote(column)}: "
        f"complete it{more if lacks_label else ''}."
    )


def check_rows(manifest: str, rows: list[Row], several: bool = False) -> None:
    """Raise DataError where rows lack a value, but for `several` labels, or name a picture twice."""
    if not rows:
        raise DataError(
            f"The manifest {manifest!r} lists no pictures: write it again with `catdog data split`."
        )
    seen = set()
    for number, row in enumerate(rows, 1):
        for column, value in zip(("path", "class", "split"), row[:3], strict=True):
            if not value and not (several and column == "class"):
                raise incomplete(manifest, column, number)
        if os.path.normpath(row[0]) in seen:
            more = "" if several else ", or add --label-delimiter ';' where each holds a label of it"
            raise DataError(
                f"The manifest {manifest!r} lists {quote(row[0])} twice: keep one of the rows{more}."
            )
        seen.add(os.path.normpath(row[0]))
    unknown = sorted({row[2] for row in rows} - {"train", "val", "test", "all"})
    if unknown:
        raise DataError(
            f"The manifest {manifest!r} has the split {quote(unknown[0])}: use train, val or test."
        )
