"""A run with decisions about labels: it learns what they say, and keeps to that when it resumes."""

import csv
import dataclasses

import pytest

from catdog_cli.data.decisions import Decision, format_rows, read_decisions
from catdog_cli.errors import SettingsError
from catdog_cli.evaluation.api import evaluate
from tests.conftest import write_images

from ..runs import Events, differences, load, resume, settings_for, train, with_epochs

ROWS = [
    Decision("train/cats/0.png", "cats", "wrong", "dogs"),
    Decision("train/cats/1.png", "cats", "exclude"),
    Decision("val/dogs/0.png", "dogs", "wrong", "cats"),
]


def write(path, rows):
    path.write_bytes(format_rows(rows, header=True))
    return path


def classes_in(run):
    with (run / "split.csv").open(newline="") as file:
        return {row["path"]: row["class"] for row in csv.DictReader(file)}


def warnings(events):
    return [facts["text"] for facts in events.of("warning")]


@pytest.mark.parametrize("fate", ["kept", "gone", "changed"])
def test_a_run_resumes_with_the_decisions_that_it_began_with(few, tmp_path, fate):
    path = write(tmp_path / "decisions.csv", ROWS)
    settings, run = settings_for(few, decisions=str(path)), tmp_path / "run"
    straight = train(with_epochs(settings, 3), tmp_path / "straight")
    train(settings, run)
    kept = classes_in(run)
    assert (kept["train/cats/0.png"], kept["val/dogs/0.png"]) == ("dogs", "cats")
    assert "train/cats/1.png" not in kept
    assert read_decisions(run / "decisions.csv") == ROWS
    if fate == "gone":
        path.unlink()
    elif fate == "changed":
        write(path, ROWS[:1])
    events = Events()
    assert differences(straight, resume(run, events, epochs=3)) == []
    assert any("has changed since this run began" in text for text in warnings(events)) == (fate == "changed")
    assert classes_in(run) == kept


def test_decisions_change_what_is_learnt_and_the_fingerprint(few, tmp_path):
    plain = train(settings_for(few), tmp_path / "plain")
    decided = train(settings_for(few, decisions=str(write(tmp_path / "d.csv", ROWS[2:]))), tmp_path / "run")
    assert plain["data_fingerprint"] != decided["data_fingerprint"]
    assert differences(plain["history"], decided["history"]) != []


def test_other_decisions_are_refused_on_resume(few, tmp_path):
    path = write(tmp_path / "d.csv", ROWS)
    train(settings_for(few, decisions=str(path)), tmp_path / "run")
    with pytest.raises(SettingsError, match="--decisions cannot change on resume"):
        resume(tmp_path / "run", decisions=str(tmp_path / "other.csv"))
    assert load(tmp_path / "run")["settings"]["decisions"] == str(path)


def test_a_run_that_was_stopped_before_its_first_save_starts_again_with_them(few, tmp_path):
    path, run = write(tmp_path / "d.csv", ROWS), tmp_path / "run"
    first = train(settings_for(few, decisions=str(path)), run)
    (run / "last.pt").unlink()
    (run / "history.jsonl").unlink()
    path.unlink()
    assert differences(first, resume(run)) == []


def test_evaluate_names_the_decisions_that_the_run_was_trained_with(tmp_path):
    data = write_images(tmp_path / "pets", {"cats": 8, "dogs": 8})
    path = write(tmp_path / "d.csv", [Decision("cats/0.png", "cats", "wrong", "dogs")])
    settings = dataclasses.replace(settings_for(data, decisions=str(path)), val_fraction=0.5)
    train(settings, tmp_path / "run")
    said: list[str] = []
    evaluate(tmp_path / "run", data, device="cpu", log=said.append)
    assert any(f"--decisions {tmp_path / 'run' / 'decisions.csv'}" in text for text in said)
    said.clear()
    found = evaluate(tmp_path / "run", data, device="cpu", decisions=path, split="all", log=said.append)
    assert {name: row["support"] for name, row in found.classes.items()} == {"cats": 7, "dogs": 9}
    assert not any("--decisions" in text for text in said)
