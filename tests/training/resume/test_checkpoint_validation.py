"""A last.pt that can be loaded but does not fit is refused in one sentence, and stays as it is."""

import copy
import shutil

import pytest
import torch

from catdog_cli.errors import CheckpointError
from catdog_cli.settings import Phase

from ..runs import load, resume, settings_for, train

PHASES = {
    "adam": Phase("one", 2, 1e-2, unfreeze="all", batch_size=5, ema=0.5),
    "sgd": Phase("one", 2, 1e-2, unfreeze="all", batch_size=5, optimizer="sgd"),
}


@pytest.fixture(scope="module")
def finished(few, tmp_path_factory):
    """Return the directories of finished runs by optimizer."""
    folder = tmp_path_factory.mktemp("finished")
    for name, phase in PHASES.items():
        train(settings_for(few, phase), folder / name)
    return folder


def put(*keys):
    """Return a function that puts its last key's value into a nested content."""
    *path, last, value = keys

    def change(content):
        for key in path:
            content = content[key]
        content[last] = value

    return change


def drop(*keys):
    *path, last = keys

    def change(content):
        for key in path:
            content = content[key]
        del content[last]

    return change


NAN = torch.tensor(float("nan"))
ROWS = {
    "optimizer is a list": (put("optimizer", []), "'optimizer'.*not the state of an optimizer"),
    "optimizer is a number": (put("optimizer", 5), "'optimizer'.*not the state of an optimizer"),
    "optimizer is empty": (put("optimizer", {}), "'optimizer'.*it lacks 'param_groups'"),
    "no state": (drop("optimizer", "state"), "'optimizer'.*it lacks 'state'"),
    "one group": (lambda c: c["optimizer"]["param_groups"].pop(), "its parameters are others"),
    "groups are numbers": (put("optimizer", "param_groups", [1, 2]), "not the state of an optimizer"),
    "another rate": (
        put("optimizer", "param_groups", 0, "base_lr", 1.0),
        r"base_lr is 1\.0 instead of 0\.01",
    ),
    "rate is nan": (put("optimizer", "param_groups", 0, "lr", float("nan")), "a rate is nan"),
    "rate is text": (put("optimizer", "param_groups", 0, "lr", "fast"), "a rate is 'fast'"),
    "other betas": (put("optimizer", "param_groups", 0, "betas", (0.5, 0.9)), r"betas is \(0\.5, 0\.9\)"),
    "a slot's shape": (
        put("optimizer", "state", 0, "exp_avg", torch.zeros(3)),
        r"exp_avg .* is \(3,\) instead",
    ),
    "a slot is missing": (
        drop("optimizer", "state", 0, "exp_avg_sq"),
        "of parameter 0 it keeps step, exp_avg",
    ),
    "a slot is text": (put("optimizer", "state", 0, "step", "many"), "step of parameter 0 is not a tensor"),
    "a parameter too many": (put("optimizer", "state", 99, {"step": NAN}), "of parameter 99"),
    "no average": (put("average", None), "'average'.*does not say its steps"),
    "average's steps": (put("average", "steps", -1), "'average'.*does not say its steps"),
    "average's names": (put("average", "kept", {}), "'average'.*its names are others"),
    "average's shapes": (
        lambda c: c["average"]["kept"].update({next(iter(c["average"]["kept"])): torch.zeros(2)}),
        r"'average'.* is \(2,\) instead of",
    ),
    "best_state is a list": (put("best_state", [1]), "'best_state'.*its names are others"),
    "best_state's names": (
        lambda c: c["best_state"].pop("head.output.bias"),
        "'best_state'.*names are others",
    ),
    "best_state's shapes": (
        put("best_state", "head.output.bias", torch.zeros(5)),
        r"is \(5,\) instead of \(2,\)",
    ),
    "best_state's kinds": (put("best_state", "head.output.bias", torch.zeros(2).int()), "is torch.int32"),
    "best_state is nan": (put("best_state", "head.output.bias", NAN.expand(2)), "'best_state'.*not finite"),
    "best is a number": (put("best", 0.5), "'best'.*an epoch is not a row of numbers"),
    "best without loss": (drop("best", "val_loss"), "'best'.*an epoch has no val_loss"),
    "phase_best": (put("phase_best", {}), "'phase_best'.*an epoch has no phase"),
    "history": (put("history", [5]), "'history'.*an epoch is not a row"),
    "history's row": (drop("history", 1, "phase_name"), "'history'.*an epoch has no phase_name"),
    "history's numbers": (
        put("history", 0, "seconds", torch.zeros(1)),
        "'seconds' of an epoch is neither a number nor a text",
    ),
    "a slot of endless name": (
        put("optimizer", "state", 0, {"x" * 9000: NAN}),
        "of parameter 0 it keeps x{100} ?[^x]",
    ),
    "sums are a list": (put("sums", ["loss"]), "'sums'.*its names are others"),
    "sums": (put("sums", {"loss": 1.0}), "'sums'.*its names are others"),
    "sums are text": (put("sums", {"loss": "a", "correct": 1, "seen": 2}), "'sums'.*not a number"),
    "bad": (put("bad", [["train", -1, "a", "b"]]), "'bad'.*not a list of unreadable pictures"),
    "bad's split": (put("bad", [["dev", 1, "a", "b"]]), "'bad'.*not a list of unreadable pictures"),
    "bad is text": (put("bad", "none"), "'bad'.*not a list of unreadable pictures"),
}


@pytest.mark.parametrize(("change", "match"), ROWS.values(), ids=ROWS)
def test_a_part_that_does_not_fit_is_refused(finished, tmp_path, change, match):
    run_dir = shutil.copytree(finished / "adam", tmp_path / "run")
    content = load(run_dir)
    change(content)
    torch.save(content, run_dir / "last.pt")
    before = (run_dir / "last.pt").read_bytes(), (run_dir / "best.pt").read_bytes()
    with pytest.raises(CheckpointError, match=rf"{match}.*: it is damaged; put back a"):
        resume(run_dir, epochs=3)
    assert ((run_dir / "last.pt").read_bytes(), (run_dir / "best.pt").read_bytes()) == before


@pytest.mark.parametrize("name", PHASES)
def test_what_fits_is_taken(finished, tmp_path, name):
    run_dir = shutil.copytree(finished / name, tmp_path / "run")
    assert resume(run_dir, epochs=3)["epoch"] == 3


def test_momentum_of_another_shape_is_refused(finished, tmp_path):
    run_dir = shutil.copytree(finished / "sgd", tmp_path / "run")
    content = copy.deepcopy(load(run_dir))
    content["optimizer"]["state"][0]["momentum_buffer"] = torch.zeros(1)
    torch.save(content, run_dir / "last.pt")
    with pytest.raises(CheckpointError, match=r"momentum_buffer of parameter 0 is \(1,\) instead of"):
        resume(run_dir, epochs=3)


def test_another_optimizers_state_is_refused(finished, tmp_path):
    run_dir = shutil.copytree(finished / "adam", tmp_path / "run")
    content = load(run_dir)
    content["optimizer"] = load(finished / "sgd")["optimizer"]
    torch.save(content, run_dir / "last.pt")
    with pytest.raises(CheckpointError, match="of parameter 0 it keeps momentum_buffer"):
        resume(run_dir, epochs=3)
