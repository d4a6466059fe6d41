"""What maps are worth: by how much probabilities fall when what they call important is blurred.

Run by itself: python scripts/benchmarks/deletion.py FOLDER CKPT... [--pictures N] prints a Markdown table.
Beside the important fifth stand random ones, and the middle, where photographers put their subject.
"""

import argparse
import random
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from catdog_cli.inference.predictor import Predictor
from catdog_cli.inference.torch_explainer import Explainer
from catdog_cli.runtime.parallel import map_in_order, usable_cores

HEADER = ("checkpoint", "method", "pictures", "important", "random", "difference (95 %)", "more", "middle")


def measure(checkpoint: str, paths: list[Path]) -> tuple[str, np.ndarray]:
    """Return the method, and falls (N, 3): with the important, a random and the middle fifth blurred."""
    predictor = Predictor.load(checkpoint, device="cpu")
    explainer = Explainer(predictor)
    middle = make_middle(explainer.side)

    def check(path: Path) -> tuple[str, float, float, float]:
        (found,) = explainer.explain(path)
        label = predictor.class_names.index(found.class_name)
        fall_middle, _ = explainer.measure_falls(explainer.see(path), middle, label)
        return found.kind, found.fall, found.fall_random, fall_middle

    rows = list(map_in_order(check, paths, max(2, usable_cores())))
    return rows[0][0], np.array([row[1:] for row in rows])


def make_middle(side: int) -> np.ndarray:
    """Return a map that is highest in the middle and falls towards the edges as a square."""
    away = np.abs(np.arange(side) - (side - 1) / 2)
    return -np.maximum(away[:, None], away[None, :]).astype(np.float32)


def describe(checkpoint: str, method: str, falls: np.ndarray) -> tuple[str, ...]:
    """Return the row of a checkpoint as text, in points of probability."""
    points = 100 * falls
    difference = points[:, 0] - points[:, 1]
    half = 1.96 * difference.std(ddof=1) / len(points) ** 0.5
    mean = points.mean(0)
    return (
        checkpoint,
        method,
        f"{len(points)}",
        f"{mean[0]:.1f}",
        f"{mean[1]:.1f}",
        f"{difference.mean():+.1f} ± {half:.1f}",
        f"{100 * (difference > 0).mean():.0f} %",
        f"{mean[2]:.1f}",
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("checkpoints", nargs="+")
    parser.add_argument("--pictures", type=int, default=200)
    options = parser.parse_args()
    paths = sorted(path for path in options.folder.rglob("*") if path.suffix in (".jpg", ".png"))
    random.Random(0).shuffle(paths)
    print("|", " | ".join(HEADER), "|")
    print("|", " | ".join(["---"] * len(HEADER)), "|")
    for checkpoint in options.checkpoints:
        row = describe(checkpoint, *measure(checkpoint, paths[: options.pictures]))
        print("|", " | ".join(row), "|", flush=True)


if __name__ == "__main__":
    main()
