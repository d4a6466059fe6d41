"""The range test: on a problem whose good rates are known, and what it leaves behind."""

import math
import shutil

import pytest
import torch

from catdog_cli.errors import CatdogError, SettingsError
from catdog_cli.settings import HeadSpec, Phase
from catdog_cli.training import lr_finder, run
from catdog_cli.training.lr_finder import HIGHEST, LOWEST, _suggest, find_rate
from catdog_cli.training.setup import prepare_run

from .runs import Events, settings_for, train


def find(settings, index=0, steps=60):
    setup = prepare_run(settings, run.read_data(settings, Events()))
    before = {name: tensor.clone() for name, tensor in setup.classifier.state_dict().items()}
    return find_rate(setup, index, Events(), steps), setup, before


def losses_of(curve, steps=60):
    rates = [LOWEST * (HIGHEST / LOWEST) ** (step / (steps - 1)) for step in range(steps)]
    return rates, [curve(rate) for rate in rates]


def test_known_curve_gives_a_rate_before_its_valley():
    """Flat, then a fall that is steepest at 1e-3, a valley near 1e-1, then a wall."""
    rates, losses = losses_of(lambda rate: 1 / (1 + rate / 1e-3) + (rate / 0.3) ** 3)
    found = _suggest(rates, losses)
    assert found.steepest == pytest.approx(1e-3, rel=0.4)
    assert 0.02 < found.least < 0.2
    assert found.suggestion == min(found.steepest, found.least / 10)


def test_suggestion_is_the_more_careful_of_both_rules():
    rates, losses = losses_of(lambda rate: 1 / (1 + (rate / 0.05) ** 4) + (rate / 0.3) ** 4)
    found = _suggest(rates, losses)
    assert found.suggestion == found.least / 10 < found.steepest


@pytest.mark.parametrize(
    "losses",
    [[1.0 + step for step in range(60)], [1.0] * 60, [1.0, 0.9], []],
    ids=["up", "flat", "two", "none"],
)
def test_loss_that_never_fell_is_an_error(losses):
    rates, _ = losses_of(lambda rate: rate)
    with pytest.raises(CatdogError, match="never fell"):
        _suggest(rates[: len(losses)], losses)


def test_suggested_rate_trains_and_a_thousand_times_more_or_less_does_not(few, tmp_path):
    phase = Phase("p", 6, 1e-3, unfreeze="all", optimizer="sgd", batch_size=6, monitor="loss")
    found, _, _ = find(settings_for(few, phase, head=HeadSpec((), 0.0)))
    assert 1e-4 < found.suggestion < 1.0
    least = {}
    for factor in (1e-3, 1.0, 1e3):
        tried = Phase("p", 6, found.suggestion * factor, unfreeze="all", optimizer="sgd", batch_size=6)
        try:
            history = train(settings_for(few, tried, head=HeadSpec((), 0.0)), tmp_path / str(factor))[
                "history"
            ]
            least[factor] = history[-1]["train_loss"]
        except CatdogError:  # exploded
            least[factor] = math.inf
    assert least[1.0] < least[1e-3]
    assert least[1.0] < least[1e3]


def test_rates_rise_evenly_and_the_network_is_left_as_it_was(few):
    phase = Phase("p", 1, 1e-3, unfreeze="all", batch_size=4)
    found, setup, before = find(settings_for(few, phase))
    steps = [b / a for a, b in zip(found.rates, found.rates[1:], strict=False)]
    assert steps == pytest.approx([steps[0]] * len(steps))
    assert found.rates[0] == LOWEST
    after = setup.classifier.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_rate_of_the_second_phase_is_of_what_it_trains(few):
    phases = (Phase("head", 1, batch_size=6), Phase("fine-tune", 1, 1e-5, unfreeze=6, batch_size=6))
    found, setup, _ = find(settings_for(few, *phases, head=HeadSpec((), 0.0)), index=1)
    assert found.suggestion > 0
    assert any(name.startswith("backbone.") for name, _ in setup.classifier.trainable_parameters())


def test_batches_of_one_picture_do(few):
    phase = Phase("p", 1, 1e-3, unfreeze="all", batch_size=1, optimizer="sgd")
    found, _, _ = find(settings_for(few, phase, head=HeadSpec((), 0.0)), steps=80)
    assert len(found.losses) > 16


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"learning_rate": 0.0}, "A rate of 0 cannot be scaled"),
        ({"optimizer": "lbfgs"}, "Optimizer lbfgs has no rate"),
    ],
)
def test_phase_without_a_rate_is_an_error(few, fields, match):
    with pytest.raises(SettingsError, match=match):
        find(settings_for(few, Phase("p", 1, **fields), head=HeadSpec()))


def test_not_one_readable_picture_ends_it(few, tmp_path):
    data = shutil.copytree(few, tmp_path / "data")
    for path in data.glob("train/*/*.png"):
        path.write_bytes(b"nothing")
    with pytest.raises(CatdogError, match="never fell"):
        find(settings_for(data, Phase("p", 1, unfreeze="all"), head=HeadSpec((), 0.0)))


def test_batches_of_unreadable_pictures_are_passed_over(few, tmp_path):
    data = shutil.copytree(few, tmp_path / "data")
    for number in range(4):
        (data / "train" / "cats" / f"{number}.png").write_bytes(b"nothing %d" % number)
    phase = Phase("p", 1, 1e-3, unfreeze="all", batch_size=1, optimizer="sgd")
    found, _, _ = find(settings_for(data, phase, head=HeadSpec((), 0.0)), steps=80)
    assert len(found.losses) > 16


def test_a_later_phase_is_measured_on_what_the_earlier_ones_trained(few, tmp_path, monkeypatch):
    """Not on an untrained head, whose loss would fall at any rate; and nothing of it stays."""
    first = Phase("first", 3, 0.01, unfreeze="all", batch_size=6)
    settings = settings_for(few, first, Phase("second", 1, 1e-3, batch_size=6), head=HeadSpec((), 0.0))
    starts = []
    raise_rate = lr_finder._raise_rate

    def remember(run, steps, listener):
        starts.append({name: tensor.clone() for name, tensor in run.classifier.state_dict().items()})
        return raise_rate(run, steps, listener)

    monkeypatch.setattr(lr_finder, "_raise_rate", remember)
    monkeypatch.setattr(lr_finder, "_suggest", lambda *curve: curve)
    _, setup, before = find(settings, 1, 10)
    trained = train(settings_for(few, first, head=HeadSpec((), 0.0)), tmp_path / "run")
    best = trained["best_state"]
    assert all(torch.equal(starts[0][name], best[name]) for name in best)
    assert all(torch.equal(tensor, before[name]) for name, tensor in setup.classifier.state_dict().items())
