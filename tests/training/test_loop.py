"""Batches of odd sizes, classes out of balance, pictures that cannot be read, losses that explode."""

import dataclasses
import shutil

import pytest
import torch

from catdog_cli.commands.output.train_progress import advise
from catdog_cli.errors import CatdogError, DataError, InterruptedRunError
from catdog_cli.settings import HeadSpec, Phase
from catdog_cli.training import run
from catdog_cli.training.batch_source import choose_sources
from catdog_cli.training.epoch import plan_epoch
from catdog_cli.training.setup import open_phase, prepare_run

from ..conftest import write_images
from .runs import Events, differences, load, resume, settings_for, train


def whole(batch_size, epochs=1, **fields):
    return Phase("p", epochs, 1e-3, unfreeze="all", batch_size=batch_size, **fields)


def open_run(settings):
    """Return phase 0 of a run, ready to train, and its setup."""
    setup = prepare_run(settings, run.read_data(settings, Events()))
    split_at = setup.classifier.unfreeze(settings.phases[0].unfreeze)
    return open_phase(
        setup, 0, split_at, *choose_sources(setup, settings.phases[0], 0, split_at, Events())
    ), setup


@pytest.mark.parametrize("batch_size", [1, 11, 12, 500])
@pytest.mark.parametrize("unfreeze", [0, "all"])
def test_any_batch_size_trains(few, tmp_path, batch_size, unfreeze):
    """12 pictures: batches of 11 leave one over, which has no variance for BatchNorm."""
    phase = Phase("p", 1, 1e-3, unfreeze=unfreeze, batch_size=batch_size)
    last = train(settings_for(few, phase), tmp_path / "run")
    assert last["history"][0]["train_loss"] > 0
    assert all(torch.isfinite(t).all() for t in last["state_dict"].values())


def test_last_picture_joins_the_batch_before(few):
    opened, _ = open_run(settings_for(few, whole(11)))
    assert [len(batch) for batch in plan_epoch(opened, 0)] == [12]
    opened.phase = whole(5)
    assert [len(batch) for batch in plan_epoch(opened, 0)] == [5, 5, 2]
    opened.phase = whole(1)
    assert [len(batch) for batch in plan_epoch(opened, 0)][:10] == [1] * 10


def test_every_picture_is_drawn_once_an_epoch_in_another_order(few):
    opened, _ = open_run(settings_for(few, whole(5)))
    orders = [torch.cat(plan_epoch(opened, epoch)).tolist() for epoch in (0, 1)]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(12))
    assert orders[0] != orders[1]
    assert torch.cat(plan_epoch(opened, 0)).tolist() == orders[0]


def test_balanced_sampler_draws_the_rare_class_as_often(rare):
    shares = {}
    for sampler in ("shuffle", "balanced"):
        opened, setup = open_run(settings_for(rare, whole(8, sampler=sampler)))
        drawn = torch.cat([torch.cat(plan_epoch(opened, epoch)) for epoch in range(40)])
        shares[sampler] = setup.sets["train"].labels[drawn].float().mean().item()
    assert shares["shuffle"] == pytest.approx(0.1)
    assert shares["balanced"] == pytest.approx(0.5, abs=0.05)


def test_balanced_class_weights_are_inverse_to_the_counts(rare):
    opened, _ = open_run(settings_for(rare, whole(8, class_weights="balanced")))
    assert opened.class_weights.tolist() == pytest.approx([30 / (2 * 27), 30 / (2 * 3)])
    opened, _ = open_run(settings_for(rare, whole(8)))
    assert opened.class_weights is None


@pytest.mark.parametrize("option", [{"class_weights": "balanced"}, {"sampler": "balanced"}])
def test_balancing_makes_the_rare_class_likelier(rare, tmp_path, option):
    """With features that say nothing about the class, a head learns how frequent each is."""
    biases = {}
    for name, fields in (("plain", {}), ("balanced", option)):
        phase = Phase("p", 20, 0.3, optimizer="sgd", batch_size=30, weight_decay=1.0, **fields)
        state = train(settings_for(rare, phase, head=HeadSpec((), 0.0)), tmp_path / name)["state_dict"]
        biases[name] = (state["head.output.bias"][1] - state["head.output.bias"][0]).item()
    assert biases["plain"] < -0.5
    assert biases["balanced"] > biases["plain"] + 0.4


