"""Drawn pictures of cats and dogs: a small dataset that needs no download, for `catdog data sample`."""

import json
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ...errors import DataError
from ...runtime.files import replacing
from ...settings_schema import check_range
from .cartoons import draw_animal

MARKER = ".catdog-sample.json"  # says that catdog made the folder, and with which numbers
CLASS_NAMES = ("cats", "dogs")


@dataclass(frozen=True)
class SampleSummary:
    """What `draw_dataset` left in a folder; usable wherever a path is."""

    root: Path
    num_train: int
    num_val: int
    num_drawn: int  # 0: everything was there already

    def __fspath__(self) -> str:
        return str(self.root)


def draw_dataset(
    root: str | os.PathLike,
    num_per_class: int = 100,
    val_per_class: int = 25,
    seed: int = 0,
    report: Callable[[int, int], None] | None = None,
) -> SampleSummary:
    """Write root/{train,val}/{cats,dogs}/NNN.jpg, drawn pictures of about 200 x 180 px.

    The same seed draws the same pictures. A folder that an earlier call made with the same numbers is
    completed, and no file in it is written again. `report(done, total)` is called after each picture.

    Raises:
        DataError: the folder holds something else, or cannot be written.
        SettingsError: a number is out of range.
    """
    check_range("pictures per class", num_per_class, 1, 100_000, whole=True)
    check_range("validation pictures per class", val_per_class, 1, 100_000, whole=True)
    check_range("seed", seed, 0, 2**63 - 1, whole=True)
    root = Path(root)
    counts = {"train": num_per_class, "val": val_per_class}
    try:
        _claim(root, {"made_by": "catdog data sample", "pictures_per_class": counts, "seed": seed})
        num_drawn = _draw_missing(root, counts, seed, report or (lambda done, total: None))
    except OSError as error:
        raise DataError(
            f"Cannot draw pictures in {str(root)!r} ({error.strerror or error}): give another folder."
        ) from error
    return SampleSummary(root, 2 * num_per_class, 2 * val_per_class, num_drawn)


def _claim(root: Path, numbers: dict) -> None:
    """Make `root`, or see that an earlier call with the same `numbers` made it."""
    marker = root / MARKER
    if root.exists() and not root.is_dir():
        raise DataError(f"{str(root)!r} is a file: give the name of a new folder.")
    if marker.is_file():
        if _read_marker(marker) != numbers:
            raise DataError(
                f"{str(root)!r} holds other drawn pictures: give a new folder, or the same numbers."
            )
        return
    if root.is_dir() and any(root.iterdir()):
        raise DataError(f"{str(root)!r} holds something already: give the name of a new or empty folder.")
    root.mkdir(parents=True, exist_ok=True)
    marker.write_text(json.dumps(numbers) + "\n", encoding="utf-8")


def _read_marker(marker: Path) -> dict | None:
    try:
        return json.loads(marker.read_text(encoding="utf-8"))
    except ValueError:  # damaged: whatever made it, it is not what is asked for now
        return None


def _draw_missing(root: Path, counts: dict[str, int], seed: int, report: Callable[[int, int], None]) -> int:
    """Draw what `root` lacks and return how many pictures that were."""
    total, num_drawn = len(CLASS_NAMES) * sum(counts.values()), 0
    for done, (split, label, number) in enumerate(_list_pictures(counts), 1):
        path = root / split / label / f"{number:03d}.jpg"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            image = draw_animal(label, random.Random(f"{seed}/{split}/{label}/{number}"))
            with replacing(path, sync=False) as unfinished:  # a killed run leaves no half picture behind
                image.save(unfinished, "JPEG", quality=88)
            num_drawn += 1
        report(done, total)
    return num_drawn


def _list_pictures(counts: dict[str, int]) -> Iterator[tuple[str, str, int]]:
    for split, count in counts.items():
        for label in CLASS_NAMES:
            yield from ((split, label, number) for number in range(1, count + 1))
