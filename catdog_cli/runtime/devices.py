"""Which device computes, in which precision, and how what it made comes back to the CPU."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch

from ..errors import UnavailableError

T = TypeVar("T")
AHEAD = 2  # batches that a GPU has been given before the first of them is waited for


def pick_device(name: str) -> torch.device:
    """Return the device for "auto" (a GPU where there is one), "gpu" or "cpu".

    Raises:
        UnavailableError: "gpu", and there is none that torch can use.
    """
    found = "cpu"
    if torch.cuda.is_available():
        found = "cuda"
    elif torch.backends.mps.is_available():
        found = "mps"
    if name == "gpu" and found == "cpu":
        raise UnavailableError(
            "--gpu was given, but torch finds no usable GPU here: leave it out, or use --cpu."
        )
    return torch.device("cpu" if name == "cpu" else found)


def repeat_exactly() -> None:
    """Let torch use only operations that give the same bits each time; one that cannot raises RuntimeError.

    cuBLAS wants its workspace named before it starts: https://docs.nvidia.com/cuda/cublas/#results-reproducibility
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_deterministic_debug_mode("error")  # as use_deterministic_algorithms, which imports the compiler
    torch.backends.cudnn.benchmark = False  # or it would choose by the clock
    vars(torch.utils)["deterministic"].fill_uninitialized_memory = False  # nothing here reads it


def refuse_unrepeatable(error: RuntimeError) -> None:
    """Raise UnavailableError if `error` is torch's refusal after `repeat_exactly`."""
    if "does not have a deterministic implementation" in str(error):
        operation = str(error).split()[0]
        raise UnavailableError(
            f"--deterministic was given, but {operation!r}, which this network needs, cannot repeat itself "
            f"on this device: choose another --arch, use --cpu, or leave out --deterministic."
        ) from error


def native_bf16(device: torch.device) -> bool:
    """Say whether `device` multiplies bfloat16 in hardware; emulation would be slower than float32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability() >= (8, 0)
    if device.type == "cpu":
        supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
        return bool(supported and supported() and torch.cpu._is_avx512_bf16_supported())
    return False


def pick_precision(precision: str, device: torch.device) -> torch.dtype:
    """Return the dtype for "auto", "fp32" or "bf16" on `device`."""
    if precision == "auto":
        return torch.bfloat16 if native_bf16(device) else torch.float32
    return {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]


def to_cpu(values: torch.Tensor) -> Callable[[], torch.Tensor]:
    """Begin to copy `values` to the CPU; what is returned waits for them, and gives them.

    A GPU goes on computing meanwhile: the copy goes through pinned memory, on its own.
    """
    if values.device.type != "cuda":
        return values.cpu
    pinned = torch.empty_like(values, device="cpu", pin_memory=True)
    pinned.copy_(values, non_blocking=True)
    copied = torch.cuda.Event()
    copied.record()

    def wait() -> torch.Tensor:
        copied.synchronize()
        return pinned.clone()  # pinned memory is scarce, and used again

    return wait


def keep_busy(started: Iterable[tuple[T, Callable[[], torch.Tensor]]]) -> Iterator[tuple[T, torch.Tensor]]:
    """Yield each item with its values (see `to_cpu`), in order, while the next ones are computed already."""
    waiting: deque[tuple[T, Callable[[], torch.Tensor]]] = deque()
    for each in started:
        waiting.append(each)
        if len(waiting) > AHEAD:
            item, wait = waiting.popleft()
            yield item, wait()
    for item, wait in waiting:
        yield item, wait()
