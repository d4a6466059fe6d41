"""Kills a search again and again; it must end with the trials and the weights of an undisturbed one.

scripts/torture-search [--kills N]: small drawn pictures and a random SqueezeNet; the process gets SIGKILL at
random moments and is started again with the same command until it is done.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STARTING_SHARE = 0.2  # of the kills come before the first trial of a session
SPACE = """
stages = ["solved", "heads"]
looks = ["once", "mirror"]
augment = "none"
hidden_layers = [[8], [16]]
l2 = [0.01, 0.1]
batch_size = [8, 16]
epochs = {low = 1, high = 6}
"""


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        "scripts/torture-search", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20, metavar="N", help="most of them; 20")
    parser.add_argument("--trials", type=int, default=24, metavar="N", help="heads; 24")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the moments; 0")
    return parser.parse_args()


def main() -> int:
    """Search twice, once disturbed; return 1 where they differ."""
    options = parse()
    with tempfile.TemporaryDirectory(prefix="catdog-torture-") as work:
        folder = Path(work)
        weights = prepare(folder)
        command = make_command(folder, weights, options.trials)
        began = time.monotonic()
        run(command, folder / "whole")
        whole_s = time.monotonic() - began
        kills = run_and_kill(command, folder / "killed", options)
        first, second = (describe(folder / name) for name in ("whole", "killed"))
    print(f"killed {kills} times; {len(first['trials'])} trials; undisturbed it took {whole_s:.1f} s")
    differing = [name for name in first if first[name] != second[name]]
    for own, other in zip(first["trials"], second["trials"], strict=False):
        if own != other:
            print(f"undisturbed {own}\n     killed {other}")
            break
    print(f"different: {', '.join(differing)}" if differing else "the same trials, best trial and weights")
    return int(bool(differing) or kills < options.kills)


def prepare(folder: Path) -> Path:
    """Draw the pictures, save random weights and the space; return the weights."""
    import numpy as np
    import torch
    from PIL import Image

    from catdog_cli.models.zoo.registry import source_of

    for split, count, start in (("train", 20, 0), ("val", 8, 1000)):
        for label, name in enumerate("abc"):
            home = folder / "data" / split / name
            home.mkdir(parents=True)
            for number in range(count):
                rng = np.random.default_rng([7, label, start + number])
                noise = rng.integers(0, 200, (32, 32, 3)).astype(np.int64)
                noise[..., label] += rng.integers(0, 40)
                Image.fromarray(noise.clip(0, 255).astype(np.uint8)).save(home / f"{number}.png")
    torch.manual_seed(1)
    weights = folder / "squeezenet.pth"
    torch.save(source_of("squeezenet1_1").build("squeezenet1_1").state_dict(), weights)
    (folder / "space.toml").write_text(SPACE)
    return weights


def make_command(folder: Path, weights: Path, trials: int) -> list[str]:
    network = ["--arch", "squeezenet1_1", "--weights", str(weights), "--image-size", "64", "--cpu"]
    options = ["--precision", "fp32", "--space", str(folder / "space.toml"), "--trials", str(trials)]
    catdog = [sys.executable, "-m", "catdog_cli", "tune", str(folder / "data")]
    return [*catdog, *network, *options, "--folds", "3", "--budget", "5h"]


def start(command: list[str], target: Path) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CATDOG_CACHE": f"{target}-cache"}
    return subprocess.Popen(
        [*command, "--output", str(target)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def run(command: list[str], target: Path) -> None:
    """Run the search to its end.

    Raises:
        SystemExit: it failed.
    """
    process = start(command, target)
    _, said = process.communicate()
    if process.returncode:
        raise SystemExit(said.decode(errors="replace"))


def run_and_kill(command: list[str], target: Path, options: argparse.Namespace) -> int:
    """Run the search, killed so often and then left alone; return how often it was killed."""
    rng, kills = random.Random(options.seed), 0
    while not (target / "tuning" / "result.json").exists():
        process = start(command, target)
        if kills >= options.kills:
            _, said = process.communicate()
            if process.returncode:
                raise SystemExit(said.decode(errors="replace"))
            break
        wait_for_a_moment(process, target, rng, options.trials // options.kills)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            kills += 1
        process.communicate()
        print(f"killed {kills}: {count_trials(target)} trials", file=sys.stderr)
    return kills


def wait_for_a_moment(process: subprocess.Popen, target: Path, rng: random.Random, most: int) -> None:
    """Return at a random moment: while it starts, or some trials and a fraction of a second further on."""
    began, before = time.monotonic(), count_trials(target)
    while_it_starts = rng.random() < STARTING_SHARE
    wanted, later_s = rng.randint(0, max(1, most)), rng.uniform(0, 0.5)
    most_s = rng.uniform(0.5, 6) if while_it_starts else float("inf")
    while process.poll() is None and time.monotonic() - began < most_s:
        if not while_it_starts and count_trials(target) > before + wanted:
            time.sleep(later_s)
            return
        time.sleep(0.01)


def count_trials(target: Path) -> int:
    journal = target / "tuning" / "journal.log"
    return journal.read_bytes().count(b'"accuracy"') if journal.exists() else 0


def describe(target: Path) -> dict:
    """Return what must be the same: trials with their scores, the best, the weights."""
    import optuna
    import torch

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    backend = optuna.storages.journal.JournalFileBackend(str(target / "tuning" / "journal.log"))
    storage = optuna.storages.JournalStorage(backend)
    trials = [
        (stage, trial.number, json.dumps(trial.user_attrs.get("params")), trial.values)
        for stage in ("solved", "heads")
        for trial in optuna.load_study(study_name=stage, storage=storage).get_trials()
    ]
    found = json.loads((target / "tuning" / "result.json").read_text())
    state = torch.load(target / "best.pt", weights_only=True)["state_dict"]
    weights = {name: tensor.numpy().tobytes() for name, tensor in state.items()}
    best = {name: found[name] for name in ("stage", "params", "cross_validated", "validation", "num_trials")}
    return {"trials": trials, "best": best, "weights": weights}


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
