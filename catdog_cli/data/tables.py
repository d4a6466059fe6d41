"""Read tables of image paths as people write them: any usual delimiter, encoding and names of columns."""

import contextlib
import csv
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DataError, quote

DELIMITERS = (",", ";", "\t", "|")
START_BYTES = 4096  # by which the encoding is told
MAX_HEADER = 1 << 20  # letters: what has no line break before is no table
PATH_COLUMNS = (  # what columns are called, without case, blanks and marks; the first that is there counts
    *("path", "filepath", "imagepath", "imgpath", "relativepath", "relpath", "filename", "imagefilename"),
    *("imagefile", "imgfile", "file", "files", "filenames", "image", "images", "img", "picture", "photo"),
    *(
        "imagename",
        "imgname",
        "fname",
        "imageid",
        "imgid",
        "photoid",
        "fileid",
        "uuid",
        "id",
        "idcode",
        "name",
    ),
)
CLASS_COLUMNS = (
    *(
        "class",
        "label",
        "classname",
        "labelname",
        "category",
        "categoryname",
        "target",
        "targetname",
        "breed",
    ),
    *(
        "species",
        "variety",
        "diagnosis",
        "tag",
        "type",
        "classid",
        "labelid",
        "categoryid",
        "classes",
        "labels",
    ),
    *("y", "annotation", "groundtruth"),
)
SPLIT_COLUMNS = ("split", "set", "subset", "partition", "usage")
KEY_COLUMN = "key"
BOMS = (
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
    (b"\xef\xbb\xbf", "utf-8-sig"),
)


@dataclass(frozen=True)
class Columns:
    """Which columns of a table hold the path, the class, the split and the key; None where none does."""

    header: list[str]
    path: int | None
    label: int | None
    split: int | None
    key: int | None

    def describe(self) -> str:
        """Return what the columns are taken for, where they are not called path and class."""
        path, label = (None if at is None else self.header[at].strip() for at in (self.path, self.label))
        if path == "path" and label in (None, "class"):
            return ""
        return f"column {path!r} as path" + (f", column {label!r} as class" if label is not None else "")


@dataclass(frozen=True)
class Table:
    """A table that is being read: its columns, and its rows below the first line with their numbers."""

    columns: Columns
    rows: Iterator[tuple[int, list[str]]]


@contextlib.contextmanager
def open_table(path: Path, data: bytes | None = None, what: str = "manifest") -> Iterator[Table]:
    """Yield the table in a file, read as it is asked for.

    Args:
        data: what the file holds, where it has been read already.
        what: what the file is called in errors.

    Raises:
        DataError: the file cannot be read, or is no table.
    """
    try:
        with contextlib.ExitStack() as stack:
            file: Any = stack.enter_context(path.open("rb") if data is None else io.BytesIO(data))
            encoding = find_encoding(file.read(START_BYTES))
            file.seek(0)
            text = io.TextIOWrapper(file, encoding, _errors(encoding), newline="")
            first = text.readline(MAX_HEADER)
            declared = re.fullmatch(r'"?sep=(.)"?\s*', first)  # a line that Excel writes for itself
            skipped = text.readline(MAX_HEADER) if declared else first
            delimiter = declared[1] if declared else _find_delimiter(skipped)
            text.seek(0)
            reader = csv.reader(_join_quotes(text, delimiter), delimiter=delimiter, strict=True)
            if declared:
                next(reader)
            header = next(reader, [])
            yield Table(_find_columns(header), _number_rows(path, reader, len(header), what))
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"The {what} {str(path)!r} cannot be read ({reason}): check the path.") from error
    except (csv.Error, UnicodeError) as error:
        raise DataError(f"{str(path)!r} is not a readable {what} ({error}): write it again.") from error


def find_encoding(start: bytes) -> str:
    """Return the encoding of a text that begins with `start`: by its mark, or by where its zero bytes are."""
    for mark, encoding in BOMS:
        if start.startswith(mark):
            return encoding
    even, odd = start[0::2].count(0), start[1::2].count(0)
    if 10 * max(even, odd) > 4 * len(start) and min(even, odd) == 0:
        wide = "utf-16-le" if odd > even else "utf-16-be"
        return wide if "\n".encode(wide) in start else "utf-8"  # else names that null characters divide
    return "utf-8"


def _errors(encoding: str) -> str:
    """Return how to treat what cannot be decoded: names of files may be any bytes."""
    return "surrogateescape" if encoding.startswith("utf-8") else "strict"


def _find_delimiter(line: str) -> str:
    """Return what divides the first line best: into the most columns of known names, then into the most."""

    def score(delimiter: str) -> tuple[int, int]:
        try:
            header = next(csv.reader([line], delimiter=delimiter), [])
        except csv.Error:
            return (0, 0)
        columns = _find_columns(header)
        return ((columns.path is not None) + (columns.label is not None), len(header))

    return max(DELIMITERS, key=score)


def _find_columns(header: list[str]) -> Columns:
    names = [re.sub(r"[\W_]+", "", name).lower() for name in header]

    def find(known: tuple[str, ...]) -> int | None:
        return next((names.index(name) for name in known if name in names), None)

    path, split, key = find(PATH_COLUMNS), find(SPLIT_COLUMNS), find((KEY_COLUMN,))
    label = find(CLASS_COLUMNS)
    if label is None and path is not None:
        others = [at for at, name in enumerate(names) if at not in (path, split, key) and name]
        label = others[0] if len(others) == 1 else None
    return Columns(header, path, label, split, key)


def _join_quotes(lines: Iterable[str], delimiter: str) -> Iterator[str]:
    """Yield lines without the blanks between a quote and a delimiter, which break a quoted value for csv."""
    divider = re.escape(delimiter)
    before = re.compile(rf'(^|{divider}) +(?=")')
    after = re.compile(rf'((?<!")"|(?:^|{divider})"") +(?={divider}|\r?\n?$)')  # "" within a value is a quote
    for line in lines:
        yield after.sub(r"\1", before.sub(r"\1", line)) if '"' in line else line


def _number_rows(
    path: Path, reader: Iterator[list[str]], width: int, what: str
) -> Iterator[tuple[int, list[str]]]:
    """Yield (number, values) of each row that holds anything, as many values as there are columns."""
    for number, row in enumerate(reader, 1):
        if any(row[width:]):
            raise DataError(
                f"Row {number} of the {what} {str(path)!r} has {len(row)} values, but its first line names "
                f"{width} columns: put values with a delimiter in them into quotes."
            )
        if any(value.strip() for value in row):
            yield number, [*row[:width], *[""] * (width - len(row))]


def show_header(columns: Columns) -> str:
    """Return what the first line of a table holds, for a sentence."""
    shown = ", ".join(map(quote, columns.header[:8])) + (" ..." if len(columns.header) > 8 else "")
    return shown or "nothing"
