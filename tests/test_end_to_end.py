"""The whole way on real photographs: train, go on, evaluate, predict."""

import json

import pytest

from catdog_cli.cli import run
from catdog_cli.training.cache import list_stores
from tests.commands.trained import call

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Return one feature cache for all tests here, so that features are computed once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def trained(shared, cache, tmp_path_factory):
    """Return the run directory of the shortest command line there is."""
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
    assert len(rows) == 5
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


def test_resume_extends_the_run_from_kept_features(capsys, trained, cache, monkeypatch):
    monkeypatch.setenv("CATDOG_CACHE", str(cache))
    stored = list_stores()
    assert sum(store["rows"] for store in stored) == 2500
    code, found, talk = call(capsys, "train", "--resume", trained, "--epochs", 6)
    assert code == 0
    assert found["best"]["accuracy"] >= 0.988
    assert "head 6/6" in talk
    assert [store["bytes"] for store in list_stores()] == [store["bytes"] for store in stored]
