"""Which epoch is the best of a run: over phases that watch other numbers, and never one that went wrong."""

import dataclasses
import json
import math

import pytest
import torch

from catdog_cli.errors import CatdogError
from catdog_cli.recipes.build import build_settings
from catdog_cli.runs.directory import RunDirectory
from catdog_cli.settings import HeadSpec, Phase
from catdog_cli.training.checkpointing import FAR_ABOVE_CHANCE, better, has_failed, takes_over
from catdog_cli.training.loop import fit
from catdog_cli.training.run import open_run

from .runs import Events, load, settings_for, train

GOOD = Phase("good", 3, 1e-3, unfreeze="all", batch_size=6, monitor="loss")
WILD = Phase("wild", 2, 30.0, unfreeze="all", optimizer="sgd", batch_size=3)


def warnings_of(events):
    return [facts["text"] for facts in events.of("warning")]


def advice_of(events):
    return [facts["text"] for facts in events.of("advice")]


def test_chance_is_that_of_equal_probabilities():
    for num_classes in (2, 120):
        chance = math.log(num_classes)
        far = FAR_ABOVE_CHANCE * chance + 0.01
        assert has_failed(0.1, far, chance)
        assert not has_failed(0.1, far - 0.02, chance)
        assert has_failed(far, chance + 0.01, chance)
        assert not has_failed(far, chance - 0.01, chance)  # it began wildly and ended well


def test_an_epoch_far_above_chance_is_said_and_never_the_best(few, tmp_path):
    """Even where its accuracy is not lower: it would be the best of its phase, and perhaps of the run."""
    events = Events()
    last = train(settings_for(few, GOOD, WILD, head=HeadSpec((), 0.0)), tmp_path / "run", events)
    rows = [row for row in last["history"] if row["phase"] == 1]
    assert max(row["train_loss"] for row in rows) > FAR_ABOVE_CHANCE * math.log(2)
    assert last["best"]["phase_name"] == "good"
    assert last["phase_best"] is None
    assert load(tmp_path / "run", "best.pt")["best"] == last["best"]
    said = [text for text in warnings_of(events) if "far above" in text]
    assert len(said) == len(rows)
    assert "In epoch 1 of phase 'wild' the " in said[0]
    assert "above the 0.69 of guessing" in said[0]


def test_a_run_in_which_every_epoch_went_wrong_has_no_best_checkpoint(few, tmp_path):
    events = Events()
    with pytest.raises(CatdogError, match=r"No epoch of this run can be used.*lower --learning-rate"):
        train(settings_for(few, WILD, head=HeadSpec((), 0.0)), tmp_path / "run", events)
    assert not (tmp_path / "run" / "best.pt").exists()
    assert len(load(tmp_path / "run")["history"]) == 2
    assert events.of("run_end")  # so the curves are drawn: they show what happened


def test_the_best_of_the_run_is_chosen_by_what_the_last_phase_watches(few, tmp_path):
    """Each row has that number, so that a later phase does not win for lack of one to compare."""
    first = Phase("first", 3, 0.01, unfreeze="all", batch_size=6, monitor="loss")
    second = Phase("second", 2, 0.0, batch_size=6, monitor="auc")  # changes nothing
    last = train(settings_for(few, first, second), tmp_path / "run")
    assert all(math.isfinite(row["val_auc"]) for row in last["history"])
    bests = [
        min(rows, key=lambda row: row["val_loss"])
        for rows in [[row for row in last["history"] if row["phase"] == 0]]
    ]
    assert last["best"]["phase_name"] == "first"
    assert last["best"]["epoch"] == bests[0]["epoch"]


@pytest.mark.parametrize(("accuracy", "expected"), [(0.8, False), (0.95, True)])
def test_rows_of_an_older_catdog_are_compared_by_accuracy(accuracy, expected):
    old = {"val_accuracy": 0.9, "val_loss": 0.3}
    new = {"val_accuracy": accuracy, "val_loss": 0.3, "val_auc": 0.99}
    assert better(new, old, "auc") is expected


@pytest.mark.parametrize(
    ("phase", "accuracy", "loss", "expected"),
    [
        (1, 0.925, 0.4, False),  # one image more of 40, less sure of all others
        (1, 0.925, 0.29, True),
        (1, 0.975, 0.4, True),  # three more
        (1, 0.9, 0.29, True),
        (1, 0.875, 0.1, False),
        (0, 0.925, 0.4, True),  # within a phase the accuracy alone decides
    ],
)
def test_one_validation_image_does_not_choose_between_phases(phase, accuracy, loss, expected):
    best = {"phase": 0, "val_accuracy": 0.9, "val_loss": 0.3}
    row = {"phase": phase, "val_accuracy": accuracy, "val_loss": loss, "val_auc": 0.5}
    assert takes_over(row, best, "accuracy", 40) is expected
    assert takes_over(row, None, "accuracy", 40)
    assert takes_over(row, {**best, "val_auc": 0.4}, "auc", 40)


