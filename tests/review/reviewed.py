"""A small data set with everything that a review looks for, and a run that was trained on it."""

import shutil
from pathlib import Path

from catdog_cli.review.api import open_review
from tests.commands.trained import train_tiny
from tests.conftest import draw_image, write_images

PLANTED = ("train/cats/9.png", "train/dogs/9.png")  # each shows the other


def write_pets(root: Path) -> Path:
    """Write pictures of two classes, with two wrong labels, a damaged one, and a copy across splits."""
    write_images(root, {"train/cats": 9, "train/dogs": 9, "val/cats": 4, "val/dogs": 4})
    draw_image(1, 777).save(root / PLANTED[0])
    draw_image(0, 778).save(root / PLANTED[1])
    (root / "train/dogs/broken.png").write_bytes((root / "train/dogs/0.png").read_bytes()[:300])
    shutil.copy(root / "train/cats/0.png", root / "val/cats/copy.png")
    return root


def write_run(folder: Path) -> tuple[Path, Path]:
    """Return such a data set and a run on it."""
    data = write_pets(folder / "pets")
    return data, train_tiny(
        data, folder / "run", "--max-bad-fraction", "0.5", "--epochs", "8", "--learning-rate", "0.01"
    )


def reopen(data: Path, run: Path, output: Path, **options):
    """Return a review of it."""
    return open_review(str(data), run, output=output, device="cpu", **options)


def group(review, name: str):
    """Return a group of a review by its name."""
    return next(each for each in review.groups if each.name == name)


def paths(review, cases) -> list[str]:
    """Return the paths of the pictures of cases, in order."""
    return [review.pictures[number].path for case in cases for number in case.pictures]
