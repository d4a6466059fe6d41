"""Walk the folders of DATA: which are splits, which are classes, which files are images."""

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .class_names import class_name, describe_alike, find_alike
from .dataset import Dataset, Split
from .folder_layout import ClassFolder, describe_merged, describe_prefixes, find_doubt
from .image_files import Listing, count_unread, list_folder, walk_folder
from .links import TWICE, Links
from .natural_sort import sort_naturally
from .split_names import FULL_NAMES, is_own_name, split_of

EXPECTED = (
    "expected one folder per class holding .jpg, .png, .webp ... files, or train/ and val/ with such "
    "folders, or a CSV file with the columns path,class"
)
NO_CLASSES = frozenset(  # what a lone folder of unlabelled pictures is called
    (
        *("test", "tests", "images", "image", "img", "imgs", "pictures", "photos"),
        *("unknown", "unlabeled", "unlabelled", "all"),
    )
)


@dataclass
class _Walk:
    """What a walk through the folders gathers: files[split][class name] are relative paths."""

    root: str
    links: Links
    files: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    classes: list[ClassFolder] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def path(self, relative: str) -> str:
        """Return the path of what lies at `relative` in the root."""
        return os.path.join(self.root, relative) if relative else self.root  # noqa: PTH118


def walk_folders(root: Path) -> tuple[Dataset, list[str]]:
    """Return what lies in the folder `root`, empty classes included, and the problems met (sentences)."""
    walk = _Walk(str(root), Links(str(root)))
    top = list_folder(walk.root)
    splits = _split_folders(walk, top)
    if splits:
        walk.ignored["loose"] += len(_take(walk, top))
        for folder, split in splits.items():
            _list_classes(walk, folder, split, list_folder(walk.path(folder)), "train" in splits.values())
    else:
        _list_classes(walk, "", "all", top)
    for found in walk.classes:
        if not found.linked:
            walk.links.claim(walk.path(found.path), found.label)
    for found in walk.classes:
        images = _list_images(walk, found)
        if not found.refused:
            walk.files[found.split].setdefault(found.label, []).extend(images)
    walk.problems += _find_alike_folders(walk.classes)
    doubt = find_doubt(walk.root, walk.classes)
    walk.problems += doubt
    if not doubt:
        walk.warnings += describe_merged(walk.root, walk.classes)
    return _gather(walk), walk.problems


def _split_folders(walk: _Walk, top: Listing) -> dict[str, str]:
    """Return {folder: split name} where the folders are splits rather than classes, else nothing."""
    found = {name: split for name in top.folders if (split := split_of(name)) is not None}
    others = [name for name in top.folders if name not in found]
    if "train" not in found.values() and (others or not found):
        return {}
    if others and len(found) == 1 and not list_folder(walk.path(next(iter(found)))).folders:
        return {}  # trains, beside cars and ships
    for split in FULL_NAMES:
        same = [name for name, meant in found.items() if meant == split]
        if len(same) > 1:
            names = ", ".join(repr(name) for name in same)
            walk.problems.append(
                f"{walk.root!r} holds {names}, {'two' if len(same) == 2 else 'several'} names of one split: "
                "keep one."
            )
    for name, split in found.items():
        if not is_own_name(name):
            walk.warnings.append(f"The folder {name!r} is taken as the {FULL_NAMES[split]} split, {split}.")
    for name in top.links.intersection(found):
        if walk.links.problem(walk.path(name), None):
            del found[name]
    if others:
        names = ", ".join(repr(name) for name in others)
        walk.ignored["folders beside the splits"] += len(others)
        walk.warnings.append(f"Beside the splits, {walk.root!r} holds {names}: ignored.")
    if "val" not in found.values():
        walk.problems += _find_unnamed_split(walk, found, others)
    return found


def _find_unnamed_split(walk: _Walk, splits: dict[str, str], others: list[str]) -> list[str]:
    """Return a question for each folder beside train/ that holds the same classes."""
    train = next((name for name, split in splits.items() if split == "train"), None)
    if train is None or not others:
        return []
    classes = {name.lower() for name in list_folder(walk.path(train)).folders}
    return [
        f"{walk.root!r} holds {name!r} with folders of the same names as {train!r}: is it a split? Call it "
        "val or test if it is one, or move it elsewhere."
        for name in others
        if len(classes.intersection(map(str.lower, list_folder(walk.path(name)).folders))) > 1
    ]


