"""Rates by step and by block, decay, clipping, and averaged weights."""

import math

import pytest
import torch

from catdog_cli.models.classifier import build_classifier
from catdog_cli.settings import HeadSpec, Phase
from catdog_cli.training.optimizers import WeightAverage, build_optimizer
from catdog_cli.training.schedule import rate_factor, set_rates

from .runs import load, settings_for, train


def factors(steps_per_epoch=4, **fields):
    phase = Phase("p", 3, **fields)
    return [rate_factor(phase, step, steps_per_epoch) for step in range(phase.epochs * steps_per_epoch)]


def test_constant_is_constant():
    assert factors() == [1.0] * 12


def test_warmup_rises_to_the_rate_in_the_epochs_given():
    found = factors(warmup_epochs=1)
    assert found[0] == pytest.approx(0.01)
    assert found[:4] == sorted(found[:4])
    assert found[4:] == [1.0] * 8


def test_cosine_falls_to_nothing_behind_its_warmup():
    found = factors(scheduler="cosine", warmup_epochs=0.5)
    expected = [0.5 * (1 + math.cos(math.pi * step / 10)) for step in range(10)]
    assert found[2:] == pytest.approx(expected)
    assert found[0] < found[1] < found[2] == 1.0
    assert found[-1] < 0.03


def test_step_divides_by_ten_each_third_of_the_epochs():
    assert factors(scheduler="step") == pytest.approx([1.0] * 4 + [0.1] * 4 + [0.01] * 4)


def test_one_cycle_is_what_torch_calls_so():
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=120, pct_start=0.3)
    expected = []
    for _ in range(119):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        cycle.step()
    found = factors(40, scheduler="one-cycle")
    assert max(found) == pytest.approx(1.0, abs=1e-3)
    assert found[:119] == pytest.approx(expected, abs=0.03)  # torch's top is one step earlier


@pytest.mark.parametrize("scheduler", ["cosine", "step", "one-cycle"])
def test_history_holds_the_rate_of_each_epochs_last_step(few, tmp_path, scheduler):
    phase = Phase("p", 3, 0.1, batch_size=6, scheduler=scheduler)
    history = train(settings_for(few, phase), tmp_path / "run")["history"]
    expected = [0.1 * rate_factor(phase, step, 2) for step in (1, 3, 5)]
    assert [row["learning_rate"] for row in history] == pytest.approx(expected)
    assert len(set(expected)) == 3


def test_layer_decay_gives_each_block_its_rate():
    classifier = build_classifier("simple_cnn", 2, HeadSpec())
    classifier.unfreeze("all")
    optimizer = build_optimizer(classifier, Phase("p", 1, 0.1, unfreeze="all", layer_decay=0.5))
    names = [*(name for name, _ in classifier.blocks), "head"]
    for group in optimizer.param_groups:
        assert group["lr"] == pytest.approx(0.1 * 0.5 ** (len(names) - 1 - names.index(group["name"])))
    assert {group["name"] for group in optimizer.param_groups} >= {"head", names[0]}
    set_rates(optimizer, 0.1)
    assert optimizer.param_groups[-1]["lr"] == pytest.approx(0.01)


def test_layer_decay_moves_early_blocks_less(few, tmp_path):
    """Without momentum's history the first step of sgd is rate times gradient: rates show in the moves."""
    states = {}
    for decay in (1.0, 0.5):
        phase = Phase(
            "p", 1, 1e-3, unfreeze="all", optimizer="sgd", batch_size=12, layer_decay=decay, monitor="loss"
        )
        states[decay] = train(settings_for(few, phase), tmp_path / str(decay))["state_dict"]
    start = train(settings_for(few, Phase("p", 0, unfreeze="all")), tmp_path / "start")["state_dict"]

    def moved(name, decay):
        return (states[decay][name] - start[name]).norm().item()

    assert moved("head.output.weight", 0.5) == pytest.approx(moved("head.output.weight", 1.0), rel=1e-3)
    first = "backbone.features.0.0.weight"
    blocks = 7  # five stages, the pool, the head
    assert moved(first, 0.5) == pytest.approx(moved(first, 1.0) * 0.5 ** (blocks - 1), rel=1e-2)


def test_biases_and_norms_are_not_decayed():
    classifier = build_classifier("simple_cnn", 2, HeadSpec())
    classifier.unfreeze("all")
    for group in build_optimizer(classifier, Phase("p", 1, weight_decay=0.3)).param_groups:
        many = {parameter.ndim > 1 for parameter in group["params"]}
        assert group["weight_decay"] == (0.3 if many == {True} else 0.0)
        assert len(many) == 1


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_weight_decay_makes_weights_smaller(few, tmp_path, optimizer):
    norms = []
    for decay in (0.0, 5.0):
        phase = Phase("p", 2, 1e-2, optimizer=optimizer, weight_decay=decay, batch_size=3)
        state = train(settings_for(few, phase, head=HeadSpec()), tmp_path / f"{decay}")["state_dict"]
        norms.append(state["head.output.weight"].norm().item())
    assert norms[1] < 0.9 * norms[0]


def test_clip_norm_bounds_the_step(few, tmp_path):
    """With sgd's first step of a whole epoch, the weights move by rate times the clipped gradient."""
    start = train(settings_for(few, Phase("p", 0), head=HeadSpec()), tmp_path / "0")["state_dict"]
    moves = {}
    for clip in (0.0, 1e-3):
        phase = Phase("p", 1, 1.0, optimizer="sgd", batch_size=12, clip_norm=clip)
        state = train(settings_for(few, phase, head=HeadSpec()), tmp_path / f"clip{clip}")["state_dict"]
        head = [name for name in state if name.startswith("head.output")]
        moves[clip] = math.sqrt(sum((state[n] - start[n]).square().sum().item() for n in head))
    assert moves[1e-3] == pytest.approx(1e-3, rel=1e-2)
    assert moves[0.0] > 1e-2


def test_average_follows_its_decay_and_swaps_back():
    layer = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(layer.weight, 0.0)
    average = WeightAverage(layer, 0.5)
    torch.nn.init.constant_(layer.weight, 1.0)
    average.update()  # (1 + 1) / (10 + 1) is less than 0.5
    expected = 1 - 2 / 11
    with average.applied():
        assert layer.weight.item() == pytest.approx(expected)
    assert layer.weight.item() == 1.0
    for step in range(2, 12):
        average.update()
        expected += (1 - min(0.5, (1 + step) / (10 + step))) * (1 - expected)
    assert average.kept["weight"].item() == pytest.approx(expected)


def test_averaged_weights_are_the_ones_measured_and_kept(few, tmp_path):
    phase = Phase("p", 2, 0.1, unfreeze="all", batch_size=3, ema=0.9, monitor="loss")
    last = train(settings_for(few, phase), tmp_path / "ema")
    plain = train(settings_for(few, Phase("p", 2, 0.1, unfreeze="all", batch_size=3)), tmp_path / "plain")
    assert torch.equal(  # the live weights go on as if there were no average
        last["state_dict"]["head.output.weight"], plain["state_dict"]["head.output.weight"]
    )
    assert last["history"][-1]["val_loss"] != plain["history"][-1]["val_loss"]
    best = load(tmp_path / "ema", "best.pt")
    assert best["best"]["epoch"] == 2  # else the average of the end is not what best.pt holds
    weight = best["state_dict"]["head.output.weight"]
    assert any(torch.equal(kept, weight) for kept in last["average"]["kept"].values())
