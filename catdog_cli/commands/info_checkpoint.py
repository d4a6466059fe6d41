"""What `catdog info` says of a checkpoint or a run directory, as one plain dict."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..known.conformal import SetScores
    from ..known.reference import Reference


def describe_checkpoint(target: str) -> dict[str, Any]:
    """Return what a checkpoint holds; of a run directory, what best.pt and last.pt hold together.

    What is not there is None: best.pt alone has no progress, settings, versions or data.

    Raises:
        CheckpointError: nothing there, or it cannot be used.
    """
    files = _checkpoint_files(target)
    from ..runs.checkpoint import build_from_checkpoint, load_checkpoint

    contents = [load_checkpoint(file) for file in files]
    model = build_from_checkpoint(contents[0], files[0], describe=True)
    for content, file in zip(contents[1:], files[1:], strict=True):
        build_from_checkpoint(content, file, describe=True)
    merged = {**contents[-1], **contents[0]}  # best.pt comes first and wins
    settings = _settings(merged, files[-1])
    return {
        "path": str(target),
        "files": [{"path": str(file), "bytes": file.stat().st_size} for file in files],
        "format_version": merged["format_version"],
        "arch": model.classifier.arch,
        "source": model.origin.source,
        "tag": model.origin.tag,
        "licence": model.origin.licence,
        "parameters": sum(parameter.numel() for parameter in model.classifier.parameters()),
        "head": model.head.to_dict(),
        "num_classes": len(model.class_names),
        "class_names": model.class_names,
        "category_names": model.category_names,
        "input_spec": model.input_spec.to_dict(),
        "temperature": model.temperature,
        "task": model.task.name,
        "looks": model.looks,
        "thresholds": model.thresholds and dict(zip(model.class_names, model.thresholds, strict=True)),
        "unknown": _describe_reference(model.reference),
        "sets": _describe_sets(model.sets, len(model.class_names)),
        "best": _facts(merged, "best"),
        "progress": _progress(merged, settings),
        "settings": settings,
        "versions": _facts(merged, "versions"),
        "data_fingerprint": _facts(merged, "data_fingerprint"),
    }


def _describe_reference(reference: "Reference | None") -> dict[str, Any] | None:
    """Return what a checkpoint tells strangers by, None where it keeps nothing."""
    if reference is None:
        return None
    return {
        "num_pictures": len(reference),
        "drawn_from": reference.num_images,
        "split": reference.split,
        "block": reference.block or None,
        "num_features": reference.feature_dim,
        "least_rate": reference.least_rate,
    }


def _describe_sets(sets: "SetScores | None", num_classes: int) -> dict[str, Any] | None:
    """Return what sets of classes are chosen by, None where a checkpoint keeps nothing."""
    if sets is None:
        return None
    return {"num_pictures": len(sets.labels), "most_sure": sets.most_sure(num_classes)}


def _checkpoint_files(target: str) -> list[Path]:
    """Return the file itself, or a run directory's best.pt and last.pt as far as they are there."""
    from ..errors import CheckpointError
    from ..runs.directory import BEST, LAST, find_checkpoint

    found, errors = [], []
    for name in (BEST, LAST):  # before the end of its first epoch a run may have the last alone
        try:
            found.append(find_checkpoint(target, name))
        except CheckpointError as error:
            errors.append(error)
    if not found:
        raise errors[0]
    return list(dict.fromkeys(found))


def _facts(content: dict[str, Any], key: str) -> dict[str, Any] | None:
    """Return the texts and numbers by name that a checkpoint has at `key`, None where it has none."""
    found = content.get(key)
    if not isinstance(found, dict):
        return None
    return {name: _plain(value) for name, value in found.items() if isinstance(name, str)}


def _plain(value: Any) -> Any:
    """Return a number or a text as it is, and None for what JSON has no word for."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, (str, int, float)) else None


def _settings(content: dict[str, Any], path: Path) -> dict[str, Any] | None:
    """Return the run's settings after checking them, None where there are none."""
    from ..errors import CheckpointError, SettingsError
    from ..settings import TrainSettings

    if content.get("settings") is None:
        return None
    try:
        return TrainSettings.from_dict(content["settings"]).to_dict()
    except SettingsError as error:
        raise CheckpointError(f"The settings in {str(path)!r} cannot be read ({error}).") from error


def _progress(content: dict[str, Any], settings: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return where the run is: `epoch` epochs and `step` batches of phase number `phase` are done."""
    phases = [] if settings is None else settings["phases"]
    number = content.get("phase")
    if not isinstance(number, int) or not 0 <= number < len(phases):
        return None
    return {
        "phase": number,
        "phase_name": phases[number]["name"],
        "num_phases": len(phases),
        "epoch": _plain(content.get("epoch")),
        "epochs": phases[number]["epochs"],
        "step": _plain(content.get("step")),
        "patience": _plain(content.get("patience")),
    }
