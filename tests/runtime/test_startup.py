"""Measures for the whole process: what each does, on the command line alone, and not with CATDOG_PLAIN=1."""

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from catdog_cli.runs.compare_runs import compare_runs
from catdog_cli.runtime import startup
from tests.conftest import PATIENCE_S, write_images

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def enabled(monkeypatch):
    monkeypatch.delenv(startup.PLAIN, raising=False)
    monkeypatch.setenv(startup.ENABLED, "1")


@pytest.mark.parametrize(
    ("value", "plain"), [(None, False), ("", False), ("0", False), ("1", True), ("yes", True)]
)
def test_plain_is_what_the_user_says(monkeypatch, value, plain):
    monkeypatch.setattr(startup.os, "environ", {} if value is None else {startup.PLAIN: value})
    assert startup.is_plain() == plain
    assert not startup.is_active()  # nobody has enabled anything
    startup.enable()
    assert startup.is_active() != plain


def test_a_child_process_of_a_command_line_is_enabled_too():
    child = "from catdog_cli.runtime import startup; print(startup.is_active())"
    start = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    enable = "from catdog_cli.runtime import startup; startup.enable();"
    assert output_of(start) == "False"
    assert output_of(enable + start) == "True"


def output_of(code):
    """Return what a fresh Python, which nobody has enabled, prints."""
    environment = {
        name: value for name, value in os.environ.items() if name not in (startup.ENABLED, startup.PLAIN)
    }
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("environment", "platform", "again"),
    [
        ({startup.ENABLED: "1"}, "linux", True),
        ({startup.ENABLED: "1", "WORLD_SIZE": "2"}, "linux", True),
        ({startup.ENABLED: "1", "GLIBC_TUNABLES": "x"}, "linux", False),
        ({startup.ENABLED: "1", startup.PLAIN: "1"}, "linux", False),
        ({startup.ENABLED: "1"}, "darwin", False),
        ({}, "linux", False),
    ],
)
def test_the_process_is_replaced_once_on_linux(monkeypatch, environment, platform, again):
    started = replace(monkeypatch, environment, platform)
    assert started == ([(sys.executable, sys.orig_argv)] if again else [])
    assert startup.os.environ.get("GOMP_SPINCOUNT") == (startup.SPINS if again else None)
    assert (startup.os.environ.get("GLIBC_TUNABLES") == startup.TUNABLES) == again


@pytest.mark.parametrize("name", ["GOMP_SPINCOUNT", "OMP_WAIT_POLICY"])
def test_what_the_user_says_of_waiting_threads_stays(monkeypatch, name):
    replace(monkeypatch, {startup.ENABLED: "1", name: "mine"})
    expected = {startup.ENABLED: "1", name: "mine", "GLIBC_TUNABLES": startup.TUNABLES}
    assert startup.os.environ == expected


def replace(monkeypatch, environment, platform="linux"):
    """Return the calls of os.execv that replace_process makes."""
    started = []
    monkeypatch.setattr(startup.os, "environ", dict(environment))
    monkeypatch.setattr(startup.os, "execv", lambda *call: started.append(call))
    monkeypatch.setattr(startup.sys, "platform", platform)
    startup.replace_process()
    return started


LEAVE = """
import atexit, sys, threading, types
from catdog_cli.runtime import startup

class Heavy:
    def __del__(self):
        print("freed")

sys.modules["torch"] = types.ModuleType("torch")
heavy = Heavy()
atexit.register(print, "atexit")
threading.Thread(target=lambda: (threading.main_thread().join(), print("thread"))).start()
ENABLE
print("end")
startup.leave(3, sys.stdout, sys.stderr)
"""


