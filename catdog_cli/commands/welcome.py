"""What `catdog` alone says: the three commands that help where one is."""

import contextlib
import os
import shlex
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from .. import __version__
from ..images.suffixes import IMAGE_SUFFIXES, image_suffix

MOST = 200  # entries of a folder that are looked at
SPLITS = ("train", "training")
NOTHING = (
    ("catdog data sample pictures", "draws cats and dogs to try it with"),
    ("catdog train pictures --arch simple_cnn", "a small network from scratch, without a download"),
    ("catdog train FOLDER", "your own: a folder with a folder of pictures for each class"),
)


def describe_place(here: Path) -> list[str]:
    """Return the lines of a welcome in a folder: there is nothing yet, there are pictures, there is a run."""
    run, data = newest_checkpoint(here), find_pictures(here)
    if run is not None:
        where = f"The newest run here is {_show(run, here)!r}."
        rows = [
            (f"catdog predict PICTURE {_word(run, here)}", "names what a picture shows"),
            (f"catdog evaluate {_word(data, here)} {_word(run, here)}", "measures it on labelled pictures"),
            ("catdog runs", "lists all runs, and which can go on"),
        ]
    elif data is not None:
        where = f"Pictures in folders: {_show(data, here)!r}."
        rows = [
            (f"catdog train {_word(data, here)}", "trains on them, features computed once"),
            (f"catdog train {_word(data, here)} --dry-run", "says what would happen, and how long it takes"),
            (f"catdog data check {_word(data, here)}", "looks for damaged files and look-alikes"),
        ]
    else:
        where, rows = "No run and no folders of pictures here yet.", list(NOTHING)
    width = max(len(command) for command, _ in rows)
    lines = [f"  {command:{width}}  {text}" for command, text in rows]
    head = f"catdog {__version__}: image classifiers by transfer learning, from a folder of pictures."
    return [
        head,
        where,
        "",
        *lines,
        "",
        "`catdog --help` lists all commands, `catdog COMMAND --help` explains one.",
    ]


def newest_checkpoint(here: Path) -> Path | None:
    """Return the run below checkpoints/ whose best.pt is the newest."""
    found = []
    for folder in _folders(here / "checkpoints"):
        with contextlib.suppress(OSError):
            found.append(((folder / "best.pt").stat().st_mtime, folder))
    return max(found, default=(0.0, None))[1]


def find_pictures(here: Path) -> Path | None:
    """Return a folder here that holds a folder of pictures for each of at least two classes, or this one."""
    return next((folder for folder in (*_folders(here), here) if _has_classes(folder)), None)


def _has_classes(folder: Path) -> bool:
    inside = [each for each in _folders(folder) if not (each / "best.pt").exists()]  # a run has plots
    split = next((each for each in inside if each.name.lower() in SPLITS), None)
    classes = inside if split is None else _folders(split)
    return sum(1 for each in islice(classes, MOST) if _has_picture(each)) >= 2


def _has_picture(folder: Path) -> bool:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        return any(image_suffix(entry.name) in IMAGE_SUFFIXES for entry in islice(entries, MOST))
    return False


def _folders(folder: Path) -> Iterator[Path]:
    """Yield the folders in a folder by name, hidden ones left out; none where it cannot be read."""
    names: list[str] = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        names = [
            each.name for each in islice(entries, MOST) if each.is_dir() and not each.name.startswith(".")
        ]
    yield from (folder / name for name in sorted(names))


def _word(path: Path | None, here: Path) -> str:
    """Return a path as it is typed, DATA where there is none."""
    return "DATA" if path is None else shlex.quote(_show(path, here))


def _show(path: Path, here: Path) -> str:
    return os.path.relpath(path, here)
