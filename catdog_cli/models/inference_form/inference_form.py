"""The fast form of a frozen network: fused, channels-last, in bfloat16 where the processor has it.

Training's frozen prefix, evaluation and prediction all run this one form, so that a picture gets the
same numbers everywhere.
"""

import copy
import threading
from typing import Any

import torch
from torch import fx, nn

from .onednn import can_fuse, fuse_convolutions
from .plain_modules import PlainTracer, take_apart

TRACING = threading.Lock()  # torch.fx traces one network a process at a time


class InferenceForm(nn.Module):
    """A copy of `module` for inference: Conv and BatchNorm fused, channels-last, run in `dtype`.

    On a CPU with oneDNN a convolution, the sum and the activation behind it are one kernel, too: twice as
    fast for MobileNetV2 in bfloat16.

    Takes float pictures or activations, returns `dtype`. Later changes of `module` do not reach it. `plain`
    leaves it in torch's own modules, which can be written to other formats.
    """

    def __init__(self, module: nn.Module, dtype: torch.dtype, device: torch.device, plain: bool = False):
        super().__init__()
        self.dtype, self.device = dtype, device
        fused = _fuse(module) if any(True for _ in module.parameters()) else copy.deepcopy(module)
        fused.eval().requires_grad_(False)
        if isinstance(fused, fx.GraphModule) and form_name(device, dtype) == "onednn" and not plain:
            fused = fuse_convolutions(fused, dtype)
        # At once: layouts of 1 x 1 kernels would differ after two steps. torch's types lack the combination.
        target: dict[str, Any] = {"device": device, "dtype": dtype, "memory_format": torch.channels_last}
        self.body = fused.to(**target)

    @torch.no_grad()  # not inference_mode: what comes out may go into a trainable suffix
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.body(self.prepare(inputs))

    def prepare(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return inputs as `body` takes them: on its device, in its dtype, channels-last."""
        inputs = inputs.to(self.device, self.dtype, non_blocking=True)
        return inputs.contiguous(memory_format=torch.channels_last) if inputs.dim() == 4 else inputs


def form_name(device: torch.device, dtype: torch.dtype = torch.float32) -> str:
    """Return the name of what is done to a network on `device`, for whoever keeps its outputs."""
    return "onednn" if device.type == "cpu" and can_fuse(dtype) else "plain"


def _fuse(module: nn.Module) -> nn.Module:
    """Fold each BatchNorm into the Conv before it; what torch.fx cannot trace is copied as it is."""
    from torch.fx.experimental.optimization import fuse

    was_training = module.training
    modes = {name: part.training for name, part in module.named_modules()}
    try:
        plain = take_apart(copy.deepcopy(module.eval()))
        with TRACING:
            graph = PlainTracer().trace(plain)
        fused = fuse(fx.GraphModule(plain, graph), inplace=True, no_trace=True)
        # constants that a trace has found may have five dimensions, of which torch makes no channels-last
        return copy.deepcopy(module) if any(t.dim() > 4 for t in fused.buffers()) else fused
    except Exception:  # torch.fx raises TraceError, TypeError and others on control flow
        return copy.deepcopy(module)
    finally:
        module.train(was_training)
        for name, part in module.named_modules():
            part.training = modes[name]
