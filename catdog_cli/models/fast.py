"""The fast form of a frozen network: fused, channels-last, in bfloat16 where the processor has it.

Training's frozen prefix, evaluation and prediction all run this one form, so that a picture gets the
same numbers everywhere.
"""

import copy

import torch
from torch import nn


class FastForm(nn.Module):
    """A copy of `module` for inference: Conv and BatchNorm fused, channels-last, run in `dtype`.

    Takes float pictures or activations, returns `dtype`. Later changes of `module` do not reach it.
    """

    def __init__(self, module: nn.Module, dtype: torch.dtype, device: torch.device):
        super().__init__()
        self.dtype, self.device = dtype, device
        fused = _fuse(module) if any(True for _ in module.parameters()) else copy.deepcopy(module)
        self.body = fused.to(device, dtype, memory_format=torch.channels_last).eval().requires_grad_(False)

    @torch.no_grad()  # not inference_mode: what comes out may go into a trainable suffix
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        inputs = inputs.to(self.device, self.dtype, non_blocking=True)
        if inputs.dim() == 4:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        return self.body(inputs)


def _fuse(module: nn.Module) -> nn.Module:
    """Fold each BatchNorm into the Conv before it; what torch.fx cannot trace is copied as it is."""
    from torch.fx.experimental.optimization import fuse

    was_training = module.training
    modes = {name: part.training for name, part in module.named_modules()}
    try:
        return fuse(module.eval())
    except Exception:  # torch.fx raises TraceError, TypeError and others on control flow
        return copy.deepcopy(module)
    finally:
        module.train(was_training)
        for name, part in module.named_modules():
            part.training = modes[name]