def test_whoever_still_improves_in_the_last_epoch_is_told(few, tmp_path):
    slow = Phase("scratch", 3, 1e-3, unfreeze="all", optimizer="sgd", batch_size=6)
    events = Events()
    train(settings_for(few, slow, head=HeadSpec((), 0.0)), tmp_path / "run", events)
    rows = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    falls = rows[-1]["val_loss"] < 0.99 * min(row["val_loss"] for row in rows[:-1])
    gains = rows[-1]["val_accuracy"] > max(row["val_accuracy"] for row in rows[:-1])
    (said,) = [text for text in advice_of(events) if "still improving" in text] or [""]
    assert bool(said) is (falls or gains)
    still = dataclasses.replace(slow, learning_rate=0.0)
    events = Events()
    train(settings_for(few, still, head=HeadSpec((), 0.0)), tmp_path / "still", events)
    assert not [text for text in advice_of(events) if "still improving" in text]


def test_what_to_type_to_train_for_longer(few, tmp_path, monkeypatch):
    """Of the last phase the command that resumes; of an earlier one, which others built on, a new run."""
    values = iter([0.6, 0.5, 0.4, 0.3])
    from catdog_cli.training import epoch

    def score(task, logits, labels, monitors):
        return {"val_accuracy": 0.5, "val_loss": next(values)}

    monkeypatch.setattr(epoch, "_score", score)
    phases = (Phase("one", 2, 1e-3, batch_size=6), Phase("two", 2, 1e-3, batch_size=6))
    events, directory = Events(), RunDirectory(tmp_path / "a run")
    with open_run(settings_for(few, *phases), directory, events) as setup:
        fit(setup, directory, events)
    said = [text for text in advice_of(events) if "still improving" in text]
    assert said[0].endswith("in its last epoch, 2; give it more epochs in a new run (--epochs 4)")
    assert said[1].endswith(f"catdog train --resume '{tmp_path}/a run' --fine-tune-epochs 4")
    assert torch.isfinite(load(tmp_path / "a run")["state_dict"]["head.output.bias"]).all()


def test_patience_goes_on_while_the_loss_falls_although_the_accuracy_stands_still(few, tmp_path, monkeypatch):
    from catdog_cli.training import epoch

    losses = iter([0.6, 0.5, 0.4, 0.4, 0.41, 0.3])

    def score(task, logits, labels, monitors):
        return {"val_accuracy": 0.5, "val_loss": next(losses)}

    monkeypatch.setattr(epoch, "_score", score)
    phase = Phase("one", 9, 1e-3, batch_size=6, patience=2)
    last = train(settings_for(few, phase), tmp_path / "run")
    assert len(last["history"]) == 5
    assert last["best"]["epoch"] == 3


def test_the_last_epoch_is_kept_where_validation_chooses_nothing(few, tmp_path):
    """Other labels in val, and the same weights: no epoch is picked by them, nor patience asked."""
    phase = Phase("scratch", 4, 3e-2, unfreeze="all", batch_size=3, monitor="last")
    first, second = Phase("head", 2, 1e-3, batch_size=6), dataclasses.replace(phase, name="later")
    for number, phases in enumerate(((phase,), (first, second))):
        last = train(settings_for(few, *phases), tmp_path / str(number))
        best = load(tmp_path / str(number), "best.pt")
        assert best["best"]["epoch"] == 4
        assert best["best"] == last["phase_best"]
        for name, tensor in best["state_dict"].items():
            assert torch.equal(tensor, last["state_dict"][name])


def test_patience_and_the_last_epoch_exclude_each_other(few, tmp_path):
    phase = Phase("scratch", 4, unfreeze="all", monitor="last", patience=2)
    with pytest.raises(CatdogError, match="--monitor last keeps the last epoch"):
        train(settings_for(few, phase), tmp_path / "run")


def test_the_last_epoch_has_epochs_where_none_are_given():
    (phase,) = build_settings("data", {"monitor": "last", "arch": "resnet18"}).phases
    assert (phase.epochs, phase.patience) == (5, 0)
