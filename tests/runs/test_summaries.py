"""Runs at a glance: what each state looks like, and that cleaning takes from finished runs alone."""

import json
import os
import shutil

import pytest

import catdog_cli
from catdog_cli.cli import run
from catdog_cli.errors import CatdogError, CheckpointError, InterruptedRunError, SettingsError
from catdog_cli.runs.directory import RunDirectory
from catdog_cli.runs.summaries import clean_runs, list_runs
from catdog_cli.settings import HeadSpec, Phase

from ..label_files import write_wide
from ..training.runs import settings_for, train

PHASES = (Phase("head", 1), Phase("all", 2, unfreeze="all"))


@pytest.fixture(scope="module")
def made(few, tmp_path_factory):
    """Return a folder with a run in each state."""
    folder = tmp_path_factory.mktemp("runs")
    train(settings_for(few, *PHASES), folder / "a" / "finished")
    asked = []
    with pytest.raises(InterruptedRunError):
        train(settings_for(few), folder / "stopped", should_stop=lambda: len(asked.append(1) or asked) == 3)
    shutil.copytree(folder / "a" / "finished", folder / "damaged")
    last = folder / "damaged" / "last.pt"
    last.write_bytes(last.read_bytes()[:1000])
    (folder / "begun").mkdir()
    shutil.copyfile(folder / "stopped" / "settings.json", folder / "begun" / "settings.json")
    (folder / "no run").mkdir()
    return folder


@pytest.fixture
def runs(made, tmp_path):
    return shutil.copytree(made, tmp_path / "runs")


def states(folder):
    return {summary.path.name: summary.state for summary in list_runs(folder)}


def test_each_state_is_told(made):
    wanted = {"finished": "finished", "begun": "not saved yet", "damaged": "damaged", "stopped": "stopped"}
    assert states(made) == wanted


def test_a_run_at_work_is_training(runs):
    with RunDirectory(runs / "stopped").locked(lambda text: None):
        assert states(runs)["stopped"] == "training"
    assert states(runs)["stopped"] == "stopped"


def test_a_summary_says_what_the_run_has_reached(made, few):
    (found,) = list_runs(made / "a" / "finished")
    rows = [json.loads(line) for line in (found.path / "history.jsonl").read_text().splitlines()]
    assert (found.data, found.arch, found.phases) == (str(few), "simple_cnn", ("head", "all"))
    assert found.epochs == len(rows) == 3
    assert found.seconds == pytest.approx(sum(row["seconds"] for row in rows))
    assert found.value in [row["val_accuracy"] for row in rows]
    assert found.interval is None  # no report
    assert found.size_bytes == sum(file.stat().st_size for file in found.path.rglob("*") if file.is_file())
    assert json.loads(json.dumps(found.to_dict()))["path"] == str(found.path)


def test_the_interval_is_that_of_the_report_of_the_best_phase(few, tmp_path):
    found = catdog_cli.train(str(few), arch="simple_cnn", weights="none", epochs=1, output=tmp_path / "run")
    (told,) = list_runs(tmp_path)
    (report,) = (tmp_path / "run" / "reports").glob("*/report.json")
    assert told.interval == tuple(json.loads(report.read_text())["intervals"]["accuracy"])
    assert told.value == found.best["val_accuracy"]


def test_of_several_labels_the_mean_average_precision_is_shown(tmp_path, capsys):
    train(settings_for(write_wide(tmp_path / "data", 24)), tmp_path / "runs" / "run")
    (found,) = list_runs(tmp_path)
    assert (found.metric, found.state) == ("map", "finished")
    assert run(["runs", str(tmp_path / "runs")]) == 0
    assert f"{100 * found.value:.2f} % mAP" in capsys.readouterr().out


def test_a_run_is_finished_where_the_rest_is_left_out(tmp_path, few, squeezenet_file):
    phases = (Phase("head", 1, optimizer="lbfgs"), Phase("last", 1, unfreeze=2, skip_accuracy=0.01))
    network = {"arch": "squeezenet1_1", "weights": squeezenet_file, "head": HeadSpec((), 0.0)}
    train(settings_for(few, *phases, **network), tmp_path / "run")
    assert states(tmp_path) == {"run": "finished"}


@pytest.mark.parametrize("sort", ["name", "accuracy", "loss", "seconds", "size", "changed"])
def test_runs_are_sorted(made, sort):
    keys = {
        "name": lambda run: str(run.path),
        "accuracy": lambda run: -(run.value or -1),
        "loss": lambda run: run.loss if run.loss is not None else 1e9,
        "seconds": lambda run: -run.seconds,
        "size": lambda run: -run.size_bytes,
        "changed": lambda run: -run.changed,
    }
    found = [keys[sort](run) for run in list_runs(made, sort=sort)]
    assert found == sorted(found)


def test_nothing_is_deleted_unasked_and_then_from_finished_runs_alone(runs, few, capsys):
    before = {path: path.read_bytes() for path in runs.rglob("*") if path.is_file()}
    assert run(["clean", str(runs)]) == 0
    out, err = capsys.readouterr()
    assert "last.pt" in out
    assert "Nothing was changed" in err
    assert {path: path.read_bytes() for path in runs.rglob("*") if path.is_file()} == before
    assert run(["clean", str(runs), "--yes", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    gone = {path for path in before if not path.exists()}
    finished = runs / "a" / "finished"
    assert gone == {finished / name for name in ("last.pt", "best-1-head.pt", "best-2-all.pt")}
    assert {entry["path"] for item in told["runs"] for entry in item["freeable"]} == {
        str(path) for path in gone
    }
    assert states(runs)["finished"] == "finished"
    assert clean_runs([runs], delete=True) == []
    assert catdog_cli.predict(few / "val" / "cats", finished)[0].error is None
    with pytest.raises(CheckpointError, match="`catdog clean` deletes it"):
        catdog_cli.resume(finished)


def test_without_best_nothing_is_freed(runs):
    (runs / "a" / "finished" / "best.pt").unlink()
    assert clean_runs([runs], delete=True) == []
    assert (runs / "a" / "finished" / "last.pt").exists()


@pytest.mark.skipif(os.getuid() == 0, reason="root may delete anything")
def test_what_cannot_be_deleted_is_told(runs):
    finished = runs / "a" / "finished"
    finished.chmod(0o500)
    with pytest.raises(CatdogError, match="Cannot"):
        clean_runs([runs], delete=True)
    finished.chmod(0o700)


@pytest.mark.parametrize(
    ("name", "error", "match"),
    [
        ("nowhere", CatdogError, "does not exist: give the one that `catdog train` wrote to"),
        ("file", CatdogError, "is not a folder"),
    ],
)
def test_a_folder_that_is_none_is_told(tmp_path, name, error, match):
    (tmp_path / "file").write_text("")
    with pytest.raises(error, match=match):
        list_runs(tmp_path / name)


def test_an_unknown_order_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="sort"):
        list_runs(tmp_path, sort="colour")


def test_a_folder_without_runs_says_so(tmp_path, capsys):
    assert run(["runs", str(tmp_path)]) == 0
    assert "No runs in" in capsys.readouterr().err
    assert run(["clean", str(tmp_path)]) == 0
    assert "Nothing to free" in capsys.readouterr().err
