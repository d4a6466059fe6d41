"""Stopping and going on gives the same bits as never having stopped."""

import dataclasses
import shutil
from pathlib import Path

import pytest

from catdog_cli.errors import CatdogError, InterruptedRunError, SettingsError
from catdog_cli.settings import HeadSpec, Phase
from catdog_cli.training import run

from ..runs import Events, differences, load, resume, settings_for, train, with_epochs

# All pairs of a network, an optimizer and a depth; the quick network gets all there is.
HALVED = [
    *(("simple_cnn", optimizer, depth) for optimizer in ("adam", "adamw", "sgd") for depth in (0, "all")),
    *(("squeezenet1_1", "adam", "all"), ("squeezenet1_1", "adamw", 0), ("squeezenet1_1", "sgd", 0)),
    *(
        ("mobilenet_v3_small", "adam", 0),
        ("mobilenet_v3_small", "adamw", "all"),
        ("mobilenet_v3_small", "sgd", "all"),
    ),
]


@pytest.mark.parametrize(("arch", "optimizer", "unfreeze"), HALVED)
def test_half_the_epochs_and_the_rest_equal_all(few, tmp_path, arch, optimizer, unfreeze):
    half, rate = (2, 1e-3) if arch == "simple_cnn" else (1, 1e-5)
    phase = Phase(
        "one",
        2 * half,
        rate,
        unfreeze=unfreeze,
        optimizer=optimizer,
        weight_decay=1e-3,
        batch_size=5,
        patience=3,
    )
    settings = settings_for(few, phase, arch=arch)
    straight = train(settings, tmp_path / "straight")
    train(with_epochs(settings, half), tmp_path / "stopped")
    resumed = resume(tmp_path / "stopped", epochs=2 * half)
    assert differences(straight, resumed) == []
    assert differences(load(tmp_path / "straight", "best.pt"), load(tmp_path / "stopped", "best.pt")) == []


