"""Two processes in one run directory: the second is refused, and a dead one is not in the way."""

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest

from catdog_cli.errors import CatdogError
from catdog_cli.runs.lock import LOCK_FILE, locked

from ..training.runs import load, resume, settings_for, train

HOLD = """
import os, signal, sys
from pathlib import Path
from catdog_cli.runs.lock import locked
with locked(Path(sys.argv[1]), print):
    child = os.fork()  # as a loading process
    if child:
        print(child, flush=True)
    signal.pause()
"""


@pytest.fixture
def holder(tmp_path):
    """Start a process that holds tmp_path, with a child; yield both process numbers, and end them."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    child = int(process.stdout.readline())
    yield process, child
    process.kill()
    process.wait()
    os.kill(child, signal.SIGKILL)


def test_a_directory_in_use_is_refused_by_name(few, tmp_path, holder):
    wanted = rf"is in use by process {holder[0].pid} on '{socket.gethostname()}': wait until .* stop it"
    for _ in range(2):  # asking does not take the owner's name away
        with pytest.raises(CatdogError, match=wanted):
            train(settings_for(few), tmp_path)
    assert not (tmp_path / "settings.json").exists()


def test_a_killed_process_holds_nothing_although_its_child_lives(few, tmp_path, holder):
    holder[0].kill()
    holder[0].wait()
    os.kill(holder[1], 0)  # it is there
    assert train(settings_for(few), tmp_path)["epoch"] == 2
    assert not (tmp_path / LOCK_FILE).exists()


def test_resume_is_refused_too_and_reading_is_not(few, tmp_path):
    train(settings_for(few), tmp_path)
    with locked(tmp_path, print):
        before = (tmp_path / "last.pt").read_bytes()
        with pytest.raises(CatdogError, match=f"is in use by process {os.getpid()}"):
            resume(tmp_path, epochs=3)
        assert (tmp_path / "last.pt").read_bytes() == before
        assert load(tmp_path, "best.pt")["best"]
    assert resume(tmp_path, epochs=3)["epoch"] == 3


def test_the_lock_goes_when_training_fails(few, tmp_path):
    def report(event):
        if event.kind == "batch":
            raise KeyError("a failure")

    from catdog_cli.training import run

    with pytest.raises(KeyError, match="a failure"):
        run.train(settings_for(few), tmp_path / "run", report)
    assert not (tmp_path / "run" / LOCK_FILE).exists()


def test_of_many_at_once_one_has_it_at_a_time(tmp_path):
    inside, most, rounds = [], [], []

    def work():
        for _ in range(40):
            try:
                with locked(tmp_path, print):
                    inside.append(1)
                    most.append(len(inside))
                    inside.pop()
                    rounds.append(1)
            except CatdogError:
                continue

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    assert rounds


def test_an_owner_that_cannot_be_read_is_still_in_the_way(tmp_path):
    with locked(tmp_path, print):
        assert json.loads((tmp_path / LOCK_FILE).read_text())["pid"] == os.getpid()
        (tmp_path / LOCK_FILE).write_text("nonsense")
        with pytest.raises(CatdogError, match="is in use by another process"), locked(tmp_path, print):
            pass


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_said(tmp_path, monkeypatch, number):
    def refuse(descriptor, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    warnings = []
    with locked(tmp_path, warnings.append):
        pass
    assert "has no locks: let no other process train there" in warnings[0]
