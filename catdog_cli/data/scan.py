"""Folders in, labelled pictures out: finds splits, classes and files, and says all that is wrong at once.

Every command that takes DATA calls `scan_dataset`. Nothing is decoded here and nothing is changed.
"""

import dataclasses
import json
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ..errors import DataError, SettingsError, quote
from ..runtime.text import name_some
from .apply_decisions import apply_decisions
from .class_names import find_alike
from .coco import coco_root, is_coco, read_coco
from .dataset import Dataset, Split, class_counts, classes_present, match_classes, relabel
from .digests import find_leaks
from .folders import EXPECTED, walk_folders
from .image_files import describe_ignored, list_folder, walk_folder
from .label_lists import AS_SHOWN, LabelForm
from .label_tables import find_label_table, find_split_tables
from .location import open_data
from .manifests import manifest_root, read_manifest
from .natural_sort import sort_naturally
from .prepared import is_prepared, open_prepared

__all__ = [
    *("Dataset", "Split", "data_root", "describe_scan", "find_leaks", "match_classes"),
    *("read_exclude_list", "scan_dataset"),
]


def scan_dataset(
    root: str | Path,
    class_names: list[str] | None = None,
    exclude: Iterable[str] | str | Path | None = None,
    leaks: bool = True,
    labels: LabelForm = AS_SHOWN,
    decisions: str | Path | None = None,
) -> Dataset:
    """Find the pictures of DATA, their labels and their splits.

    `root` is a folder with train/ and val/ (by any usual name, in any case; and maybe test/), each holding a
    folder per class; or one folder per class, which gives the single split "all"; or a folder of images
    beside a table of their labels; or a manifest, such as `catdog data split` writes; or a folder that
    `catdog data prepare` wrote; or a .zip or .tar archive of these, or its http(s) address. Pictures may lie
    in sub-folders of a class folder. All other files are counted in `ignored`; links are followed, a folder
    once a class, where they do not lead to pictures of other classes.
    `class_names` matches labels to a checkpoint's classes by name instead of taking the folders' own; whether
    pictures have several labels must then be as `labels` says.
    `exclude` is paths (relative to root, or absolute) or a file of them, to be ignored.
    `leaks` looks for the same picture in two splits, which reads the files whose sizes collide.
    `labels` is how a table holds several labels a picture, where it does not show that itself.
    `decisions` is a file of labels put right and pictures left out, see `apply_decisions`.

    Warnings: a class folder without pictures (left out); a class missing in val; the same picture in two
    splits; a folder beside train/ and val/.

    Raises:
        DataError: DATA is missing, empty or not in the expected form; it has fewer than two classes; val or
            test holds a class that train lacks; a folder cannot be opened. All problems are in one error.
        SettingsError: `labels` does not fit DATA.
    """
    dataset, problems = _read(root, labels)
    decided = apply_decisions(dataset, decisions, class_names)
    dataset = decided.without_left_out(_leave_out(decided.dataset, exclude))
    if not problems and not len(dataset):
        ignored = describe_ignored(dataset.ignored)
        there = f" that are read, only {ignored}" if ignored else ""
        problems = [f"No pictures{there} under {str(root)!r}: {EXPECTED}."]
    elif class_names is None and len(dataset) and dataset.has_several_labels:
        dataset = _settle_labels(dataset)
    elif class_names is None and len(dataset):
        dataset, more = _settle_classes(dataset)
        problems += more
    if problems:
        raise DataError("\n".join(problems))
    if class_names is not None:
        _refuse_other_labels(dataset, root, labels.several)
        dataset = match_classes(dataset, class_names)
    if leaks and len(dataset.splits) > 1:
        _warn_of_leaks(dataset)
    return dataset


def read_exclude_list(path: str | Path) -> list[str]:
    """Return the paths of an exclude list: one a line, a line that starts with a quote being JSON.

    Raises:
        DataError: the file cannot be read, or a quoted line is damaged.
    """
    try:
        lines = Path(path).read_text("utf-8-sig", errors="surrogateescape").split("\n")
        lines = [line.removesuffix("\r") for line in lines]
        return [json.loads(line) if line.startswith('"') else line for line in lines if line]
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"Cannot read the exclude list {str(path)!r} ({reason}): check the path.") from error
    except ValueError as error:
        raise DataError(f"The exclude list {str(path)!r} has a damaged quoted line: {error}.") from error


