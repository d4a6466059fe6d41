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


def test_the_answer_outlives_a_picture_that_cannot_be_written(capsys, pets, tmp_path):
    (tmp_path / "file").touch()
    file = tmp_path / "options.toml"
    file.write_text('arch = "simple_cnn"\nimage-size = 32\nbatch-size = 4\nmlflow = "runs"\nseed = 1\n')
    assert run(["lr-find", str(pets), "--config", str(file), "--plot", str(tmp_path / "file" / "x.png")]) == 1
    said = capsys.readouterr()
    assert "--learning-rate" in said.out
    assert "Cannot write the picture" in said.err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("steepest", "note"),
    [(0.1, "where the loss falls fastest"), (0.3, "a tenth of the rate of least loss"), (None, None)],
)
def test_the_picture_says_which_rule_was_taken(tmp_path, steepest, note):
    plots.plot_lr_find([0.1, 0.3, 1.0], [3.0, 2.0, 1.0], 0.1, tmp_path / "lr.svg", steepest)
    text = (tmp_path / "lr.svg").read_text()
    for each in ("where the loss falls fastest", "a tenth of the rate of least loss"):
        assert (each in text) == (each == note)
