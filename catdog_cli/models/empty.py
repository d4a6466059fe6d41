"""Networks with shapes and names but without numbers: built at once and in no memory, whatever their size.

Used to load checkpoints (their tensors take the places), to tell whose weights a file holds, and to
describe networks.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from ..errors import SettingsError
from .backbones import build_model, split_head


class _CountOnCPU(TorchFunctionMode):
    """Leaves small sums on the CPU: RegNet computes the widths of its layers with tensors."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if func in (torch.arange, torch.tensor):
            kwargs = {"device": "cpu", **(kwargs or {})}
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def empty_networks() -> Iterator[None]:
    """Build every network in this context on torch's meta device."""
    with torch.device("meta"), _CountOnCPU():
        yield


def check_image_size(arch: str, size: int) -> None:
    """Raise SettingsError unless `arch` takes pictures of `size` x `size` px; costs well under a second."""
    with empty_networks():
        model = build_model(arch)
        split_head(model, arch)
    try:
        model.to("meta").eval()(torch.empty(1, 3, size, size, device="meta"))
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = " ".join(str(error).split())[:100].rstrip(".")
        raise SettingsError(
            f"{arch} takes no pictures of {size} px ({reason}): leave out --image-size, or give another."
        ) from error