def _read(root: str | Path, labels: LabelForm) -> tuple[Dataset, list[str]]:
    """Return what lies at `root`, in whichever of the accepted forms, and the problems met."""
    path, notes = open_data(root)
    try:
        exists = bool(str(root)) and path.exists()
    except OSError as error:
        raise DataError(f"Cannot open the data folder {str(root)!r} ({error.strerror}).") from error
    if not exists:
        raise DataError(f"The data folder {str(root)!r} does not exist: check the path.")
    dataset, problems = _read_form(path, labels)
    dataset.notes = [*notes, *dataset.notes]
    return dataset, problems


def _read_form(path: Path, labels: LabelForm) -> tuple[Dataset, list[str]]:
    if path.is_file():
        if not is_coco(path):
            return read_manifest(path, labels), []
        _refuse_form(labels, path, "COCO annotations")
        return read_coco(path), []
    if is_prepared(path):
        _refuse_form(labels, path, "a prepared folder")
        return open_prepared(path), []
    tables = find_split_tables(path)
    if tables:
        return _join_splits(path, tables, labels), []
    table = find_label_table(path, labels)
    if table is None:
        _refuse_form(labels, path, "class folders")
        return walk_folders(path)
    dataset = read_manifest(table, labels)
    count = sum(len(listing.images) for listing in walk_folder(str(path)))
    dataset.ignored = {f"pictures that {table.name!r} does not list": max(0, count - len(dataset))}
    dataset.notes = [
        f"{str(path)!r} has no class folders: labels are read from {table.name!r}.",
        *dataset.notes,
    ]
    return dataset, []


def _refuse_form(labels: LabelForm, path: Path, what: str) -> None:
    """Raise SettingsError where somebody says how a table holds labels, and there is none."""
    if labels.options:
        raise SettingsError(
            f"{labels.options} is of a table's columns, but {str(path)!r} is {what}: leave it out."
        )


def _join_splits(root: Path, tables: dict[str, Path], labels: LabelForm) -> Dataset:
    """Return the dataset of a folder in which each split has a table of labels beside its images."""
    parts = {
        side: read_coco(table) if is_coco(table) else read_manifest(table, labels)
        for side, table in tables.items()
    }
    one_class = [tables[side] for side, part in parts.items() if not part.has_several_labels]
    if one_class:
        raise DataError(
            f"{str(one_class[0])!r} does not have several labels a picture, as expected: check it."
        )
    names = sort_naturally({name for part in parts.values() for name in part.class_names})
    splits: dict[str, Split] = {}
    for side, part in parts.items():
        whole = relabel(part, names).splits["all"]
        folder = tables[side].parent.name
        splits[side] = dataclasses.replace(whole, paths=[f"{folder}/{path}" for path in whole.paths])
    notes = [note for part in parts.values() for note in part.notes]
    unlisted = min(part.unlisted for part in parts.values())
    return Dataset(root, names, splits, notes=notes, unlisted=unlisted)


def data_root(data: str | Path) -> Path:
    """Return the folder that the paths of DATA, of whatever form, count from.

    Raises:
        DataError: an archive or an address cannot be used.
    """
    path = open_data(data)[0]
    if os.path.isdir(path):  # noqa: PTH112
        return path
    return coco_root(path) if is_coco(path) else manifest_root(path)


def describe_scan(dataset: Dataset) -> list[str]:
    """Return sentences on how DATA was understood and what in it was ignored."""
    ignored = describe_ignored(dataset.ignored)
    return [*dataset.notes, *([f"Ignored: {ignored}"] if ignored else [])]


def _leave_out(dataset: Dataset, exclude: Iterable[str] | str | Path | None) -> Dataset:
    """Return the dataset without the pictures that `exclude` names."""
    if exclude is None:
        return dataset
    names = read_exclude_list(exclude) if isinstance(exclude, (str, Path)) else list(exclude)
    root = os.path.abspath(dataset.root)  # noqa: PTH100 - Path.resolve would follow links out of the root
    wanted = {os.path.normpath(os.path.join(root, name)) for name in names}  # noqa: PTH118
    splits, met = {}, set()
    for name, split in dataset.splits.items():
        full = [os.path.normpath(os.path.join(root, path)) for path in split.paths]  # noqa: PTH118
        splits[name] = split.take(
            np.array([i for i, path in enumerate(full) if path not in wanted], np.int64)
        )
        met |= wanted.intersection(full)
    warnings = list(dataset.warnings)
    if len(met) < len(wanted):
        warnings.append(
            f"{len(wanted) - len(met)} of {len(wanted)} excluded pictures are not in the data: give paths "
            f"from {str(dataset.root)!r} on, or absolute ones."
        )
    ignored = {**dataset.ignored, "excluded": len(met)}
    return dataclasses.replace(dataset, splits=splits, warnings=warnings, ignored=ignored)


