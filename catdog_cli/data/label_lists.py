"""Tables of images with several labels: joined in one column, or a column of 1 and 0 for each.

    path,labels             filename,cat,dog,indoor
    a.jpg,cat;dog           a.jpg,1,1,
    b.jpg,                  b.jpg,0,0,0

An empty list of labels says that the image has none of them; an empty cell of a column, that nobody knows.
What catdog writes itself has the columns `labels` and `unknown`, the second with what nobody knows.
"""

import csv
import io
import re
import shlex
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import DataError, SettingsError, quote
from ..runtime.text import name_some
from ..settings import UNKNOWN_LABEL, TrainSettings
from .class_names import class_name, describe_alike, find_alike
from .natural_sort import sort_naturally
from .tables import Columns, show_header

ALL_COLUMNS = "all"  # of --label-columns
DELIMITER = ";"  # of what catdog writes
TRIED_DELIMITERS = (DELIMITER, "|")  # others are in too many names of classes
LISTS = frozenset(("labels", "tags", "classes", "categories"))  # columns that may hold several
LABELS, UNKNOWN = "labels", "unknown"  # columns of what catdog writes
CELLS = {
    **dict.fromkeys(("1", "1.0", "true"), 1),
    **dict.fromkeys(("0", "0.0", "false"), 0),
    **dict.fromkeys(("", "nan", "na", "n/a", "null", "none", "-1", "-1.0"), UNKNOWN_LABEL),
}
LEAST_COLUMNS = 2  # of 1 and 0 that are taken for labels by themselves
Rows = Sequence[tuple[int, list[str]]]  # (number, values)


@dataclass(frozen=True)
class LabelForm:
    """How the user says that a table holds labels; empty where the table has to say it.

    Attributes:
        delimiter: between the labels of a cell.
        columns: names of columns of 1 and 0 as a line of CSV, or ALL_COLUMNS.
        several: images may have several labels although the table does not show it.
        class_names: the labels that are known already, of a checkpoint.
        usual: the delimiter of the table that the checkpoint was trained on, if that was said.
    """

    delimiter: str = ""
    columns: str = ""
    several: bool = False
    class_names: tuple[str, ...] = ()
    usual: str = ""

    @classmethod
    def of(cls, settings: TrainSettings) -> "LabelForm":
        """Return what the settings of a run say."""
        return cls(settings.label_delimiter, settings.label_columns)

    @property
    def options(self) -> str:
        """The options that say it, for a sentence; "" where nothing is said."""
        return "--label-delimiter" if self.delimiter else "--label-columns" if self.columns else ""


AS_SHOWN = LabelForm()


@dataclass(frozen=True, eq=False)
class LabelTable:
    """The labels of a table's rows: int8 (N, C) for `class_names`, and how they were read."""

    class_names: list[str]
    labels: np.ndarray
    unlisted: int  # what a label is that the table does not name
    joined: bool  # a row lists labels, and more rows of the image may list more
    note: str


def may_hold_labels(columns: Columns, form: LabelForm) -> bool:
    """Say whether a table's rows have to be looked at to know if they hold several labels."""
    if columns.path is None:
        return False
    return bool(form.options) or form.several or columns.label is None or _is_list(columns)


def read_label_table(path: Path, columns: Columns, rows: Rows, form: LabelForm) -> LabelTable | None:
    """Return the labels of a table's rows; None where its images have one class each.

    Raises:
        DataError: a cell holds something else than a label or 1 and 0; labels look the same.
        SettingsError: an option names a column that is not there.
    """
    found = _read(path, columns, rows, form)
    if found is None:
        return None
    check_label_names(path, found.class_names)
    if not found.class_names:
        raise DataError(f"The manifest {str(path)!r} has no label at all: no picture has one.")
    return found


def check_label_names(path: Path, names: list[str]) -> None:
    """Raise DataError where labels look the same, or cannot be joined in what catdog writes."""
    if alike := find_alike(names):
        raise DataError(f"{str(path)!r} holds {describe_alike(alike, {})}")
    divided = [name for name in names if DELIMITER in name]
    if divided:
        raise DataError(
            f"{str(path)!r} has the label {quote(divided[0])}, but {DELIMITER!r} divides labels in what "
            f"catdog writes: rename it."
        )


