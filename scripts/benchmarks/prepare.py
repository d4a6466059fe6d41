"""What the rows work on: photographs, or some of them, a checkpoint, and `catdog train` with its history."""

import json
import shutil
from argparse import Namespace
from pathlib import Path

from measure import Child, run_catdog


def check_shared(shared: Path) -> tuple[Path, Path]:
    """Return the folder of photographs and the file of weights.

    Raises:
        SystemExit: one of them is not there.
    """
    data, weights = shared / "data" / "cats_dogs", shared / "weights" / "mobilenet_v2-imagenet.pth"
    for path, what in ((data, "photographs"), (weights, "ImageNet weights of mobilenet_v2")):
        if not path.exists():
            raise SystemExit(
                f"The {what} are not at {str(path)!r}: give --shared DIR, a folder with "
                "data/cats_dogs/{train,val}/CLASS/*.jpg and weights/mobilenet_v2-imagenet.pth."
            )
    return data, weights


def list_pictures(data: Path, split: str) -> list[Path]:
    """Return a split's JPEGs, their classes in turn, so that any first part of them is balanced.

    Raises:
        SystemExit: there are none.
    """
    folders = [sorted(folder.glob("*.jpg")) for folder in sorted((data / split).glob("*"))]
    images = [image for several in zip(*folders, strict=False) for image in several]
    if not images:
        raise SystemExit(
            f"No pictures under {str(data / split)!r}: expected a folder per class with *.jpg files."
        )
    return images


def take_some(data: Path, target: Path, num_train: int, num_val: int) -> Path:
    """Copy the first pictures of both splits to `target`, unless they are there; return it."""
    for split, count in (("train", num_train), ("val", num_val)):
        for image in list_pictures(data, split)[:count]:
            copy = target / split / image.parent.name / image.name
            copy.parent.mkdir(parents=True, exist_ok=True)
            if not copy.exists():
                shutil.copyfile(image, copy)
    return target


def train(
    options: Namespace, arguments: list, data: Path | None = None, **environment: str
) -> tuple[Child, float, list[dict]]:
    """Run `catdog train` with mobilenet_v2, on the CPU, unless `arguments` say otherwise.

    Returns:
        What it took, the best accuracy (a fraction), and a dict an epoch from its history.
    """
    run_dir = options.work / "run"
    shutil.rmtree(run_dir, ignore_errors=True)
    network = [] if "--arch" in arguments else ["--arch", "mobilenet_v2", "--weights", options.weights]
    command = ["train", data or options.data, *network, "--output", run_dir, "--json", *arguments]
    if "--gpu" not in arguments:
        command.append("--cpu")
    child = run_catdog(command, options.work, **environment)
    epochs = [json.loads(line) for line in (run_dir / "history.jsonl").read_text().splitlines()]
    return child, json.loads(child.stdout)["best"]["accuracy"], epochs


def make_checkpoint(options: Namespace) -> Path:
    """Return a checkpoint of mobilenet_v2, trained once on a few pictures: its speed is that of any other."""
    checkpoint = options.work / "checkpoint.pt"
    if not checkpoint.exists():
        train(options, ["--epochs", 1], take_some(options.data, options.work / "few", 32, 16))
        shutil.copyfile(options.work / "run" / "best.pt", checkpoint)
    return checkpoint
