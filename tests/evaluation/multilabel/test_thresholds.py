"""Thresholds: the best F1 that any threshold reaches, for each label by itself."""

import numpy as np
import pytest

from catdog_cli.evaluation.multilabel.thresholds import choose_thresholds, held_out_f1


def f1(said, there):
    return 2 * (said & there).sum() / max(1, said.sum() + there.sum())


@pytest.mark.parametrize("seed", range(10))
def test_no_threshold_gives_a_better_f1(seed):
    rng = np.random.default_rng(seed)
    labels = (rng.random((40, 3)) < [0.5, 0.2, 0.1]).astype(np.int8)
    labels[0] = 1
    labels[rng.random((40, 3)) < 0.1] = -1
    labels[0] = 1
    probabilities = np.clip(rng.random((40, 3)) * 0.6 + 0.3 * (labels == 1), 0, 1).round(2)
    found = choose_thresholds(probabilities, labels)
    for c in range(3):
        known = labels[:, c] >= 0
        scores, there = probabilities[known, c], labels[known, c] == 1
        best = max(f1(scores >= limit, there) for limit in np.linspace(0, 1, 1001))
        assert f1(scores >= found[c], there) == pytest.approx(best)


def test_of_equal_ones_the_nearest_to_a_half_is_taken():
    labels = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 0]], dtype=np.int8)
    probabilities = np.array([[0.9, 0.4, 0.9], [0.8, 0.3, 0.8], [0.1, 0.1, 0.1]])
    assert choose_thresholds(probabilities, labels).tolist() == pytest.approx([0.5, 0.2, 0.5])


def test_a_threshold_never_says_a_label_of_everything():
    found = choose_thresholds(np.array([[1e-9], [1.0]]), np.array([[1], [1]], dtype=np.int8))
    assert 0 < found[0] < 1


def test_held_out_images_show_what_thresholds_are_worth():
    rng = np.random.default_rng(0)
    labels = (rng.random((300, 2)) < 0.3).astype(np.int8)
    chance = rng.random((300, 2)) * 0.3  # says nothing, and never half
    worth = held_out_f1(chance, labels)
    assert worth["half"] == 0
    assert 0.3 < worth["held_out"] < 0.55
    told = held_out_f1(np.where(labels == 1, 0.3, 0.1), labels)
    assert told == {"half": 0.0, "held_out": 1.0}
