"""`catdog lr-find`: what it refuses, and what its picture says."""

import pytest

from catdog_cli import plots
from catdog_cli.cli import run


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (("--phase", "2"), "--phase 2: there is 1 phase: add --fine-tune-epochs N."),
        (("--phase", "3", "--recipe", "two-phase"), "--phase 3: there are 2 phases."),
    ],
)
def test_a_phase_that_is_not_there(capsys, options, match):
    assert run(["lr-find", "pets", *options]) == 2
    assert match in capsys.readouterr().err


@pytest.mark.parametrize(
    ("steepest", "note"),
    [(0.1, "where the loss falls fastest"), (0.3, "a tenth of the rate of least loss"), (None, None)],
)
def test_the_picture_says_which_rule_was_taken(tmp_path, steepest, note):
    plots.plot_lr_find([0.1, 0.3, 1.0], [3.0, 2.0, 1.0], 0.1, tmp_path / "lr.svg", steepest)
    text = (tmp_path / "lr.svg").read_text()
    for each in ("where the loss falls fastest", "a tenth of the rate of least loss"):
        assert (each in text) == (each == note)