RECIPES = {
    "head": (Phase("head", 3, 1e-2, batch_size=3),),
    "two phases": (
        Phase("head", 2, 1e-2, batch_size=3),
        Phase("fine-tune", 2, 1e-3, unfreeze=6, batch_size=3, optimizer="sgd", scheduler="cosine"),
    ),
    "all the trimmings": (
        Phase(
            "all",
            3,
            1e-2,
            unfreeze="all",
            batch_size=3,
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
    "fixed views": (Phase("head", 3, 1e-2, batch_size=3, augment="standard", views=2, ema=0.5),),
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Return one feature cache: where nothing is left to compute, a run is asked to stop at steps alone."""
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def straight_run(straight_runs, cache, monkeypatch):
    monkeypatch.setenv("CATDOG_CACHE", cache)
    return straight_runs


@pytest.fixture(scope="module")
def straight_runs(few, tmp_path_factory):
    """Return a function that trains a recipe in one go, once for all tests: its last.pt and best.pt."""
    known = {}

    def get(recipe):
        if recipe not in known:
            folder = tmp_path_factory.mktemp("straight") / "run"
            known[recipe] = train(settings_for(few, *RECIPES[recipe]), folder), load(folder, "best.pt")
        return known[recipe]

    return get


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("stop_after", [1, 4, 7, 11])
def test_stop_in_the_middle_of_an_epoch(few, tmp_path, straight_run, recipe, stop_after):
    straight, best = straight_run(recipe)
    asked = []

    def should_stop():
        asked.append(1)
        return len(asked) == stop_after

    with pytest.raises(InterruptedRunError, match=r"Stopped in epoch .* catdog train --resume "):
        train(settings_for(few, *RECIPES[recipe]), tmp_path / "stopped", should_stop=should_stop)
    assert differences(straight, resume(tmp_path / "stopped")) == []
    assert differences(best, load(tmp_path / "stopped", "best.pt")) == []


@pytest.mark.parametrize("recipe", ["head", "all the trimmings"])
def test_weights_do_not_depend_on_workers_or_cache(few, tmp_path, straight_run, recipe):
    cached, _ = straight_run(recipe)
    settings = settings_for(few, *RECIPES[recipe], cache=False)
    for workers in (0, 1, 2):
        other = train(dataclasses.replace(settings, workers=workers), tmp_path / str(workers))
        assert differences(cached["state_dict"], other["state_dict"]) == []
        assert differences(cached["history"], other["history"]) == []


@pytest.fixture
def run_dir(finished, tmp_path):
    return shutil.copytree(finished / "run", tmp_path / "run")


def test_finished_run_stays_as_it_is(run_dir):
    straight = load(run_dir)
    assert differences(straight, resume(run_dir)) == []


def test_a_run_goes_on_from_any_folder_and_moves_with_its_data(few, tmp_path, monkeypatch):
    shutil.copytree(few, tmp_path / "a" / "pets")
    (tmp_path / "c").mkdir()
    monkeypatch.chdir(tmp_path / "a")
    Path("bad.txt").write_text("train/cats/0.png\n")
    train(settings_for("pets", exclude="bad.txt"), "checkpoints/run")
    monkeypatch.chdir(tmp_path / "c")
    straight = resume("../a/checkpoints/run", epochs=3, exclude="../a/bad.txt")
    with pytest.raises(SettingsError, match="--exclude cannot change on resume"):
        resume("../a/checkpoints/run", epochs=3, exclude="bad.txt")
    assert straight["settings"]["data"] == str(tmp_path / "a" / "pets")
    (tmp_path / "a").rename(tmp_path / "b")
    events = Events()
    resume("../b/checkpoints/run", events, epochs=4)
    assert any("has moved with it, from" in facts["text"] for facts in events.of("warning"))
    assert load("../b/checkpoints/run")["settings"]["data"] == str(tmp_path / "b" / "pets")


def test_moved_data_is_found_where_it_is_said_to_be(few, tmp_path):
    data = shutil.copytree(few, tmp_path / "data")
    train(settings_for(data), tmp_path / "run")
    moved = data.rename(tmp_path / "elsewhere")
    with pytest.raises(CatdogError, match="no longer exists"):
        resume(tmp_path / "run", epochs=3)
    events = Events()
    resumed = resume(tmp_path / "run", events, epochs=3, data=str(moved))
    assert len(resumed["history"]) == 3
    assert not events.of("data_changed")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"epochs": 1}, "2 epochs are done already"),
        ({"fine_tune_epochs": 3}, "no such phase"),
    ],
)
def test_what_cannot_change(run_dir, changes, match):
    with pytest.raises(CatdogError, match=match):
        resume(run_dir, **changes)


def test_a_finished_run_of_three_phases_can_be_made_longer(few, tmp_path):
    phases = [Phase(name, 1, 1e-2, batch_size=3) for name in ("one", "two", "three")]
    longer = [*phases[:2], dataclasses.replace(phases[2], epochs=3)]
    straight = train(settings_for(few, *longer), tmp_path / "straight")
    train(settings_for(few, *phases), tmp_path / "run")
    resumed = resume(tmp_path / "run", fine_tune_epochs=3)
    assert [row["phase_name"] for row in resumed["history"]] == ["one", "two", "three", "three", "three"]
    assert differences(straight, resumed) == []


def test_earlier_phase_cannot_be_extended(few, tmp_path):
    train(settings_for(few, *RECIPES["two phases"]), tmp_path / "run")
    with pytest.raises(CatdogError, match="is over and a later one built on it"):
        resume(tmp_path / "run", epochs=9)


def test_later_phase_can_be_extended(few, tmp_path):
    constant = [dataclasses.replace(phase, scheduler="constant") for phase in RECIPES["two phases"]]
    settings = settings_for(few, *constant, head=HeadSpec())
    straight = train(with_epochs(settings, 2, 4), tmp_path / "straight")
    train(settings, tmp_path / "short")
    assert differences(straight, resume(tmp_path / "short", fine_tune_epochs=4)) == []


def test_best_checkpoint_cannot_be_resumed(run_dir):
    with pytest.raises(CatdogError, match=r"resume from last\.pt"):
        run.resume(run_dir / "best.pt", run.Changes(), Events())
