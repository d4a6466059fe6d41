"""Several checkpoints as one: the mean of their calibrated probabilities, classes matched by name."""

import json

import numpy as np
import pytest

import catdog_cli
from catdog_cli.cli import run
from catdog_cli.errors import SettingsError
from catdog_cli.images import read
from catdog_cli.inference.mean import MeanPredictor, describe_mean
from catdog_cli.inference.predictor import Predictor
from catdog_cli.models.classifier import build_classifier
from catdog_cli.runs.checkpoint import describe_model, save_checkpoint
from catdog_cli.settings import HeadSpec, InputSpec

from ..conftest import draw_image, write_images
from .checkpoints import write_checkpoint

CLASSES = ("cats", "dogs", "emus")
OPTIONS = {"device": "cpu", "precision": "fp32"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with three checkpoints: other weights, orders of classes, inputs, temperatures."""
    folder = tmp_path_factory.mktemp("mean")
    write_checkpoint(folder / "one.pt", CLASSES, seed=1, temperature=0.5)
    write_checkpoint(folder / "two.pt", ("emus", "cats", "dogs"), seed=2, temperature=2.0)
    classifier, head = build_classifier("simple_cnn", 3, HeadSpec(), 3), HeadSpec()
    spec = InputSpec(48, 56, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bicubic")
    save_checkpoint(describe_model(classifier, head, list(CLASSES), spec), folder / "three.pt")
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for number in range(5):
        draw_image(number % 3, number, (90, 70)).save(folder / f"{number}.png")
    return sorted(folder.glob("*.png"))


def spread(answer, names=CLASSES):
    found = {each.class_name: each.probability for each in answer.top_k(len(names))}
    return np.array([found[name] for name in names])


def test_it_is_the_mean_of_what_each_says_alone(folder, photos):
    paths = [folder / name for name in ("one.pt", "two.pt", "three.pt")]
    alone = [[spread(each) for each in Predictor.load(path, **OPTIONS).predict(photos)] for path in paths]
    found = list(Predictor.load(*paths, **OPTIONS).predict(photos))
    np.testing.assert_allclose([spread(each) for each in found], np.mean(alone, 0), atol=1e-6)
    assert all(abs(each.probabilities.sum() - 1) < 1e-6 for each in found)


def test_without_calibration_temperatures_do_not_count(folder, photos):
    paths = [folder / name for name in ("one.pt", "two.pt")]
    options = {**OPTIONS, "calibrated": False}
    alone = [[spread(each) for each in Predictor.load(path, **options).predict(photos)] for path in paths]
    found = [spread(each) for each in Predictor.load(*paths, **options).predict(photos)]
    np.testing.assert_allclose(found, np.mean(alone, 0), atol=1e-6)
    calibrated = [spread(each) for each in Predictor.load(*paths, **OPTIONS).predict(photos)]
    assert np.abs(np.array(found) - calibrated).max() > 1e-3


def test_a_checkpoint_with_itself_says_what_it_says(folder, photos):
    one = [spread(each) for each in Predictor.load(folder / "one.pt", mirror=True, **OPTIONS).predict(photos)]
    both = Predictor.load(folder / "one.pt", folder / "one.pt", mirror=True, **OPTIONS)
    np.testing.assert_allclose([spread(each) for each in both.predict(photos)], one, atol=1e-6)
    assert isinstance(both, MeanPredictor)
    (features,) = both.features(photos[:1])
    assert features.shape == (512,)


def test_an_image_is_decoded_once(folder, photos, monkeypatch):
    decoded = []
    original = read.decode
    monkeypatch.setattr(read, "decode", lambda *args: decoded.append(args) or original(*args))
    list(Predictor.load(folder / "one.pt", folder / "three.pt", **OPTIONS).predict(photos))
    assert len(decoded) == len(photos)


def test_what_cannot_be_read_is_an_answer_of_the_mean_too(folder, photos):
    found = list(
        Predictor.load(folder / "one.pt", folder / "two.pt", **OPTIONS).predict([photos[0], b"nothing"])
    )
    assert found[0].error is None
    assert "not a picture" in found[1].error


def test_other_classes_are_refused(folder):
    write_checkpoint(folder / "four.pt", ("cats", "dogs"))
    write_checkpoint(folder / "five.pt", ("cats", "dogs", "owls"))
    with pytest.raises(
        SettingsError, match=r"'.*four.pt' does not know 'emus', other than '.*one.pt': a mean"
    ):
        Predictor.load(folder / "one.pt", folder / "four.pt", **OPTIONS)
    with pytest.raises(SettingsError, match=r"does not know 'emus' and knows 'owls' besides, other than"):
        Predictor.load(folder / "one.pt", folder / "five.pt", **OPTIONS)


def test_the_command_says_and_prints_the_mean(folder, photos, capsys, tmp_path):
    paths = [str(folder / name) for name in ("one.pt", "two.pt")]
    assert run(["predict", str(photos[0]), paths[0], "--with", paths[1], "--cpu", "--json"]) == 0
    printed = capsys.readouterr()
    assert printed.err == f"Predicting the mean of 2 checkpoints, {paths[0]} and {paths[1]}.\n"
    found = catdog_cli.predict(photos[0], paths[0], with_=[paths[1]], device="cpu")
    assert json.loads(printed.out) == [each.to_dict() for each in found]
    assert (
        run(["predict", *map(str, photos), paths[0], "--with", paths[1], "--output", str(tmp_path / "a.csv")])
        == 0
    )
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 6


def test_a_measurement_says_that_it_is_of_the_mean(folder, tmp_path, capsys):
    paths = [str(folder / name) for name in ("one.pt", "two.pt")]
    data = write_images(tmp_path / "pets", {"cats": 4, "dogs": 4, "emus": 4})
    found = catdog_cli.evaluate(paths[0], data, with_=[paths[1]], device="cpu", output=tmp_path / "report")
    assert found.checkpoint == describe_mean(paths) == f"mean of 2 checkpoints, {paths[0]} and {paths[1]}"
    assert found.checkpoints == paths
    assert str(found).startswith("mean of 2 checkpoints, ")
    assert "mean of 2 checkpoints" in (tmp_path / "report" / "report.html").read_text()
    predictor = Predictor.load(*paths, device="cpu")
    images = sorted(data.glob("*/*.png"))
    answers, labels = list(predictor.predict(images)), [path.parent.name for path in images]
    right = [answer.class_name == label for answer, label in zip(answers, labels, strict=True)]
    assert found.accuracy == np.mean(right)
    losses = [
        -np.log(spread(answer)[CLASSES.index(label)]) for answer, label in zip(answers, labels, strict=True)
    ]
    assert found.loss == pytest.approx(np.mean(losses), abs=1e-5)
    assert run(["evaluate", str(data), paths[0], "--with", paths[1], "--cpu", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["checkpoints"] == paths


def test_only_pictures_that_none_was_trained_on_are_measured(tmp_path, capsys):
    """Two runs on one folder with other seeds: what both kept apart counts."""
    data = write_images(tmp_path / "pets", {"cats": 20, "dogs": 20})
    tiny = {
        "arch": "simple_cnn",
        "weights": "none",
        "epochs": 1,
        "image_size": 32,
        "device": "cpu",
        "workers": 0,
    }
    runs = [
        catdog_cli.train(data, output=tmp_path / str(seed), seed=seed, val_fraction=0.5, **tiny).run_dir
        for seed in (1, 2)
    ]
    said = []
    found = catdog_cli.evaluate(runs[0], data, with_=runs[1:], device="cpu", log=said.append)
    kept = [
        {line.split(",")[0] for line in (each / "split.csv").read_text().splitlines() if ",val," in line}
        for each in runs
    ]
    assert 0 < found.num_samples == len(kept[0] & kept[1]) < 20
    assert found.num_trained_on == 0
    whole = catdog_cli.evaluate(runs[0], data, with_=runs[1:], split="all", device="cpu", log=said.append)
    assert whole.num_trained_on == 40 - len(kept[0] & kept[1])


def test_several_labels_have_the_mean_of_thresholds_too(tmp_path, photos):
    """And sigmoids, not a softmax, of which the mean is taken."""
    more = {"task": "multi-label", "thresholds": [0.2, 0.4, 0.6]}
    first = write_checkpoint(tmp_path / "a.pt", CLASSES, seed=1, temperature=0.5, **more)
    second = write_checkpoint(tmp_path / "b.pt", ("emus", "cats", "dogs"), seed=2, **more)
    alone = [
        [spread(each) for each in Predictor.load(path, **OPTIONS).predict(photos)] for path in (first, second)
    ]
    both = Predictor.load(first, second, **OPTIONS)
    np.testing.assert_allclose([spread(each) for each in both.predict(photos)], np.mean(alone, 0), atol=1e-6)
    assert both.thresholds == pytest.approx([(0.2 + 0.4) / 2, (0.4 + 0.6) / 2, (0.6 + 0.2) / 2])
    single = write_checkpoint(tmp_path / "c.pt", CLASSES)
    with pytest.raises(
        SettingsError, match=r"is multi-label and '.*c.pt' single-label: a mean needs checkpoints"
    ):
        Predictor.load(first, single, **OPTIONS)
