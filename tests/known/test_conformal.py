"""P-values and sets of classes: what they promise, and the same sets as MAPIE's."""

import numpy as np
import pytest
import torch

from catdog_cli.known.conformal import (
    METHODS,
    SetScores,
    aps_scores,
    choose_sets,
    join_p,
    lac_scores,
    own_p,
    rank_p,
)


def draw_answers(number, num_classes=3, seed=0):
    """Return probabilities (N, C) and labels (N,) of a network that is right about as often as it says."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(number, num_classes)) * 1.5
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = np.array([rng.choice(num_classes, p=row) for row in probabilities])
    return probabilities, labels


def test_p_values_count_who_is_as_strange():
    known = np.array([1.0, 2.0, 2.0, 3.0])
    assert rank_p(known, np.array([0.0, 2.0, 2.5, 9.0])).tolist() == [1.0, 0.8, 0.4, 0.2]
    assert own_p(np.array([3.0, 2.0, 1.0, 2.0])).tolist() == [0.2, 0.6, 0.8, 0.6]


def test_two_p_values_become_one_score_that_grows_with_strangeness():
    found = join_p(np.array([0.5, 0.5, 0.01]), np.array([0.5, 0.01, 0.01]))
    assert found.tolist() == [4.0, 102.0, 200.0]


def test_no_more_than_the_stated_share_is_called_unknown():
    rng = np.random.default_rng(1)
    shares = [(rank_p(np.sort(rng.normal(size=99)), rng.normal(size=200)) <= 0.05).mean() for _ in range(300)]
    assert 0.045 < np.mean(shares) < 0.055


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("sure", [0.8, 0.95])
def test_sets_hold_the_right_class_of_each_class_at_the_rate(method, sure):
    calibrated, labels = draw_answers(3000, seed=2)
    scores = SetScores.measure(calibrated, labels)
    probabilities, truth = draw_answers(6000, seed=3)
    chosen = choose_sets(probabilities, scores.thresholds(sure, method, 3), method)
    for label in range(3):
        own = truth == label
        held = chosen[own, label].mean()
        assert held > sure - 0.025
        assert held < sure + 0.025 or method == "aps"  # which holds too much where sums end at 1


def ask_mapie(method, probabilities, labels):
    """Return MAPIE's classifier, calibrated on probabilities that a network has said."""
    mapie = pytest.importorskip("mapie.classification")
    from sklearn.base import BaseEstimator, ClassifierMixin

    class Fixed(ClassifierMixin, BaseEstimator):
        """Whose rows are the probabilities themselves."""

        def fit(self, rows, labels):
            self.classes_ = np.arange(3)
            return self

        def predict_proba(self, rows):
            return rows

        def predict(self, rows):
            return rows.argmax(1)

    found = mapie.SplitConformalClassifier(
        Fixed().fit(None, None), confidence_level=0.9, conformity_score=method, prefit=True
    )
    found.conformalize(probabilities, labels)
    return found


def test_sets_by_lac_are_those_of_mapie():
    """Its limit is one for all classes, as ours is where they count as one."""
    probabilities, labels = draw_answers(400, seed=4)
    own, (asked, _) = SetScores.measure(probabilities, labels).scores, draw_answers(200, seed=5)
    limit = SetScores(np.zeros_like(labels), own).thresholds(0.9, "lac", 1)[0]
    _, sets = ask_mapie("lac", probabilities, labels).predict_set(asked)
    assert np.array_equal(choose_sets(asked, np.full(3, limit), "lac"), sets[:, :, 0])


def test_scores_of_aps_are_those_of_mapie_without_its_random_part():
    """Which takes off up to the class's own probability, by chance."""
    probabilities, labels = draw_answers(400, seed=4)
    theirs = np.ravel(ask_mapie("aps", probabilities, labels)._mapie_classifier.conformity_scores_)
    mine, own = SetScores.measure(probabilities, labels).scores["aps"], probabilities[np.arange(400), labels]
    taken = (mine - theirs) / own
    assert taken.min() > -1e-6
    assert taken.max() < 1 + 1e-6
    assert taken.mean() == pytest.approx(0.5, abs=0.06)


def test_scores_of_sets():
    probabilities = np.array([[0.5, 0.2, 0.3]])
    assert lac_scores(probabilities).tolist() == [[0.5, 0.8, 0.7]]
    assert aps_scores(probabilities)[0] == pytest.approx([0.5, 1.0, 0.8])


def test_a_class_with_too_few_images_is_always_possible():
    scores = SetScores.measure(np.full((10, 2), 0.5), np.array([0] * 9 + [1]))
    assert np.isfinite(scores.thresholds(0.9, "lac", 2)).tolist() == [True, False]
    assert scores.most_sure(2) == 0.5
    assert scores.most_sure(3) == 0


def test_scores_come_back_from_a_checkpoint_and_of_many_images_a_sample_is_kept(monkeypatch):
    probabilities, labels = draw_answers(50)
    scores = SetScores.measure(probabilities, labels)
    again = SetScores.from_dict(scores.to_dict(), 3)
    assert np.array_equal(
        again.thresholds(0.8, "lac", 3).astype("f4"), scores.thresholds(0.8, "lac", 3).astype("f4")
    )
    monkeypatch.setattr("catdog_cli.known.conformal.MOST_SCORES", 20)
    assert len(SetScores.measure(probabilities, labels).labels) == 20


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"labels": None}, "labels of the scores of sets is no tensor"),
        ({"lac": torch.ones(3)}, r"lac of the scores of sets is \(3,\)"),
        ({"aps": torch.full((50,), torch.nan)}, "not finite"),
        ({"labels": torch.full((50,), 7, dtype=torch.int32)}, "classes that are not there"),
        ({"more": 1}, "not those of catdog"),
    ],
)
def test_damaged_scores_are_refused(change, match):
    kept = SetScores.measure(*draw_answers(50)).to_dict()
    with pytest.raises(ValueError, match=match):
        SetScores.from_dict({**kept, **change}, 3)
