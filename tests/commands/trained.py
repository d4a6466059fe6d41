"""Small trainings and changed checkpoints that the tests of several commands share."""

import json
from pathlib import Path

import torch

from catdog_cli.cli import run


def train_tiny(data: Path, run_dir: Path, *options: str) -> Path:
    """Train the small network on 32 px pictures into `run_dir` and return it."""
    network = ["--arch", "simple_cnn", "--weights", "none", "--epochs", "1", "--image-size", "32", "--cpu"]
    assert run(["train", str(data), *network, "--output", str(run_dir), *options]) == 0
    return run_dir


def change_checkpoint(source: Path, target: Path, **changes) -> Path:
    """Write the checkpoint file or run directory `source` with other values to `target` and return that."""
    content = torch.load(source / "best.pt" if source.is_dir() else source, weights_only=True)
    torch.save(content | changes, target)
    return target


def reverse_classes(source: Path, target: Path, extra: tuple[str, ...] = ()) -> Path:
    """Write the same network with its outputs in the opposite order, and outputs for `extra` classes."""
    content = torch.load(source / "best.pt", weights_only=True)
    names = sorted(content["class_to_idx"], key=content["class_to_idx"].get)[::-1]
    state = dict(content["state_dict"])
    last = [name for name in state if name.startswith("head.")][-2:]
    for name in last:
        turned = state[name].flip(0)
        more = torch.full((len(extra), *turned.shape[1:]), -1.0)
        state[name] = torch.cat([turned, more])
    index = {name: place for place, name in enumerate([*names, *extra])}
    return change_checkpoint(source, target, state_dict=state, class_to_idx=index)


def call(capsys, *arguments) -> tuple[int, dict | None, str]:
    """Run a command with --json: its exit code, its document (None if it printed none), its stderr."""
    capsys.readouterr()
    code = run([*map(str, arguments), "--json"])
    printed = capsys.readouterr()
    return code, json.loads(printed.out) if printed.out else None, printed.err
