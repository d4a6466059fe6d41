"""torch.compile, for a network that trains: kernels made for it, after a minute of making them."""

from collections.abc import Callable

import torch
from torch import nn

from ...errors import UnavailableError


def compile_network(network: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return `network` compiled, once for each batch size; compiling starts with the first call.

    The calls raise:
        UnavailableError: torch.compile fails: no C++ compiler, or a network that it cannot take.
    """
    compiled = torch.compile(network, dynamic=False)

    def run(inputs: torch.Tensor) -> torch.Tensor:
        try:
            return compiled(inputs)
        except torch._dynamo.exc.TorchDynamoException as error:
            reason = " ".join(str(error).split())[:200].rstrip(".")
            raise UnavailableError(
                f"--compile was given, but torch.compile fails here ({reason}): leave out --compile."
            ) from error

    return run
