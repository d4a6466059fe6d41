"""Manifests: tables that list images with their classes, and maybe their splits.

`write_split` writes one, `read_split` reads back exactly what it wrote, and `read_manifest` takes what people
have: other delimiters and encodings, other names of columns, file names without folder or suffix.
"""

import csv
import io
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..errors import DataError, quote
from ..runtime.addresses import is_address
from ..runtime.files import RUN_SPLIT, write_atomic
from ..settings import UNKNOWN_LABEL
from .class_names import describe_alike, find_alike
from .dataset import Dataset, Split
from .decisions import is_decisions
from .label_lists import (
    AS_SHOWN,
    CELLS,
    LABELS,
    UNKNOWN,
    BinaryColumns,
    LabelForm,
    LabelTable,
    Rows,
    gather_labels,
    hint_of_labels,
    join_labels,
    may_hold_labels,
    read_label_table,
    split_labels,
    valid_column,
)
from .listed_files import ListedFiles
from .location import run_data
from .manifest_rows import Row, check_rows, incomplete, settle_splits, split_in_row, tidy_rows
from .natural_sort import sort_naturally
from .split_names import split_of
from .tables import Columns, Table, open_table, show_header

MANIFEST_COLUMNS = ("path", "class", "split")
LABEL_COLUMNS = ("path", LABELS, UNKNOWN, "split")  # where pictures have several labels
MAX_RUNS = 10  # each trained on the manifest of the one before


def write_split(
    dataset: Dataset,
    path: str | Path,
    root: str | Path | None = None,
    keys: dict[str, list[str]] | None = None,
) -> None:
    """Write the manifest `path,class,split` of a dataset, atomically; paths stay relative to its root.

    Where pictures have several labels it is `path,labels,unknown,split`, labels joined.

    `root` rewrites them relative to that folder instead: `catdog data split` gives the manifest's own.
    `keys`, what `content_keys` gives for splits, add a column `key` by which a run knows its pictures again.

    Raises:
        DataError: the file cannot be written.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    columns = LABEL_COLUMNS if dataset.has_several_labels else MANIFEST_COLUMNS
    writer.writerow(columns if keys is None else (*columns, "key"))
    for name, split in dataset.splits.items():
        own = [()] * len(split) if keys is None else [(key,) for key in keys.get(name, [""] * len(split))]
        for image, label, key in zip(_rebase(dataset, split, root), _cells(dataset, split), own, strict=True):
            writer.writerow((image, *label, name, *key))
    data = text.getvalue().encode("utf-8", "surrogateescape")
    write_atomic(Path(path), data, DataError, "choose another place", parents=True)


def _cells(dataset: Dataset, split: Split) -> Iterator[tuple[str, ...]]:
    """Yield what a manifest says of each picture's label: its class, or its labels and the unknown ones."""
    names = dataset.class_names
    if split.labels.ndim == 1:
        yield from ((names[label],) for label in split.labels.tolist())
        return
    for row in split.labels:
        yield join_labels(row, names), join_labels(row, names, UNKNOWN_LABEL)


def _rebase(dataset: Dataset, split: Split, root: str | Path | None) -> list[str]:
    if root is None:
        return split.paths
    prefix = os.path.relpath(Path(dataset.root).resolve(), Path(root).resolve()).replace(os.sep, "/")
    if prefix == ".":
        return split.paths
    return [path if path.startswith("/") else f"{prefix}/{path}" for path in split.paths]


def read_split(path: str | Path, root: str | Path | None = None) -> Dataset:
    """Read what `write_split` wrote, whether or not its files are there.

    Paths count from `root`, which is the manifest's folder if None.

    Raises:
        DataError: the file is missing, not such a manifest, or names an image twice.
    """
    rows, unknown = _read_rows(Path(path))
    check_rows(str(path), rows, several=unknown is not None)
    root = Path(path).parent if root is None else Path(root)
    if unknown is None:
        return _gather(rows, Path(path), root)
    listed = [split_labels(row[1]) for row in rows]
    class_names, labels = gather_labels(listed, list(map(split_labels, unknown)))
    return _gather_labels(rows, class_names, labels, Path(path), root)


def read_keys(path: str | Path) -> dict[str, str]:
    """Return the key of each path in a manifest that `write_split` gave keys; {} for one without.

    Raises:
        DataError: the file is missing, or no manifest.
    """
    return {row[0]: row[3] for row in _read_rows(Path(path))[0] if row[3]}


