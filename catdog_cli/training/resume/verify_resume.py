"""Proves on somebody's own data and settings that a killed run loses nothing.

Real `catdog train` processes train a little in a temporary folder, once undisturbed and once killed again and
again; then the two run directories are compared bit for bit.
"""

import contextlib
import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...data.dataset import Dataset, class_text
from ...data.label_lists import LabelForm
from ...data.location import absolute_data
from ...data.scan import describe_scan, scan_dataset
from ...data.splits import split_dataset
from ...errors import CatdogError
from ...runs.checkpoint import load_checkpoint
from ...runs.compare_runs import compare_runs, find_damage
from ...runs.directory import LAST, RunDirectory
from ...settings import TrainSettings
from ..run import full_weights

EPOCHS = 2  # of each phase: one to be killed in, one behind it
BATCHES = 4  # of an epoch, where nobody says how many pictures
LOOK_S = 0.002  # between two looks at the run directory
HANGS_S = 3600.0


@dataclass
class Verdict:
    """What came of it: `differences` is empty where killing changed nothing."""

    num_pictures: dict[str, int]
    epochs: int
    kills: list[str] = field(default_factory=list)  # where each one hit
    files: int = 0  # compared
    differences: list[str] = field(default_factory=list)
    reproducible: bool = True  # whether two undisturbed runs are equal; looked at where there are differences


