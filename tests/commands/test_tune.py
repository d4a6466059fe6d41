"""`catdog tune`, `catdog train --budget` and `catdog cross-validate` from the command line."""

import json

import pytest

from catdog_cli import cli
from catdog_cli.runtime import process_age
from tests.conftest import write_images

SPACE = """
stages = ["solved", "heads"]
looks = "once"
augment = "none"
hidden_layers = [[8]]
l2 = [0.1]
batch_size = [8]
epochs = [2]
"""


@pytest.fixture
def options(tmp_path, squeezenet_file):
    (tmp_path / "space.toml").write_text(SPACE)
    common = ["--arch", "squeezenet1_1", "--weights", squeezenet_file, "--image-size", "64", "--cpu"]
    return [*common, "--precision", "fp32"]


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Return a data folder of two classes, enough of each for folds of their training part."""
    counts = {"train/cats": 12, "train/dogs": 12, "val/cats": 4, "val/dogs": 4}
    return write_images(tmp_path_factory.mktemp("many"), counts)


def call(capsys, *arguments, code=0):
    assert cli.run([str(argument) for argument in arguments]) == code
    return capsys.readouterr()


def test_a_search_from_plan_to_page(many, options, tmp_path, capsys):
    arguments = ["tune", many, *options, "--space", tmp_path / "space.toml", "--trials", 2, "--folds", 3]
    said = call(capsys, *arguments, "--output", tmp_path / "run")
    for text in ("The plan for 10 min", "solved heads", "hidden layers", "training"):
        assert text in said.err
    for text in ("Cross-validated accuracy", "asked once", "Checkpoint:", "tuned.toml", "tuning.html"):
        assert text in said.out
    again = call(capsys, *arguments, "--output", tmp_path / "run", code=1)
    assert "has ended" in again.err
    call(capsys, "predict", many / "val/cats/0.png", tmp_path / "run", "--cpu", "--precision", "fp32")
    call(capsys, "evaluate", many, tmp_path / "run", "--cpu", "--precision", "fp32", "--json")


def test_train_with_a_budget_is_the_same_in_one_word(many, options, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(process_age, "process_age_s", lambda: 0.0)  # pytest has run for longer
    config = tmp_path / "options.toml"
    config.write_text('looks = "once"\naugment = "none"\n')
    asked = ["train", many, *options, "--config", config, "--json", "--budget", "20s"]
    found = json.loads(call(capsys, *asked, "--output", tmp_path / "run").out)
    assert found["metric"] == "accuracy"
    assert found["num_trials"] >= 8
    assert (tmp_path / "run" / "best.pt").is_file()
    assert found["validation_interval"][0] <= found["validation"] <= found["validation_interval"][1]


def test_followed_in_mlflow_it_is_a_parent_with_children(many, options, tmp_path, capsys, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="the extra 'track' is not installed")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    uri = f"sqlite:///{tmp_path / 'runs.db'}"
    arguments = ["tune", many, *options, "--space", tmp_path / "space.toml", "--trials", 2, "--folds", 3]
    found = call(capsys, *arguments, "--output", tmp_path / "run", "--mlflow", uri, "--json")
    client = mlflow.MlflowClient(uri, uri)
    runs = client.search_runs([client.get_experiment_by_name("catdog").experiment_id])
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in runs if run not in parents]
    assert len(parents) == 1
    assert {run.info.run_name for run in children} == {"solved-0", "heads-0", "heads-1"}
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parents[0].info.run_id}
    assert {run.info.status for run in runs} == {"FINISHED"}
    best = max(run.data.metrics.get("trial_score", 0) for run in children)
    assert best == pytest.approx(json.loads(found.out)["cross_validated"])
    assert "val_accuracy" in parents[0].data.metrics


def test_cross_validate_prints_a_row_a_fold(many, options, tmp_path, capsys):
    asked = ["cross-validate", many, *options, "--optimizer", "lbfgs", "--folds", 3]
    said = call(capsys, *asked, "--repeats", 2, "--output", tmp_path / "out")
    lines = said.out.splitlines()
    assert [line.split()[0] for line in lines if line[:2] in ("1.", "2.")] == [
        f"{repeat}.{fold}" for repeat in (1, 2) for fold in (1, 2, 3)
    ]
    assert any(line.startswith("deviation") for line in lines)
    assert "fold 6 of 6: accuracy" in said.err
    assert (tmp_path / "out" / "report" / "report.html").is_file()
    found = json.loads(call(capsys, *asked, "--json").out)
    assert found["folds"] == len(found["rows"]) == 3
    assert sum(map(sum, found["confusion"])) == found["num_samples"] == 24


@pytest.mark.parametrize(
    ("arguments", "code", "match"),
    [
        (["tune"], 2, "Missing argument DATA"),
        (["tune", "{data}", "--resume", "run"], 2, "give it alone"),
        (["tune", "--resume", "{data}"], 1, "Cannot read"),
        (["tune", "{data}", "--budget", "soon"], 2, "must be a time"),
        (["tune", "{data}", "--space", "gone.toml"], 1, "Cannot read the space"),
        (["train", "{data}", "--budget", "10m", "--recipe", "best"], 2, "leave out --recipe"),
        (["train", "{data}", "--budget", "10m", "--epochs", "3"], 2, "is what a search finds"),
        (["train", "{data}", "--recipe", "auto", "--dry-run"], 2, "no --dry-run"),
        (["lr-find", "{data}", "--recipe", "auto"], 2, "is a search"),
        (["cross-validate", "{data}", "--folds", "1"], 2, "1 is not in the range"),
        (["cross-validate", "gone", "--arch", "simple_cnn"], 1, "gone"),
    ],
)
def test_wrong_usage_is_said_in_a_sentence(arguments, code, match, many, capsys):
    said = call(capsys, *(argument.format(data=many) for argument in arguments), code=code)
    assert match in said.err


def test_several_processes_need_a_directory_that_they_share(many, capsys, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "add --output DIR" in call(capsys, "tune", many, code=2).err


def test_without_optuna_the_extra_is_named(many, options, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    assert "catdog[tune]" in call(capsys, "tune", many, *options, code=1).err