def read_manifest(path: str | Path, form: LabelForm = AS_SHOWN) -> Dataset:
    """Read a table of images and classes, or labels, that somebody gives as DATA.

    Paths count from its folder (those in a run's split.csv from the data that the run was trained on) and
    must exist; a name without folder or suffix is looked for below. Blanks around values mean nothing.
    `form` is how the table holds several labels an image, where it does not show that itself.

    Raises:
        DataError: the file is missing, or no table; it lacks a value, or names an image twice; an image does
            not exist, or may be one of several; names of classes look the same.
        SettingsError: `form` does not fit the table.
    """
    path = Path(path)
    root = manifest_root(path)
    files = ListedFiles(path, root)
    rows: list[Row] = []
    missing: list[str] = []
    notes: list[str] = []
    with open_table(path) as table:
        if may_hold_labels(table.columns, form):
            kept = list(table.rows)
            found = read_label_table(path, table.columns, kept, form)
            if found is not None:
                return _read_labelled(path, table.columns, kept, found, files)
            table = Table(table.columns, iter(kept))
        _require_columns(path, table)
        binary = BinaryColumns(table.columns)
        for row in tidy_rows(Table(table.columns, binary.follow(table.rows)), str(path), notes):
            place = files.find(row[0], row[1], row[2])
            if place is None:
                missing.append(row[0])
            rows.append((place or row[0], *row[1:]))
        described, columns = table.columns.describe(), table.columns
    rows = settle_splits(rows)
    check_rows(str(path), rows)
    _refuse_missing(missing, path, root)
    dataset = _gather(rows, path, root)
    if alike := find_alike(dataset.class_names):
        raise DataError(f"The manifest {str(path)!r} holds {describe_alike(alike, {})}")
    found_in = _describe_search(files, root)
    if described or found_in:
        notes.insert(0, f"Manifest {str(path)!r}: {described or 'columns path and class'}{found_in}.")
    dataset.notes = notes + hint_of_labels(columns, dataset.class_names) + binary.hint()
    return dataset


def _refuse_missing(missing: list[str], path: Path, root: Path) -> None:
    if missing:
        raise DataError(
            f"{len(missing)} pictures of the manifest {str(path)!r} do not exist under {str(root)!r}, "
            f"the first {quote(missing[0])}: put them back, or write the manifest again."
        )


def _describe_search(files: ListedFiles, root: Path) -> str:
    """Return where names that are no paths were found, for the end of a sentence."""
    searched = [place or str(root) for place in files.searched]
    return f"; names are looked up in {', '.join(map(quote, searched[:3]))}" if searched else ""


def _read_labelled(
    path: Path, columns: Columns, kept: Rows, found: LabelTable, files: ListedFiles
) -> Dataset:
    """Return the dataset of a table whose images have several labels.

    Raises:
        DataError: as of `read_manifest`; rows of one image are joined where each lists labels.
    """
    root, manifest = manifest_root(path), str(path)
    at, split, valid = columns.path or 0, columns.split, valid_column(columns)
    strict = split is not None and columns.header[split].strip().lower() == "split"
    places: dict[str, int] = {}  # of each image: its row
    rows: list[Row] = []
    taken: list[int] = []
    missing: list[str] = []
    labels = found.labels
    for number, (row, values) in enumerate(kept):
        name = values[at]
        if not name.strip():
            raise incomplete(manifest, columns.header[at], row)
        side = split_in_row(values, split, strict, manifest, row)
        if valid is not None:
            side = "val" if CELLS.get(values[valid].strip().lower()) == 1 else "train"
        place = files.find(name, None, side)
        missing += [] if place else [name]
        known = places.setdefault(os.path.normpath(place or name), len(rows))
        if known == len(rows) or not found.joined:
            rows.append((place or name, "", side, ""))
            taken.append(number)
        elif rows[known][2] != side:
            raise DataError(f"The manifest {manifest!r} lists {quote(name)} in two splits: choose one.")
        else:  # a row for each label
            labels[taken[known]] = np.maximum(labels[taken[known]], labels[number])
    rows = settle_splits(rows)
    check_rows(manifest, rows, several=True)
    _refuse_missing(missing, path, root)
    dataset = _gather_labels(rows, found.class_names, labels[taken], path, root)
    joined = [f"{len(kept) - len(rows):,} rows name a picture again: its labels are taken together."]
    described = f"Manifest {manifest!r}: column {columns.header[at].strip()!r} as path"
    dataset.notes = [
        f"{described}{_describe_search(files, root)}.",
        found.note,
        *(joined if len(rows) < len(kept) else []),
    ]
    dataset.unlisted = found.unlisted
    return dataset