def test_imbalance_is_pointed_out_with_the_options_that_mend_it(rare, few):
    def logged(data, phase):
        settings = settings_for(data, phase)
        return advise(run.read_data(settings, Events()), settings)

    (text,) = logged(rare, whole(8))
    assert "9.0 times" in text
    assert "--class-weights balanced" in text
    assert "--sampler balanced" in text
    assert logged(rare, whole(8, sampler="balanced")) == []
    assert logged(rare, whole(8, class_weights="balanced")) == []
    assert logged(few, whole(8)) == []


def batches_of(settings, epoch):
    opened, _ = open_run(settings)
    order = [torch.arange(len(opened.source.chosen))]
    return torch.cat([inputs.values for inputs in opened.source.batches(order, epoch)])


@pytest.mark.parametrize("augment", ["light", "standard", "strong"])
def test_augmenting_shows_another_view_each_epoch(few, augment):
    plain = batches_of(settings_for(few, whole(8)), 0)
    settings = settings_for(few, whole(8, augment=augment))
    views = [batches_of(settings, epoch) for epoch in (0, 1, 0)]
    assert not torch.equal(views[0], plain)
    assert not torch.equal(views[0], views[1])
    assert torch.equal(views[0], views[2])


def test_levels_of_augmenting_grow(few):
    plain = batches_of(settings_for(few, whole(8)), 0)
    moved = [
        sum((batches_of(settings_for(few, whole(8, augment=name)), e) - plain).abs().mean() for e in range(4))
        for name in ("none", "light", "standard", "strong")
    ]
    assert moved[0] == 0
    assert moved[0] < moved[1] < moved[2] < moved[3]


@pytest.mark.parametrize("cache", [True, False])
def test_views_repeat_after_their_number_and_the_first_is_plain(few, cache):
    phase = Phase("p", 6, augment="standard", views=2, batch_size=8)
    settings = settings_for(few, phase, cache=cache)
    views = [batches_of(settings, epoch).float() for epoch in range(4)]
    plain = batches_of(settings_for(few, Phase("p", 1), cache=cache), 0).float()
    assert torch.equal(views[0], plain)
    assert not torch.allclose(views[0], views[1])
    assert torch.equal(views[0], views[2])
    assert torch.equal(views[1], views[3])


