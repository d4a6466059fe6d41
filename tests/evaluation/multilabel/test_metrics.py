"""Numbers of several labels: scikit-learn's where nothing is unknown, and unknown cells count nowhere."""

import json

import numpy as np
import pytest
from sklearn import metrics as reference

from catdog_cli.errors import CatdogError, DataError
from catdog_cli.evaluation.multilabel.metrics import (
    area_under_roc,
    average_precision,
    average_precisions,
    full_label_metrics,
    label_reliability,
    score_labels,
)

NAMES = ["cat", "dog", "fox", "owl"]


def draw(seed=0, count=150, ties=False):
    """Return probabilities and labels (N, 4) that have something to do with each other."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((count, 4)) < [0.5, 0.3, 0.1, 0.05]).astype(np.int8)
    scores = rng.normal(size=(count, 4)) + 1.5 * labels
    probabilities = 1 / (1 + np.exp(-scores))
    return (probabilities.round(1) if ties else probabilities), labels


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("ties", [False, True])
def test_average_precision_and_area_are_those_of_scikit_learn(seed, ties):
    probabilities, labels = draw(seed, ties=ties)
    rng = np.random.default_rng(seed)
    weights = rng.integers(0, 4, (len(labels), 3)).astype(float)
    for c in range(4):
        found = average_precision(probabilities[:, c], labels[:, c], weights)
        area = area_under_roc(probabilities[:, c], labels[:, c], weights)
        for column in range(3):
            arguments = labels[:, c], probabilities[:, c]
            own = {"sample_weight": weights[:, column]}
            assert found[column] == pytest.approx(reference.average_precision_score(*arguments, **own))
            assert area[column] == pytest.approx(reference.roc_auc_score(*arguments, **own))


@pytest.mark.parametrize("seed", range(3))
def test_all_numbers_are_those_of_scikit_learn(seed):
    probabilities, labels = draw(seed)
    thresholds = np.array([0.5, 0.4, 0.6, 0.7])
    found = full_label_metrics(probabilities, labels, NAMES, thresholds, bootstrap=50)
    said = probabilities >= thresholds
    for name, expected in {
        "map": reference.average_precision_score(labels, probabilities, average="macro"),
        "auc": reference.roc_auc_score(labels, probabilities, average="macro"),
        "f1_macro": reference.f1_score(labels, said, average="macro"),
        "f1_micro": reference.f1_score(labels, said, average="micro"),
        "subset_accuracy": reference.accuracy_score(labels, said),
        "hamming_loss": reference.hamming_loss(labels, said),
    }.items():
        assert found[name] == pytest.approx(expected), name
    per_class = reference.precision_recall_fscore_support(labels, said, zero_division=0)
    for c, name in enumerate(NAMES):
        row = found["classes"][name]
        assert [row[key] for key in ("precision", "recall", "f1", "support")] == pytest.approx(
            [column[c] for column in per_class]
        )
        assert row["ap_interval"][0] <= row["ap"] <= row["ap_interval"][1]
    assert found["micro"]["precision"] == pytest.approx(
        reference.precision_score(labels, said, average="micro")
    )
    losses = [reference.log_loss(labels[:, c], probabilities[:, c], labels=[0, 1]) for c in range(4)]
    assert found["loss"] == pytest.approx(np.mean(losses))
    for name, pair in found["intervals"].items():
        assert pair[0] <= found[name] <= pair[1], name
    json.dumps(found, allow_nan=False)


def test_unknown_cells_count_nowhere():
    probabilities, labels = draw()
    masked = labels.copy()
    masked[np.random.default_rng(5).random(labels.shape) < 0.3] = -1
    thresholds = np.full(4, 0.5)
    found = full_label_metrics(probabilities, masked, NAMES, thresholds, bootstrap=20)
    for c, name in enumerate(NAMES):
        known = masked[:, c] >= 0
        there, scores = masked[known, c], probabilities[known, c]
        row = found["classes"][name]
        assert row["ap"] == pytest.approx(reference.average_precision_score(there, scores))
        assert row["f1"] == pytest.approx(reference.f1_score(there, scores >= 0.5))
        assert row["known"] == known.sum()
    moved = np.where(masked < 0, 1 - probabilities, probabilities)
    again = full_label_metrics(moved, masked, NAMES, thresholds, bootstrap=20)
    assert again == found
    assert score_labels(moved, masked, {"auc"}) == score_labels(probabilities, masked, {"auc"})


def test_a_label_that_no_image_has_is_left_out_of_the_means_and_named():
    probabilities, labels = draw()
    labels[:, 2] = 0
    found = full_label_metrics(probabilities, labels, NAMES, np.full(4, 0.5), bootstrap=20)
    assert found["classes"]["fox"]["ap"] is None
    assert found["classes"]["fox"]["recall"] is None
    others = [found["classes"][name] for name in ("cat", "dog", "owl")]
    assert found["map"] == pytest.approx(np.mean([row["ap"] for row in others]))
    assert found["f1_macro"] == pytest.approx(np.mean([row["f1"] for row in others]))
    assert "'fox'" in found["notes"]["means over labels"]
    json.dumps(found, allow_nan=False)


def test_what_an_epoch_is_measured_by_agrees_with_the_report():
    probabilities, labels = draw()
    epoch = score_labels(probabilities, labels, {"map", "auc"})
    report = full_label_metrics(probabilities, labels, NAMES, np.full(4, 0.5), bootstrap=20)
    for name, key in (
        ("map", "map"), ("auc", "auc"), ("f1", "f1_macro"), ("loss", "loss"), ("subset_accuracy",) * 2,
    ):  # fmt: skip
        assert epoch[name] == pytest.approx(report[key])
    assert "auc" not in score_labels(probabilities, labels, {"map"})


def test_a_number_that_is_not_defined_cannot_choose_an_epoch():
    probabilities = np.full((4, 2), 0.3)
    with pytest.raises(DataError, match="cannot be chosen by map"):
        score_labels(probabilities, np.zeros((4, 2), np.int8), {"map"})
    assert np.isnan(score_labels(probabilities, np.zeros((4, 2), np.int8), {"loss"})["map"])


def test_probabilities_that_are_not_finite_are_no_score():
    probabilities, labels = draw()
    probabilities[0, 0] = np.nan
    found = score_labels(probabilities, labels, {"map"})
    assert np.isnan(found["loss"])
    assert np.isnan(found["map"])


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        (np.zeros((0, 2)), np.zeros((0, 2)), "no pictures to measure"),
        (np.zeros((2, 2)), np.zeros((2, 3)), "do not fit labels"),
        (np.full((2, 2), np.nan), np.zeros((2, 2)), "not all finite"),
        (np.zeros((2, 2)), np.full((2, 2), 3), "must be 1, 0 or -1"),
        (np.zeros((2, 2)), np.full((2, 2), -1), "every label of every picture is unknown"),
    ],
)
def test_what_cannot_be_measured_is_said(probabilities, labels, message):
    with pytest.raises(CatdogError, match=message):
        full_label_metrics(probabilities, labels, ["a", "b"], np.full(2, 0.5))


def test_reliability_counts_each_known_label():
    probabilities = np.array([[0.9, 0.9], [0.9, 0.1], [0.9, 0.1]])
    labels = np.array([[1, 1], [0, 0], [1, -1]], dtype=np.int8)
    found = label_reliability(probabilities, labels, bins=10)
    assert sum(found["count"]) == 5
    assert found["accuracy"][8] == pytest.approx(3 / 4)
    assert found["ece"] == pytest.approx((4 * abs(0.9 - 0.75) + 0.1) / 5)


def test_resamples_without_a_label_do_not_spoil_the_others():
    probabilities, labels = draw(count=12)
    labels[:, 3] = 0
    labels[0, 3] = 1  # many resamples lack this image
    weights = np.ones((12, 2))
    weights[0, 1] = 0
    found = average_precisions(probabilities, labels, weights)
    assert np.isfinite(found[3, 0])
    assert np.isnan(found[3, 1])
