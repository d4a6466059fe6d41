"""torchvision; the only way to import it is `from ..runtime.vision import torchvision`."""

from .startup import import_without_compiler

import_without_compiler(
    "torchvision.io", "torchvision.transforms.v2.functional"
)  # io registers torch.ops.image
import torchvision  # noqa: E402 - after the call, which keeps torch's compiler out

__all__ = ["torchvision"]
