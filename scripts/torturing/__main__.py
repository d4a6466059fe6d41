"""Kills trainings at random moments, goes on, kills again; nothing may be lost: scripts/torture [--kills N].

Every recipe is trained once undisturbed. Then it is trained again and its whole process group killed with
SIGKILL, at random moments or while a file is being written, until it is done; after each kill everything in
the run directory must be whole, and the end must equal the undisturbed run bit for bit: weights, optimizer,
history (but for its times), best checkpoints, reports, and the names of all files.
"""

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # forks do not go with threads
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import processes
import recipes

PLACES = ("before it began", "before the first save", "within an epoch", "between epochs", "at the end")
WHOLE_SHARE = 0.1  # of the processes have an interpreter of their own, not a copy of this one
ALONE_SHARE = 0.3  # of the kills leave the loading processes alive, as the kernel does when memory is short
KILLS_EACH = 4  # of one run


class LostError(Exception):
    """Something was lost; what there is to see lies in `folder`."""

    def __init__(self, folder: Path, logged: str):
        super().__init__(logged)
        self.folder = folder


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        "scripts/torture", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=100, metavar="N", help="at least so many; 100")
    parser.add_argument(
        "--seed", type=int, default=None, metavar="N", help="of the moments; default: by chance"
    )
    parser.add_argument("--recipes", metavar="NAME,NAME", help="default: " + "; ".join(recipes.RECIPES))
    parser.add_argument("--keep", action="store_true", help="keep all run directories and say where they are")
    options = parser.parse_args()
    options.recipes = options.recipes.split(",") if options.recipes else list(recipes.RECIPES)
    unknown = [name for name in options.recipes if name not in recipes.RECIPES]
    if unknown or options.kills < 1:
        parser.error(f"no recipe {unknown[0]!r}" if unknown else "--kills must be at least 1")
    return options


def main() -> int:
    """Torture, print the table, and return 1 if anything was lost."""
    options = parse()
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        del os.environ[name]  # or the trainings would be followed
    seed = random.randrange(10**6) if options.seed is None else options.seed
    rng, folder = random.Random(seed), Path(tempfile.mkdtemp(prefix="catdog-torture-"))
    print(f"Seed {seed}; working in {folder}", flush=True)
    _import_once()
    data, weights = recipes.draw(folder)
    counts = {name: Counter() for name in options.recipes}
    straight, failures = {}, []
    while sum(count["kills"] for count in counts.values()) < options.kills:
        for name in options.recipes:
            words = recipes.arguments(name, data, weights)
            try:
                if name not in straight:
                    straight[name] = train_straight(folder / f"{_slug(name)}-straight", words)
                target = folder / f"{_slug(name)}-{counts[name]['runs'] + counts[name]['lost'] + 1}"
                torture(target, words, *straight[name], rng, counts[name])
                if not options.keep:
                    shutil.rmtree(target)
            except LostError as failure:
                failures.append((name, failure))
                print(f"LOST in {name!r}: {failure}\n  evidence: {failure.folder}", flush=True)
                counts[name]["lost"] += 1
        if len(failures) >= 5:
            break
    print_table(counts)
    if failures or options.keep:
        print(f"Kept: {folder}")
    else:
        shutil.rmtree(folder)
    return 1 if failures else 0


def _import_once() -> None:
    import torch

    torch.set_num_threads(1)
    from catdog_cli.runtime import startup

    startup.enable()  # the forks are command lines; torchvision is imported as it is there
    import catdog_cli.commands.train
    import catdog_cli.evaluation.report_files
    import catdog_cli.plots
    import catdog_cli.training.reports
    import catdog_cli.training.run  # noqa: F401


def _slug(name: str) -> str:
    return name.replace(", ", "-").replace(" ", "-")


