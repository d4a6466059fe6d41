"""`--help` is read on one or two screens; `--help-all` explains every option."""

import click
import pytest

from catdog_cli.cli import run
from catdog_cli.commands.grouped_help import GroupedCommand

from ..test_docs import COMMANDS

SCREEN = 24  # lines
LONG = sorted(words for words, command in COMMANDS.items() if getattr(command, "first", ()))


def ask(capsys, *arguments):
    assert run(list(arguments)) == 0
    return capsys.readouterr().out


@pytest.fixture(autouse=True)
def _terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_no_help_is_longer_than_two_screens(capsys, words):
    assert len(ask(capsys, *words[1:], "--help").splitlines()) <= 2 * SCREEN


def test_that_of_train_has_45_lines(capsys):
    assert len(ask(capsys, "train", "--help").splitlines()) <= 45


@pytest.mark.parametrize("words", LONG, ids=" ".join)
def test_every_option_is_named_in_short_and_explained_in_full(capsys, words):
    short, whole = (ask(capsys, *words[1:], option) for option in ("--help", "--help-all"))
    assert f"`{' '.join(words)} --help-all` explains" in short
    options = [option for option in COMMANDS[words].params if isinstance(option, click.Option)]
    for option in options:
        name = option.opts[0]
        assert name in short, f"{name} is not named"
        if name != "--help-all":
            assert name in whole
            first = option.help.split()[0]
            assert first in whole, f"{name} is not explained"


@pytest.mark.parametrize("words", LONG, ids=" ".join)
def test_what_comes_first_is_there(words):
    names = {option.opts[0] for option in COMMANDS[words].params}
    assert isinstance(COMMANDS[words], GroupedCommand)
    assert set(COMMANDS[words].first) <= names


def test_names_of_options_are_not_broken(capsys):
    lines = ask(capsys, "train", "--help").splitlines()
    assert [line for line in lines if line.rstrip().endswith("-")] == []


def test_help_all_works_beside_other_options(capsys):
    assert "Smallest gain that counts" in ask(capsys, "train", "pets", "--epochs", "3", "--help-all")