def _read(path: Path, columns: Columns, rows: Rows, form: LabelForm) -> LabelTable | None:
    if form.columns:
        return _read_columns(path, columns, rows, _pick_columns(path, columns, form))
    unknown = _own_unknown(columns)
    if unknown is not None and form.delimiter in ("", DELIMITER):
        return _read_joined(columns, rows, DELIMITER, unknown)
    if form.delimiter:
        if columns.label is None:
            raise SettingsError(
                f"--label-delimiter {quote(form.delimiter)} divides the labels of one column, but "
                f"{str(path)!r} has no column of labels (its first line holds {show_header(columns)}): name "
                f"one 'labels'."
            )
        return _read_joined(columns, rows, form.delimiter)
    if columns.label is not None:
        delimiter = _find_delimiter(columns, rows, form)
        return None if delimiter is None else _read_joined(columns, rows, delimiter)
    places = _known_columns(columns, form) or _binary_columns(columns, rows)
    return (
        _read_columns(path, columns, rows, places) if len(places) >= LEAST_COLUMNS or form.several else None
    )


def has_label_columns(columns: Columns, rows: Rows, form: LabelForm) -> bool:
    """Say whether the first rows of a table without a column of classes hold columns of 1 and 0."""
    return bool(form.columns) or len(_binary_columns(columns, rows)) >= LEAST_COLUMNS


class BinaryColumns:
    """The columns of a table that hold nothing but 1, 0 and blanks, and not blanks alone, as it is read."""

    def __init__(self, columns: Columns):
        self.columns = columns
        self.left = [place for place in _other_columns(columns) if place != columns.label]
        self.filled: set[int] = set()

    def follow(self, rows: Iterable[tuple[int, list[str]]]) -> Iterator[tuple[int, list[str]]]:
        """Yield the rows, and see what they hold."""
        for row in rows:
            cells = {place: CELLS.get(row[1][place].strip().lower()) for place in self.left}
            self.left = [place for place in self.left if cells[place] is not None]
            self.filled.update(place for place, cell in cells.items() if cell in (0, 1))
            yield row

    @property
    def places(self) -> list[int]:
        """Where they are, in the rows that have been read."""
        return [place for place in self.left if place in self.filled]

    def hint(self) -> list[str]:
        """Return a sentence where they may be labels although each image has a class, too."""
        if self.columns.label is None or len(self.places) < LEAST_COLUMNS:
            return []
        names = [self.columns.header[place].strip() for place in self.places]
        line = io.StringIO()
        csv.writer(line, lineterminator="").writerow(names)
        return [
            f"Column {self.columns.header[self.columns.label].strip()!r} is read as one class a picture, and "
            f"{len(names)} columns of 1 and 0 are not, {name_some(names)}: if they are its labels, add "
            f"--label-columns {shlex.quote(line.getvalue())}."
        ]


def hint_of_labels(columns: Columns, class_names: Iterable[str]) -> list[str]:
    """Return a sentence where a column that may hold several labels seems to have them joined otherwise.

    Args:
        class_names: what was read as one class an image.
    """
    names = list(class_names)
    if columns.label is None or not _is_list(columns):
        return []
    for delimiter in (",", " "):
        parts = {part.strip() for name in names for part in name.split(delimiter)}
        if len(parts) < len(names) and any(delimiter in name for name in names):
            return [
                f"Column {columns.header[columns.label].strip()!r} is read as one class a picture, such as "
                f"{max(names, key=len)!r}: if {delimiter!r} divides labels, add --label-delimiter "
                f"{delimiter!r}."
            ]
    return []


def join_labels(labels: np.ndarray, class_names: list[str], value: int = 1) -> str:
    """Return the labels that an image has, of its row (C,), as one cell; or those with another value."""
    return DELIMITER.join(class_names[index] for index in np.flatnonzero(labels == value))


def split_labels(cell: str, delimiter: str = DELIMITER) -> list[str]:
    """Return the labels of a cell, each once."""
    parts = cell.split() if delimiter.isspace() else cell.split(delimiter)
    return list(dict.fromkeys(class_name(part.strip()) for part in parts if part.strip()))


def gather_labels(
    listed: Sequence[Iterable[str]], unknown: Sequence[Iterable[str]] = ()
) -> tuple[list[str], np.ndarray]:
    """Return the names of all labels, in natural order, and int8 (N, C) of what each image lists."""
    class_names = sort_naturally({name for names in (*listed, *unknown) for name in names})
    index = {name: number for number, name in enumerate(class_names)}
    labels = np.zeros((len(listed), len(class_names)), dtype=np.int8)
    for value, rows in ((1, listed), (UNKNOWN_LABEL, unknown)):
        for row, names in enumerate(rows):
            labels[row, [index[name] for name in names]] = value
    return class_names, labels


def _is_list(columns: Columns) -> bool:
    return columns.label is not None and _plain(columns.header[columns.label]) in LISTS


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).lower()


def valid_column(columns: Columns) -> int | None:
    """Return the place of fastai's column is_valid, which says who is in val; None without one."""
    names = [_plain(name) for name in columns.header]
    return names.index("isvalid") if "isvalid" in names and columns.split is None else None


