"""Which classes are weak, by evidence: one picture that was missed is none."""

import pytest

from catdog_cli.evaluation.report import list_confused_pairs, list_worst_classes
from catdog_cli.evaluation.weak_classes import find_weakest, list_confused, list_worst


def make_classes(**counts):
    """Return rows of classes given as (right, pictures)."""
    return {
        name: {"recall": right / max(total, 1), "precision": 0.5, "f1": 0.5, "support": total}
        for name, (right, total) in counts.items()
    }


@pytest.mark.parametrize(
    ("counts", "weakest"),
    [
        ({"a": (10, 30), "lone": (0, 1), "b": (28, 30)}, "a"),
        ({"a": (30, 30), "lone": (0, 1)}, None),
        ({"a": (4, 5), "b": (60, 100)}, "b"),
        ({"few": (0, 2), "a": (50, 50)}, None),
        ({"few": (0, 2), "other": (2, 2)}, "few"),
        ({"one": (0, 1), "other": (1, 1)}, None),
        ({"a": (5, 10)}, None),
        ({"a": (5, 10), "absent": (0, 0)}, None),
        ({"a": (5, 10), "b": (5, 10)}, "a"),
        ({}, None),
    ],
)
def test_the_weakest_class_is_one_with_evidence(counts, weakest):
    assert find_weakest(make_classes(**counts)) == weakest


def test_the_worst_are_those_whose_interval_begins_lowest():
    classes = make_classes(sure=(99, 100), bad=(1, 20), wide=(3, 4), absent=(0, 0), none=(0, 5))
    assert [name for name, _ in list_worst(classes)] == ["none", "bad", "wide", "sure"]
    assert [name for name, _ in list_worst(classes, 2)] == ["none", "bad"]


def test_pairs_that_are_mixed_up():
    confusion = [[5, 3, 0], [1, 0, 0], [0, 3, 97]]
    assert list_confused(confusion, ["a", "b", "c"]) == [
        ("a", "b", 3, 3 / 8),
        ("c", "b", 3, 0.03),
        ("b", "a", 1, 1.0),
    ]
    assert list_confused([[1, 0], [0, 1]], ["a", "b"]) == []
    metrics = {"confusion": confusion, "class_names": ["a", "b", "c"]}
    assert list_confused_pairs(metrics, 1) == [("a", "b", "3", "37.5 %")]


def test_rows_say_how_sure_they_are():
    (row,) = list_worst_classes({"classes": make_classes(a=(3, 4))})
    assert row == ("a", "0.7500", "0.3006 to 0.9544", "0.5000", "0.5000", "4")
