"""Every number against scikit-learn's or one worked out by hand."""

import json

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn import metrics as sklearn_metrics

from catdog_cli.errors import CatdogError, SettingsError
from catdog_cli.evaluation.intervals import bootstrap_intervals, draw_weights, mcnemar, wilson_interval
from catdog_cli.evaluation.metric_functions import (
    area_below,
    macro_auc,
    macro_f1,
    reliability,
    report_auc,
    roc_curves,
)
from catdog_cli.evaluation.metrics import compare_metrics, full_metrics, monitor_value, quick_metrics


def make_case(num_samples=120, num_classes=4, seed=0, decimals=2):
    """Return probabilities (N, C), rounded so that some tie, and labels (N,) that lean towards them."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(num_samples) % num_classes)
    logits = rng.normal(size=(num_samples, num_classes)) + 1.5 * np.eye(num_classes)[labels]
    powers = np.exp(logits.round(decimals))
    return powers / powers.sum(1, keepdims=True), labels


def names(num_classes):
    return [f"class {i}" for i in range(num_classes)]


@pytest.mark.parametrize("num_classes", [2, 3, 10])
def test_the_numbers_are_those_of_scikit_learn(num_classes):
    decimals = 0 if num_classes < 5 else 3  # ties, but where top k would depend on their order
    probabilities, labels = make_case(num_classes=num_classes, decimals=decimals)
    found = full_metrics(probabilities, labels, names(num_classes), bootstrap=20)
    predicted = probabilities.argmax(1)
    scores = probabilities[:, 1] if num_classes == 2 else probabilities
    table = sklearn_metrics.precision_recall_fscore_support(labels, predicted)
    assert found["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(labels, predicted))
    assert found["loss"] == pytest.approx(sklearn_metrics.log_loss(labels, probabilities))
    assert found["auc"] == pytest.approx(sklearn_metrics.roc_auc_score(labels, scores, multi_class="ovr"))
    assert found["f1_macro"] == pytest.approx(sklearn_metrics.f1_score(labels, predicted, average="macro"))
    assert found["confusion"] == sklearn_metrics.confusion_matrix(labels, predicted).tolist()
    for row, key in zip(table, ("precision", "recall", "f1", "support"), strict=True):
        assert [found["classes"][name][key] for name in names(num_classes)] == pytest.approx(row)
    for average in ("macro", "weighted"):
        expected = sklearn_metrics.precision_recall_fscore_support(labels, predicted, average=average)[:3]
        assert list(found[average].values()) == pytest.approx(expected)
    for k, value in found["top_k"].items():
        expected = sklearn_metrics.top_k_accuracy_score(labels, probabilities, k=int(k))
        assert value == pytest.approx(expected)
    assert list(found["top_k"]) == {2: [], 3: [], 10: ["3", "5"]}[num_classes]


@pytest.mark.parametrize(("num_classes", "absent"), [(2, ()), (4, ()), (12, (3, 7))])
@pytest.mark.parametrize("decimals", [0, 6])
def test_tables_and_curves_are_scikit_learns_to_the_bit(num_classes, absent, decimals):
    probabilities, labels = make_case(num_samples=301, num_classes=num_classes, decimals=decimals)
    kept = ~np.isin(labels, absent)
    probabilities, labels = probabilities[kept], labels[kept]
    probabilities[:, list(absent[:1])] = 0  # one is neither shown nor predicted
    found = full_metrics(
        probabilities / probabilities.sum(1, keepdims=True), labels, names(num_classes), bootstrap=0
    )
    predicted = probabilities.argmax(1)
    known = np.union1d(labels, predicted)
    table = sklearn_metrics.precision_recall_fscore_support(labels, predicted, labels=known, zero_division=0)
    for key, column in zip(("precision", "recall", "f1", "support"), table, strict=True):
        assert [found["classes"][f"class {c}"][key] for c in known] == column.tolist()
    for average in ("macro", "weighted"):
        expected = sklearn_metrics.precision_recall_fscore_support(
            labels, predicted, labels=known, average=average, zero_division=0
        )
        assert list(found[average].values()) == [float(value) for value in expected[:3]]
    curves = roc_curves(probabilities, labels)
    shown = [1] if num_classes == 2 else sorted(set(range(num_classes)) - {*absent})
    assert list(curves) == shown
    for c, curve in curves.items():
        wanted = sklearn_metrics.roc_curve(labels == c, probabilities[:, c])[:2]
        assert [part.tolist() for part in curve] == [part.tolist() for part in wanted]
        assert area_below(*curve) == sklearn_metrics.auc(*wanted)
    if not absent:
        scores = probabilities[:, 1] if num_classes == 2 else probabilities
        truth = labels if num_classes == 2 else np.eye(num_classes, dtype=bool)[labels]
        assert report_auc(probabilities, labels) == sklearn_metrics.roc_auc_score(truth, scores)


@pytest.mark.parametrize("num_classes", [2, 5])
def test_weights_mean_repeated_pictures(num_classes):
    probabilities, labels = make_case(num_samples=60, num_classes=num_classes, decimals=0)
    weights = next(draw_weights(60, 5, seed=3))
    assert weights.sum(0).tolist() == [60] * 5
    for column, auc, f1 in zip(
        weights.T,
        macro_auc(probabilities, labels, weights),
        macro_f1(probabilities.argmax(1), labels, num_classes, weights),
        strict=True,
    ):
        drawn = np.repeat(np.arange(60), column.astype(int))
        scores = probabilities[drawn, 1] if num_classes == 2 else probabilities[drawn]
        expected = sklearn_metrics.roc_auc_score(labels[drawn], scores, multi_class="ovr")
        assert auc == pytest.approx(expected)
        expected = sklearn_metrics.f1_score(labels[drawn], probabilities[drawn].argmax(1), average="macro")
        assert f1 == pytest.approx(expected)


def test_monitors_agree_with_the_report():
    probabilities, labels = make_case()
    found = full_metrics(probabilities, labels, names(4), bootstrap=0)
    for name, key in {"accuracy": "accuracy", "loss": "loss", "f1": "f1_macro", "auc": "auc"}.items():
        assert monitor_value(name, probabilities, labels) == pytest.approx(found[key])


def test_one_class_has_no_area():
    probabilities, labels = make_case(num_classes=2)
    with pytest.raises(SettingsError, match="all validation pictures have one class: watch 'accuracy'"):
        monitor_value("auc", probabilities, np.zeros_like(labels))


def test_an_absent_class_makes_nulls_with_a_reason():
    probabilities = np.array([[0.8, 0.2, 0.0], [0.1, 0.9, 0.0], [0.4, 0.6, 0.0]])
    found = full_metrics(probabilities, np.array([0, 1, 0]), ["cat", "dog", "fox"])
    assert found["auc"] is None
    assert found["intervals"]["auc"] is None
    assert found["notes"]["auc"].endswith("no picture of 'fox'.")
    assert found["classes"]["fox"] == {"precision": None, "recall": None, "f1": None, "support": 0}
    assert found["macro"]["recall"] == pytest.approx(0.75)
    assert "NaN" not in json.dumps(found, allow_nan=False)


@pytest.mark.filterwarnings("error")
def test_one_class_alone_is_measured_without_a_warning():
    found = full_metrics(np.ones((3, 1)), np.zeros(3, dtype=int), ["cat"])
    assert found["confusion"] == [[3]]
    assert found["macro"] == {"precision": 1, "recall": 1, "f1": 1}


def test_all_right_is_no_certainty():
    probabilities = np.repeat([[0.9, 0.1], [0.1, 0.9]], 50, axis=0)
    found = full_metrics(probabilities, np.repeat([0, 1], 50), ["cat", "dog"])
    assert found["accuracy"] == found["auc"] == 1
    assert found["intervals"]["accuracy"] == pytest.approx([0.9630065, 1], abs=1e-6)
    assert found["intervals"]["accuracy_bootstrap"] is None
    assert "cannot tell how sure" in found["notes"]["f1_macro interval"]


def test_a_certain_and_wrong_answer_costs_a_finite_loss():
    found = quick_metrics(np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([0, 1]))
    assert found["accuracy"] == 0.5
    assert found["loss"] == pytest.approx(87.3365 / 2, abs=1e-3)
    assert str(quick_metrics(np.array([[1.0, 0.0]]), np.array([0]))["loss"]) == "0.0"


def test_divergence_shows():
    probabilities = np.array([[np.nan, np.nan], [0.2, 0.8]])
    found = quick_metrics(probabilities, np.array([0, 1]))
    assert found["accuracy"] == 0.5
    assert np.isnan(found["loss"])
    assert np.isnan(monitor_value("auc", probabilities, np.array([0, 1])))


def test_wilson_and_mcnemar_are_the_known_ones():
    # Newcombe 1998, table I: 81 of 263 and 15 of 148 by the score method.
    assert wilson_interval(81, 263) == pytest.approx([0.2553, 0.3662], abs=1e-4)
    assert wilson_interval(15, 148) == pytest.approx([0.0624, 0.1605], abs=1e-4)
    assert wilson_interval(0, 5)[0] == 0
    assert wilson_interval(100, 100) == [pytest.approx(0.9630065, abs=1e-6), 1]
    for right, total in ((81, 263), (0, 5), (100, 100), (1, 3), (99_999, 100_000)):
        expected = binomtest(right, total).proportion_ci(0.95, method="wilson")
        assert wilson_interval(right, total) == list(expected)  # to the bit
    assert mcnemar(0, 0) == 1
    assert mcnemar(0, 5) == pytest.approx(2 / 2**5)


def test_bootstrap_finds_the_standard_error():
    values = np.random.default_rng(0).random(400)
    low, high = bootstrap_intervals({"mean": lambda w: values @ w / 400}, 400, 4000, seed=1)["mean"]
    expected = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - expected, abs=0.1 * expected)
    assert high == pytest.approx(values.mean() + expected, abs=0.1 * expected)


def test_the_same_seed_gives_the_same_report():
    probabilities, labels = make_case()
    first, again, other = (full_metrics(probabilities, labels, names(4), 200, seed) for seed in (5, 5, 6))
    assert first == again
    assert first["intervals"]["loss"] != other["intervals"]["loss"]
    low, high = first["intervals"]["auc"]
    assert low < first["auc"] < high


def test_reliability_by_hand():
    probabilities = np.array([[0.95, 0.05], [0.9, 0.1], [0.3, 0.7], [0.5, 0.5]])
    found = reliability(probabilities, np.array([0, 1, 1, 0]), bins=5)
    assert found["count"] == [0, 0, 1, 1, 2]
    assert found["accuracy"] == [None, None, 1, 1, 0.5]
    assert found["confidence"][2:] == pytest.approx([0.5, 0.7, 0.925])
    assert found["ece"] == pytest.approx((0.5 + 0.3 + 2 * 0.425) / 4)


def test_brier_is_the_sum_over_classes():
    found = full_metrics(np.array([[0.7, 0.3], [0.4, 0.6]]), np.array([0, 0]), ["cat", "dog"], bootstrap=0)
    assert found["brier"] == pytest.approx((2 * 0.09 + 2 * 0.36) / 2)
    probabilities, labels = make_case(num_classes=2)
    found = full_metrics(probabilities, labels, names(2), bootstrap=0)
    expected = 2 * sklearn_metrics.brier_score_loss(labels, probabilities[:, 1])
    assert found["brier"] == pytest.approx(expected, abs=1e-12)


def test_comparison_of_a_classifier_with_a_better_one():
    labels = np.zeros(20, dtype=int)
    weak = np.where(np.arange(20)[:, None] < 10, [[0.8, 0.2]], [[0.3, 0.7]])
    strong = np.where(np.arange(20)[:, None] < 1, [[0.4, 0.6]], [[0.9, 0.1]])
    found = compare_metrics(weak, strong, labels)
    assert (found["only_a_right"], found["only_b_right"]) == (1, 10)
    assert (found["both_right"], found["both_wrong"]) == (9, 0)
    assert found["accuracy_difference"] == pytest.approx(0.45)
    assert found["mcnemar_p"] == pytest.approx(binomtest(1, 11).pvalue)
    low, high = found["accuracy_interval"]
    assert 0.1 < low < 0.45 < high < 0.8
    assert compare_metrics(weak, weak, labels)["accuracy_interval"] is None


RIGHT = np.array([[0.5, 0.5], [0.2, 0.8]])


@pytest.mark.parametrize(
    ("probabilities", "labels", "class_names", "message"),
    [
        (RIGHT, [0, 2], ["a", "b"], "Labels must be whole numbers from 0 to 1"),
        (RIGHT, [0.0, 1.0], ["a", "b"], "Labels must be whole numbers"),
        (RIGHT, [0], ["a", "b"], r"shape \(2, 2\) do not fit labels of shape \(1,\)"),
        (RIGHT, [0, 1], ["a"], "1 class names do not fit 2 scores"),
        (RIGHT, [0, 1], ["a", "a"], "Class names must differ, but some repeat: 'a', 'a'"),
        (RIGHT * 3, [0, 1], ["a", "b"], "are not probabilities"),
        (RIGHT * np.nan, [0, 1], ["a", "b"], "not all finite"),
        (np.empty((0, 2)), np.empty(0, dtype=int), ["a", "b"], "no pictures to measure"),
    ],
)
def test_what_cannot_be_measured_is_named(probabilities, labels, class_names, message):
    with pytest.raises(CatdogError, match=message):
        full_metrics(probabilities, np.asarray(labels), class_names)


def test_no_pictures_and_other_classes_are_named():
    with pytest.raises(CatdogError, match="no pictures to measure"):
        quick_metrics(np.empty((0, 2)), np.empty(0, dtype=int))
    with pytest.raises(CatdogError, match=r"shapes \(2, 2\) and \(2, 3\): classes must be the same"):
        compare_metrics(RIGHT, np.full((2, 3), 1 / 3), np.array([0, 1]))
