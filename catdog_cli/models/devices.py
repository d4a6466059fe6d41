"""Which device computes, and in which precision."""

import torch

from ..errors import SettingsError


def pick_device(name: str) -> torch.device:
    """Return the device for "auto" (a GPU where there is one), "gpu" or "cpu".

    Raises:
        SettingsError: "gpu", and there is none that torch can use.
    """
    found = "cpu"
    if torch.cuda.is_available():
        found = "cuda"
    elif torch.backends.mps.is_available():
        found = "mps"
    if name == "gpu" and found == "cpu":
        raise SettingsError(
            "--gpu was given, but torch finds no usable GPU here: leave it out, or use --cpu."
        )
    return torch.device("cpu" if name == "cpu" else found)


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