@pytest.mark.parametrize(
    ("enable", "plain", "freed"),
    [("startup.enable()", "", []), ("startup.enable()", "1", ["freed"]), ("", "", ["freed"])],
)
def test_leaving_waits_for_threads_and_runs_exit_functions(enable, plain, freed):
    environment = {name: value for name, value in os.environ.items() if name != startup.ENABLED}
    done = subprocess.run(
        [sys.executable, "-c", LEAVE.replace("ENABLE", enable)],
        cwd=ROOT,
        env={**environment, startup.PLAIN: plain},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (3, "")
    assert done.stdout.split() == ["end", "thread", "atexit", *freed]


class Writer(threading.Thread):
    __module__ = "tensorboard.summary"

    def run(self):
        raise OSError("disk full")


def fail_in_threads():
    """Let a thread of tensorboard and one of ours fail."""
    for thread in (Writer(), threading.Thread(target=lambda: 1 / 0)):
        thread.start()
        thread.join()


def test_only_the_threads_of_a_package_are_quiet(monkeypatch, enabled):
    heard = []
    monkeypatch.setattr(threading, "excepthook", lambda failure: heard.append(failure.exc_type))
    before = threading.excepthook
    with startup.quiet_threads("tensorboard"):
        fail_in_threads()
    assert heard == [ZeroDivisionError]
    assert threading.excepthook is before


@pytest.mark.parametrize("plain", [True, False])
def test_no_thread_is_quiet_in_a_plain_process_or_a_library(monkeypatch, enabled, plain):
    if plain:
        monkeypatch.setenv(startup.PLAIN, "1")
    else:
        monkeypatch.delenv(startup.ENABLED)
    heard = []
    monkeypatch.setattr(threading, "excepthook", lambda failure: heard.append(failure.exc_type))
    with startup.quiet_threads("tensorboard"):
        fail_in_threads()
    assert heard == [OSError, ZeroDivisionError]


TINY = ("--arch", "simple_cnn", "--weights", "none", "--image-size", "32", "--batch-size", "7", "--cpu")
CATDOG = """
import atexit, json, os, sys
from catdog_cli import cli
from catdog_cli.runtime import startup

def note():
    compiler = sys.modules.get("torch._dynamo")
    print(hasattr(compiler, "__file__"), "GLIBC_TUNABLES" in os.environ, file=sys.stderr)

*before, last = json.loads(sys.argv[1])
if before:  # as main does
    startup.enable()
    startup.replace_process()
for command in before:
    assert cli.run(command) == 0
    note()
atexit.register(note)
sys.argv[1:] = last
cli.main()
"""


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Return the folders of two chains of command lines, as usual and with CATDOG_PLAIN=1."""
    folder = tmp_path_factory.mktemp("both")
    counts = {"train/cats": 12, "train/dogs": 12, "val/cats": 6, "val/dogs": 6}
    pets = write_images(folder / "pets", counts)
    return [run_chain(folder / name, pets, name == "plain") for name in ("usual", "plain")]


def run_chain(folder, pets, plain):
    """Train in one process, resume, predict and evaluate in another; keep in `folder` what came of each."""
    folder.mkdir()
    options = (*TINY, "--epochs", 1, "--workers", 1, "--output", "run")
    catdog(folder, plain, ["train", pets, *options])
    shutil.copytree(folder / "run", folder / "first")
    predict, evaluate = ["predict", pets / "val" / "cats", "run", "--cpu"], ["evaluate", pets, "run", "--cpu"]
    catdog(folder, plain, ["train", "--resume", "run", "--epochs", 2], predict, evaluate)
    return folder


def catdog(folder, plain, *commands):
    """Run command lines in one process, in `folder`, and keep their JSON there.

    Check that each took the measures, or none.
    """
    own = (startup.ENABLED, "GLIBC_TUNABLES", "GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    inherited = {name: value for name, value in os.environ.items() if name not in own}
    ours = {startup.PLAIN: str(int(plain)), "CATDOG_CACHE": str(folder / "cache"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", CATDOG, json.dumps([[*map(str, command), "--json"] for command in commands])],
        cwd=folder,
        env={**inherited, **ours},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    expected = f"{plain} {not plain and sys.platform.startswith('linux')}"
    notes = [line for line in done.stderr.splitlines() if line.split()[:1] in (["True"], ["False"])]
    assert notes == [expected] * len(commands)
    rest = done.stdout
    for command in commands:
        document, end = json.JSONDecoder().raw_decode(rest)
        (folder / f"{command[0]}.json").write_text(json.dumps(document))
        rest = rest[end:].lstrip()
    assert rest == ""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["first", "run"])
def test_a_plain_training_and_its_resume_give_the_same_run(both, name):
    """Weights, optimizer, history and names of files, bit for bit."""
    usual, plain = (folder / name for folder in both)
    assert (usual / "last.pt").is_file()
    assert compare_runs(usual, plain) == []


@pytest.mark.slow
@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_a_plain_command_gives_the_same_answers(both, command):
    usual, plain = (json.loads((folder / f"{command}.json").read_text()) for folder in both)
    assert usual
    assert usual == plain
