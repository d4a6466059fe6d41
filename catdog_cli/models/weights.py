"""Weights for a backbone: torchvision's own by name, or a state_dict file."""

import os
import re
import warnings
import zipfile
from pathlib import Path
from typing import IO, Any

import torch

from ..errors import CatdogError, CheckpointError
from .classifier import Classifier, with_versions
from .meta import meta_networks
from .zoo.registry import arch_names, build_model, linear_path

_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")  # as in torchvision's own files
MAX_INFLATION, SMALL_BYTES = 20, 2**26  # what a file may unpack to: times its size, and always


def load_backbone(classifier: Classifier, weights: str) -> None:
    """Fill the backbone with `weights`: "imagenet", "none" (nothing happens) or a state_dict's path.

    Raises:
        CheckpointError: the file cannot be read, or belongs to another arch.
        CatdogError: torchvision cannot download its weights.
    """
    if weights == "none":
        return
    if weights == "imagenet":
        state_dict, name = _torchvision_state_dict(classifier.arch), "torchvision's weights"
    else:
        state_dict, name = read_state_dict(Path(weights)), repr(str(weights))
    _fill(classifier, state_dict, name)


def _torchvision_state_dict(arch: str) -> dict[str, torch.Tensor]:
    if arch == "simple_cnn":
        raise CatdogError("simple_cnn has no ImageNet weights: add --weights none.")
    from ..runtime.vision import torchvision

    entry = torchvision.models.get_model_weights(arch).DEFAULT
    cached = Path(torch.hub.get_dir()) / "checkpoints" / Path(entry.url).name
    if cached.is_file():
        return _read_download(cached)
    try:
        return _modernise(entry.get_state_dict(progress=False, check_hash=True, weights_only=True))
    except (OSError, RuntimeError) as error:  # URLError is an OSError; a wrong hash a RuntimeError
        raise CatdogError(
            f"Cannot download the ImageNet weights of {arch} ({_short(error)}): get on line, or put "
            f"{Path(entry.url).name} from another machine at {str(cached)!r}, or give --weights FILE, "
            f"or --weights none to train from scratch."
        ) from error


def _read_download(path: Path) -> dict[str, torch.Tensor]:
    try:
        return read_state_dict(path)
    except CheckpointError as error:
        raise CheckpointError(
            f"The downloaded weights {str(path)!r} are damaged: delete that file, and catdog gets it anew."
        ) from error


def _short(error: Exception) -> str:
    return str(getattr(error, "reason", error)).splitlines()[0]


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
    return _modernise(content)


def _is_entry(item: tuple[Any, Any]) -> bool:
    return isinstance(item[0], str) and torch.is_tensor(item[1])


def _modernise(state_dict: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename what older DenseNet files call `norm.1` to today's `norm1`."""
    return {_OLD_DENSENET.sub(r"\1\2", name): tensor for name, tensor in state_dict.items()}


def load_plain(path: Path) -> Any:
    """`torch.load` with weights_only=True on the CPU; every failure is one sentence.

    Raises:
        CheckpointError: the file is missing, a folder, truncated, not torch's, unpacks to far more than its
            size, or would run code.
    """
    path = Path(path)
    try:
        if not path.exists():
            raise CheckpointError(f"No file {str(path)!r}: check the path.")
        if not path.is_file():
            raise CheckpointError(f"{str(path)!r} is not a file: give the file with the weights.")
        _refuse_bomb(path)
        with warnings.catch_warnings():  # about details of the format: what matters is an error
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except PermissionError as error:
        raise CheckpointError(f"No permission to read {str(path)!r}: change it, or give a copy.") from error
    except Exception as error:  # torch raises many kinds: RuntimeError, UnpicklingError, EOFError, KeyError
        raise CheckpointError(
            f"{str(path)!r} is not a checkpoint that can be loaded safely: it is damaged, truncated, of "
            f"another format, or holds code, which catdog never runs; give another file."
        ) from error


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
            f"{str(path)!r} has {size:,} bytes but would unpack to {unpacked:,}: this is no checkpoint; "
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


def _fill(classifier: Classifier, state_dict: dict[str, torch.Tensor], name: str) -> None:
    wanted = classifier.backbone.state_dict()
    problem = _mismatch(state_dict, wanted)
    if problem:
        owner = _find_arch(state_dict)
        belongs = f"belongs to {owner}" if owner else f"fits no known arch ({problem})"
        raise CheckpointError(
            f"The state_dict in {name} {belongs}, not to {classifier.arch}: "
            f"{f'give --arch {owner}, or ' if owner else 'give '}other weights."
        )
    found = {key: state_dict[key] for key in wanted if key in state_dict}
    try:
        for key, tensor in found.items():
            if not torch.isfinite(tensor).all():
                raise ValueError(f"{key} holds numbers that are not finite")
        classifier.backbone.load_state_dict(with_versions(classifier.backbone, found), strict=False)
    except (RuntimeError, ValueError) as error:  # quantised, sparse, meta tensors; NaN
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"The state_dict in {name} cannot be used ({reason}): give another.") from error


def _mismatch(state_dict: dict, wanted: dict) -> str:
    """Say what `state_dict` lacks of `wanted`; empty if nothing. BatchNorm's step counters may be absent."""
    for key, tensor in wanted.items():
        if key not in state_dict:
            if key.endswith("num_batches_tracked"):
                continue
            return f"{key} is missing"
        if state_dict[key].shape != tensor.shape:
            return f"{key} is {tuple(state_dict[key].shape)} instead of {tuple(tensor.shape)}"
    return ""


def _find_arch(state_dict: dict[str, torch.Tensor]) -> str | None:
    """Return the arch whose backbone has exactly these names and shapes; first-class ones are tried first."""
    size = len([name for name in state_dict if not name.startswith(_AUXILIARY)])
    for arch in arch_names():
        with meta_networks():
            model = build_model(arch)
        dropped = (linear_path(model, arch) + ".", *_AUXILIARY)
        wanted = {k: v for k, v in model.state_dict().items() if not k.startswith(dropped)}
        if abs(len(wanted) - size) <= 2 + size // 5 and not _mismatch(state_dict, wanted):
            return arch
    return None
