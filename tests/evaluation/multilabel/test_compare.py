"""Two classifiers of several labels: who is better, and when nobody can tell."""

import numpy as np
import pytest

from catdog_cli.errors import DataError
from catdog_cli.evaluation.multilabel.compare import compare_label_scores, conclude_labels

HALF = np.full(3, 0.5)


def draw(seed, skill):
    rng = np.random.default_rng(7)
    labels = (rng.random((300, 3)) < 0.4).astype(np.int8)
    noise = np.random.default_rng(seed).normal(size=labels.shape)
    return 1 / (1 + np.exp(-(noise + skill * (labels - 0.5)))), labels


def test_the_same_scores_do_not_differ():
    scores, labels = draw(0, 1)
    found = compare_label_scores(scores, scores, labels, HALF, HALF, resamples=200)
    assert (found["map_difference"], found["map_interval"], found["p"]) == (0.0, None, 1.0)
    assert conclude_labels(found).startswith("No evidence that they differ")
    assert found["only_a_right"] == found["only_b_right"] == 0


def test_a_clearly_better_one_is_named_whichever_comes_first():
    weak, labels = draw(0, 0.5)
    good, _ = draw(1, 3)
    found = compare_label_scores(weak, good, labels, HALF, HALF, resamples=400)
    assert found["map_interval"][0] > 0
    assert found["p"] < 0.01
    assert conclude_labels(found).startswith("The second is better")
    back = compare_label_scores(good, weak, labels, HALF, HALF, resamples=400)
    assert back["map_difference"] == pytest.approx(-found["map_difference"])
    assert conclude_labels(back).startswith("The first is better")


def test_equally_good_ones_are_rarely_told_apart():
    """Of twenty pairs that differ by chance alone, about one falls below the level."""
    chances = []
    for seed in range(20):
        (first, labels), (second, _) = draw(2 * seed, 1), draw(2 * seed + 1, 1)
        chances.append(compare_label_scores(first, second, labels, HALF, HALF, resamples=200)["p"])
    assert sum(chance < 0.05 for chance in chances) <= 4


def test_unknown_labels_are_counted_for_neither():
    scores, labels = draw(0, 1)
    labels[:, 0] = -1
    found = compare_label_scores(scores, 1 - scores, labels, HALF, HALF, resamples=100)
    kinds = ("only_a_right", "only_b_right", "both_right", "both_wrong")
    assert sum(found[name] for name in kinds) == 600


def test_labels_that_nobody_has_cannot_be_compared():
    scores, labels = draw(0, 1)
    with pytest.raises(DataError, match="No picture has any of the labels"):
        compare_label_scores(scores, scores, np.zeros_like(labels), HALF, HALF)
