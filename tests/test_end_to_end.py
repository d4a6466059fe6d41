"""The whole way on real photographs: train, go on, evaluate, predict."""

import json
import subprocess

import numpy as np
import pytest
import torch
from PIL import Image

from catdog_cli.cli import run
from catdog_cli.features.store import list_stores
from catdog_cli.inference.predictor import Predictor
from tests.commands.trained import call
from tests.conftest import PATIENCE_S
from tests.training.runs import load
from tests.training.test_distributed import LAUNCH, environment, farthest

pytestmark = [pytest.mark.real, pytest.mark.plots]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Return one feature cache for all tests here, so that features are computed once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def trained(shared, cache, tmp_path_factory):
    """Return the run directory of the shortest command line there is; tests only read it."""
    run_dir = tmp_path_factory.mktemp("runs") / "mobilenet_v2-1"
    weights = shared / "weights" / "mobilenet_v2-imagenet.pth"
    network = ["--arch", "mobilenet_v2", "--weights", str(weights), "--cpu"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CATDOG_CACHE", str(cache))
        data = shared / "data" / "cats_dogs"
        assert run(["train", str(data), *network, "--output", str(run_dir)]) == 0
    return run_dir


def test_frozen_network_and_a_head_reach_98_point_8_percent(trained):
    rows = [json.loads(line) for line in (trained / "history.jsonl").read_text().splitlines()]
    assert 5 < len(rows) < 100  # it ends when nothing improves any more
    assert max(row["val_accuracy"] for row in rows) >= 0.988
    assert rows[-1]["num_bad"] == 0


def test_evaluate_says_what_training_said(capsys, shared, trained, tmp_path):
    code, found, _ = call(
        capsys, "evaluate", shared / "data" / "cats_dogs", trained, "--output", tmp_path / "report", "--cpu"
    )
    best = max(
        map(json.loads, (trained / "history.jsonl").read_text().splitlines()),
        key=lambda row: (row["val_accuracy"], -row["val_loss"]),
    )
    assert code == 0
    assert found["num_samples"] == 500
    assert found["accuracy"] == pytest.approx(
        best["val_accuracy"], abs=0.0021
    )  # one picture, rounded otherwise
    assert found["auc"] > 0.99


def test_raw_scores_are_those_of_training(capsys, shared, trained):
    best = load(trained, "best.pt")["best"]
    _, found, _ = call(capsys, "evaluate", shared / "data" / "cats_dogs", trained, "--uncalibrated", "--cpu")
    assert found["num_samples"] == 500
    assert found["accuracy"] == best["val_accuracy"]
    assert found["loss"] == pytest.approx(best["val_loss"], abs=1e-6)


def test_validation_accuracy_of_the_predictor_is_that_of_training(shared, trained):
    predictor = Predictor.load(trained, device="cpu")
    paths = sorted((shared / "data" / "cats_dogs" / "val").rglob("*.jpg"))
    answers = list(predictor.predict(paths))
    right = [predictor.rank(a.probabilities)[0].class_name == a.source.parent.name for a in answers]
    assert sum(right) / len(right) == load(trained, "best.pt")["best"]["val_accuracy"]
    for answer in answers[::97]:
        assert torch.equal(next(predictor.predict([answer.source])).probabilities, answer.probabilities)


def test_predict_names_photographs(capsys, shared, trained):
    folder = shared / "data" / "cats_dogs" / "val"
    photos = {path: name.name for name in folder.iterdir() for path in sorted(name.iterdir())[:8]}
    code, found, _ = call(capsys, "predict", *photos, trained, "--cpu")
    assert code == 0
    assert [row["status"] for row in found] == ["ok"] * len(photos)
    right = [
        row["predictions"][0]["class"] == label for row, label in zip(found, photos.values(), strict=True)
    ]
    assert sum(right) >= len(right) - 1
    assert sum(row["predictions"][0]["probability"] > 0.9 for row in found) >= len(found) - 2


def test_resume_extends_a_run_from_kept_features(capsys, shared, trained, cache, tmp_path, monkeypatch):
    monkeypatch.setenv("CATDOG_CACHE", str(cache))
    stored = list_stores()
    assert sum(store["rows"] for store in stored) == 2500
    run_dir = tmp_path / "run"
    weights = shared / "weights" / "mobilenet_v2-imagenet.pth"
    network = ["--arch", "mobilenet_v2", "--weights", weights, "--cpu", "--epochs", 5]
    assert call(capsys, "train", shared / "data" / "cats_dogs", *network, "--output", run_dir)[0] == 0
    code, found, talk = call(capsys, "train", "--resume", run_dir, "--epochs", 6)
    assert code == 0
    assert found["best"]["accuracy"] >= 0.988
    assert "head 6/6" in talk
    assert [store["bytes"] for store in list_stores()] == [store["bytes"] for store in stored]


@pytest.fixture
def few_photos(shared, tmp_path):
    """Return a folder of 200 real photographs, 140 to train with."""
    for split, count in (("train", 70), ("val", 30)):
        for name in ("cats", "dogs"):
            folder = tmp_path / "photos" / split / name
            folder.mkdir(parents=True)
            photos = sorted((shared / "data" / "cats_dogs" / split / name).iterdir())
            for photo in photos[:count]:
                (folder / photo.name).symlink_to(photo)
    return tmp_path / "photos"


def test_two_processes_train_the_head_that_one_does(shared, few_photos, tmp_path, monkeypatch):
    """Each with a cache of its own, so that both compute all features; two of them in shares."""
    weights = shared / "weights" / "mobilenet_v2-imagenet.pth"
    train = ["train", str(few_photos), "--arch", "mobilenet_v2", "--weights", str(weights), "--cpu"]
    train += ["--epochs", "3", "--output"]
    monkeypatch.setenv("CATDOG_CACHE", str(tmp_path / "cache-one"))
    assert run([*train, str(tmp_path / "one")]) == 0
    monkeypatch.setenv("CATDOG_CACHE", str(tmp_path / "cache-two"))
    started = subprocess.run(
        [*LAUNCH, "catdog_cli", *train, str(tmp_path / "two")],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert started.returncode == 0, started.stderr
    one, two = (load(tmp_path / name) for name in ("one", "two"))
    assert one["state_dict"].keys() == two["state_dict"].keys()
    assert farthest(one["state_dict"], two["state_dict"]) < 1e-5
    for row, other in zip(one["history"], two["history"], strict=True):
        assert row["val_loss"] == pytest.approx(other["val_loss"], abs=1e-5)
        assert row["val_accuracy"] == other["val_accuracy"] > 0.9
    assert sum(store["rows"] for store in list_stores()) == 200


@pytest.fixture(scope="module")
def montages(shared, tmp_path_factory):
    """Return a table of 240 pictures of two squares side by side, each a cat, a dog or blurred noise."""
    folder = tmp_path_factory.mktemp("montages")
    rng = np.random.default_rng(5)
    photos = {
        name: sorted((shared / "data" / "cats_dogs" / "train" / f"{name}s").glob("*.jpg"))
        for name in ("cat", "dog")
    }
    rows = ["path,labels"]
    for number in range(240):
        kinds = rng.choice(["cat", "dog", "neither"], 2)
        whole = Image.new("RGB", (320, 160))
        for place, kind in enumerate(kinds):
            if kind == "neither":
                noise = Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8))
                square = noise.resize((160, 160))
            else:
                square = Image.open(photos[kind][rng.integers(len(photos[kind]))]).convert("RGB")
            whole.paste(square.resize((160, 160)), (160 * place, 0))
        whole.save(folder / f"{number}.jpg")
        rows.append(f"{number}.jpg,{';'.join(sorted(set(kinds) - {'neither'}))}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder / "labels.csv"


def test_several_labels_of_real_photographs(capsys, shared, montages, tmp_path):
    weights = shared / "weights" / "mobilenet_v2-imagenet.pth"
    options = ["--arch", "mobilenet_v2", "--weights", weights, "--cpu", "--output", tmp_path / "run"]
    assert call(capsys, "train", montages, *options)[0] == 0
    measured = [montages, tmp_path / "run", "--output", tmp_path / "report", "--cpu"]
    found = call(capsys, "evaluate", *measured)[1]
    assert (found["num_samples"], found["num_trained_on"]) == (48, 0)
    assert found["map"] > 0.95
    assert found["f1_macro"] > 0.85
    assert (tmp_path / "report" / "report.html").stat().st_size > 50_000
    rows = call(capsys, "predict", montages.parent / "0.jpg", tmp_path / "run", "--cpu")[1]
    assert {each["class"] for each in rows[0]["labels"]} <= {"cat", "dog"}
