"""Commands run on their own, with wall time, processor time and peak memory. Used by every group of rows.

Nothing here imports torch: on Linux a child's peak memory is at least what this process held when it
started the child.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catdog_cli.runtime.startup import TUNABLES

ROOT = Path(__file__).resolve().parents[2]
KEEP_MEMORY = {"GLIBC_TUNABLES": TUNABLES}  # what catdog gives itself
MAXRSS_BYTES = 1 if sys.platform == "darwin" else 1024


class CommandError(Exception):
    """A measured command failed."""


@dataclass(frozen=True)
class Child:
    """What a finished command took; `peak_mb` is that of its biggest process, in 10^6 bytes."""

    wall_s: float
    processor_s: float
    peak_mb: float
    stdout: str


def run_child(command: list[str], work: Path, **environment: str) -> Child:
    """Run a command to its end, away from the user's feature cache and allocator settings.

    Args:
        work: the folder in which it runs; its cache is `work/cache` unless `environment` says otherwise.

    Raises:
        CommandError: it failed; the sentence ends with the last line that it wrote to stderr.
    """
    inherited = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    known = {"CATDOG_CACHE": str(work / "cache"), "PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        start = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=work, env={**inherited, **known, **environment}, stdout=stdout, stderr=stderr
        )
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:  # Ctrl-C: leave nothing running
            process.kill()
            raise
        wall_s = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise CommandError(_failure(command, process.returncode, _text(stderr)))
        used_s, peak_mb = usage.ru_utime + usage.ru_stime, usage.ru_maxrss * MAXRSS_BYTES / 1e6
        return Child(wall_s, used_s, peak_mb, _text(stdout))


def _text(file: Any) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def _failure(command: list[str], code: int, stderr: str) -> str:
    last = (stderr.strip().splitlines() or ["it wrote nothing to stderr."])[-1]
    return f"The command `{' '.join(command)[:300]}` ended with exit code {code}: {last}"


def run_catdog(arguments: list[Any], work: Path, **environment: str) -> Child:
    """Run a catdog command line, as a user would."""
    return run_child([sys.executable, "-m", "catdog_cli", *map(str, arguments)], work, **environment)


def run_worker(file: str, arguments: dict[str, Any], work: Path, **environment: str) -> tuple[Child, dict]:
    """Run a module of this folder on its own; return what it took, and the answer that it printed."""
    child = run_child([sys.executable, file, json.dumps(arguments, default=str)], work, **environment)
    return child, json.loads(child.stdout.strip().splitlines()[-1])


def answer(function: Callable[..., dict[str, Any]]) -> None:
    """Be the worker: call `function` with the arguments that `run_worker` gave, print what it returns."""
    print("\n" + json.dumps(function(**json.loads(sys.argv[1]))))
