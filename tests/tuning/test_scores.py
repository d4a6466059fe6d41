"""Scores, when a trial is given up, and by how much the best of many flatters itself."""

import numpy as np
import pytest

from catdog_cli.errors import SettingsError
from catdog_cli.models.tasks import MULTI_LABEL, SINGLE_LABEL
from catdog_cli.tuning.scores import check_metric, is_hopeless, measure_flattery, score

NUMBER = 400
LABELS = np.arange(NUMBER) % 2


def answers(right: float, seed: int, sure: float = 0.9) -> np.ndarray:
    """Return probabilities (N, 2) of a classifier that is right so often, by chance."""
    correct = np.random.default_rng(seed).random(NUMBER) < right
    said = np.where(correct, LABELS, 1 - LABELS)
    found = np.full((NUMBER, 2), 1 - sure)
    found[np.arange(NUMBER), said] = sure
    return found


@pytest.mark.parametrize("metric", ["accuracy", "loss", "f1", "auc"])
def test_better_answers_score_higher(metric):
    good, bad = (score(metric, SINGLE_LABEL, answers(right, 1), LABELS)[0] for right in (0.9, 0.7))
    assert good > bad


def test_being_too_sure_alone_changes_no_rank():
    sure, unsure = answers(0.9, 1, 0.99), answers(0.9, 1, 0.6)
    (a, facts), (b, others) = (score("accuracy", SINGLE_LABEL, each, LABELS) for each in (sure, unsure))
    assert facts["loss"] != pytest.approx(others["loss"], abs=0.05)
    assert a == pytest.approx(b, abs=1e-4)


def test_one_picture_more_weighs_less_than_being_better_on_all():
    plain = answers(0.9, 1, 0.7)
    wrong = np.flatnonzero(plain.argmax(1) != LABELS)
    one_more, unsure_where_wrong = plain.copy(), plain.copy()
    one_more[wrong[0]] = one_more[wrong[0]][::-1]
    true = LABELS[wrong]
    unsure_where_wrong[wrong, true], unsure_where_wrong[wrong, 1 - true] = 0.49, 0.51
    scores = [
        score("accuracy", SINGLE_LABEL, each, LABELS)[0] for each in (plain, one_more, unsure_where_wrong)
    ]
    assert scores[0] < scores[1] < scores[2]


def test_rows_that_are_not_known_count_nowhere():
    some = answers(0.9, 1)
    some[50:] = np.nan
    assert score("accuracy", SINGLE_LABEL, some, LABELS)[1]["accuracy"] == pytest.approx(
        score("accuracy", SINGLE_LABEL, some[:50], LABELS[:50])[1]["accuracy"]
    )


def test_several_labels():
    labels = np.stack([LABELS, 1 - LABELS], 1).astype(np.int8)
    found = np.clip(labels + np.random.default_rng(0).normal(0, 0.4, labels.shape), 0.01, 0.99)
    value, facts = score("map", MULTI_LABEL, found, labels)
    assert value == facts["map"] > 0.8
    for metric in ("map", "f1", "auc", "loss"):
        assert measure_flattery(metric, MULTI_LABEL, [found, found[::-1]], labels, 0) is not None


@pytest.mark.parametrize(
    ("metric", "task", "match"),
    [
        ("map", SINGLE_LABEL, "of several labels"),
        ("accuracy", MULTI_LABEL, "no meaning"),
        ("kappa", SINGLE_LABEL, "must be one of"),
    ],
)
def test_metrics_that_mean_nothing(metric, task, match):
    with pytest.raises(SettingsError, match=match):
        check_metric(metric, task)
    assert check_metric(None, task) == task.headline


def test_a_trial_that_is_behind_is_hopeless_and_a_near_one_is_not():
    best = answers(0.9, 1)
    first_fold = np.where(np.arange(NUMBER)[:, None] < 100, answers(0.6, 2), np.nan)
    assert is_hopeless("accuracy", SINGLE_LABEL, first_fold, best, LABELS)
    assert not is_hopeless(
        "accuracy", SINGLE_LABEL, np.where(np.isnan(first_fold), np.nan, best), best, LABELS
    )
    assert not is_hopeless("accuracy", SINGLE_LABEL, first_fold, None, LABELS)
    assert not is_hopeless(
        "accuracy", SINGLE_LABEL, best, np.where(np.isnan(first_fold), np.nan, answers(0.6, 2)), LABELS
    )


def test_the_best_of_many_coins_is_corrected_to_a_half():
    flattery = measure_flattery(
        "accuracy", SINGLE_LABEL, [answers(0.5, seed) for seed in range(60)], LABELS, 0
    )
    assert flattery.best > 0.54
    assert flattery.corrected == pytest.approx(0.5, abs=0.02)
    assert flattery.by == pytest.approx(flattery.best - flattery.corrected)
    low, high = flattery.interval
    assert low < 0.5 < high
    assert 0.06 < high - low < 0.14  # 400 coins: 0.1


def test_one_that_is_far_better_is_hardly_corrected():
    trials = [answers(0.95, 0), *(answers(0.5, seed) for seed in range(1, 40))]
    flattery = measure_flattery("accuracy", SINGLE_LABEL, trials, LABELS, 0)
    assert flattery.by == pytest.approx(0, abs=0.005)


def test_of_a_loss_lower_is_better():
    trials = [answers(0.5, seed) for seed in range(40)]
    flattery = measure_flattery("loss", SINGLE_LABEL, trials, LABELS, 0)
    assert flattery.corrected > flattery.best > 0
    assert flattery.by > 0
    assert flattery.interval[0] < flattery.interval[1]


def test_a_single_trial_has_chosen_nothing():
    assert measure_flattery("accuracy", SINGLE_LABEL, [answers(0.9, 0)], LABELS, 0) is None
    assert measure_flattery("accuracy", SINGLE_LABEL, [], LABELS, 0) is None