def verify_resume(
    settings: TrainSettings, folder: Path, kills: int, pictures: int, say: Callable[[str], None]
) -> Verdict:
    """Train twice in `folder`, the second time killed `kills` times, and compare.

    Args:
        settings: of the run; its epochs are cut to EPOCHS a phase.
        pictures: to train on; 0 takes some batches.
        folder: empty; everything is written there, the feature cache included.

    Raises:
        CatdogError: a training fails for another reason than being killed; its own sentence is given.
    """
    few = pictures or BATCHES * max(phase.batch_size for phase in settings.phases)
    small, counts = _shrink(settings, folder, few, say)
    verdict = Verdict(counts, sum(phase.epochs for phase in small.phases))
    say("Training undisturbed ...")
    _train(small, folder / "straight", folder)
    saves = sum(_saves(phase, counts["train"]) for phase in small.phases)
    say("Training again, to be killed ...")
    for number in range(kills):
        hit = _train(small, folder / "killed", folder, kill_after=max(1, saves // (kills + 1)))
        if hit is None:
            break
        verdict.kills.append(hit)
        say(f"Killed {number + 1}: {hit}")
        verdict.differences += [f"half-written: {text}" for text in find_damage(folder / "killed")]
    _train(small, folder / "killed", folder)
    verdict.files = sum(path.is_file() for path in (folder / "killed").rglob("*"))
    verdict.differences += compare_runs(folder / "straight", folder / "killed")
    if verdict.differences:
        say("They differ; training undisturbed once more, to see whether this machine repeats itself ...")
        _train(small, folder / "again", folder)
        verdict.reproducible = not compare_runs(folder / "straight", folder / "again")
    return verdict


def _saves(phase: Any, num_pictures: int) -> int:
    return phase.epochs * math.ceil(num_pictures / phase.batch_size)


def _shrink(
    settings: TrainSettings, folder: Path, pictures: int, say: Callable[[str], None]
) -> tuple[TrainSettings, dict[str, int]]:
    """Return the settings of a short training on a part of the data, and how many pictures that has."""
    labels = LabelForm.of(settings)
    decisions = absolute_data(settings.decisions) if settings.decisions else ""
    scanned = scan_dataset(
        settings.data,
        exclude=settings.exclude or None,
        leaks=False,
        labels=labels,
        decisions=decisions or None,
    )
    for text in describe_scan(scanned):
        say(text)
    dataset = split_dataset(scanned, settings.val_fraction, settings.seed)
    kept = {
        "train": _choose(dataset, "train", pictures),
        "val": _choose(dataset, "val", max(2, pictures // 2)),
    }
    names = set().union(*kept.values())
    left_out = [
        str(dataset.root.absolute() / path)
        for split in scanned.splits.values()
        for path in split.paths
        if path not in names
    ]
    exclude = folder / "left-out.txt"
    exclude.write_text("".join(map(_as_line, left_out)), encoding="utf-8", errors="surrogateescape")
    phases = tuple(dataclasses.replace(phase, epochs=min(EPOCHS, phase.epochs)) for phase in settings.phases)
    return (
        dataclasses.replace(
            settings,
            data=absolute_data(settings.data),
            weights=full_weights(settings.weights),
            exclude=str(exclude),
            decisions=decisions,
            phases=phases,
            max_bad_fraction=1.0,  # a bad one among a few is a larger share than among all
            save_every="1",
        ),
        {name: len(paths) for name, paths in kept.items()},
    )


def _choose(dataset: Dataset, split: str, count: int) -> list[str]:
    """Return up to `count` paths of a split, of all classes in turn, two of each at least."""
    chosen = dataset.splits[split]
    by_class: dict[str, list[str]] = {}
    for index, path in enumerate(chosen.paths):
        by_class.setdefault(class_text(dataset, split, index), []).append(path)
    each = max(2, -(-count // len(by_class)))
    return [path for paths in by_class.values() for path in paths[:each]]


def _as_line(path: str) -> str:
    """Return a line of an exclude list, quoted where the path itself holds the end of a line."""
    return (json.dumps(path) if path.splitlines() != [path] else path) + "\n"


def _train(settings: TrainSettings, run_dir: Path, folder: Path, kill_after: int | None = None) -> str | None:
    """Start or resume a run in a process of its own; kill it after so many saves and say where that was.

    Returns:
        None where it came to its end.
    """
    if not run_dir.exists():
        run_dir.mkdir()
        RunDirectory(run_dir).write_settings(settings)
    log = folder / f"{run_dir.name}.log"
    with log.open("wb") as file, _process(run_dir, folder, file) as process:
        deadline, seen, saves = time.monotonic() + HANGS_S, _stamp(run_dir), 0
        while process.poll() is None:
            if time.monotonic() > deadline:
                raise CatdogError(f"The training hangs: after {HANGS_S:.0f} s it has not ended.")
            if (now := _stamp(run_dir)) != seen:
                seen, saves = now, saves + 1
            if kill_after is not None and saves >= kill_after:
                _kill(process)
                return _describe(run_dir)
            time.sleep(LOOK_S)
    if process.returncode:
        raise CatdogError(f"The training itself failed: {_last_words(log.read_text(errors='replace'))}")
    return None


def _last_words(logged: str) -> str:
    """Return the error that a command ended with, which may go over several lines, or its last line."""
    lines = logged.strip().splitlines() or ["it said nothing"]
    starts = [place for place, line in enumerate(lines) if line.startswith("Error: ")]
    return "\n".join(lines[starts[-1] if starts else -1 :]).removeprefix("Error: ")


@contextlib.contextmanager
def _process(run_dir: Path, folder: Path, log: Any) -> Iterator[subprocess.Popen]:
    """Start `catdog train --resume`, which begins what has settings alone; it never outlives the block."""
    private = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "catdog_cli", "train", "--resume", str(run_dir)],
        env={**private, "CATDOG_CACHE": str(folder / f"cache-{run_dir.name}")},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            _kill(process)


def _kill(process: subprocess.Popen) -> None:
    """Kill a process and what it started, without a warning."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


def _stamp(run_dir: Path) -> tuple[int, int] | None:
    """Return what changes whenever last.pt is written."""
    try:
        found = RunDirectory(run_dir).last.stat()
        return found.st_mtime_ns, found.st_ino
    except OSError:
        return None


def _describe(run_dir: Path) -> str:
    content = load_checkpoint(run_dir, LAST, resume=True)
    phase = content["settings"]["phases"][content["phase"]]
    step, epoch = content["step"], content["epoch"]
    saved = f"batch {step} of epoch {epoch + 1}" if step else f"epoch {epoch}"
    return f"in phase {phase['name']!r}, {saved} saved"
