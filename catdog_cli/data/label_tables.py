"""A folder of unsorted images beside a table of their labels, as competitions hand out."""

import itertools
import os
import re
from pathlib import Path

from ..errors import DataError
from .image_files import Listing, list_folder
from .listed_files import ListedFiles
from .split_names import split_of
from .tables import TABLE_SUFFIXES, open_table

USUAL = ("labels", "trainlabels", "traininglabels", "train", "training", "annotations")  # a table's name
NOT_LABELS = re.compile(r"sample|submission|test|split|predictions")
ANSWERS = frozenset(("status", "probability"))  # columns of what `catdog predict` wrote: no labels
TRIED_ROWS = 5


def find_label_table(folder: Path) -> Path | None:
    """Return the table that labels the images of a folder which has no class folders; None without one.

    Raises:
        DataError: several tables could be it.
    """
    names = _list_tables(folder)
    if not names or not _lacks_classes(str(folder)):
        return None
    fitting = [name for name in names if _names_images(folder / name, folder)]
    stems = {re.sub(r"[\W_]+", "", Path(name).stem).lower(): name for name in fitting}
    usual = next((stems[stem] for stem in USUAL if stem in stems), None)
    if usual:
        return folder / usual
    if len(fitting) > 1:
        raise DataError(
            f"{str(folder)!r} has no class folders, but {len(fitting)} tables that name its pictures, "
            f"{fitting[0]!r} and {fitting[1]!r}: give the one that you mean as DATA."
        )
    return folder / fitting[0] if fitting else None


def _list_tables(folder: Path) -> list[str]:
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208
    except OSError:  # said by whoever walks the folder
        return []
    return [
        name
        for name in names
        if name.lower().endswith(TABLE_SUFFIXES) and not NOT_LABELS.search(name.lower())
    ]


def _lacks_classes(folder: str) -> bool:
    """Tell whether the images to train on lie in one folder, without class folders."""

    def is_flat(listing: Listing) -> bool:
        return bool(listing.images) and not listing.folders

    top = list_folder(folder)
    below = {name: list_folder(os.path.join(folder, name)) for name in top.folders}  # noqa: PTH118
    train = [listing for name, listing in below.items() if split_of(name) == "train"]
    if train:
        return all(map(is_flat, train))
    others = [listing for name, listing in below.items() if split_of(name) is None]
    if any(listing.folders for listing in others):
        return False
    return bool(top.images) if not others else sum(map(is_flat, others)) + bool(top.images) == 1


def _names_images(table: Path, folder: Path) -> bool:
    """Tell whether the first rows of a table name images of the folder, and a class each."""
    files = ListedFiles(table, folder)
    try:
        with open_table(table) as opened:
            path, label = opened.columns.path, opened.columns.label
            if path is None or label is None or ANSWERS.intersection(opened.columns.header):
                return False
            rows = [values for _, values in itertools.islice(opened.rows, TRIED_ROWS)]
            return bool(rows) and all(files.find(row[path], row[label].strip()) for row in rows)
    except DataError:
        return False
