"""Weights for a backbone: those of its source by name, or a state_dict file."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import torch

from ..errors import CatdogError, CheckpointError
from ..settings_networks import JOIN, Weights, split_arch, weights_of
from .classifier import Classifier, Network, with_versions
from .meta import meta_networks
from .safe_load import read_state_dict
from .zoo.registry import arch_names, source_of
from .zoo.source import Source


@dataclass(frozen=True)
class Origin:
    """Where a network comes from, and its first weights: the library, its name for them, and their licence.

    Tag and licence are empty for weights from a file, which does not say them, and for random ones. Of
    several networks side by side each field names all, joined as in their arch.
    """

    source: str = ""
    tag: str = ""
    licence: str = ""


def origin_of(arch: str, weights: Weights) -> Origin:
    """Return where the weights of a run come from that begins with `weights`, as for `load_backbone`."""
    found = [_origin(*each) for each in zip(split_arch(arch), weights_of(arch, weights), strict=True)]
    if len(found) == 1:
        return found[0]
    values = {key.name: [getattr(one, key.name) for one in found] for key in fields(Origin)}
    return Origin(**{name: _join(parts) for name, parts in values.items()})


def _join(parts: list[str]) -> str:
    return JOIN.join(part or "unknown" for part in parts) if any(parts) else ""


def _origin(arch: str, weights: str) -> Origin:
    source = source_of(arch)
    if weights != "imagenet" or not source.has_weights(arch):
        return Origin(source.name)
    return Origin(source.name, source.tag(arch), source.licence(arch))


def load_backbone(classifier: Classifier, weights: Weights) -> None:
    """Fill the backbone with `weights`: "imagenet", "none" (nothing happens) or a state_dict's path.

    Several networks get the same, or one each.

    Raises:
        CheckpointError: the file cannot be read, or belongs to another arch.
        CatdogError: the arch has no ImageNet weights, or they cannot be downloaded.
    """
    chosen = weights_of(classifier.arch, weights)
    for network, own in zip(classifier.networks, chosen, strict=True):
        _load_network(network, own)


def check_weights(arch: str, weights: Weights) -> None:
    """Say before anything is read that first weights cannot be had, where that is known at once.

    Raises:
        CatdogError: an arch has no ImageNet weights, or they are not here and their server is not reached.
    """
    for network, own in zip(split_arch(arch), weights_of(arch, weights), strict=True):
        if own == "imagenet":
            source = _source_with_weights(network)
            with _downloading(source, network):
                source.try_download(network)


def _load_network(network: Network, weights: str) -> None:
    if weights == "none":
        return
    if weights == "imagenet":
        state_dict = _imagenet_state_dict(network.arch)
        name = f"{source_of(network.arch).name}'s weights"
    else:
        state_dict, name = read_state_dict(Path(weights)), repr(str(weights))
        if _mismatch(state_dict, network.backbone.state_dict()):
            with contextlib.suppress(Exception):  # a library may say anything of foreign weights
                state_dict = source_of(network.arch).convert(network.arch, state_dict)
    _fill(network, state_dict, name)


def _imagenet_state_dict(arch: str) -> dict[str, torch.Tensor]:
    source = _source_with_weights(arch)
    path = source.weights_path(arch)
    try:
        with _downloading(source, arch):
            return source.load_weights(arch)
    except CheckpointError as error:
        raise CheckpointError(
            f"The downloaded weights {str(path)!r} are damaged: delete that file, and catdog gets it again."
        ) from error


def _source_with_weights(arch: str) -> Source:
    source = source_of(arch)
    if not source.has_weights(arch):
        raise CatdogError(f"{arch} has no ImageNet weights: add --weights none.")
    return source


@contextlib.contextmanager
def _downloading(source: Source, arch: str) -> Iterator[None]:
    """Turn what is raised where weights cannot be downloaded into a sentence with the ways out."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # URLError is an OSError; a wrong hash a RuntimeError
        raise CatdogError(
            f"Cannot download the ImageNet weights of {arch} ({_short(error)}): connect to the internet, or "
            f"{source.download_hint(arch)}, or --weights none to train from scratch."
        ) from error


def _short(error: Exception) -> str:
    return str(getattr(error, "reason", error)).splitlines()[0]


def _fill(network: Network, state_dict: dict[str, torch.Tensor], name: str) -> None:
    wanted = network.backbone.state_dict()
    problem = _mismatch(state_dict, wanted)
    if problem:
        owner = _find_arch(state_dict)
        belongs = f"belongs to {owner}" if owner else f"fits no known arch ({problem})"
        raise CheckpointError(
            f"The state_dict in {name} {belongs}, not to {network.arch}: "
            f"{f'give --arch {owner}, or ' if owner else 'give '}other weights."
        )
    found = {key: state_dict[key] for key in wanted if key in state_dict}
    try:
        for key, tensor in found.items():
            if not torch.isfinite(tensor).all():
                raise ValueError(f"{key} holds numbers that are not finite")
        network.backbone.load_state_dict(with_versions(network.backbone, found), strict=False)
    except (RuntimeError, ValueError) as error:  # quantised, sparse, meta tensors; NaN
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"The state_dict in {name} cannot be used ({reason}): give another.") from error


def _mismatch(state_dict: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> str:
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
    for arch in arch_names():
        source = source_of(arch)
        with meta_networks():
            backbone = source.build(arch)
            source.split_head(backbone, arch)
        wanted = backbone.state_dict()
        close = abs(len(wanted) - len(state_dict)) <= 2 + len(state_dict) // 5
        if close and not _mismatch(state_dict, wanted):
            return arch
    return None
