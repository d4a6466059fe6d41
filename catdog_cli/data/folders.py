"""Walk the folders of DATA: which are splits, which are classes, which files are images."""

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .dataset import Dataset, Split, class_name
from .image_files import Listing, list_folder, walk_folder
from .natural_sort import sort_naturally

SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
EXPECTED = (
    "expected one folder per class holding .jpg, .png, .webp ... files, or train/ and val/ with such folders"
)


@dataclass
class _Walk:
    """What a walk through the folders gathers: files[split][class name] are relative paths."""

    root: str
    files: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    left_aside: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def walk_folders(root: Path) -> tuple[Dataset, list[str]]:
    """Return what lies in the folder `root`, empty classes included, and the problems met (sentences)."""
    walk = _Walk(str(root))
    top = list_folder(walk.root)
    splits = _split_folders(walk, top.folders)
    if splits:
        walk.left_aside["loose"] += len(_take(walk, top))
        for folder, split in splits.items():
            _scan_classes(walk, folder, split, list_folder(os.path.join(walk.root, folder)))  # noqa: PTH118
    else:
        _scan_classes(walk, "", "all", top)
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
        walk.warnings.append(f"Beside the splits, {walk.root!r} holds {names}: ignored.")
    return found


def _scan_classes(walk: _Walk, parent: str, split: str, listing: Listing) -> None:
    """Add the images of each class folder in `parent` (relative to the root) to the walk."""
    loose = len(_take(walk, listing))
    if loose and not listing.folders:
        walk.problems.append(
            f"{loose} pictures lie directly in {listing.path!r}, without classes: {EXPECTED}."
        )
    elif loose:
        walk.left_aside["loose"] += loose
        walk.warnings.append(f"{loose} pictures lie directly in {listing.path!r}, in no class: ignored.")
    classes = walk.files.setdefault(split, {})
    for folder in listing.folders:
        relative = f"{parent}/{folder}" if parent else folder
        classes.setdefault(class_name(folder), []).extend(_list_images(walk, relative))


def _list_images(walk: _Walk, folder: str) -> list[str]:
    """Return the sorted paths of the images under a class folder, sub-folders included."""
    found: list[str] = []
    for listing in walk_folder(os.path.join(walk.root, folder)):  # noqa: PTH118
        below = os.path.relpath(listing.path, walk.root).replace(os.sep, "/")
        found += [f"{below}/{name}" for name in _take(walk, listing)]
    return sorted(found)


def _take(walk: _Walk, listing: Listing) -> list[str]:
    """Return the names of a folder's images; count the rest."""
    if listing.error is not None:
        reason = listing.error.strerror or str(listing.error)
        walk.problems.append(
            f"The folder {listing.path!r} cannot be opened ({reason}): check its permissions."
        )
    walk.left_aside.update(listing.ignored)
    walk.left_aside.update(listing.unusable.values())
    return [name for name in listing.images if name not in listing.unusable]


def _gather(walk: _Walk) -> Dataset:
    names = sort_naturally({name for classes in walk.files.values() for name in classes})
    splits: dict[str, Split] = {}
    for split in ("train", "val", "test", "all"):
        if split in walk.files:
            lists = [walk.files[split].get(name, []) for name in names]
            labels = np.repeat(np.arange(len(names), dtype=np.int64), [len(paths) for paths in lists])
            splits[split] = Split([path for paths in lists for path in paths], labels)
    left_aside = {why: count for why, count in walk.left_aside.items() if count}
    return Dataset(Path(walk.root), names, splits, walk.warnings, left_aside)
