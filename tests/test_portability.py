"""What other systems lack: modules that only POSIX has, links, letters beyond ASCII, starting by fork."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from catdog_cli.errors import CatdogError
from catdog_cli.inference.answer import ClassProbability
from catdog_cli.inference.outputs.sort_into import Sorter
from catdog_cli.inference.prediction import Prediction
from catdog_cli.runtime import memory

from .conftest import PATIENCE_S

ROOT = Path(__file__).resolve().parents[1]
POSIX_ONLY = ("resource", "fcntl", "pwd", "grp", "termios", "tty", "pty", "syslog", "crypt")
# filelock has msvcrt where fcntl is missing, which this system has not
BLOCK = f"import sys, filelock; sys.modules.update(dict.fromkeys({POSIX_ONLY!r}))\n"
IMPORT_ALL = """
import importlib, pkgutil
import catdog_cli
names = [found.name for found in pkgutil.walk_packages(catdog_cli.__path__, "catdog_cli.")]
for name in names:
    if name != "catdog_cli.__main__":
        importlib.import_module(name)
print(len(names))
"""
COMMANDS = """
from catdog_cli.cli import run
import sys
sys.exit(run(sys.argv[1:]))
"""


def start(code, *arguments, cwd=None, **environment):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )


def test_every_module_is_imported_without_what_only_posix_has():
    done = start(BLOCK + IMPORT_ALL)
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) > 200


def test_training_and_predicting_work_without_it(few, tmp_path):
    network = ("--arch", "simple_cnn", "--image-size", "32", "--cpu")
    asked = [
        ("train", few, *network, "--dry-run"),
        ("train", few, *network, "--epochs", "1", "--output", tmp_path / "run"),
        ("predict", few / "val", tmp_path / "run", "--output", tmp_path / "rows.csv", "--cpu"),
    ]
    calls = repr([list(map(str, arguments)) for arguments in asked])
    done = start(f"{BLOCK}from catdog_cli.cli import run\nprint([run(each) for each in {calls}])")
    assert done.stdout.splitlines()[-1] == "[0, 0, 0]", done.stderr
    assert len((tmp_path / "rows.csv").read_text().splitlines()) == 7


def test_peak_memory_is_asked_of_the_system(monkeypatch):
    assert memory.peak_bytes() > 10_000_000
    monkeypatch.setitem(sys.modules, "resource", None)
    assert memory.peak_bytes() == 0  # neither POSIX nor Windows


@pytest.fixture
def picture(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"picture")
    return Prediction(str(tmp_path / "a.jpg"), predictions=(ClassProbability("cats", "cats", 1.0),))


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP, "windows"])
def test_where_links_are_refused_pictures_are_copied(tmp_path, picture, monkeypatch, number):
    def refuse(self, target):
        error = OSError(errno.EINVAL if number == "windows" else number, "no links here")
        if number == "windows":
            error.winerror = 1314
        raise error

    monkeypatch.setattr(Path, "symlink_to", refuse)
    sorter = Sorter(str(tmp_path / "sorted"), copy=False, names=["cats"])
    assert sorter.place(picture)
    assert sorter.place(picture)  # again, as after a kill
    put = tmp_path / "sorted" / "cats" / "a.jpg"
    assert put.read_bytes() == b"picture"
    assert not put.is_symlink()
    assert sorter.copy


def test_a_folder_that_may_not_be_written_is_still_an_error(tmp_path, picture, monkeypatch):
    def refuse(self, target):
        raise PermissionError(errno.EACCES, "no permission")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    with pytest.raises(CatdogError, match="Cannot sort"):
        Sorter(str(tmp_path / "sorted"), copy=False, names=["cats"]).place(picture)


@pytest.mark.parametrize("arguments", [("runs", "."), ("info", "--recipes"), ()])
def test_a_terminal_that_knows_ascii_alone_gets_text(tmp_path, arguments):
    done = start(COMMANDS, *arguments, cwd=tmp_path, PYTHONIOENCODING="ascii", LC_ALL="C", PYTHONUTF8="0")
    assert done.returncode == 0, done.stderr
    assert (done.stdout + done.stderr).isascii()
