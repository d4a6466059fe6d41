"""Words for the user's screen."""

import io
import os
import shutil
import sys

import pytest

from catdog_cli import cli
from catdog_cli.commands.output import terminal
from catdog_cli.commands.output.info_text import _settings
from catdog_cli.commands.output.table import list_facts, list_rows
from catdog_cli.commands.output.terminal import counted
from catdog_cli.commands.output.units import show_size
from catdog_cli.evaluation.result import show_p


@pytest.mark.parametrize(
    ("number", "shown"), [(0, "0 epochs"), (1, "1 epoch"), (2, "2 epochs"), (1000, "1,000 epochs")]
)
def test_a_number_with_its_noun(number, shown):
    assert counted(number, "epoch") == shown


def test_a_plural_that_is_more_than_an_s():
    assert [counted(number, "batch", "batches") for number in (1, 2)] == ["1 batch", "2 batches"]


@pytest.mark.parametrize(
    ("num_bytes", "shown"),
    [(460_800, "460.8 kB"), (500_000, "500.0 kB"), (3_200_000, "3.2 MB"), (40, "40 bytes")],
)
def test_a_few_features_are_not_none(num_bytes, shown):
    assert show_size(num_bytes) == shown


@pytest.mark.parametrize(("chance", "shown"), [(0.0, "< 0.0001"), (3e-8, "< 0.0001"), (0.0034, "0.0034")])
def test_no_chance_is_shown_as_none(chance, shown):
    assert show_p(chance) == shown


def test_settings_without_a_value_are_left_out():
    ((_, text),) = _settings({"data": "pets", "exclude": "", "image_size": 0, "arch": "resnet18"})
    assert text == "data pets, image_size 0"


def test_a_table_in_a_pipe_is_whole_and_lined_up():
    long = "x" * 300
    lines = list_rows(("class", "train"), [("[red]日本", 1234), (f"{long}\n", 2)])
    assert lines[1] == "[red]日本" + " " * 295 + "1,234"  # two of its letters are two places wide
    assert lines[2] == f"{long}\\n      2"
    assert list_facts([("classes", long), ("temperature", 1)]) == [f"classes      {long}", "temperature  1"]


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("environment", "colored"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_errors_are_red_where_that_is_wanted(monkeypatch, environment, colored):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    for name in ("NO_COLOR", *environment):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert cli.run(["info", "\x1b[2Jno.pt"]) == 1
    assert cli.run(["info", "--recipe"]) == 2
    start = "\x1b[31m\x1b[1mError:\x1b[0m" if colored else "Error:"
    said = [line for line in screen.getvalue().splitlines() if "Error" in line]
    assert [line.split(" ")[0] for line in said] == [start, start]
    assert "\x1b[2J" not in screen.getvalue()


def test_errors_have_no_colour_in_a_file(capsys):
    assert cli.run(["info", "no.pt"]) == 1
    assert capsys.readouterr().err.startswith("Error: No checkpoint at")


@pytest.mark.parametrize("columns", [30, 60])
def test_lines_break_between_words(monkeypatch, columns):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size((columns, 20)))
    words = ["sentence", "of", "words", "that", "is", "longer", "than", "this", "terminal", "is", "wide"] * 2
    path = "a/path/that/is/longer/than/any/terminal/and/stays/whole/for/all/that.jpg"
    terminal.log(" ".join([*words, path, *words]))
    lines = screen.getvalue().splitlines()
    assert " ".join(lines).split() == [*words, path, *words]
    assert max(len(line) for line in lines if line != path) <= columns
    terminal.log("  an indented line of words that goes on and on, " + " ".join(words))
    assert all(line.startswith("  ") for line in screen.getvalue().splitlines()[len(lines) :])
