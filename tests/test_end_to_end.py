"""The whole way on real photographs: train, go on, evaluate, predict."""

import json
import shutil
import subprocess

import pytest

from catdog_cli.cli import run
from catdog_cli.features.store import list_stores
from tests.commands.trained import call
from tests.conftest import PATIENCE_S
from tests.training.runs import load
from tests.training.test_distributed import LAUNCH, environment, farthest

pytestmark = [pytest.mark.real, pytest.mark.plots, pytest.mark.xdist_group("photos")]


def test_frozen_network_and_a_head_reach_98_point_8_percent(photo_run):
    rows = [json.loads(line) for line in (photo_run / "history.jsonl").read_text().splitlines()]
    assert len(rows) == 5
    assert max(row["val_accuracy"] for row in rows) >= 0.988
    assert rows[-1]["num_bad"] == 0


def test_evaluate_says_what_training_said(capsys, shared, photo_run, tmp_path):
    code, found, _ = call(
        capsys, "evaluate", shared / "data" / "cats_dogs", photo_run, "--output", tmp_path / "report", "--cpu"
    )
    best = max(
        map(json.loads, (photo_run / "history.jsonl").read_text().splitlines()),
        key=lambda row: (row["val_accuracy"], -row["val_loss"]),
    )
    assert code == 0
    assert found["num_samples"] == 500
    assert found["accuracy"] == pytest.approx(
        best["val_accuracy"], abs=0.0021
    )  # one picture, rounded otherwise
    assert found["auc"] > 0.99


def test_predict_names_photographs(capsys, shared, photo_run):
    folder = shared / "data" / "cats_dogs" / "val"
    photos = {path: name.name for name in folder.iterdir() for path in sorted(name.iterdir())[:8]}
    code, found, _ = call(capsys, "predict", *photos, photo_run, "--cpu")
    assert code == 0
    assert [row["status"] for row in found] == ["ok"] * len(photos)
    right = [
        row["predictions"][0]["class"] == label for row, label in zip(found, photos.values(), strict=True)
    ]
    assert sum(right) >= len(right) - 1
    assert sum(row["predictions"][0]["probability"] > 0.9 for row in found) >= len(found) - 2


def test_resume_extends_the_run_from_kept_features(capsys, photo_run, photo_cache, tmp_path, monkeypatch):
    run_dir = shutil.copytree(photo_run, tmp_path / "run")
    monkeypatch.setenv("CATDOG_CACHE", str(photo_cache))
    stored = list_stores()
    assert sum(store["rows"] for store in stored) == 2500
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
