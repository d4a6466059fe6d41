"""Whether two run directories hold the same run, bit for bit."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from ..data.location import FROM_RUN
from ..errors import CatdogError
from ..runtime.files import HISTORY
from .checkpoint import load_checkpoint
from .directory import LAST, SPLIT

TIMES = frozenset(("seconds", "pictures_per_s"))  # no two runs take the same time
LEFT_OUT = TIMES | {FROM_RUN}  # nor need they lie at the same place, seen from their data


def compare_runs(first: Path, second: Path) -> list[str]:
    """Return where two finished runs differ, [] if nowhere; times are left out.

    Compared are the names of all files, every checkpoint with all that it holds, the history, the split and
    the settings: tensors by their bits, numbers by all their digits. Where the data lies, seen from the run,
    is left out, too.

    Raises:
        CheckpointError: a checkpoint cannot be loaded.
    """
    names = [_file_names(folder) for folder in (first, second)]
    found = [f"{name}: only in one of the runs" for name in sorted(names[0] ^ names[1])]
    for name in sorted(names[0] & names[1]):
        parts = [_read(folder / name) for folder in (first, second)]
        found += [f"{name}: {place}" for place in find_differences(*parts)]
    return found


def _file_names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def _read(path: Path) -> Any:
    """Return what is compared of a file: plain containers and tensors, bytes, or None for what is drawn."""
    if path.suffix == ".pt":
        return load_checkpoint(path, resume=path.name == LAST)
    if path.name == HISTORY:
        return [json.loads(line) for line in path.read_text().splitlines()]
    if path.suffix == ".json":
        return json.loads(path.read_text())
    return path.read_bytes() if path.name == SPLIT else None


def find_differences(first: Any, second: Any, place: str = "") -> Iterator[str]:
    """Yield the places at which two plain structures differ by a bit."""
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        if not _same_bits(first, second):
            yield place
    elif isinstance(first, dict) and isinstance(second, dict):
        for key in {**first, **second}.keys() - LEFT_OUT:
            inner = f"{place}.{key}" if place else str(key)
            if key in first and key in second:
                yield from find_differences(first[key], second[key], inner)
            else:
                yield f"{inner} is only in one of the runs"
    elif isinstance(first, (list, tuple)) and isinstance(second, (list, tuple)) and len(first) == len(second):
        for index, pair in enumerate(zip(first, second, strict=True)):
            yield from find_differences(*pair, f"{place}[{index}]")
    elif type(first) is not type(second) or repr(first) != repr(second):  # repr: NaN is NaN, -0.0 is not 0.0
        yield f"{place or 'the content'}: {_short(first)} and {_short(second)}"


def _same_bits(first: torch.Tensor, second: torch.Tensor) -> bool:
    if first.dtype != second.dtype or first.shape != second.shape:
        return False
    return torch.equal(_bytes(first), _bytes(second))


def _bytes(tensor: torch.Tensor) -> torch.Tensor:
    """Return the bytes of a tensor; that of one number may have a stride of 0 and count as contiguous."""
    flat = tensor.contiguous().as_strided((tensor.numel(),), (1,))
    return flat.view(torch.uint8)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def find_damage(run_dir: Path) -> list[str]:
    """Return what is half-written in the directory of a run that was killed just now, [] for nothing.

    A hidden file that was not renamed yet is no damage: nobody reads it, and the next process deletes it.
    """
    found = []
    for path in sorted(path for path in run_dir.rglob("*") if path.is_file() and path.name[0] != "."):
        try:
            _read(path)
        except (CatdogError, ValueError) as error:
            found.append(f"{path.relative_to(run_dir)}: {error}")
    return found
