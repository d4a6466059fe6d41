"""Predictions as Parquet: made from the finished rows, turned back to resume; the only user of pyarrow."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...errors import CatdogError, DataError, require
from ...runtime.files import replacing
from .row_files import KNOWN, CsvForm

GROUP_ROWS = 10_000
BYTES = "path_bytes"  # of a path that is not valid UTF-8, which Parquet's text must be


def check_parquet() -> None:
    """Raise CatdogError unless pyarrow is installed."""
    require("pyarrow", "parquet")


def write_parquet(rows: Iterator[list[str]], form: CsvForm, path: Path) -> None:
    """Write the cells of a table as Parquet, in row groups, replacing `path` once it is whole.

    Raises:
        CatdogError: it cannot be written.
    """
    arrow, parquet = require("pyarrow", "parquet"), require("pyarrow.parquet", "parquet")
    number, truth = arrow.float64(), {KNOWN[0]: arrow.bool_()}
    kinds = [number if _is_number(name) else truth.get(name, arrow.string()) for name in form.columns]
    fields = [*zip(form.columns, kinds, strict=True), (BYTES, arrow.binary())]
    try:
        with (
            replacing(path) as unfinished,
            parquet.ParquetWriter(unfinished, arrow.schema(fields)) as writer,
        ):
            for part in _batches(rows):
                columns = [*_columns(part, form), [_lone_bytes(row[0]) for row in part]]
                arrays = [arrow.array(c, kind) for c, (_, kind) in zip(columns, fields, strict=True)]
                writer.write_table(arrow.table(arrays, arrow.schema(fields)))
    except OSError as error:
        reason = error.strerror or error
        raise CatdogError(
            f"Cannot write {str(path)!r} ({reason}): the rows are kept beside it; fix that and add --resume."
        ) from error


def read_parquet(path: Path, form: CsvForm) -> Iterator[list[Any]]:
    """Yield the cells of what `write_parquet` wrote.

    Raises:
        DataError: it is something else.
    """
    arrow, parquet = require("pyarrow", "parquet"), require("pyarrow.parquet", "parquet")
    try:
        with parquet.ParquetFile(path) as file:
            if file.schema_arrow.names != [*form.columns, BYTES]:
                raise DataError(
                    f"Cannot resume {str(path)!r} (its columns are others): give the options and the "
                    "checkpoint of the run that wrote it, or --overwrite."
                )
            for batch in file.iter_batches(GROUP_ROWS):
                for *cells, raw in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    yield cells if raw is None else [os.fsdecode(raw), *cells[1:]]
    except (OSError, arrow.ArrowException) as error:
        raise DataError(f"{str(path)!r} is not a readable Parquet file ({error}).") from error


def _batches(rows: Iterator[list[str]]) -> Iterator[list[list[str]]]:
    part = []
    for row in rows:
        part.append(row)
        if len(part) == GROUP_ROWS:
            yield part
            part = []
    if part:
        yield part


def _columns(part: list[list[str]], form: CsvForm) -> Iterator[list[Any]]:
    for name, cells in zip(form.columns, zip(*part, strict=True), strict=True):
        if _is_number(name):
            yield [float(cell) if cell else None for cell in cells]
        elif name == KNOWN[0]:
            yield [cell == "true" if cell else None for cell in cells]
        else:
            yield [_text(cell) or None for cell in cells]


def _is_number(name: str) -> bool:
    return name.startswith("probability") or name == KNOWN[1]


def _text(cell: str) -> str:
    return cell.encode("utf-8", "backslashreplace").decode("utf-8")


def _lone_bytes(path: str) -> bytes | None:
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return os.fsencode(path)
    return None