def test_one_class_is_an_error(tmp_path):
    data = write_images(tmp_path / "one", {"train/cats": 4, "val/cats": 2})
    with pytest.raises(DataError, match="one class only, 'cats'"):
        train(settings_for(data), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_empty_class_is_said_and_left_out(few, tmp_path):
    data = shutil.copytree(few, tmp_path / "data")
    (data / "train" / "ants").mkdir()
    events = Events()
    last = train(settings_for(data, whole(6)), tmp_path / "run", events)
    assert list(last["class_to_idx"]) == ["cats", "dogs"]
    assert any("'ants' holds no pictures" in logged["text"] for logged in events.of("warning"))


def test_class_missing_in_val_is_said(tmp_path):
    counts = {"train/cats": 4, "train/dogs": 4, "train/eels": 4, "val/cats": 2, "val/dogs": 2}
    events = Events()
    data = write_images(tmp_path / "data", counts)
    last = train(settings_for(data, whole(6)), tmp_path / "run", events)
    assert any("'eels' has no pictures in val" in logged["text"] for logged in events.of("warning"))
    assert last["class_to_idx"] == {"cats": 0, "dogs": 1, "eels": 2}


def test_same_picture_in_train_and_val_is_said(few, tmp_path):
    data = shutil.copytree(few, tmp_path / "data")
    shutil.copy(data / "train" / "cats" / "0.png", data / "val" / "cats" / "0.png")
    events = Events()
    train(settings_for(data, whole(6)), tmp_path / "run", events)
    (text,) = [logged["text"] for logged in events.of("warning")]
    assert "in two splits with the same content" in text
    assert "cats/0.png" in text


BAD = ("train/cats/2.png", "train/dogs/4.png", "train/dogs/5.png", "val/cats/1.png")


@pytest.fixture(scope="module")
def damaged(few, tmp_path_factory):
    """Return a copy of the data where four pictures cannot be read, two of them with the same content."""
    data = shutil.copytree(few, tmp_path_factory.mktemp("damaged") / "data")
    for number, name in enumerate(BAD):
        (data / name).write_bytes(b"\x89PNG\r\n\x1a\n no picture" + bytes([min(number, 1)]))
    return data


SHAPES = {
    "head": Phase("p", 2, 1e-2, batch_size=5),
    "whole": whole(5, epochs=2),
    "views": Phase("p", 2, 1e-2, batch_size=5, augment="light", views=2),
    "balanced": Phase("p", 2, 1e-2, batch_size=5, sampler="balanced", class_weights="balanced"),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_unreadable_pictures_are_named_counted_and_skipped(damaged, tmp_path, shape):
    """Cached or not, with worker processes or none: the same pictures, and so the same weights."""
    runs = {}
    ways = {"cached": {}, "uncached": {"cache": False}, "workers": {"cache": False, "workers": 2}}
    for name, fields in ways.items():
        events = Events()
        settings = settings_for(damaged, SHAPES[shape], max_bad_fraction=0.5, **fields)
        runs[name] = train(settings, tmp_path / name, events)
        named = [image for logged in events.of("bad_pictures") for image in logged["images"]]
        assert all(image.path in image.reason for image in named)
        if shape != "balanced" or name == "cached":  # else some may not have been drawn yet
            assert sorted(image.path for image in named) == sorted(BAD)
            assert [row["num_bad"] for row in runs[name]["history"]] == [4, 4]
    assert differences(runs["uncached"]["state_dict"], runs["workers"]["state_dict"]) == []
    for name, tensor in runs["cached"]["state_dict"].items():
        # a batch of one picture goes through other kernels, which round otherwise
        torch.testing.assert_close(runs["uncached"]["state_dict"][name], tensor, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("stop_after", [1, 2, 4])
@pytest.mark.parametrize("cache", [True, False])
def test_unreadable_pictures_do_not_change_a_resumed_run(damaged, tmp_path, stop_after, cache):
    settings = settings_for(damaged, whole(5, epochs=2), max_bad_fraction=0.5, cache=cache)
    straight = train(settings, tmp_path / "straight")
    asked = []

    def should_stop():
        asked.append(1)
        return len(asked) == stop_after

    with pytest.raises(InterruptedRunError):
        train(settings, tmp_path / "stopped", should_stop=should_stop)
    assert differences(straight, resume(tmp_path / "stopped")) == []


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("unfreeze", [0, "all"])
def test_too_many_unreadable_pictures_stop_the_run_with_their_names(damaged, tmp_path, cache, unfreeze):
    phase = Phase("p", 2, 1e-2, unfreeze=unfreeze, batch_size=5)
    settings = settings_for(damaged, phase, cache=cache, max_bad_fraction=0.1)
    with pytest.raises(
        DataError, match=r"of 18 pictures cannot be read, more than --max-bad-fraction 0\.1"
    ) as e:
        train(settings, tmp_path / "run")
    assert "dogs/5.png" in str(e.value)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("batch_size", [3, 12])
def test_exploding_loss_stops_with_the_pictures_and_the_phase(few, tmp_path, optimizer, batch_size):
    """With one batch an epoch it is the evaluation that meets the ruined weights."""
    phase = Phase("wild", 3, 1e30, unfreeze="all", optimizer=optimizer, batch_size=batch_size)
    with pytest.raises(CatdogError, match=r"(?s)phase 'wild'.*1e\+30") as error:
        train(settings_for(few, phase), tmp_path / "run")
    assert "\n" not in str(error.value)
    assert ".png" in str(error.value) or "validation" in str(error.value)


def test_last_good_checkpoint_outlives_an_exploding_phase(few, tmp_path):
    good = whole(3, epochs=2)
    wild = Phase("wild", 2, 1e30, unfreeze="all", optimizer="sgd", batch_size=3)
    with pytest.raises(CatdogError, match="phase 'wild'"):
        train(settings_for(few, good, wild), tmp_path / "run")
    alone = train(settings_for(few, good), tmp_path / "alone")
    assert differences(alone["state_dict"], load(tmp_path / "run")["state_dict"]) == []
    best = load(tmp_path / "run", "best.pt")
    assert best["best"]["phase_name"] == "p"
    assert all(torch.isfinite(tensor).all() for tensor in best["state_dict"].values())


def test_old_run_is_never_written_over(few, tmp_path):
    train(settings_for(few, whole(12)), tmp_path / "run")
    before = (tmp_path / "run" / "last.pt").read_bytes()
    with pytest.raises(CatdogError, match="holds a run already"):
        train(settings_for(few, whole(12)), tmp_path / "run")
    assert (tmp_path / "run" / "last.pt").read_bytes() == before


def test_seed_decides_everything(few, tmp_path):
    states = {}
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        settings = dataclasses.replace(settings_for(few, whole(5)), seed=seed)
        states[name] = train(settings, tmp_path / name)["state_dict"]
    assert differences(states["a"], states["b"]) == []
    assert differences(states["a"], states["c"])