def train_straight(folder: Path, words: list[str]) -> tuple[Path, float]:
    """Train undisturbed; return the run directory and how long it took."""
    folder.mkdir()
    started = time.monotonic()
    number = processes.start(
        [*words, "--output", str(folder / "run")], folder / "log", folder / "cache", False
    )
    code = processes.wait(number, processes.LIMIT_S)
    if code != 0:
        raise LostError(folder, f"the undisturbed training ended with {code}: {_tail(folder)}")
    return folder / "run", time.monotonic() - started


def torture(
    folder: Path, words: list[str], straight: Path, whole_s: float, rng: random.Random, count: Counter
) -> None:
    """Train into folder/run, killed up to KILLS_EACH times, and compare.

    Raises:
        LostError: something is half-written, a training failed or hangs, or the run is another one.
    """
    from catdog_cli.runs.compare_runs import compare_runs, find_damage

    folder.mkdir()
    run_dir, kills = folder / "run", 0
    while True:
        whole = kills < KILLS_EACH and rng.random() < WHOLE_SHARE
        resuming = (run_dir / "settings.json").exists()
        call = ["train", "--resume", str(run_dir)] if resuming else [*words, "--output", str(run_dir)]
        number = processes.start(call, folder / "log", folder / "cache", whole)
        # early rather than late: a report is drawn at the end, which takes long and loses nothing
        at_s, writing = whole_s * rng.random() ** 2 + (4 * rng.random() if whole else 0), rng.random() < 0.4
        last = kills >= KILLS_EACH
        code = processes.wait(number, processes.LIMIT_S if last else at_s)
        if code is None and not last and writing:
            code = processes.wait(number, whole_s, stop_at=run_dir)
        if code is None:
            processes.kill(number, alone=rng.random() < ALONE_SHARE)
            if last:
                raise LostError(folder, f"it hangs: {_tail(folder)}")
            kills += 1
            note_kill(count, run_dir, whole)
            damage = find_damage(run_dir) if run_dir.exists() else []
            if damage:
                raise LostError(folder, "half-written: " + "; ".join(damage))
            continue
        if code != 0:
            raise LostError(folder, f"it ended with {code}: {_tail(folder)}")
        break
    found = compare_runs(straight, run_dir)
    if found:
        raise LostError(folder, f"{len(found)} differences, the first: " + "; ".join(found[:3]))
    count["runs"] += 1


def note_kill(count: Counter, run_dir: Path, whole: bool) -> None:
    """Count a kill, and where it hit, as the disk shows it."""
    from catdog_cli.runs.checkpoint import load_checkpoint

    count["kills"] += 1
    count["whole processes"] += whole
    if run_dir.exists() and any(path.name.endswith(".tmp") for path in run_dir.iterdir()):
        count["while writing"] += 1
    if not (run_dir / "settings.json").exists():
        place = PLACES[0]
    elif not (run_dir / "last.pt").exists():
        place = PLACES[1]
    else:
        content = load_checkpoint(run_dir, "last.pt")
        phases = content["settings"]["phases"]
        over = content["phase"] == len(phases) - 1 and content["epoch"] == phases[-1]["epochs"]
        place = PLACES[4] if over else PLACES[2] if content["step"] else PLACES[3]
    count[place] += 1


def _tail(folder: Path) -> str:
    return (folder / "log").read_text(errors="replace")[-600:] if (folder / "log").exists() else "no log"


def print_table(counts: dict[str, Counter]) -> None:
    """Print a row a recipe: runs that came to the same end, kills, and what the last save held then."""
    columns = ("runs", "kills", *PLACES, "while writing", "whole processes", "lost")
    total = Counter()
    for count in counts.values():
        total.update(count)
    print("| recipe | " + " | ".join(columns) + " |")
    print("| --- |" + " --- |" * len(columns))
    for name, count in [*counts.items(), ("in all", total)]:
        print(f"| {name} | " + " | ".join(str(count[column]) for column in columns) + " |")


if __name__ == "__main__":
    sys.exit(main())
