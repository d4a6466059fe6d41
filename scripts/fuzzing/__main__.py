"""Feeds damaged files to catdog's readers: scripts/fuzz [--minutes N] [--target NAME] [--seed N].

Whatever a reader is given, it must return a value or raise a CatdogError of one sentence. Anything else is
a finding: another exception, a crash, more than 20 s or 2 GB for one input, two readings that differ. The
inputs of findings are kept as files; the exit code says whether there were any. Readers run in processes of
their own, and the same seed gives the same inputs. The decoders underneath are compiled without coverage, so
the damage is guided by the formats instead: lengths, check sums, archive members, opcodes, values.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from findings import Finding, keep, sign

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
NAMES = (
    *("picture", "checkpoint", "resume", "weights", "manifest", "names", "options", "recipe", "sides"),
    *("list", "exclude", "prepared", "archive", "rows", "labels", "run", "data", "package"),
)
STUCK_S = 400  # without an end of one input: longer than a machine pauses a process
HEAVY = {"picture": 4, "checkpoint": 3, "resume": 3, "weights": 2}  # shares of the time; others have 1
Counts = dict[str, int]


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        "scripts/fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--minutes", type=float, default=2.0, help="in all, for all targets; 2")
    add("--target", action="append", choices=NAMES, help="only this reader; may be repeated")
    add("--seed", type=int, default=0, help="of all choices; 0")
    add("--inputs", type=int, default=10**9, help="at most so many a target")
    add("--keep", type=Path, default=ROOT / "fuzz-findings", metavar="DIR", help="where findings go")
    return parser.parse_args()


def main() -> int:
    """Fuzz each target for its share of the time; return 1 if there were findings."""
    given = parse()
    names = given.target or NAMES
    shares = {name: HEAVY.get(name, 1) for name in names}
    total, known = 0, set()
    print(
        f"{'target':12}{'inputs':>9}{'values':>9}{'refused':>9}{'findings':>9}{'new':>5}{'s':>7}", flush=True
    )
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            seconds, started = 60 * given.minutes * shares[name] / sum(shares.values()), time.monotonic()
            counts, found = fuzz(name, given.seed, seconds, given.inputs, Path(folder))
            new = [each for each in found if (mark := sign(each)) not in known and not known.add(mark)]
            for each in new:
                print(f"  {keep(each, given.keep)}: {each.output.strip().splitlines()[-1][:150]}", flush=True)
            inputs, passed = sum(counts.values()), time.monotonic() - started
            row = (inputs, counts["value"], counts["refused"], counts["finding"])
            print(f"{name:12}{''.join(f'{n:9}' for n in row)}{len(new):5}{passed:7.0f}", flush=True)
            total += len(found)
    print(f"{total} findings, {len(known)} different ones.")
    return 1 if total else 0


def fuzz(target: str, seed: int, seconds: float, inputs: int, folder: Path) -> tuple[Counts, list[Finding]]:
    """Fuzz one target, starting a new process after each that died; return counts and findings."""
    counts, found, first = {"value": 0, "refused": 0, "finding": 0}, [], 0
    ends = time.monotonic() + seconds
    while first < inputs and (first == 0 or time.monotonic() < ends):
        left = max(ends - time.monotonic(), 0.1)
        progress, output, died = _run_child(target, seed, first, left, inputs - first, folder)
        for name in counts:
            counts[name] += progress[name]
        found += output
        if died is None:
            break
        counts["finding"] += 1
        found.append(died)
        first = died.number + 1
    return counts, found


def _run_child(
    target: str, seed: int, first: int, seconds: float, inputs: int, folder: Path
) -> tuple[Counts, list[Finding], Finding | None]:
    """Run one process to its end; return its counts, what it told, and the input that it died of, if any."""
    command = [sys.executable, str(HERE / "child.py"), target, str(folder), "--seed", str(seed)]
    command += ["--first", str(first), "--inputs", str(inputs), "--seconds", str(seconds)]
    path = folder / "progress.json"
    path.unlink(missing_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}:{HERE}"}
    with (folder / "out").open("w+") as out, (folder / "err").open("w+") as err:
        child = subprocess.Popen(command, stdout=out, stderr=err, env=environment, cwd=folder)
        code = _wait(child, path)
        out.seek(0), err.seek(0)
        lines, said = out.read().splitlines(), err.read()[-3000:]
    if not path.exists():
        raise SystemExit(f"The fuzzer's own process for {target!r} failed:\n{said}")
    progress = json.loads(path.read_text())
    output = [
        Finding(target, seed, each["number"], each["name"], each["told"], folder)
        for each in map(json.loads, lines)
    ]
    if progress["number"] is None and code == 0:
        return progress, output, None
    how = {-signal.SIGPROF: "too slow", -signal.SIGKILL: "stuck, or killed"}.get(code, f"died with {code}")
    return (
        progress,
        output,
        Finding(target, seed, progress["number"], progress["name"], f"{said}\n{how}", folder),
    )


def _wait(child: subprocess.Popen, path: Path) -> int:
    """Wait for a process, and end it where one input takes forever without computing."""
    while True:
        try:
            return child.wait(timeout=10)
        except subprocess.TimeoutExpired:
            if path.exists() and time.time() - path.stat().st_mtime > STUCK_S:
                child.kill()


if __name__ == "__main__":
    sys.exit(main())
