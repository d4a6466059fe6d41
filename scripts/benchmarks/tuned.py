"""`catdog tune` beside Optuna around the loop of the usual tutorials: the same time, the same network.

The tutorial searches as people do: every trial trains the frozen network's last layer for an epoch or more,
and the validation pictures, asked by each trial, choose the best. catdog asks them once.
"""

import json
import shutil
import time
from argparse import Namespace
from typing import Any

from measure import answer, run_catdog, run_worker
from table import Found, Row
from tutorial import build_network, train_epoch, validate

MOST_EPOCHS = 3


def measure(options: Namespace) -> dict[str, float]:
    """Return seconds, accuracy and trials of both, each within the budget."""
    run_dir, seconds = options.work / "tuned", options.tune_seconds
    shutil.rmtree(run_dir, ignore_errors=True)
    network = ["--arch", "mobilenet_v2", "--weights", options.weights, "--cpu"]
    command = ["tune", options.data, *network, "--budget", f"{seconds}s", "--output", run_dir, "--json"]
    child = run_catdog(command, options.work)
    own = json.loads(child.stdout)
    arguments = {"data": options.data, "weights": options.weights, "seconds": seconds}
    other, facts = run_worker(__file__, arguments, options.work)
    return {
        "catdog_s": child.wall_s,
        "catdog_accuracy": own["validation"],
        "catdog_corrected": (own["flattery"] or {"corrected": own["cross_validated"]})["corrected"],
        "catdog_trials": own["num_trials"],
        "tutorial_s": other.wall_s,
        "tutorial_accuracy": facts["accuracy"],
        "tutorial_trials": facts["trials"],
    }


def rows(options: Namespace, found: Found) -> list[Row]:
    """Return a row for each of the two."""
    own = found["tune"]
    said = {
        "catdog": "catdog tune, {:.0f} trials; val asked once",
        "tutorial": "Optuna around the tutorial loop, {:.0f} trials; best by val",
    }
    return [
        Row(
            "tune",
            text.format(own[f"{name}_trials"][0]),
            own[f"{name}_s"],
            accuracy=own[f"{name}_accuracy"],
        )
        for name, text in said.items()
    ]


def compute(data: str, weights: str, seconds: float) -> dict[str, float]:
    """Search in this process until the time is over, stopping within an epoch; return the best by val."""
    import optuna
    import torch

    began = time.monotonic()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    facts = {"accuracy": 0.0, "trials": 0.0}

    def left() -> float:
        return seconds - (time.monotonic() - began)

    def objective(trial: Any) -> float:
        batch_size = trial.suggest_categorical("batch_size", [16, 32, 64])
        rate = trial.suggest_float("rate", 1e-4, 1e-1, log=True)
        decay = trial.suggest_float("decay", 1e-6, 1e-2, log=True)
        optimizer = trial.suggest_categorical("optimizer", ["Adam", "AdamW", "SGD"])
        network = build_network(weights)
        made = getattr(torch.optim, optimizer)(network.classifier.parameters(), lr=rate, weight_decay=decay)
        train_batches, val_batches = loaders(data, batch_size)
        best = 0.0
        for _ in range(trial.suggest_int("epochs", 1, MOST_EPOCHS)):
            train_epoch(network, made, until(train_batches, left))
            if left() <= 0:
                raise optuna.TrialPruned
            correct, count = validate(network, val_batches)
            best = max(best, correct / count)
            facts["accuracy"] = max(facts["accuracy"], best)
        facts["trials"] += 1
        return best

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
    study.optimize(objective, timeout=seconds)
    return facts


def until(batches: Any, left: Any) -> Any:
    """Yield batches as long as there is time left."""
    for batch in batches:
        if left() <= 0:
            return
        yield batch


def loaders(data: str, batch_size: int) -> tuple[Any, Any]:
    """Return the tutorial's loaders, with this batch size to train."""
    import tutorial

    tutorial.BATCH_SIZE = batch_size
    return tutorial._loaders(data)


if __name__ == "__main__":
    answer(compute)
