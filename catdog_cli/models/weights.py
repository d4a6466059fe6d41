"""Weights for a backbone: those of its source by name, or a state_dict file."""

from pathlib import Path

import torch

from ..errors import CatdogError, CheckpointError
from ..settings_networks import Weights, weights_of
from .classifier import Classifier, Network, with_versions
from .meta import meta_networks
from .safe_load import read_state_dict
from .zoo.registry import arch_names, source_of


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


def _load_network(network: Network, weights: str) -> None:
    if weights == "none":
        return
    if weights == "imagenet":
        state_dict = _imagenet_state_dict(network.arch)
        name = f"{source_of(network.arch).name}'s weights"
    else:
        state_dict, name = read_state_dict(Path(weights)), repr(str(weights))
    _fill(network, state_dict, name)


def _imagenet_state_dict(arch: str) -> dict[str, torch.Tensor]:
    source = source_of(arch)
    if not source.has_weights(arch):
        raise CatdogError(f"{arch} has no ImageNet weights: add --weights none.")
    path = source.weights_path(arch)
    try:
        return source.load_weights(arch)
    except CheckpointError as error:
        raise CheckpointError(
            f"The downloaded weights {str(path)!r} are damaged: delete that file, and catdog gets it again."
        ) from error
    except (OSError, RuntimeError) as error:  # URLError is an OSError; a wrong hash a RuntimeError
        raise CatdogError(
            f"Cannot download the ImageNet weights of {arch} ({_short(error)}): connect to the internet, or "
            f"put {path.name} from another machine at {str(path)!r}, or give --weights FILE, or --weights "
            f"none to train from scratch."
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
