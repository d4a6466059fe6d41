"""Notices data given where a checkpoint belongs, and the other way round, before anything is loaded."""

import os
from collections.abc import Sequence
from pathlib import Path

from ..errors import SettingsError
from ..runtime.files import BEST, LAST, RUN_SETTINGS, RUN_SPLIT

SUFFIXES = (
    ".pt",
    ".pth",
    ".ckpt",
    ".onnx",
    ".safetensors",
    ".h5",
    ".keras",
    ".tflite",
    ".pb",
    ".pkl",
    ".pickle",
)


def is_like_checkpoint(path: str | os.PathLike[str]) -> bool:
    """Say whether a path leads to a run directory or a file that torch wrote, without reading it whole."""
    path = Path(path)
    try:
        if path.is_dir():
            there = {name for name in (BEST, LAST, RUN_SETTINGS, RUN_SPLIT) if (path / name).is_file()}
            return bool(there & {BEST, LAST}) or {RUN_SETTINGS, RUN_SPLIT} <= there
        if not path.is_file():
            return False
        if path.suffix.lower() in SUFFIXES:
            return True
        with path.open("rb") as file:
            return file.read(4) == b"PK\3\4" and _holds_pickle(path)
    except (OSError, ValueError):
        return False


def _holds_pickle(path: Path) -> bool:
    import zipfile  # which the other arguments, pictures most often, do without

    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/data.pkl") for name in archive.namelist())
    except (OSError, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile):
        return False


def refuse_swapped(data: Sequence[str], checkpoints: Sequence[str], usage: str) -> None:
    """Refuse a checkpoint among the data, saying which argument it was swapped with.

    Args:
        data: arguments that stand for pictures.
        checkpoints: arguments that stand for checkpoints.
        usage: how the command is called with them in the right order; {data} and {checkpoint} are filled in.

    Raises:
        SettingsError: one of the data is a checkpoint.
    """
    for given in data:
        if not is_like_checkpoint(given):
            continue
        others = (each for each in checkpoints if Path(each).exists() and not is_like_checkpoint(each))
        other = next(others, "")
        shown = usage.format(data=other or "DATA", checkpoint=given)
        if other:
            raise SettingsError(f"{given!r} is a checkpoint and {other!r} is data: swap them: {shown}")
        raise SettingsError(f"{given!r} is a checkpoint, not pictures: {shown}")
