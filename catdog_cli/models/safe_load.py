"""Read weights and checkpoints as data: no code in them runs, and none fills the memory."""

import os
import re
import warnings
import zipfile
from pathlib import Path
from typing import IO, Any

import torch

from ..errors import CatdogError, CheckpointError, require
from .file_kinds import describe_content, describe_file

_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")  # as in torchvision's own files
SAFETENSORS = ".safetensors"  # names and tensors by themselves, as the Hugging Face hub keeps them
MAX_INFLATION, SMALL_BYTES = 20, 2**26  # what a file may unpack to: times its size, and always


def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """Read a state_dict file, or the backbone of a catdog checkpoint, running no code from it.

    Raises:
        CheckpointError: not there, not readable, or not a state_dict.
    """
    content = load_plain(path)
    for key in ("state_dict", "model", "model_state_dict"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not content or not all(map(_is_entry, content.items())):
        raise CheckpointError(f"{str(path)!r} holds no state_dict: expected names and tensors.")
    content = {name.removeprefix("module."): tensor for name, tensor in content.items()}
    if any(name.startswith("backbone.") for name in content):
        return {n.removeprefix("backbone."): t for n, t in content.items() if n.startswith("backbone.")}
    return rename_densenet(content)


def _is_entry(item: tuple[Any, Any]) -> bool:
    return isinstance(item[0], str) and torch.is_tensor(item[1])


def rename_densenet(state_dict: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename what older DenseNet files call `norm.1` to today's `norm1`."""
    return {_OLD_DENSENET.sub(r"\1\2", name): tensor for name, tensor in state_dict.items()}


def load_plain(path: Path, mapped: bool = False) -> Any:
    """`torch.load` with weights_only=True on the CPU; every failure is one sentence.

    `mapped` leaves the tensors on the disk until they are used, where the format allows that.

    Raises:
        CheckpointError: the file is missing, a folder, truncated, not torch's (the sentence says what it is,
            where its first bytes tell), unpacks to far more than its size, or would run code.
    """
    path = Path(path)
    try:
        if not path.exists():
            raise CheckpointError(f"No file {str(path)!r}: check the path.")
        if not path.is_file():
            raise CheckpointError(f"{str(path)!r} is not a file: give the file with the weights.")
        if path.suffix == SAFETENSORS:
            return require("safetensors.torch", "timm").load_file(path)
        _refuse_bomb(path)
        with warnings.catch_warnings():  # about details of the format: what matters is an error
            warnings.simplefilter("ignore")
            content = torch.load(
                path, map_location="cpu", weights_only=True, mmap=mapped and zipfile.is_zipfile(path)
            )
        _refuse_hooks(content)
        return content
    except CatdogError:
        raise
    except PermissionError as error:
        raise CheckpointError(f"No permission to read {str(path)!r}: change it, or give a copy.") from error
    except Exception as error:  # torch raises many kinds: RuntimeError, UnpicklingError, EOFError, KeyError
        kind = None if isinstance(error, zipfile.BadZipFile) else describe_file(path)
        if kind is not None:
            raise CheckpointError(f"{str(path)!r} {kind}.") from error
        raise CheckpointError(
            f"{str(path)!r} is not a checkpoint that can be loaded safely: it is damaged, truncated, of "
            f"another format, or holds code, which catdog never runs; give another file."
        ) from error


def _refuse_hooks(content: Any) -> None:
    """Raise ValueError where a tensor comes with hooks, which torch would call: no file of data has any."""
    waiting, seen = [content], set()
    while waiting:
        value = waiting.pop()
        if isinstance(value, torch.Tensor):
            hooks = getattr(value, "_backward_hooks", None)
            if hooks is not None and (not isinstance(hooks, dict) or hooks):
                raise ValueError("a tensor has hooks")
        elif isinstance(value, (dict, list, tuple, set)) and id(value) not in seen:
            seen.add(id(value))
            waiting += [*value.keys(), *value.values()] if isinstance(value, dict) else value


def say_foreign(content: Any) -> str:
    """Return what a file that was loaded is instead of a catdog checkpoint, and what to do."""
    return (
        describe_content(content) or "is not a catdog checkpoint: give a .pt file that `catdog train` wrote"
    )


def _refuse_bomb(path: Path) -> None:
    """Raise CheckpointError for an archive that would unpack to far more than a checkpoint can hold.

    Raises:
        BadZipFile: it is damaged, or ends in more than one way.
    """
    with path.open("rb") as file:
        if file.read(4) != b"PK\3\4":  # what makes torch take it for an archive
            return
        _refuse_two_ends(file)
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    size = path.stat().st_size
    if unpacked > max(SMALL_BYTES, MAX_INFLATION * size):
        raise CheckpointError(
            f"{str(path)!r} has {size:,} bytes but would unpack to {unpacked:,}: this is not a checkpoint; "
            f"give another file."
        )


def _refuse_two_ends(file: IO[bytes]) -> None:
    """Raise BadZipFile unless the list of members is where both Python and torch look for it.

    An archive ends in a record of 22 bytes; before it may stand a locator of 20, which says where the larger
    record for 64 bits is. Python takes the 56 bytes before the locator, torch those that it points to.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 42))
    locator, end = file.read(20), file.read(22)
    if end[:4] != b"PK\5\6" or end[20:] != b"\0\0":
        raise zipfile.BadZipFile("something follows its end")
    if locator[:4] == b"PK\6\7" and int.from_bytes(locator[8:16], "little") != size - 42 - 56:
        raise zipfile.BadZipFile("its end is not where it says")
