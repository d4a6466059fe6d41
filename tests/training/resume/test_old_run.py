"""A run that was stopped by the first release goes on in every later one."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from catdog_cli.errors import CheckpointError
from catdog_cli.runs.checkpoint import FORMAT_VERSION, load_checkpoint
from catdog_cli.training import run

from ..runs import Events, load

LOSSES = [0.7319681, 0.7346171, 0.7292581]  # of the three epochs; the last is trained here
OLD = Path(__file__).parents[2] / "data_files" / "last-v1.pt"


def draw_plain(root: Path) -> Path:
    """Write the pictures of the old run: 8 + 4 of one colour each, in a format whose bytes never change."""
    for split, count in (("train", 4), ("val", 2)):
        for label, name in enumerate(("cats", "dogs")):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                colour = (40 * number + 5 * len(split), 200 * label + 10, 255 - 60 * number)
                pixels = np.full((32, 32, 3), colour, np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{number}.bmp")
    return root


@pytest.fixture
def stopped(tmp_path) -> Path:
    """Return the run directory, as it was left, with its data beside it."""
    draw_plain(tmp_path / "pets")
    (tmp_path / "run").mkdir()
    shutil.copy(OLD, tmp_path / "run" / "last.pt")
    return tmp_path / "run"


def test_a_run_of_the_first_format_goes_on_for_ever(stopped):
    """Written once, in the middle of the second phase's last epoch, with an average and a best so far.

    If this fails, the format needs another number, and a reader for the old one.
    """
    before, events = load(stopped), Events()
    assert (before["phase"], before["epoch"], before["step"]) == (1, 1, 1)
    changes = run.Changes(data=str(stopped.parent / "pets"), device="cpu", workers=0)
    run.resume(stopped, changes, events)
    assert not events.of("data_changed")
    after = load(stopped)
    assert [(row["phase"], row["epoch"]) for row in after["history"]] == [(0, 1), (1, 1), (1, 2)]
    assert after["history"][0] == before["history"][0]
    losses = [row["val_loss"] for row in after["history"]]
    assert losses == pytest.approx(LOSSES, rel=1e-2)
    frozen = "backbone.features.0.0.weight"
    assert torch.equal(after["state_dict"][frozen], before["state_dict"][frozen])


def test_a_run_of_a_later_format_is_refused(stopped):
    content = torch.load(stopped / "last.pt", weights_only=True)
    torch.save({**content, "format_version": FORMAT_VERSION + 1}, stopped / "last.pt")
    with pytest.raises(CheckpointError, match="this catdog reads up to 1: update catdog"):
        load_checkpoint(stopped, "last.pt", resume=True)
