"""Temperature scaling on logits whose right temperature is known."""

import numpy as np
import pytest

from catdog_cli.errors import CatdogError
from catdog_cli.evaluation.calibration import LOWEST, fit_temperature, measure_calibration
from catdog_cli.models.tasks import SINGLE_LABEL


def make_logits(num_samples=4000, num_classes=3, sharpness=1.0, seed=0):
    """Return logits (N, C) whose labels (N,) were drawn from softmax(logits / sharpness)."""
    rng = np.random.default_rng(seed)
    honest = 2 * rng.normal(size=(num_samples, num_classes))
    labels = (honest + rng.gumbel(size=honest.shape)).argmax(1)  # the Gumbel trick draws from the softmax
    return honest * sharpness, labels


@pytest.mark.parametrize("sharpness", [0.3, 1.0, 4.0])
def test_the_temperature_that_made_the_logits_is_found(sharpness):
    logits, labels = make_logits(sharpness=sharpness)
    assert fit_temperature(logits, labels) == pytest.approx(sharpness, rel=0.06)


def test_it_is_the_lowest_of_all_temperatures():
    logits, labels = make_logits(num_samples=300, sharpness=2.5)
    found = fit_temperature(logits, labels)

    def cost(temperature):
        chosen = SINGLE_LABEL.probabilities(logits, temperature)[np.arange(300), labels]
        return -np.log(chosen).sum() + np.log(temperature) ** 2 / 2

    assert cost(found) <= min(cost(found * factor) for factor in (0.2, 0.9, 0.99, 1.01, 1.1, 5)) + 1e-9


def test_of_two_valleys_the_deeper_one_is_taken():
    labels = np.arange(16) % 2
    logits = 0.044 * np.eye(2)[labels]  # the other valley is at 0.53
    assert fit_temperature(logits, labels) == pytest.approx(LOWEST, rel=1e-3)


def test_calibration_is_measured_on_pictures_that_did_not_choose_it():
    logits, labels = make_logits(num_samples=1500, sharpness=4.0)
    found = measure_calibration(logits, labels)
    assert found["before"]["ece"] > 0.1
    assert found["after"]["ece"] < 0.05
    assert found["after"]["loss"] < found["before"]["loss"]
    best = -np.log(SINGLE_LABEL.probabilities(logits, found["temperature"])[np.arange(1500), labels]).mean()
    assert found["after"]["loss"] > best
    assert measure_calibration(logits, labels) == found


@pytest.mark.parametrize("size", [1, 2, 500])
def test_labels_that_are_all_right_do_not_freeze_it(size):
    labels = np.arange(size) % 2
    logits = 3.0 * np.eye(2)[labels]
    temperature = fit_temperature(logits, labels)
    assert 0.2 < temperature < 1
    assert SINGLE_LABEL.probabilities(logits, temperature).max() < 1
    assert measure_calibration(logits, labels)["temperature"] == temperature


def test_labels_that_are_all_wrong_stay_in_range():
    logits = 30.0 * np.eye(2)[np.ones(200, dtype=int)]
    temperature = fit_temperature(logits, np.zeros(200, dtype=int))
    assert 15 < temperature <= 20
    assert np.isfinite(SINGLE_LABEL.probabilities(logits, temperature)).all()


def test_calibrating_keeps_the_order_and_sums_to_one():
    logits, _ = make_logits(num_samples=50)
    logits[0] = [1000, 0, -1000]
    found = SINGLE_LABEL.probabilities(logits, 2.0)
    assert np.allclose(found.sum(1), 1)
    assert (found.argsort(1)[1:] == logits.argsort(1)[1:]).all()
    assert SINGLE_LABEL.probabilities(np.array([[np.log(4.0), 0.0]]), 2.0).tolist() == [
        pytest.approx([2 / 3, 1 / 3])
    ]


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (np.empty((0, 2)), np.empty(0, dtype=int), "no pictures to measure"),
        (np.array([[np.inf, 0.0]]), np.array([0]), "not all finite"),
        (np.array([[1.0, 0.0]]), np.array([5]), "from 0 to 1"),
    ],
)
def test_what_cannot_be_calibrated_is_named(logits, labels, message):
    with pytest.raises(CatdogError, match=message):
        fit_temperature(logits, labels)