def _own_unknown(columns: Columns) -> int | None:
    """Return the place of the column `unknown` in what catdog wrote; None in other tables."""
    if columns.label is None or columns.header[columns.label] != LABELS or UNKNOWN not in columns.header:
        return None
    return columns.header.index(UNKNOWN)


def _find_delimiter(columns: Columns, rows: Rows, form: LabelForm) -> str | None:
    """Return what divides the labels of a column, None where each row has one class."""
    label = columns.label or 0
    if form.several and form.usual:
        return form.usual
    if form.several or _is_list(columns):
        for delimiter in TRIED_DELIMITERS:
            if any(delimiter in values[label] for _, values in rows):
                return delimiter
    return DELIMITER if form.several else None


def _read_joined(columns: Columns, rows: Rows, delimiter: str, unknown: int | None = None) -> LabelTable:
    label = columns.label or 0
    listed = [split_labels(values[label], delimiter) for _, values in rows]
    not_known = [] if unknown is None else [split_labels(values[unknown]) for _, values in rows]
    class_names, labels = gather_labels(listed, not_known)
    column = columns.header[label].strip()
    many = int(((labels == 1).sum(1) > 1).sum())
    none = int((~(labels == 1).any(1)).sum())
    note = (
        f"Several labels a picture: column {column!r}, divided by {delimiter!r}; {many:,} of {len(rows):,} "
        f"pictures have more than one, {none:,} none{_count_unknown(labels)}."
    )
    return LabelTable(class_names, labels, 0 if unknown is None else UNKNOWN_LABEL, unknown is None, note)


def _count_unknown(labels: np.ndarray) -> str:
    unknown = int((labels == UNKNOWN_LABEL).sum())
    return f"; {unknown:,} cells are unknown and left out" if unknown else ""


def _pick_columns(path: Path, columns: Columns, form: LabelForm) -> list[int]:
    """Return the places of the columns that --label-columns names."""
    if form.columns.strip().lower() == ALL_COLUMNS:
        return _other_columns(columns)
    header = {class_name(name.strip()): place for place, name in enumerate(columns.header)}
    wanted = [class_name(name.strip()) for name in next(csv.reader([form.columns]), []) if name.strip()]
    missing = [name for name in wanted if name not in header]
    if missing or not wanted:
        raise SettingsError(
            f"--label-columns names {name_some(missing) or 'nothing'}, but the first line of {str(path)!r} "
            f"holds {show_header(columns)}: give names from there, or {ALL_COLUMNS}."
        )
    return [header[name] for name in dict.fromkeys(wanted)]


def _other_columns(columns: Columns) -> list[int]:
    used = (columns.path, columns.split, columns.key, valid_column(columns))
    return [place for place, name in enumerate(columns.header) if place not in used and name.strip()]


def _known_columns(columns: Columns, form: LabelForm) -> list[int]:
    """Return the places of the columns that are called as a checkpoint's classes."""
    known = set(form.class_names)
    return [place for place in _other_columns(columns) if class_name(columns.header[place].strip()) in known]


def _binary_columns(columns: Columns, rows: Rows) -> list[int]:
    """Return the places of the columns that hold nothing but 1, 0 and blanks, and not blanks alone."""
    binary = BinaryColumns(columns)
    deque(binary.follow(rows), 0)
    return binary.places


def _read_columns(path: Path, columns: Columns, rows: Rows, places: list[int]) -> LabelTable:
    names = [class_name(columns.header[place].strip()) for place in places]
    if len(set(names)) < len(names):
        raise DataError(f"The manifest {str(path)!r} has two columns of the same name: rename one.")
    order = [names.index(name) for name in sort_naturally(names)]
    labels = np.empty((len(rows), len(places)), dtype=np.int8)
    for row, (number, values) in enumerate(rows):
        for column, at in enumerate(order):
            cell = values[places[at]].strip().lower()
            if cell not in CELLS:
                raise DataError(
                    f"The manifest {str(path)!r} has {quote(values[places[at]])} in the column "
                    f"{names[at]!r} of its picture {number}: write 1, 0 or nothing (unknown), or name the "
                    f"columns of labels with --label-columns."
                )
            labels[row, column] = CELLS[cell]
    return LabelTable(sort_naturally(names), labels, UNKNOWN_LABEL, False, _describe(columns, names, labels))


def _describe(columns: Columns, names: list[str], labels: np.ndarray) -> str:
    left = [columns.header[place].strip() for place in _other_columns(columns)]
    left = [name for name in left if class_name(name) not in set(names)]
    return (
        f"Several labels a picture: {len(names)} columns of 1 and 0, {name_some(names)}"
        + _count_unknown(labels)
        + (f"; columns without labels: {name_some(left)}" if left else "")
        + "."
    )
