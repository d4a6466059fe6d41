"""By how much a search flatters itself where the truth is known: five classes of small drawn pictures.

A search on 150 of them, and what it says of its best: cross-validated, corrected, on 50 validation pictures;
beside what its network gets right of 2,000 others of the same kind.
"""

import json
import random
import shutil
from argparse import Namespace
from pathlib import Path

from classes import SHAPES, draw_image
from measure import answer, run_catdog, run_worker
from table import Found, Row

SHOWN = SHAPES[:5]
PATTERNS = ("speckles", "checks", "bricks")
COUNTS = {"train": 30, "val": 10, "truth": 400}  # pictures a class
SMALL = 64  # px
FIGURES = ("cross_validated", "corrected", "validation", "truth")
SAID = {
    "cross_validated": "best trial, cross-validated",
    "corrected": "the same, corrected",
    "validation": "50 validation pictures",
    "truth": "the truth: 2,000 others",
}


def measure(options: Namespace) -> dict[str, float]:
    """Return the four figures and the time of a search, on new pictures each time."""
    options.flattery_round = getattr(options, "flattery_round", -1) + 1
    folder = options.work / f"flattery-{options.flattery_round}"
    run_worker(__file__, {"folder": folder, "seed": options.flattery_round}, options.work)
    run_dir = options.work / "flattery-run"
    shutil.rmtree(run_dir, ignore_errors=True)
    network = ["--arch", "mobilenet_v2", "--weights", options.weights, "--cpu"]
    budget = ["--budget", f"{options.tune_seconds}s", "--seed", options.flattery_round]
    child = run_catdog(
        ["tune", folder / "data", *network, *budget, "--output", run_dir, "--json"], options.work
    )
    found = json.loads(child.stdout)
    asked = ["evaluate", folder / "truth", run_dir, "--cpu", "--json"]
    truth = json.loads(run_catdog(asked, options.work).stdout)["accuracy"]
    low, high = found["flattery"]["interval"]
    return {
        "s": child.wall_s,
        "cross_validated": found["cross_validated"],
        "corrected": found["flattery"]["corrected"],
        "validation": found["validation"],
        "truth": truth,
        "low": low,
        "high": high,
        "trials": found["num_trials"],
    }


def rows(options: Namespace, found: Found) -> list[Row]:
    """Return a row for each figure."""
    own = found["flattery"]
    return [Row("flattery", SAID[name], own["s"], accuracy=own[name]) for name in FIGURES]


def draw(folder: str, seed: int) -> dict[str, int]:
    """Write pictures to search on into data/, and those that say the truth into truth/."""
    count = 0
    for split, number in COUNTS.items():
        for shape in SHOWN:
            home = Path(folder) / ("truth" if split == "truth" else f"data/{split}") / shape
            home.mkdir(parents=True)
            for index in range(number):
                rng = random.Random(f"{seed} {split} {shape} {index}")
                image = draw_image(shape, rng.choice(PATTERNS), rng)
                image.resize((SMALL, SMALL)).save(home / f"{index}.png")
                count += 1
    return {"count": count}


if __name__ == "__main__":
    answer(draw)
