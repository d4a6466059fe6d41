"""Stopping and going on gives the same bits as never having stopped."""

import dataclasses

import pytest

from catdog_cli.errors import CatdogError, InterruptedRunError
from catdog_cli.settings import HeadSpec, Phase
from catdog_cli.training import run

from .runs import Events, differences, load, resume, settings_for, train, with_epochs


@pytest.mark.parametrize("arch", ["simple_cnn", "resnet18", "mobilenet_v2"])
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("unfreeze", [0, "all"], ids=["head", "whole"])
def test_two_epochs_and_two_more_equal_four(pets, tmp_path, arch, optimizer, unfreeze):
    phase = Phase(
        "one", 4, 1e-2, unfreeze=unfreeze, optimizer=optimizer, weight_decay=1e-3, batch_size=7, patience=3
    )
    settings = settings_for(pets, phase, arch=arch)
    straight = train(settings, tmp_path / "straight")
    train(with_epochs(settings, 2), tmp_path / "stopped")
    resumed = resume(tmp_path / "stopped", epochs=4)
    assert differences(straight, resumed) == []
    assert differences(load(tmp_path / "straight", "best.pt"), load(tmp_path / "stopped", "best.pt")) == []


RECIPES = {
    "head": (Phase("head", 3, 1e-2, batch_size=5),),
    "two phases": (
        Phase("head", 2, 1e-2, batch_size=5),
        Phase("fine-tune", 2, 1e-3, unfreeze=6, batch_size=5, optimizer="sgd", scheduler="cosine"),
    ),
    "all the trimmings": (
        Phase(
            "all",
            3,
            1e-2,
            unfreeze="all",
            batch_size=5,
            augment="strong",
            mixup=0.4,
            cutmix=0.4,
            ema=0.9,
            clip_norm=1.0,
            layer_decay=0.8,
            label_smoothing=0.1,
            scheduler="one-cycle",
            sampler="balanced",
            class_weights="balanced",
            patience=2,
            monitor="loss",
        ),
    ),
    "fixed views": (Phase("head", 3, 1e-2, batch_size=5, augment="standard", views=2, ema=0.5),),
}


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("stop_after", [1, 4, 7, 12])
def test_stop_in_the_middle_of_an_epoch(pets, tmp_path, recipe, stop_after):
    settings = settings_for(pets, *RECIPES[recipe])
    straight = train(settings, tmp_path / "straight")
    asked = []

    def should_stop():
        asked.append(1)
        return len(asked) == stop_after

    with pytest.raises(InterruptedRunError, match="Stopped in epoch"):
        train(settings, tmp_path / "stopped", should_stop=should_stop)
    assert differences(straight, resume(tmp_path / "stopped")) == []
    assert differences(load(tmp_path / "straight", "best.pt"), load(tmp_path / "stopped", "best.pt")) == []


@pytest.mark.parametrize("recipe", ["head", "all the trimmings"])
def test_weights_do_not_depend_on_workers_or_cache(pets, tmp_path, recipe):
    settings = settings_for(pets, *RECIPES[recipe], cache=False)
    first = train(settings, tmp_path / "0")
    for workers in (1, 2):
        other = train(dataclasses.replace(settings, workers=workers), tmp_path / str(workers))
        assert differences(first["state_dict"], other["state_dict"]) == []
    cached = train(dataclasses.replace(settings, cache=True), tmp_path / "cached")
    assert differences(first["state_dict"], cached["state_dict"]) == []
    assert differences(first["history"], cached["history"]) == []


def test_finished_run_stays_as_it_is(pets, tmp_path):
    straight = train(settings_for(pets), tmp_path / "run")
    assert differences(straight, resume(tmp_path / "run")) == []


def test_moved_data_is_found_where_it_is_said_to_be(pets, tmp_path):
    settings = settings_for(pets)
    train(settings, tmp_path / "run")
    moved = pets.rename(tmp_path / "elsewhere")
    with pytest.raises(CatdogError, match="not there any more"):
        resume(tmp_path / "run", epochs=3)
    events = Events()
    resumed = resume(tmp_path / "run", events, epochs=3, data=str(moved))
    assert len(resumed["history"]) == 3
    assert not events.of("data_changed")


def test_changed_data_is_said(pets, tmp_path):
    train(settings_for(pets), tmp_path / "run")
    (pets / "train" / "cats" / "0.png").write_bytes((pets / "train" / "cats" / "1.png").read_bytes())
    events = Events()
    resume(tmp_path / "run", events, epochs=3)
    assert events.of("data_changed")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"epochs": 1}, "2 epochs are done already"),
        ({"fine_tune_epochs": 3}, "no such phase"),
    ],
)
def test_what_cannot_change(pets, tmp_path, changes, match):
    train(settings_for(pets), tmp_path / "run")
    with pytest.raises(CatdogError, match=match):
        resume(tmp_path / "run", **changes)


def test_earlier_phase_cannot_be_extended(pets, tmp_path):
    train(settings_for(pets, *RECIPES["two phases"]), tmp_path / "run")
    with pytest.raises(CatdogError, match="is over and a later one built on it"):
        resume(tmp_path / "run", epochs=9)


def test_later_phase_can_be_extended(pets, tmp_path):
    constant = [dataclasses.replace(phase, scheduler="constant") for phase in RECIPES["two phases"]]
    settings = settings_for(pets, *constant, head=HeadSpec())
    straight = train(with_epochs(settings, 2, 4), tmp_path / "straight")
    train(settings, tmp_path / "short")
    assert differences(straight, resume(tmp_path / "short", fine_tune_epochs=4)) == []


def test_best_checkpoint_cannot_be_resumed(pets, tmp_path):
    train(settings_for(pets), tmp_path / "run")
    with pytest.raises(CatdogError, match=r"resume from last\.pt"):
        run.resume(tmp_path / "run" / "best.pt", run.Changes(), Events())
