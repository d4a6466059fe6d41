"""Real photographs through a real network: what the exported files say is what the checkpoint says."""

import shutil

import numpy as np
import pytest

from catdog_cli import Predictor
from catdog_cli.cli import run
from catdog_cli.export.api import export
from catdog_cli.inference.torch_predictor import TorchPredictor

NUM_TRAIN, NUM_VAL = 40, 25  # of each class


@pytest.fixture(scope="module")
def trained(shared, tmp_path_factory):
    """Return a run of SqueezeNet with its real weights on a few photographs."""
    folder = tmp_path_factory.mktemp("photos")
    for split, count in (("train", NUM_TRAIN), ("val", NUM_VAL)):
        for name in ("cats", "dogs"):
            target = folder / "data" / split / name
            target.mkdir(parents=True)
            for photo in sorted((shared / "data/cats_dogs" / split / name).glob("*.jpg"))[:count]:
                shutil.copy(photo, target)
    weights = shared / "weights/squeezenet1_1-imagenet.pth"
    arguments = [
        "--arch",
        "squeezenet1_1",
        "--weights",
        str(weights),
        "--output",
        str(folder / "run"),
        "--cpu",
    ]
    assert run(["train", str(folder / "data"), *arguments]) == 0
    return folder


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize(("to", "difference"), [("onnx", 0.02), ("onnx-fp16", 0.03), ("onnx-int8", 0.3)])
def test_photographs_get_the_same_answers(trained, to, difference):
    result = export(trained / "run", to, max_loss=4)  # one photograph of 50 is 2 points
    assert result.parity.num_images == 2 * NUM_VAL
    assert result.parity.max_difference < difference
    assert result.parity.num_changed <= (1 if to == "onnx-int8" else 0)
    own = TorchPredictor(trained / "run", device="cpu", precision="fp32")
    file = Predictor(result.path)
    photos = sorted((trained / "data/val").glob("*/*.jpg"))[::5]
    for mine, theirs in zip(own.predict(photos), file.predict(photos), strict=True):
        assert np.abs(mine.probabilities.numpy() - theirs.probabilities).max() < difference
        assert (mine.known is None) == (theirs.known is None)
    first = [each.explain(photos[0], check=False).first for each in (own, file)]
    assert first[0].exact
    assert first[1].exact
    if to == "onnx":
        assert np.abs(first[0].grid - first[1].grid).max() < 0.05 * np.abs(first[0].grid).max()


@pytest.mark.real
@pytest.mark.slow
def test_the_cases_that_were_read_wrong_once_are_read_alike(trained, shared):
    file = Predictor(export(trained / "run").path)
    own = TorchPredictor(trained / "run", device="cpu", precision="fp32")
    images = sorted(path for path in (shared / "cases/images").rglob("*") if path.is_file())
    assert images
    for mine, theirs in zip(own.predict(images), file.predict(images), strict=True):
        assert (mine.error is None) == (theirs.error is None), mine.source
        if mine.error is None:
            assert np.abs(mine.probabilities.numpy() - theirs.probabilities).max() < 0.05, mine.source
