"""What catdog asks of a place that networks come from.

A new source is a class in a file of its own and an entry in `registry.SOURCES`. Its file imports torch and
its library inside functions: whoever asks for a network of another source must not wait for them.
"""

import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ...settings import InputSpec

if TYPE_CHECKING:
    import torch
    from torch import nn


class Source(Protocol):
    """A library of networks, or a network of catdog's own.

    Methods expect an `arch` of `archs()`, those for weights one that has weights. None but `load_weights`
    and `try_download` needs the internet.
    """

    name: str  # of the library; stands in messages
    first_class: tuple[str, ...]  # what `catdog info` describes; no name that an earlier source has
    extra: str = ""  # of setup.cfg, that brings the library where catdog itself does not
    is_large: bool = False  # too many networks to list, or to build one after the other, unless asked for

    def archs(self) -> list[str]:
        """Return the names of all networks that catdog can train, those of `first_class` among them.

        None where the library is not installed.
        """
        ...

    def has(self, arch: str) -> bool:
        """Say whether `arch` is one of `archs`, or another way to write one."""
        return arch in self.archs()

    def find(self, pattern: str) -> list[str]:
        """Return the names that `pattern` fits, with * and ? as for files."""
        return fnmatch.filter(self.archs(), pattern)

    def is_installed(self) -> bool:
        """Say whether the library is here; imports nothing."""
        return True

    def download_hint(self, arch: str) -> str:
        """Return what to do where the weights cannot be downloaded, as "put ... or give --weights FILE"."""
        path = self.weights_path(arch)
        return f"put {path.name} from another machine at {str(path)!r}, or give --weights FILE"

    def why_not(self, arch: str) -> str:
        """Return why a network that the library has cannot be trained, as "ends in ..."; else nothing."""
        return ""

    def build(self, arch: str) -> "nn.Module":
        """Build the whole network, as its library has it, with random weights; no download.

        It is built on torch's current device, the meta device included, and draws from torch's generator.
        """
        ...

    def split_head(self, model: "nn.Module", arch: str) -> int:
        """Turn a network of `build` into a backbone, (B, 3, H, W) -> (B, feature_dim); return feature_dim."""
        ...

    def blocks(self, backbone: "nn.Module", arch: str) -> list[tuple[str, "nn.Module"]]:
        """Return the backbone's forward pass as ordered (name, module) pairs; run in turn they equal it.

        The modules share their parameters with `backbone`. What is frozen and kept ends at such a block.
        """
        return [("backbone", backbone)]

    def input_spec(self, arch: str, weights: str) -> InputSpec:
        """Return how `weights` ("imagenet", "none" or a file's path) expect images."""
        ...

    def has_weights(self, arch: str) -> bool:
        """Say whether there are ImageNet weights to download."""
        ...

    def weights_path(self, arch: str) -> Path:
        """Return the file that the ImageNet weights are downloaded to, whether it is there or not."""
        ...

    def try_download(self, arch: str) -> None:
        """Raise OSError at once where the ImageNet weights would have to be downloaded and cannot be.

        Downloads nothing: whoever passes may still be refused the file.
        """
        return

    def load_weights(self, arch: str) -> "dict[str, torch.Tensor]":
        """Return the ImageNet weights by the names of `build`'s tensors; downloaded unless there already.

        Raises:
            OSError, RuntimeError: they cannot be downloaded.
            CheckpointError: the file at `weights_path` is damaged.
        """
        ...

    def convert(self, arch: str, state_dict: "dict[str, torch.Tensor]") -> "dict[str, torch.Tensor]":
        """Return weights from elsewhere by the names of `build`'s tensors, if they come by other ones.

        Raises anything where they are those of another network.
        """
        return state_dict

    def tag(self, arch: str) -> str:
        """Return the library's name for the weights that `arch` downloads; empty where they have none."""
        return ""

    def licence(self, arch: str) -> str:
        """Return the licence of what a user gets, weights included: an SPDX identifier or an address."""
        ...