def _refuse_other_labels(dataset: Dataset, root: str | Path, several: bool) -> None:
    """Raise DataError where one of data and checkpoint has several labels a picture."""
    if dataset.has_several_labels == several:
        return
    kinds = ("several labels a picture", "one class a picture")
    told, held = kinds if several else kinds[::-1]
    form = "a table with a column `labels`, or columns of 1 and 0" if several else "class folders"
    raise DataError(f"The checkpoint tells {told}, but {str(root)!r} has {held}: give {form}.")


def _settle_labels(dataset: Dataset) -> Dataset:
    """Return a dataset of several labels without those that no picture of train has, which is said."""
    from_split = "train" if "train" in dataset.splits else next(iter(dataset.splits))
    counts = {name: class_counts(dataset, name) for name in dataset.splits}
    learnt = counts["train"] if "train" in counts else np.sum(list(counts.values()), axis=0)
    warnings = list(dataset.warnings)
    lacking = [name for name, count in zip(dataset.class_names, learnt, strict=True) if not count]
    kept = [name for name, count in zip(dataset.class_names, learnt, strict=True) if count]
    if not kept:
        raise DataError(
            f"No picture of {from_split} in {str(dataset.root)!r} has a label: there is nothing to learn."
        )
    if lacking:
        warnings.append(f"No picture of {from_split} has {name_some(lacking)}: left out.")
    if "train" in counts and "val" in counts:
        unseen = [
            name
            for name, known, seen in zip(dataset.class_names, learnt, counts["val"], strict=True)
            if known and not seen
        ]
        if unseen:
            warnings.append(f"No picture of val has {name_some(unseen)}: they cannot be measured.")
    return relabel(dataclasses.replace(dataset, warnings=warnings), kept)


def _settle_classes(dataset: Dataset) -> tuple[Dataset, list[str]]:
    """Return the dataset with the classes that have pictures, and what is wrong with them."""
    kept = classes_present(dataset)
    problems, warnings = _compare_with_train(dataset), list(dataset.warnings)
    empty = [name for name in dataset.class_names if name not in set(kept)]
    if len(empty) == 1:
        warnings.append(f"The class folder {empty[0]!r} holds no pictures: the class is left out.")
    elif empty:
        warnings.append(f"{len(empty)} class folders hold no pictures and are left out: {name_some(empty)}.")
    if "train" in dataset.splits and "val" in dataset.splits and len(dataset.splits["val"]):
        lacking = (class_counts(dataset, "train") > 0) & (class_counts(dataset, "val") == 0)
        names = [name for name, is_so in zip(dataset.class_names, lacking, strict=True) if is_so]
        if len(names) == 1:
            warnings.append(f"The class {names[0]!r} has no pictures in val: it cannot be measured.")
        elif names:
            warnings.append(
                f"{len(names)} classes have no pictures in val and cannot be measured: {name_some(names)}."
            )
    if len(kept) < 2:
        problems.append(_one_class(dataset.root, kept[0]))
    return relabel(dataclasses.replace(dataset, warnings=warnings), kept), problems


def _compare_with_train(dataset: Dataset) -> list[str]:
    if "train" not in dataset.splits:
        return []
    in_train, problems = class_counts(dataset, "train"), []
    alike = {name for group in find_alike(dataset.class_names) for name in group}  # said already
    for split in dataset.splits:
        counts = class_counts(dataset, split)
        lacking = np.array(dataset.class_names, dtype=object)[(in_train == 0) & (counts > 0)]
        lacking = [name for name in lacking if name not in alike]
        if lacking:
            names = name_some(lacking, 20)
            problems.append(f"{split} holds {names}, without pictures in train: add some, or remove it.")
    return problems


def _one_class(root: Path, name: str) -> str:
    inner, hint = str(root / name), ""
    while os.path.isdir(inner) and not hint:  # noqa: PTH112 - a name from any file
        below = list_folder(inner)
        if len(below.folders) > 1:
            hint = f" Or is {inner!r} the data folder?"
        elif below.images or not below.folders:
            break
        else:
            inner = os.path.join(inner, below.folders[0])  # noqa: PTH118
    return (
        f"{str(root)!r} has pictures of one class only, {quote(name)}: at least two classes are needed.{hint}"
    )


def _warn_of_leaks(dataset: Dataset) -> None:
    pairs = find_leaks(dataset)
    if pairs:
        dataset.warnings.append(
            f"{len(pairs)} pictures are in two splits with the same content, the first {pairs[0][0]!r} and "
            f"{pairs[0][1]!r}: scores on them are too good."
        )
