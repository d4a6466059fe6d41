"""Short real runs for tests: settings with small values, a silent report, and exact comparison."""

import dataclasses
from pathlib import Path

import torch

from catdog_cli.settings import HeadSpec, Phase, TrainSettings
from catdog_cli.training import run

TIMES = ("seconds", "pictures_per_s")


class Events(list):
    """A report that remembers everything it was told, as (kind, facts)."""

    def __call__(self, event):
        self.append((event.kind, vars(event)))

    def of(self, kind):
        return [facts for name, facts in self if name == kind]


def settings_for(data, *phases, **changes) -> TrainSettings:
    """Return settings for tiny pictures on the CPU; phases default to two epochs from scratch."""
    values = {
        "arch": "simple_cnn",
        "weights": "none",
        "image_size": 32,
        "device": "cpu",
        "precision": "fp32",
        "workers": 0,
        "head": HeadSpec((8,), 0.2),
        "phases": phases or (Phase("scratch", 2, unfreeze="all", batch_size=7),),
    }
    return TrainSettings(data=str(data), **{**values, **changes})


def train(settings, run_dir, events=None, should_stop=lambda: False):
    """Train and return the content of last.pt."""
    events = Events() if events is None else events
    run.train(settings, Path(run_dir), events, should_stop)
    return load(run_dir)


def resume(run_dir, events=None, **changes):
    """Resume and return the content of last.pt."""
    events = Events() if events is None else events
    run.resume(run_dir, run.Changes(**changes), events)
    return load(run_dir)


def load(run_dir, name="last.pt"):
    return torch.load(Path(run_dir) / name, weights_only=True)


def differences(a, b, path="") -> list[str]:
    """Return the paths at which two plain structures differ by a bit, times and settings' epochs aside."""
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        same = a.dtype == b.dtype and torch.equal(a, b)
        return [] if same else [path]
    if isinstance(a, dict) and isinstance(b, dict):
        found = [f"{path}.{key}: only in one" for key in set(a) ^ set(b)]
        for key in set(a) & set(b) - set(TIMES):
            found += differences(a[key], b[key], f"{path}.{key}")
        return found
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)) and len(a) == len(b):
        return [
            d for i, (x, y) in enumerate(zip(a, b, strict=True)) for d in differences(x, y, f"{path}[{i}]")
        ]
    return [] if a == b else [f"{path}: {a!r} != {b!r}"]


def with_epochs(settings: TrainSettings, *epochs: int) -> TrainSettings:
    """Return the settings with other epochs for the phases, in order."""
    phases = [dataclasses.replace(p, epochs=n) for p, n in zip(settings.phases, epochs, strict=True)]
    return dataclasses.replace(settings, phases=tuple(phases))
