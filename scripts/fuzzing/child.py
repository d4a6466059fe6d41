"""One process of the fuzzer: reads damaged inputs until its time is over; `__main__` starts it and its kin.

It holds itself to limits, so that what is too slow or too large for one input ends it, or is noted.
"""

import argparse
import contextlib
import json
import os
import random
import resource
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path

import click
import torch
from targets import TARGETS, ease, write_corpus

from catdog_cli.errors import CatdogError

LIMIT_S = 20  # of a processor, for one input
LIMIT_BYTES = 2 * 2**30  # by which the memory may grow for one input: 300 megapixels take half of that
ROOM_BYTES = 8 * 2**30  # of addresses
LONGEST_SENTENCE = 2000


def make_input(target: str, seed: int, number: int, folder: Path) -> tuple[str, bytes]:
    """Return the name and the bytes of an input, the same for the same arguments."""
    rng = random.Random(f"{target} {seed} {number}")
    files = sorted(path for path in folder.glob(TARGETS[target].damaged) if path.is_file())
    chosen = rng.choice(files)
    others = [path.read_bytes() for path in rng.sample(files, min(2, len(files)))]
    what, data = TARGETS[target], chosen.read_bytes()
    if what.tokens:
        return chosen.name, what.change(rng, data, others, what.tokens)
    return chosen.name, what.change(rng, data, others)


def _limit() -> None:
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM_BYTES, used + ROOM_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _peak_bytes(reset: bool = False) -> int:
    """Return the most memory held since the last reset, in bytes; 0 where the system does not say."""
    with contextlib.suppress(OSError):
        if reset:
            Path("/proc/self/clear_refs").write_text("5")
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    return 0


def try_input(target: str, path: Path) -> tuple[str, str]:
    """Return "value", "refused" or "finding", and what is to be said of it."""
    signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
    before = _peak_bytes(reset=True)
    try:
        TARGETS[target].read(path)
        outcome, output = "value", ""
    except (CatdogError, click.ClickException) as error:  # what the command line turns into a sentence
        output = str(error) or getattr(error, "message", "")
        outcome = "refused" if output and len(output) < LONGEST_SENTENCE else "finding"
    except Exception:
        outcome, output = "finding", traceback.format_exc()
    signal.setitimer(signal.ITIMER_PROF, 0)
    grown = _peak_bytes() - before
    if outcome != "finding" and grown > LIMIT_BYTES:
        return "finding", f"memory grew by {grown:,} bytes"
    return outcome, output


def _place(target: str, name: str, data: bytes, seeds: Path, work: Path) -> Path:
    """Lay an input, and what belongs beside it, into an empty folder."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    for other in TARGETS[target].beside:
        source = seeds / other
        if source.is_dir():
            (work / other).symlink_to(source)
        else:
            shutil.copy(source, work / other)
    (work / name).write_bytes(data)
    return work / name


def main() -> None:
    """Read inputs from number `first` on; after each, write how it went into progress.json."""
    parser = argparse.ArgumentParser()
    parser.add_argument("target")
    parser.add_argument("folder", type=Path)
    for name in ("--seed", "--first", "--inputs"):
        parser.add_argument(name, type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    ease()
    os.environ["CATDOG_CACHE"] = str(given.folder / "cache")
    seeds = given.folder / "corpus" / given.target
    write_corpus(given.target, seeds)
    _limit()
    counts, ends = {"value": 0, "refused": 0, "finding": 0}, time.monotonic() + given.seconds
    progress = given.folder / "progress.json"
    for number in range(given.first, given.first + given.inputs):
        if time.monotonic() > ends:
            break
        name, data = make_input(given.target, given.seed, number, seeds)
        path = _place(given.target, name, data, seeds, given.folder / "work")
        progress.write_text(json.dumps({"number": number, "name": name, **counts}))
        outcome, output = try_input(given.target, path)
        counts[outcome] += 1
        if outcome == "finding":
            print(json.dumps({"number": number, "name": name, "told": output}), flush=True)
    progress.write_text(json.dumps({"number": None, **counts}))


if __name__ == "__main__":
    sys.exit(main())
