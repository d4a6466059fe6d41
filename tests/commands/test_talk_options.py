"""--quiet, --verbose and --log-file: what each command says on stderr, and the file that keeps it."""

import re
from pathlib import Path

import click
import pytest

from catdog_cli.cli import run
from catdog_cli.runtime.talk import Talk, talk

from ..test_docs import COMMANDS

STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d "
TRAIN = ("--arch", "simple_cnn", "--image-size", "32", "--epochs", "1", "--cpu")


@pytest.fixture
def ask(capsys, few, tmp_path):
    """Return a function that trains with more options and gives its exit code, stdout and stderr."""

    def call(*options):
        code = run(["train", str(few), *TRAIN, "--output", str(tmp_path / "run"), *map(str, options)])
        caught = capsys.readouterr()
        return code, caught.out, caught.err

    return call


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_them(words):
    options = {option.opts[0] for option in COMMANDS[words].params if isinstance(option, click.Option)}
    assert {"--quiet", "--verbose", "--log-file"} <= options


def test_quiet_says_nothing_and_the_log_has_all(ask, tmp_path):
    code, _, err = ask("--quiet", "--log-file", tmp_path / "log.txt")
    assert (code, err) == (0, "")
    lines = (tmp_path / "log.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not re.match(STAMP, line)] == []
    assert re.sub(STAMP, "", lines[0]).startswith("catdog 0.")
    assert any("12 pictures" in line for line in lines)
    assert re.sub(STAMP, "", lines[-1]).startswith("Exit code 0 after ")


def test_quiet_leaves_errors_and_warnings(capsys, few):
    assert run(["evaluate", str(few), "no.pt", "--quiet"]) == 1
    assert capsys.readouterr().err.startswith("Error: No checkpoint at 'no.pt'")
    assert Talk(quiet=True).shows("Warning: the pictures have changed")
    assert not Talk(quiet=True).shows("val   4 pictures")


def test_verbose_says_when_and_what_runs(ask):
    _, _, err = ask("--verbose")
    lines = err.splitlines()
    assert [line for line in lines if not re.match(r"\[ *\d+\.\d s\] ", line)] == []
    assert "Python 3." in lines[0]
    assert "Exit code 0 after" in lines[-1]


def test_verbose_says_what_caused_an_error(capsys, tmp_path):
    (tmp_path / "settings.toml").write_text("epochs = = 3")
    assert run(["train", str(tmp_path), "--config", str(tmp_path / "settings.toml"), "--verbose"]) != 0
    err = capsys.readouterr().err
    assert re.search(r"caused by TOMLDecodeError: ", err)


def test_a_log_is_continued_and_errors_are_in_it(capsys, tmp_path, few):
    for _ in range(2):
        assert run(["evaluate", str(few), "no.pt", "--log-file", str(tmp_path / "log")]) == 1
    text = (tmp_path / "log").read_text()
    assert text.count("Error: No checkpoint at 'no.pt'") == text.count("Exit code 1 after") == 2


@pytest.mark.parametrize(
    ("options", "code", "match"),
    [
        (["--log-file", "no/such/folder/log"], 1, "Cannot write the log 'no/such/folder/log'"),
        (["--log-file", "."], 2, "is a directory"),
        (["--quiet", "--verbose"], 2, "contradict each other"),
    ],
)
def test_wrong_options_are_told(capsys, tmp_path, monkeypatch, options, code, match):
    monkeypatch.chdir(tmp_path)
    assert run(["info", *options]) == code
    assert match in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_does_not_end_the_command(ask):
    code, _, _ = ask("--log-file", "/dev/full", "--quiet")
    assert code == 0


def test_afterwards_nothing_is_left(ask):
    ask("--quiet")
    assert (talk.quiet, talk.verbose, talk.file) == (False, False, None)
