"""A folder of unsorted images beside a table of their labels, as competitions hand out."""

import itertools
import os
import re
from pathlib import Path

from ..errors import DataError
from ..runtime.files import TABLE_SUFFIXES
from .image_files import Listing, list_folder
from .label_lists import AS_SHOWN, LabelForm, has_label_columns
from .listed_files import ListedFiles
from .split_names import split_of
from .tables import open_table

USUAL = (
    "labels",
    "trainlabels",
    "traininglabels",
    "train",
    "training",
    "annotations",
    "classes",
)  # a table's name
NOT_LABELS = re.compile(r"sample|submission|test|split|predictions")
ANSWERS = frozenset(("status", "probability"))  # columns of what `catdog predict` wrote: no labels
TRIED_ROWS = 5
OF_A_SPLIT = ("_classes.csv", "_annotations.coco.json")  # that Roboflow lays beside the images of each split


def find_split_tables(folder: Path) -> dict[str, Path]:
    """Return the tables of labels that lie in the folders of the splits, by split; {} without them."""
    found = {}
    for name in _list_names(folder):
        side = split_of(name)
        tables = [folder / name / table for table in OF_A_SPLIT if (folder / name / table).is_file()]
        if side is not None and tables:
            found[side] = tables[0]
    return found if "train" in found and _lacks_classes(str(folder)) else {}


def find_label_table(folder: Path, form: LabelForm = AS_SHOWN) -> Path | None:
    """Return the table that labels the images of a folder which has no class folders; None without one.

    Raises:
        DataError: several tables could be it.
    """
    names = _list_tables(folder)
    if not names or not _lacks_classes(str(folder)):
        return None
    fitting = [name for name in names if _names_images(folder / name, folder, form)]
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


def _list_names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208
    except OSError:  # said by whoever walks the folder
        return []


def _list_tables(folder: Path) -> list[str]:
    return [
        name
        for name in _list_names(folder)
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


def _names_images(table: Path, folder: Path, form: LabelForm) -> bool:
    """Tell whether the first rows of a table name images of the folder, and a class or labels each."""
    files = ListedFiles(table, folder)
    try:
        with open_table(table) as opened:
            path, label = opened.columns.path, opened.columns.label
            if path is None or ANSWERS.intersection(opened.columns.header):
                return False
            rows = list(itertools.islice(opened.rows, TRIED_ROWS))
            if label is None and not has_label_columns(opened.columns, rows, form):
                return False
            classes = [None if label is None else row[label].strip() for _, row in rows]
            found = (files.find(row[path], name) for (_, row), name in zip(rows, classes, strict=True))
            return bool(rows) and all(found)
    except DataError:
        return False
