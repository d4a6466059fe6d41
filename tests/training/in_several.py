"""What `test_processes` starts through torchrun: short runs, one after the other, in one group of processes.

Called as `python -m tests.training.in_several FOLDER DATA DAMAGED WEIGHTS`; each scenario trains into
FOLDER/NAME and says in FOLDER/NAME-RANK.json how it ended.
"""

import dataclasses
import json
import os
import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from catdog_cli.errors import CatdogError
from catdog_cli.features import cache_fill as fill
from catdog_cli.inference.predictor import Predictor
from catdog_cli.models.zoo import simple_cnn
from catdog_cli.runtime.distributed import Group, open_group
from catdog_cli.settings import HeadSpec, Phase, TrainSettings
from catdog_cli.training import loop, run

from .runs import Events, settings_for

WHOLE = {"unfreeze": "all", "optimizer": "sgd", "batch_size": 5}


def describe_runs(data: Path, damaged: Path, weights: str) -> dict[str, TrainSettings]:
    """Return the settings of each scenario, for one process and several."""
    plain = settings_for(data, Phase("p", 2, 1e-2, **WHOLE), head=HeadSpec((8,), 0.0))
    trimmings = {"class_weights": "balanced", "label_smoothing": 0.1, "clip_norm": 0.5, "ema": 0.9}
    rich = Phase("p", 2, 1e-2, scheduler="cosine", **WHOLE, **trimmings)
    head = settings_for(data, Phase("head", 3, 1e-2, batch_size=5), arch="squeezenet1_1", weights=weights)
    linear = dataclasses.replace(head, head=HeadSpec((), 0.0))
    bad = dataclasses.replace(plain, data=str(damaged), max_bad_fraction=0.5)
    networks = {"arch": "squeezenet1_1+simple_cnn", "weights": (weights, "none")}
    return {
        "head": head,
        "side_by_side": dataclasses.replace(head, **networks),
        "solved": dataclasses.replace(linear, phases=(Phase("head", 1, optimizer="lbfgs"),)),
        "whole": plain,
        "rich": dataclasses.replace(plain, phases=(rich,)),
        "mixed": settings_for(data, Phase("p", 2, 1e-2, mixup=0.4, cutmix=0.4, **WHOLE)),
        "uncached": dataclasses.replace(linear, cache=False),
        "apart": dataclasses.replace(head, phases=(Phase("head", 1, augment="light", views=1),)),
        "damaged": bad,
        "damaged_head": dataclasses.replace(head, data=str(damaged), max_bad_fraction=0.5),
        "too_damaged": dataclasses.replace(bad, max_bad_fraction=0.1),
        "memory": plain,
        "no_memory": plain,
        "norms": settings_for(data, Phase("p", 1, 0.0, **{**WHOLE, "batch_size": 12})),
        "fails": head,
        "breaks": plain,
        "stopped": plain,
        "resumed": plain,
    }


def without_norms(in_channels: int, out_channels: int) -> nn.Sequential:
    """Return a stage of the small network in which pictures do not depend on their batch."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True)
    )


def limit_memory(most: int):
    """Return `cross_entropy` on a device that holds `most` pictures."""
    original = functional.cross_entropy

    def cross_entropy(logits, *rest, **options):
        if len(logits) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return original(logits, *rest, **options)

    return cross_entropy


def break_down(*_):
    raise ValueError("a bug")


def fail(*_):
    raise CatdogError("The disk of process 2 is on fire: put it out.")
    yield


def play(name: str, settings: TrainSettings, folder: Path, group: Group) -> Events:
    """Run one scenario; return what was reported here."""
    events, second = Events(), group.rank == 1
    run_dir, steps = folder / name, []
    originals = fill.run_prefix, loop.backward, functional.cross_entropy, simple_cnn._stage
    should_stop = lambda: second and name == "stopped" and len(steps.append(1) or steps) == 4  # noqa: E731
    if name == "apart":
        os.environ["CATDOG_CACHE"] = str(folder / f"cache-{group.rank}")
    if name != "norms":
        simple_cnn._stage = without_norms
    if name == "fails" and second:
        fill.run_prefix = fail
        os.environ["CATDOG_CACHE"] = str(folder / "cache-of-fails")
    if name == "breaks" and second:
        loop.backward = break_down
    if name in ("memory", "no_memory") and second:
        functional.cross_entropy = limit_memory(1 if name == "memory" else 0)
    try:
        if name == "resumed":
            run.resume(run_dir, run.Changes(), events, should_stop)
        else:
            run.train(settings, run_dir, events, should_stop)
    finally:
        fill.run_prefix, loop.backward, functional.cross_entropy, simple_cnn._stage = originals
    return events


def predict(folder: Path, data: Path, group: Group) -> None:
    """Write the probabilities of all pictures by the run "norms", as the main process gets them."""
    from catdog_cli.commands.distributed import share_out

    predictor = Predictor.load(folder / "norms", device="cpu", precision="fp32", group=group)
    sources = [*sorted(data.rglob("*.png")), "missing.png"]

    def work() -> None:
        answers = [answer.error or answer.probabilities.tolist() for answer in predictor.predict(sources)]
        (folder / "answers.json").write_text(json.dumps(answers))

    share_out(predictor, work)


def main(folder: Path, data: Path, damaged: Path, weights: str) -> None:
    torch.set_num_threads(1)
    group = open_group(cpu=True)
    for name, settings in describe_runs(data, damaged, weights).items():
        logged = {"error": "", "kinds": [], "sizes": []}
        try:
            events = play(name, settings, folder, group)
            logged["kinds"] = sorted({kind for kind, _ in events})
            logged["sizes"] = [facts["size"] for facts in events.of("memory")]
            logged["features"] = [facts["done"] for facts in events.of("features")]
        except Exception as error:
            logged["error"] = f"{type(error).__name__}: {error}"
        (folder / f"{name}-{group.rank}.json").write_text(json.dumps(logged))
    predict(folder, data, group)
    group.close()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]), sys.argv[4])
