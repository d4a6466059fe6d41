"""The tables of `catdog evaluate`: of many classes the weakest, whole words in a narrow terminal."""

import io

import numpy as np
import pytest
from rich.console import Console

from catdog_cli.commands.output import eval_tables
from catdog_cli.evaluation.calibration import describe_calibration
from catdog_cli.evaluation.metrics import full_metrics
from catdog_cli.evaluation.result import Evaluation
from catdog_cli.models.tasks import SINGLE_LABEL


def make_evaluation(num_classes):
    """Return what was measured of so many classes, 6 pictures each; the last class is never found."""
    labels = np.repeat(np.arange(num_classes), 6)
    answers = np.where(labels == num_classes - 1, 0, labels)
    answers[::6] = (answers[::6] + 1) % num_classes
    logits = 3.0 * np.eye(num_classes)[answers]
    names = [f"n{number:03}-African hunting dog" for number in range(num_classes)]
    probabilities = SINGLE_LABEL.probabilities(logits)
    rest = {"num_unreadable": 0, "unreadable": [], "mistakes": [], "calibrated": True, "tta": False}
    return Evaluation(
        data="d",
        checkpoint="c",
        checkpoints=["c"],
        split="val",
        num_trained_on=0,
        temperature=1.0,
        calibration=describe_calibration(logits, labels, 1.0, SINGLE_LABEL),
        **full_metrics(probabilities, labels, names, bootstrap=0),
        **rest,
    )


@pytest.fixture
def show(monkeypatch, capsys):
    """Return a function that prints an evaluation on a terminal of so many columns and returns the lines."""

    def run(found, columns, **options):
        screen = io.StringIO()
        console = Console(file=screen, force_terminal=True, width=columns, markup=False, color_system=None)
        monkeypatch.setattr(eval_tables, "make_console", lambda: console)
        capsys.readouterr()
        eval_tables.print_evaluation(found, **options)
        return screen.getvalue().splitlines(), capsys.readouterr().out

    return run


def test_of_many_classes_the_weakest_are_shown_and_all_if_asked_for(show):
    found = make_evaluation(120)
    lines, said = show(found, 100)
    rows = [line for line in lines if "African" in line]
    assert len(rows) == 20 + 10  # the weakest, and the pairs
    assert "n119-African" in rows[0]
    assert any("macro mean" in line for line in lines)
    assert "100 more classes: --all-classes lists them." in said
    assert "The weakest class is 'n119-African hunting dog': 0.0 % of its 6 pictures are found." in said
    lines, said = show(found, 100, all_classes=True)
    assert sum("African" in line for line in lines) == 120 + 10
    assert "more classes" not in said


def test_few_classes_are_all_shown_with_the_matrix(show):
    lines, said = show(make_evaluation(3), 120)
    assert any("true class" in line for line in lines)
    assert not any("taken for" in line for line in lines)
    assert "more classes" not in said


@pytest.mark.parametrize("num_classes", [3, 12, 120])
@pytest.mark.parametrize("columns", [60, 80])
def test_no_word_is_broken_in_a_narrow_terminal(show, num_classes, columns):
    lines, _ = show(make_evaluation(num_classes), columns)
    assert max(map(len, lines)) <= columns
    words = {word for line in lines for word in line.replace("│", " ").replace("┃", " ").split()}
    assert {"n000-African", "hunting", "dog", "pictures", "recall"} <= words
    assert not {"Africa", "hunti", "picture", "interva"} & words


def test_python_shows_the_same_of_many(capsys):
    text = str(make_evaluation(120))
    assert text.count("African") == 1 + 20 + 2 * 10  # the summary, the weakest, the pairs
    assert "macro mean" in text
