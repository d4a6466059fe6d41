"""Starting a training and killing it: forks of this process, which has imported torch once, or real ones."""

import os
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

LIMIT_S = 180.0  # after which a training hangs
ROOT = Path(__file__).resolve().parents[2]


def start(words: list[str], log: Path, cache: Path, whole: bool) -> int:
    """Start `catdog` with `words` in a process group of its own and return its number.

    `whole` starts a new interpreter, which takes seconds; otherwise a copy of this process.
    """
    if whole:
        settings = {**os.environ, "CATDOG_CACHE": str(cache), "PYTHONPATH": str(ROOT)}
        with log.open("ab") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "catdog_cli", *words],
                env=settings,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        return process.pid
    number = os.fork()
    if not number:
        _become(words, log, cache)
    return number


def _become(words: list[str], log: Path, cache: Path) -> None:
    """Run a command line in this forked process, and end it."""
    code = 99
    try:
        os.setsid()
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.environ["CATDOG_CACHE"] = str(cache)
        from catdog_cli.cli import run

        code = run(words)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def wait(number: int, limit_s: float, stop_at: Path | None = None) -> int | None:
    """Wait for a process; return its exit code, or None where it still runs.

    Args:
        limit_s: how long to wait.
        stop_at: a run directory; waiting ends early when a file is being written there.
    """
    passed_s, before = 0.0, time.monotonic()
    while True:
        done, status = os.waitpid(number, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        now = time.monotonic()
        passed_s += min(now - before, 0.1)  # a pause of the whole machine is no time for a training
        before = now
        if passed_s >= limit_s or (stop_at is not None and _is_writing(stop_at)):
            return None
        time.sleep(0.0005 if stop_at is not None else 0.002)


def _is_writing(run_dir: Path) -> bool:
    try:
        return any(name.endswith(".tmp") for name in os.listdir(run_dir))  # noqa: PTH208 - the quickest look
    except OSError:
        return False


def kill(number: int, alone: bool = False) -> None:
    """Kill a process and, unless `alone`, all that it started; wait until it is gone."""
    if alone:
        os.kill(number, signal.SIGKILL)
        os.waitpid(number, 0)
        return
    for _ in range(1000):  # until the child has its own group
        try:
            os.killpg(number, signal.SIGKILL)
            break
        except ProcessLookupError:
            time.sleep(0.001)
    else:
        os.kill(number, signal.SIGKILL)
    os.waitpid(number, 0)
