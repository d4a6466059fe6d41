"""What a run has to tell whoever follows it: parameters, rows of numbers, files."""

import contextlib
import hashlib
import json
import math
import time
from pathlib import Path
from typing import Any

from ..runs.checkpoint import versions
from ..settings_networks import describe_sizes, describe_weights


def metrics_row(step: int, row: dict[str, Any]) -> dict[str, Any]:
    """Turn a row of the history into one to send: its finite numbers, the time in ms and the step."""
    metrics = {
        name: value
        for name, value in row.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    }
    return {"step": step, "time_ms": int(time.time() * 1000), "metrics": metrics}


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a JSON-lines file, [] if there is none; a line cut off by a kill is left out."""
    items = []
    with contextlib.suppress(OSError):
        for line in path.read_text("utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError):
                items.append(json.loads(line))
    return [item for item in items if isinstance(item, dict)]


def list_files(folder: Path, left_out: tuple[str, ...]) -> list[Path]:
    """Return all files under a folder but hidden ones and what `left_out` names at its top."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and not path.name.startswith(".")
        and path.relative_to(folder).parts[0] not in left_out
    )


def describe_run(setup: Any) -> dict[str, Any]:
    """Return the parameters of a run, flat: its settings, what they came to, and the versions."""
    settings = setup.settings.to_dict()
    phases, head = settings.pop("phases"), settings.pop("head")
    params = {**settings, **head}
    for number, phase in enumerate(phases, 1):
        params |= {f"phase{number}.{name}": value for name, value in phase.items()}
    params |= {"device": setup.device.type, "precision": str(setup.dtype).removeprefix("torch.")}
    params |= {"weights": describe_weights(setup.settings.weights)}
    params |= {"image_size": describe_sizes(setup.spec), "num_classes": len(setup.dataset.class_names)}
    params |= {f"num_{name}": len(chosen) for name, chosen in setup.sets.items()}
    return params | {f"version.{name}": version for name, version in versions().items()}


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
