"""Walk the folders of DATA: which are splits, which are classes, which files are pictures.

Names are kept as the system gives them, undecodable bytes included. Nothing is opened but folders.
"""

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .dataset import SUFFIXES, Dataset, Split, class_name, natural_key

SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
CLUTTER = frozenset(("thumbs.db", "desktop.ini", "__macosx", "@eadir"))
OWN = {  # what catdog draws beside its own files: `catdog train .` must not learn its plots
    "history.jsonl": frozenset(("curves.png",)),
    "report.json": frozenset(("confusion_matrix.png", "roc.png", "calibration.png", "mistakes.png")),
}
EXPECTED = (
    "expected one folder per class holding .jpg, .png, .webp ... files, or train/ and val/ with such folders"
)


@dataclass
class _Walk:
    """What a walk through the folders gathers: files[split][class name] are relative paths."""

    root: str
    files: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    left_aside: Counter = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def walk_folders(root: Path) -> tuple[Dataset, list[str]]:
    """Return what lies in the folder `root`, empty classes included, and the problems met (sentences)."""
    walk = _Walk(str(root))
    folders, loose = _list_folder(walk, "")
    splits = _split_folders(walk, folders)
    if splits:
        walk.left_aside["loose"] += len(loose)
        for folder, split in splits.items():
            _scan_classes(walk, folder, split, *_list_folder(walk, folder))
    else:
        _scan_classes(walk, "", "all", folders, loose)
    return _gather(walk), walk.problems


def _split_folders(walk: _Walk, folders: list[str]) -> dict[str, str]:
    """Return {folder: split name} where the folders are splits rather than classes, else nothing."""
    found = {name: SPLIT_NAMES[name.lower()] for name in folders if name.lower() in SPLIT_NAMES}
    others = [name for name in folders if name not in found]
    if "train" not in found.values() and (others or not found):
        return {}
    if len(set(found.values())) < len(found):
        names = ", ".join(repr(name) for name in found)
        walk.problems.append(f"{walk.root!r} holds {names}, two names of one split: keep one.")
    for name in found:
        if name.lower() in ("valid", "validation"):
            walk.warnings.append(f"The folder {name!r} is taken as the validation split, val.")
    if others:
        names = ", ".join(repr(name) for name in others)
        walk.left_aside["folders beside the splits"] += len(others)
        walk.warnings.append(f"Beside the splits, {walk.root!r} holds {names}: left aside.")
    return found


def _scan_classes(walk: _Walk, parent: str, split: str, folders: list[str], loose: list[str]) -> None:
    """Add the pictures of each class folder in `parent` (relative to the root) to the walk."""
    where = os.path.join(walk.root, parent) if parent else walk.root  # noqa: PTH118
    if loose and not folders:
        walk.problems.append(f"{len(loose)} pictures lie directly in {where!r}, without classes: {EXPECTED}.")
    elif loose:
        walk.left_aside["loose"] += len(loose)
        walk.warnings.append(f"{len(loose)} pictures lie directly in {where!r}, in no class: left aside.")
    classes = walk.files.setdefault(split, {})
    for folder in folders:
        relative = f"{parent}/{folder}" if parent else folder
        classes.setdefault(class_name(folder), []).extend(_images(walk, relative))


def _images(walk: _Walk, folder: str) -> list[str]:
    """Return the sorted paths of the pictures under a class folder, sub-folders included."""
    found, waiting, seen = [], [folder], set()
    while waiting:
        current = waiting.pop()
        identity = _identity(walk, current)
        if identity in seen:  # a link back to a folder above, or a second link to the same one
            walk.left_aside["repeated folders"] += 1
            continue
        seen.add(identity)
        folders, files = _list_folder(walk, current)
        waiting += [f"{current}/{name}" for name in reversed(folders)]
        found += [f"{current}/{name}" for name in files]
    return sorted(found)


def _identity(walk: _Walk, folder: str) -> tuple[int, int] | str:
    try:
        status = os.stat(os.path.join(walk.root, folder))  # noqa: PTH116, PTH118
    except OSError:
        return folder
    return status.st_dev, status.st_ino


def _list_folder(walk: _Walk, folder: str) -> tuple[list[str], list[str]]:
    """Return the sorted names of the sub-folders and of the pictures in a folder; count the rest."""
    folders, files, own = [], [], set()
    where = os.path.join(walk.root, folder) if folder else walk.root  # noqa: PTH118
    try:
        with os.scandir(where) as entries:
            for entry in entries:
                kind = _kind(entry)
                if kind == "folder":
                    folders.append(entry.name)
                elif kind == "picture":
                    files.append(entry.name)
                else:
                    walk.left_aside[kind] += 1
                    own |= OWN.get(entry.name, frozenset())
    except OSError as error:
        reason = error.strerror or str(error)
        walk.problems.append(f"The folder {where!r} cannot be opened ({reason}): check its permissions.")
    kept = [name for name in files if name not in own]
    if len(kept) < len(files):
        walk.left_aside["plots of catdog"] += len(files) - len(kept)
    return sorted(folders, key=natural_key), sorted(kept)


def _kind(entry: os.DirEntry) -> str:
    name = entry.name
    if name.startswith(".") or name.lower() in CLUTTER:
        return "hidden"
    try:
        if entry.is_dir():
            return "folder"
        if os.path.splitext(name)[1].lower() not in SUFFIXES:  # noqa: PTH122
            return "other"
        if entry.is_file():
            return "picture"
    except OSError:  # a link to itself, or to where nobody may look
        return "broken links"
    return "broken links" if entry.is_symlink() else "pipes and devices"


def _gather(walk: _Walk) -> Dataset:
    names = sorted({name for classes in walk.files.values() for name in classes}, key=natural_key)
    splits = {}
    for split in ("train", "val", "test", "all"):
        if split in walk.files:
            lists = [walk.files[split].get(name, []) for name in names]
            labels = np.repeat(np.arange(len(names), dtype=np.int64), [len(paths) for paths in lists])
            splits[split] = Split([path for paths in lists for path in paths], labels)
    left_aside = {why: count for why, count in walk.left_aside.items() if count}
    return Dataset(Path(walk.root), names, splits, walk.warnings, left_aside)
