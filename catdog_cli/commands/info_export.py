"""What `catdog info` says of a file that `catdog export` wrote."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .output.info_text import describe_input
from .output.table import list_facts
from .output.units import show_size


def describe_export(target: str) -> dict[str, Any]:
    """Return what an exported file holds, and how it compared with its checkpoint where that lies beside.

    Raises:
        CheckpointError: it cannot be used.
    """
    from ..inference.onnx_predictor import OnnxPredictor
    from ..settings_networks import specs_of

    predictor = OnnxPredictor(target)
    held = predictor.metadata
    specs = [spec.to_dict() for spec in specs_of(held.input_spec)]
    return {
        "path": target,
        "bytes": Path(target).stat().st_size,
        "exported_by": held.version,
        "checkpoint": {"name": held.checkpoint, "sha256": held.digest},
        "arch": held.arch,
        "weights": held.weights,
        "num_classes": len(held.class_names),
        "class_names": held.class_names,
        "category_names": held.category_names,
        "input_spec": specs[0] if len(specs) == 1 else specs,
        "temperature": held.temperature,
        "task": held.task.name,
        "looks": held.looks,
        "thresholds": held.thresholds and dict(zip(held.class_names, held.thresholds, strict=True)),
        "unknown": held.reference and {"num_pictures": held.reference.images, "split": held.reference.split},
        "outputs": {each.name: each.shape for each in predictor.session.get_outputs()},
        "parity": _read_parity(Path(target).with_suffix(".parity.json")),
    }


def _read_parity(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_bytes())["parity"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def format_export(facts: dict[str, Any]) -> Iterator[str]:
    """Yield what an exported file holds, a line for each thing."""
    yield from list_facts(list(_list(facts)))


def _list(facts: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    made_of = facts["checkpoint"]
    yield "file", f"{facts['path']}, {show_size(facts['bytes'])}, ONNX of catdog {facts['exported_by']}"
    yield "made from", f"{made_of['name']}, SHA-256 {made_of['sha256']}"
    yield "network", f"{facts['arch']}, weights kept in {facts['weights']}"
    yield "classes", f"{facts['num_classes']}: {', '.join(facts['class_names'])}"
    if facts["category_names"]:
        yield "shown as", ", ".join(f"{key}: {name}" for key, name in facts["category_names"].items())
    yield "input", f"pictures of any size; {describe_input(facts['input_spec'])}"
    yield "looks", facts["looks"]
    yield "temperature", f"{facts['temperature']:g}"
    if facts["thresholds"]:
        said = ", ".join(f"{name} {value:.3f}" for name, value in facts["thresholds"].items())
        yield "labels", f"several a picture, each said from its threshold on: {said}"
    known = facts["unknown"]
    yield (
        "unknown",
        f"told by {known['num_pictures']:,} pictures" if known else "nothing to tell it by",
    )
    yield "outputs", ", ".join(facts["outputs"])
    parity = facts["parity"]
    if parity is not None:
        yield (
            "compared",
            f"on {parity.get('images')}: {parity.get('num_changed')} of {parity.get('num_images')} answers "
            f"changed, probabilities differ by {parity.get('max_difference', 0):.2g} at most",
        )
