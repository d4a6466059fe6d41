"""Checkpoints of tiny untrained networks, for tests of what answers with them."""

from pathlib import Path

from catdog_cli.models.classifier import build_classifier
from catdog_cli.runs.checkpoint import describe_model, save_checkpoint
from catdog_cli.settings import HeadSpec, InputSpec


def write_checkpoint(path: Path, class_names=("cats", "dogs", "emus"), seed: int = 0, **more) -> Path:
    """Write a checkpoint of a random simple_cnn for 32 px pictures; return its path."""
    head = HeadSpec((8,), 0.2)
    classifier = build_classifier("simple_cnn", len(class_names), head, seed)
    spec = InputSpec(size=32, resize=32)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint({**describe_model(classifier, head, list(class_names), spec), **more}, path)
    return path
