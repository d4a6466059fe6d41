"""What the shape of class folders says: splits below classes, unknown splits, classes a level deeper."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from .split_names import split_of

SHOWN = 4  # names in a sentence
MAX_WORDS = 100  # in front of names: with more, they are no classes


@dataclass
class ClassFolder:
    """One class folder of one split: its path from the root, and how many images lie where in it."""

    split: str
    path: str
    label: str
    linked: bool = False  # it is a link itself
    refused: bool = False  # which leads to where it must not
    direct: int = 0
    below: dict[str, int] = field(default_factory=dict)  # by sub-folder

    def count(self, place: tuple[str, ...], images: int) -> None:
        """Note the images of one folder in it; `place` is empty, or the sub-folder that they lie under."""
        if place:
            self.below[place[0]] = self.below.get(place[0], 0) + images
        else:
            self.direct += images

    def filled(self) -> list[str]:
        """Return the sub-folders that hold images."""
        return [name for name, count in self.below.items() if count]

    def has_images(self) -> bool:
        """Say whether there is any image in it."""
        return bool(self.direct or self.filled())


def find_doubt(root: str, classes: list[ClassFolder]) -> list[str]:
    """Return a question where the folders may well be something else than classes."""
    for split in ("all", "train"):
        folders = [each for each in classes if each.split == split and each.has_images()]
        if len(folders) < 2 or any(each.direct for each in folders):
            continue
        names = [{name.lower() for name in each.filled()} for each in folders]
        shared = set.intersection(*names)
        first = _quote([each.path for each in folders])
        if shared and all(split_of(name) for name in set.union(*names)):
            inner = f"{folders[0].path}/{folders[0].filled()[0]}"
            return [
                f"{root!r} holds splits in its class folders, such as {inner!r}: put them the other way "
                "round, train/CLASS and val/CLASS, or list the pictures in a CSV file with the columns "
                "path,class,split."
            ]
        if len(shared) > 1 and 2 * len(shared) >= max(map(len, names)):
            inner = _quote([name for name in folders[0].filled() if name.lower() in shared])
            return [
                f"The folders {first} of {root!r} all hold the same sub-folders, {inner}: which are the "
                f"classes? If {inner} are, call the folders above them train, val and test; if {first} "
                "are, put their pictures directly into them, or list all pictures in a CSV file with the "
                "columns path,class."
            ]
    return []


def describe_merged(root: str, classes: list[ClassFolder]) -> list[str]:
    """Return a sentence on sub-folders that are part of the class above them, and how to change that."""
    for split in ("all", "train"):
        folders = [each for each in classes if each.split == split and each.has_images()]
        merged = [each for each in folders if len(each.filled()) + bool(each.direct) > 1]
        paths = [f"{each.path}/{name}" for each in merged for name in each.filled()]
        if not paths:
            continue
        count = f"{len(paths):,} sub-folders" if len(paths) > 1 else "1 sub-folder"
        which = "is part of its class" if len(paths) == 1 else f"are part of {_count_classes(merged)}"
        above = Path(root, folders[0].path).parent
        return [
            f"{count} ({_quote(paths)}) {which}: every class is a folder in {str(above)!r}. To have them as "
            "classes of their own, move them up into it, or list the pictures in a CSV file with the columns "
            "path,class."
        ]
    return []


def describe_prefixes(names: list[str]) -> str:
    """Return a hint where the names of unsorted images begin with a few words, cat.0.jpg and dog.0.jpg."""
    words = Counter(found[0] for name in names if (found := re.match(r"[^\W\d_]+(?=[\W\d_])", name)))
    common = [word for word, count in words.items() if count > 1]
    if not 2 <= len(common) <= MAX_WORDS or sum(words[word] for word in common) < 0.95 * len(names):
        return ""
    shown = _quote(sorted(common))
    return f" Are {shown}, with which their names begin, the classes? Move them into folders called so."


def _count_classes(merged: list[ClassFolder]) -> str:
    labels = list(dict.fromkeys(each.label for each in merged))
    return f"the class {labels[0]!r}" if len(labels) == 1 else f"the classes {_quote(labels)}"


def _quote(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - SHOWN:,} more" if len(listed) > SHOWN else ""
    return ", ".join(map(repr, listed[:SHOWN])) + more
