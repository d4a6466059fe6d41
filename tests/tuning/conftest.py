"""Small searches: a random squeezenet on tiny pictures, few trials."""

import numpy as np
import pytest
from PIL import Image

from ..training.conftest import _one_thread  # noqa: F401 - a fixture


def draw(label: int, number: int) -> Image.Image:
    """Return a noisy picture whose colour only nearly tells its label."""
    rng = np.random.default_rng([7, label, number])
    noise = rng.integers(0, 200, (32, 32, 3)).astype(np.int64)
    noise[..., label] += rng.integers(0, 40)
    return Image.fromarray(noise.clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="session")
def hard(tmp_path_factory):
    """Return a data folder of three classes that are mixed up: 60 pictures to train, 24 to measure."""
    root = tmp_path_factory.mktemp("hard")
    for split, count, start in (("train", 20, 0), ("val", 8, 1000)):
        for label, name in enumerate(("a", "b", "c")):
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                draw(label, start + number).save(folder / f"{number}.png")
    return root


@pytest.fixture
def asked(squeezenet_file):
    """Return the options of a small search."""
    return {
        "arch": "squeezenet1_1",
        "weights": squeezenet_file,
        "image_size": 64,
        "device": "cpu",
        "precision": "fp32",
        "budget": "10m",
        "trials": 4,
        "folds": 3,
        "space": {
            "stages": ["solved", "heads"],
            "looks": ["once", "mirror"],
            "augment": "none",
            "hidden_layers": [[8], [16]],
            "l2": [0.01, 0.1],
            "batch_size": [8, 16],
            "epochs": {"low": 1, "high": 4},
        },
    }
