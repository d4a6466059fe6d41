"""Bars that fit the terminal, and rates that are told once they are known."""

import io
import re

import pytest
from rich.console import Console

from catdog_cli.commands.output import bars, train_progress
from catdog_cli.commands.output.bars import Pace, TaskBar
from catdog_cli.settings import Phase


@pytest.fixture
def clock(monkeypatch):
    """Return a list whose only item is the time, in seconds."""
    now = [100.0]
    monkeypatch.setattr(bars.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def terminal(monkeypatch):
    """Return a function that gives bars a terminal of so many columns, and what is drawn there."""

    def make(columns):
        screen = io.StringIO()
        console = Console(file=screen, force_terminal=True, width=columns, soft_wrap=True, markup=False)
        monkeypatch.setattr(bars, "make_console", lambda err: console)
        return screen

    return make


def lines_of(screen):
    """Return the lines that were drawn, without what steers the terminal."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    return [line.rstrip() for line in re.split(r"[\r\n]", plain) if line.strip()]


def test_a_rate_is_told_once_it_is_known(clock):
    pace = Pace()
    assert pace.describe(32) == ""  # the first of all: no time has passed
    clock[0] += 1e-6
    assert pace.describe(64) == ""
    clock[0] += 2
    assert pace.describe(96) == "32 pictures/s"  # what came since the first
    assert pace.describe(96, unit=10) == "320 pictures/s"
    assert pace.describe(32) == ""


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 100, 200])
def test_a_bar_fits_the_terminal(terminal, columns):
    screen = terminal(columns)
    facts = ["loss 0.1234", "accuracy 99.5 %", "1234 pictures/s"]
    with TaskBar() as bar:
        bar.show("fine-tune epoch 12/100", 1234, 5678, facts)
        bar.hide()
        bar.show("features of a name that is too long for any terminal that one may have", 0, None)
        bar.show("features of train", 5678, 5678, facts)
    lines = lines_of(screen)
    assert max(map(len, lines)) <= columns
    shown = [line for line in lines if "5678" in line]
    assert shown or columns < 30
    if columns >= 60:
        assert any("1234/5678 loss 0.1234" in line for line in shown)
    if columns >= 100:
        assert any(fact in line for line in shown for fact in facts[2:])
    assert columns < 200 or any(
        bars.WIDEST * "━" in line.replace("╸", "━").replace("╺", "━") for line in shown
    )


def test_lines_above_a_bar_break_between_words(terminal):
    screen = terminal(30)
    with TaskBar() as bar:
        bar.log("Warning: a sentence of several words that is long")
        bar.log("catdog predict PICTURE a/rather/long/path", wrap=False)
    assert lines_of(screen)[:3] == [
        "Warning: a sentence of several",
        "words that is long",
        "catdog predict PICTURE a/rather/long/path",
    ]


def test_a_training_shows_a_bar_from_the_start_and_no_rate_of_millions(terminal, clock):
    screen = terminal(100)
    phase = Phase("head", 3)
    with train_progress.TrainReport() as report:
        assert "reading the pictures" in screen.getvalue()
        report.on_features("train", 512, 2000)
        clock[0] += 1e-6
        report.on_features("train", 1024, 2000)
        clock[0] += 1
        report.on_features("train", 2000, 2000)
        report.on_phase(phase, 0, [], 10, 100, 0)
        assert report.bar.task is not None  # with --no-cache the first batch takes long
        clock[0] += 60
        report.on_batch(1, 60, phase, 1, 0.5, 0.5)
        clock[0] += 1
        report.on_batch(3, 60, phase, 1, 0.5, 0.5)
    rates = [int(rate) for rate in re.findall(r"(\d+) pictures/s", screen.getvalue())]
    assert set(rates) <= {1488, 64}
    assert "64 pictures/s" in screen.getvalue()
