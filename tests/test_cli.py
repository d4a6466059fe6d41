"""The root command: lists without importing, and one exit code for every way to end."""

import subprocess
import sys

import click
import pytest

from catdog_cli import __version__, cli
from catdog_cli.errors import CatdogError, DataError, InterruptedRunError

CATDOG = [sys.executable, "-m", "catdog_cli"]


@pytest.fixture
def command(monkeypatch):
    """Return a function that makes `catdog info` do what it is given."""

    def replace(action):
        made = click.Command("info", callback=action)
        monkeypatch.setattr(cli.LazyGroup, "get_command", lambda self, ctx, name: made)

    return replace


def raising(error):
    def action():
        raise error

    return action


def test_help_lists_every_command_with_its_line():
    done = subprocess.run([*CATDOG, "--help"], capture_output=True, text=True, check=True)
    listed = " ".join(done.stdout.split())
    for name, line in cli.COMMANDS.items():
        assert f"{name} {line}" in listed
    assert done.stderr == ""


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["train", "--help"], ["info", "--help"], ["info", "--no-such"]]
)
def test_answers_without_importing_what_is_heavy(arguments):
    code = (
        "import sys; from catdog_cli import cli; cli.run(sys.argv[1:]); "
        "print(sorted({'torch', 'torchvision', 'numpy', 'PIL', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "[]"


def test_version(capsys):
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out == f"catdog, version {__version__}\n"


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (CatdogError("No luck."), 1, "Error: No luck.\n"),
        (DataError("No pictures."), 1, "Error: No pictures.\n"),
        (InterruptedRunError("Stopped; go on with X."), 130, "Stopped; go on with X.\n"),
        (click.UsageError("Give more."), 2, "Error: Give more.\n"),
        (click.Abort(), 130, "Interrupted.\n"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_an_error_is_one_sentence_and_a_code(command, capsys, error, code, said):
    command(raising(error))
    assert cli.run(["info"]) == code
    caught = capsys.readouterr()
    assert caught.err.endswith(said)
    assert caught.out == ""


def test_ctrl_c_is_130(command, capsys):
    command(raising(KeyboardInterrupt()))
    assert cli.run(["info"]) == 130
    assert capsys.readouterr().err.strip() == "Interrupted."


def test_done_is_0(command):
    command(lambda: None)
    assert cli.run(["info"]) == 0


def test_a_bug_is_not_hidden(command):
    command(raising(ZeroDivisionError("bug")))
    with pytest.raises(ZeroDivisionError, match="bug"):
        cli.run(["info"])


@pytest.mark.parametrize("code", [3, None])
def test_a_command_that_exits_keeps_its_code(command, code):
    command(raising(SystemExit(code)))
    with pytest.raises(SystemExit) as stop:
        cli.run(["info"])
    assert stop.value.code == code


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("trian", "No such command 'trian': did you mean 'train'?"),
        ("lr_find", "No such command 'lr_find': did you mean 'lr-find'?"),
        ("zzz", "No such command 'zzz': `catdog --help` lists all."),
    ],
)
def test_an_unknown_command_suggests(capsys, name, message):
    assert cli.run([name]) == 2
    assert message in capsys.readouterr().err


def test_a_group_alone_shows_its_help_in_lines(capsys):
    assert cli.run(["data"]) == 2
    said = capsys.readouterr().err
    assert "\nCommands:\n" in said
    assert "\\n" not in said


def test_an_unknown_option_is_2(capsys):
    assert cli.run(["--verison"]) == 2
    assert "--version" in capsys.readouterr().err


def test_another_pipe_that_breaks_is_an_error(command, capsys):
    command(raising(BrokenPipeError(32, "Broken pipe")))
    assert cli.run(["info"]) == 1
    assert "A connection was closed by its other side" in capsys.readouterr().err


def test_a_reader_that_leaves_is_no_error(tmp_path):
    code = "import sys, click; from catdog_cli import cli; " + (
        "cli.LazyGroup.get_command = lambda *a: click.Command('info', callback=lambda: "
        "[click.echo('x' * 1000) for _ in range(1000)]); sys.exit(cli.run(['info']))"
    )
    with (tmp_path / "stderr").open("w+") as stderr:
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=stderr)
        process.stdout.read(10)
        process.stdout.close()
        assert process.wait(30) == 0
        stderr.seek(0)
        assert stderr.read() == ""


@pytest.mark.parametrize(
    ("arguments", "again"),
    [
        (["train", "pets"], True),
        (["predict", "a.jpg", "run"], True),
        (["train", "--help"], False),
        (["info"], False),
        (["info", "train"], False),
        ([], False),
    ],
)
def test_main_switches_the_measures_on_and_starts_again_only_what_computes(monkeypatch, arguments, again):
    called = []
    for name in ("enable", "replace_process", "leave"):
        monkeypatch.setattr(cli.startup, name, lambda *given, name=name: called.append((name, *given[:1])))
    monkeypatch.setattr(cli, "run", lambda given: called.append(("run", given)) or 3)
    monkeypatch.setattr(cli.sys, "argv", ["catdog", *arguments])
    cli.main()
    expected = [("enable",), ("replace_process",), ("run", arguments), ("leave", 3)]
    assert called == [call for call in expected if again or call != ("replace_process",)]