def iterate_listed(path: str | Path) -> Iterator[str]:
    """Yield the path of each image in a table, as `read_manifest` understands it, without reading it whole.

    What does not exist there, but in the working directory, is taken from there.

    Raises:
        DataError: the file cannot be read, or has no column of paths.
    """
    path = Path(path)
    root = manifest_root(path)
    files = ListedFiles(path, root)
    with open_table(path) as table:
        at, label, split = table.columns.path, table.columns.label, table.columns.split
        if at is None:
            raise DataError(
                f"The list {str(path)!r} has no column of paths (its first line holds "
                f"{show_header(table.columns)}): name one 'path'."
            )
        for _, values in table.rows:
            name = values[at]
            if not name.strip():
                continue
            found = files.find(
                name,
                None if label is None else values[label].strip(),
                None if split is None else split_of(values[split]),
            )
            if found is None and (is_address(name) or os.path.lexists(name)):
                yield name
            else:
                yield str(root / (found or name))


def manifest_root(path: Path) -> Path:
    """Return the folder that a manifest's paths count from: its own, or a run's data for its split.csv."""
    for _ in range(MAX_RUNS):
        data = run_data(path.parent) if path.name == RUN_SPLIT else None
        if data is None:
            break
        if data.is_dir():
            return data
        path = data  # the run was trained on a manifest
    return path.parent


def _require_columns(path: Path, table: Table) -> None:
    if is_decisions(table.columns):
        raise DataError(
            f"{str(path)!r} is a file of decisions about pictures, not of all pictures: give it as "
            f"--decisions FILE, and as DATA the pictures that it is about."
        )
    if table.columns.path is None or table.columns.label is None:
        raise DataError(
            f"{str(path)!r} is neither a data folder nor a manifest: its first line holds "
            f"{show_header(table.columns)}; expected a folder, or a CSV file whose first line names the "
            "columns path,class or path,class,split, or path and labels, or path and columns of 1 and 0."
        )


def _gather(rows: list[Row], path: Path, root: Path) -> Dataset:
    class_names = sort_naturally({row[1] for row in rows})
    index = {name: number for number, name in enumerate(class_names)}
    members = defaultdict(list)
    for image, label, split, _ in rows:
        members[split].append((image, index[label]))
    splits = {
        split: Split([row[0] for row in pairs], np.array([row[1] for row in pairs], dtype=np.int64))
        for split, pairs in members.items()
    }
    return Dataset(root, class_names, splits, manifest=path)


def _gather_labels(
    rows: list[Row], class_names: list[str], labels: np.ndarray, path: Path, root: Path
) -> Dataset:
    """Return the dataset of rows whose labels are (N, C)."""
    members = defaultdict(list)
    for number, row in enumerate(rows):
        members[row[2]].append(number)
    splits = {side: Split([rows[i][0] for i in places], labels[places]) for side, places in members.items()}
    return Dataset(root, class_names, splits, manifest=path)


def _read_rows(path: Path) -> tuple[list[Row], list[str] | None]:
    """Return (path, class, split, key) of every row that `write_split` wrote, to the letter.

    Where pictures have several labels, these stand joined in place of the class, and the unknown ones of each
    row are the second value.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            reader = csv.DictReader(file, strict=True)
            names = reader.fieldnames or []
            column = next((name for name in ("class", LABELS) if "path" in names and name in names), None)
            if column is not None:
                read = list(reader)
                rows = [
                    (row["path"], row[column], row.get("split", "all"), row.get("key") or "") for row in read
                ]
                return rows, None if column == "class" else [row.get(UNKNOWN) or "" for row in read]
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"The manifest {str(path)!r} cannot be read ({reason}): check the path.") from error
    except csv.Error as error:
        raise DataError(f"{str(path)!r} is not a readable manifest ({error}): write it again.") from error
    raise DataError(f"{str(path)!r} is not a manifest: expected the columns path,class,split.")
