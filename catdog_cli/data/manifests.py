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
from ..runtime.files import write_atomic
from ..runtime.http import is_address
from .class_names import class_name, describe_alike, find_alike
from .dataset import Dataset, Split
from .listed_files import ListedFiles
from .location import run_data
from .natural_sort import sort_naturally
from .split_names import split_of
from .tables import Table, open_table, show_header

MANIFEST_COLUMNS = ("path", "class", "split")
RUN_SPLIT = "split.csv"  # what a run calls the manifest of its images
MAX_RUNS = 10  # each trained on the manifest of the one before
Row = tuple[str, str, str, str]  # path, class, split, key


def write_split(
    dataset: Dataset,
    path: str | Path,
    root: str | Path | None = None,
    keys: dict[str, list[str]] | None = None,
) -> None:
    """Write the manifest `path,class,split` of a dataset, atomically; paths stay relative to its root.

    `root` rewrites them relative to that folder instead: `catdog data split` gives the manifest's own.
    `keys`, what `content_keys` gives for splits, add a column `key` by which a run knows its pictures again.

    Raises:
        DataError: the file cannot be written.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(MANIFEST_COLUMNS if keys is None else (*MANIFEST_COLUMNS, "key"))
    for name, split in dataset.splits.items():
        own = [()] * len(split) if keys is None else [(key,) for key in keys.get(name, [""] * len(split))]
        for image, label, key in zip(_rebase(dataset, split, root), split.labels.tolist(), own, strict=True):
            writer.writerow((image, dataset.class_names[label], name, *key))
    data = text.getvalue().encode("utf-8", "surrogateescape")
    write_atomic(Path(path), data, DataError, "choose another place", parents=True)


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
    rows = _read_rows(Path(path))
    _check_rows(str(path), rows)
    return _gather(rows, Path(path), Path(path).parent if root is None else Path(root))


def read_keys(path: str | Path) -> dict[str, str]:
    """Return the key of each path in a manifest that `write_split` gave keys; {} for one without.

    Raises:
        DataError: the file is missing, or no manifest.
    """
    return {row[0]: row[3] for row in _read_rows(Path(path)) if row[3]}


def read_manifest(path: str | Path) -> Dataset:
    """Read a table of images and classes that somebody gives as DATA.

    Paths count from its folder (those in a run's split.csv from the data that the run was trained on) and
    must exist; a name without folder or suffix is looked for below. Blanks around values mean nothing.

    Raises:
        DataError: the file is missing, or no table; it lacks a value, or names an image twice; an image does
            not exist, or may be one of several; names of classes look the same.
    """
    path = Path(path)
    root = manifest_root(path)
    files = ListedFiles(path, root)
    rows: list[Row] = []
    missing: list[str] = []
    notes: list[str] = []
    with open_table(path) as table:
        _require_columns(path, table)
        for row in _tidy(table, str(path), notes):
            found = files.find(row[0], row[1], row[2])
            if found is None:
                missing.append(row[0])
            rows.append((found or row[0], *row[1:]))
        described = table.columns.describe()
    rows = _settle_splits(rows)
    _check_rows(str(path), rows)
    if missing:
        raise DataError(
            f"{len(missing)} pictures of the manifest {str(path)!r} do not exist under {str(root)!r}, "
            f"the first {quote(missing[0])}: put them back, or write the manifest again."
        )
    dataset = _gather(rows, path, root)
    if alike := find_alike(dataset.class_names):
        raise DataError(f"The manifest {str(path)!r} holds {describe_alike(alike, {})}")
    searched = [place or str(root) for place in files.searched]
    found_in = f"; names are looked up in {', '.join(map(quote, searched[:3]))}" if searched else ""
    if described or found_in:
        notes.insert(0, f"Manifest {str(path)!r}: {described or 'columns path and class'}{found_in}.")
    dataset.notes = notes
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


def is_table(path: Path) -> bool:
    """Tell whether a file is a table with a column of paths and one of classes."""
    try:
        with open_table(path) as table:
            return table.columns.path is not None and table.columns.label is not None
    except DataError:
        return False


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
    if table.columns.path is None or table.columns.label is None:
        raise DataError(
            f"{str(path)!r} is neither a data folder nor a manifest: its first line holds "
            f"{show_header(table.columns)}; expected a folder, or a CSV file whose first line names the "
            "columns path,class or path,class,split."
        )


def _tidy(table: Table, manifest: str, notes: list[str]) -> Iterator[Row]:
    """Yield the rows of a table with the names of classes and splits as catdog has them."""
    columns = table.columns
    path, label, split = columns.path or 0, columns.label or 0, columns.split
    strict = split is not None and columns.header[split].strip().lower() == "split"
    blanks = 0
    for number, values in table.rows:
        name = class_name(values[label].strip())
        blanks += name != class_name(values[label])
        if not (values[path].strip() and name):
            raise _incomplete(manifest, columns.header[label if values[path].strip() else path], number)
        yield values[path], name, _side(values, split, strict, manifest, number), ""
    if blanks:
        notes.append(f"The manifest {manifest!r} has blanks around {blanks:,} names of classes: ignored.")


def _side(values: list[str], split: int | None, strict: bool, manifest: str, number: int) -> str:
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


def _settle_splits(rows: list[Row]) -> list[Row]:
    """Return rows of which none has a split as rows to split; others as they are."""
    return rows if any(row[2] for row in rows) else [(row[0], row[1], "all", row[3]) for row in rows]


def _incomplete(manifest: str, column: str, number: int) -> DataError:
    return DataError(
        f"The manifest {manifest!r} lacks a value in its picture {number}, in the column {quote(column)}: "
        "complete it."
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


def _read_rows(path: Path) -> list[Row]:
    """Return (path, class, split, key) of every row that `write_split` wrote, to the letter."""
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            reader = csv.DictReader(file, strict=True)
            names = reader.fieldnames or []
            if "path" in names and "class" in names:
                return [
                    (row["path"], row["class"], row.get("split", "all"), row.get("key") or "")
                    for row in reader
                ]
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"The manifest {str(path)!r} cannot be read ({reason}): check the path.") from error
    except csv.Error as error:
        raise DataError(f"{str(path)!r} is not a readable manifest ({error}): write it again.") from error
    raise DataError(f"{str(path)!r} is not a manifest: expected the columns path,class,split.")


def _check_rows(manifest: str, rows: list[Row]) -> None:
    if not rows:
        raise DataError(
            f"The manifest {manifest!r} lists no pictures: write it again with `catdog data split`."
        )
    seen = set()
    for number, row in enumerate(rows, 1):
        for column, value in zip(("path", "class", "split"), row[:3], strict=True):
            if not value:
                raise _incomplete(manifest, column, number)
        if os.path.normpath(row[0]) in seen:
            raise DataError(f"The manifest {manifest!r} lists {quote(row[0])} twice: keep one of the rows.")
        seen.add(os.path.normpath(row[0]))
    unknown = sorted({row[2] for row in rows} - {"train", "val", "test", "all"})
    if unknown:
        raise DataError(
            f"The manifest {manifest!r} has the split {quote(unknown[0])}: use train, val or test."
        )