def _list_classes(walk: _Walk, parent: str, split: str, listing: Listing, beside_train: bool = False) -> None:
    """Note each class folder in `parent` (relative to the root), and what is wrong with `parent` itself."""
    walk.files.setdefault(split, {})
    names = _take(walk, listing)
    loose = len(names)
    if split == "test" and beside_train and _lacks_classes(walk, listing, loose):
        return
    if loose and not listing.folders:
        walk.problems.append(
            f"{loose} pictures lie directly in {listing.path!r}, without classes: {EXPECTED}."
            + describe_prefixes(names)
        )
    elif loose:
        walk.ignored["loose"] += loose
        walk.warnings.append(f"{loose} pictures lie directly in {listing.path!r}, in no class: ignored.")
    inner = listing.folders[0] if len(listing.folders) == 1 and not loose else ""
    if inner and split_of(inner) == split:
        again = os.path.join(listing.path, inner)  # noqa: PTH118
        hint = f", or give {again!r} as DATA" if split == "train" else ""
        walk.problems.append(
            f"{listing.path!r} holds nothing but another folder {inner!r}: move what is in that one level "
            f"up{hint}."
        )
        return
    for folder in listing.folders:
        label = class_name(folder)
        found = ClassFolder(split, f"{parent}/{folder}" if parent else folder, label)
        if folder in listing.links:
            found.linked = True
        walk.classes.append(found)


def _lacks_classes(walk: _Walk, listing: Listing, loose: int) -> bool:
    """Tell whether test/ holds pictures without classes, which are counted and left alone."""
    count, trained = loose, {found.label for found in walk.classes if found.split == "train"}
    if listing.folders:
        (first, *more) = listing.folders
        if loose or more or first.lower() not in NO_CLASSES or first in trained:
            return False
        below = os.path.join(listing.path, first)  # noqa: PTH118
        if list_folder(below).folders:
            return False
        count = sum(len(_take(walk, each)) for each in walk_folder(below))
    if count:
        del walk.files["test"]
        walk.ignored["pictures without classes"] += count
        walk.warnings.append(
            f"{listing.path!r} holds {count:,} pictures without class folders: ignored, as unlabelled ones."
        )
    return bool(count)


def _list_images(walk: _Walk, found: ClassFolder) -> list[str]:
    """Return the sorted paths of the images under a class folder, sub-folders included."""
    images: list[str] = []
    top = walk.path(found.path)
    if found.linked and (problem := walk.links.problem(top, found.label)):
        walk.ignored[problem] += 1
        found.refused = True
        return []
    for listing in walk_folder(top, lambda path: walk.links.problem(path, found.label)):
        below = os.path.relpath(listing.path, walk.root).replace(os.sep, "/")
        names = _take(walk, listing)
        if found.linked or listing.linked or listing.links:
            names = [name for name in names if _may_take(walk, found, listing, name)]
        found.count(Path(os.path.relpath(listing.path, top)).parts[:1], len(names))
        images += [f"{below}/{name}" for name in names]
    return sorted(images)


def _may_take(walk: _Walk, found: ClassFolder, listing: Listing, name: str) -> bool:
    """Tell whether an image that lies behind a link may have the label of the folder that it is found in."""
    path = os.path.join(listing.path, name)  # noqa: PTH118
    if not (found.linked or listing.linked or name in listing.links):
        return True
    problem = walk.links.problem(path, found.label) if name in listing.links else None
    problem = problem or walk.links.take(path, found.label)
    if problem:
        walk.ignored[problem] += 1
    return not problem


def _take(walk: _Walk, listing: Listing) -> list[str]:
    """Return the names of a folder's images; count the rest."""
    if listing.error is not None:
        reason = listing.error.strerror or str(listing.error)
        walk.problems.append(
            f"The folder {listing.path!r} cannot be opened ({reason}): check its permissions."
        )
    walk.ignored.update(listing.ignored)
    walk.ignored.update(listing.unusable.values())
    walk.ignored.update(count_unread(listing))
    return [name for name in listing.images if name not in listing.unusable]


def _find_alike_folders(classes: list[ClassFolder]) -> list[str]:
    """Return one sentence on class folders whose names look the same, if there are any.

    One name in train and in val may be stored in two ways: systems compose accents differently.
    """
    where: dict[str, list[str]] = {}
    times = Counter((found.split, found.label) for found in classes if found.has_images())
    for found in filter(ClassFolder.has_images, classes):
        twice = times[found.split, found.label] > 1
        splits = where.setdefault(found.path.rsplit("/", 1)[-1] if twice else found.label, [])
        if found.split != "all" and found.split not in splits:
            splits.append(found.split)
    alike = find_alike(where)
    return [describe_alike(alike, where)] if alike else []


def _gather(walk: _Walk) -> Dataset:
    twice = walk.links.ambiguous
    walk.ignored[TWICE] += len(twice)
    walk.warnings += walk.links.describe()
    names = sort_naturally({name for classes in walk.files.values() for name in classes})
    splits: dict[str, Split] = {}
    for split in ("train", "val", "test", "all"):
        if split in walk.files:
            lists = [walk.files[split].get(name, []) for name in names]
            if twice:
                lists = [[path for path in paths if walk.path(path) not in twice] for paths in lists]
            labels = np.repeat(np.arange(len(names), dtype=np.int64), [len(paths) for paths in lists])
            splits[split] = Split([path for paths in lists for path in paths], labels)
    ignored = {why: count for why, count in walk.ignored.items() if count}
    return Dataset(Path(walk.root), names, splits, walk.warnings, ignored)
