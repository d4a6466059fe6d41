"""Pictures in batches: decoded in threads for frozen passes, in worker processes for augmented training."""

import dataclasses
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from ..errors import DataError
from ..images.read import ImageError
from ..images.transforms import load_image, load_view
from ..settings_networks import AnySpec, memory_side
from .dataset import Dataset
from .shared_memory import is_short, usable_workers
from .worker_deaths import iterate_loader

LEAST_TIMEOUT_S = 300.0  # after which a silent worker is given up
SLOWEST_IMAGE_S = 20.0  # to decode the largest picture that is read
SOCKET_PATH_BYTES = 103  # macOS; Linux allows 107


@dataclass(frozen=True)
class CorruptImage:
    """A picture that could not be read: its index in the split, its path, and why."""

    index: int
    path: str
    reason: str


@dataclass(eq=False)
class Images(torch.utils.data.Dataset):
    """One split as a map from (index, seed) to a uint8 (3, size, size) image or a CorruptImage.

    For several networks side by side an image is what they all get, in a row: uint8 (values,).
    """

    dataset: Dataset
    split: str
    spec: AnySpec
    augment: str = "none"

    @property
    def labels(self) -> torch.Tensor:
        """int64 (N,)."""
        return torch.from_numpy(self.dataset.splits[self.split].labels)

    def __len__(self) -> int:
        return len(self.dataset.splits[self.split])

    def __getitem__(self, item: tuple[int, int]) -> tuple[int, torch.Tensor | CorruptImage]:
        index, seed = item
        try:
            source = self.dataset.source(self.split, index)
            if self.augment == "none":
                return index, load_image(source, self.spec)
            return index, load_view(source, self.spec, self.augment, seed)
        except ImageError as error:
            return index, CorruptImage(index, self.dataset.splits[self.split].paths[index], str(error))


@dataclass(frozen=True)
class Batch:
    """Readable pictures (B, 3, size, size) uint8, their indices in the split (B,), and those not readable.

    For several networks the pictures are (B, values).
    """

    images: torch.Tensor
    indices: torch.Tensor
    bad: list[CorruptImage]

    def pin_memory(self) -> "Batch":
        """Return the batch in memory that a GPU reads by itself; a DataLoader asks for it by this name."""
        return dataclasses.replace(self, images=self.images.pin_memory()) if len(self.indices) else self


def collate(items: list[tuple[int, torch.Tensor | CorruptImage]]) -> Batch:
    """Stack the readable pictures of a batch in channels-last order; the others are named in `bad`."""
    good = [(index, image) for index, image in items if not isinstance(image, CorruptImage)]
    bad = [image for _, image in items if isinstance(image, CorruptImage)]
    if not good:
        return Batch(torch.empty(0, 3, 1, 1, dtype=torch.uint8), torch.empty(0, dtype=torch.int64), bad)
    stacked = torch.stack([image for _, image in good])
    if stacked.ndim == 4:
        stacked = stacked.contiguous(memory_format=torch.channels_last)
    return Batch(stacked, torch.tensor([i for i, _ in good]), bad)


@dataclass(frozen=True)
class _Packed:
    """A batch without tensors: it goes through a pipe, where tensors would go through shared memory."""

    images: np.ndarray  # uint8 (B, size, size, 3), or (B, values)
    indices: np.ndarray  # int64 (B,)
    bad: list[CorruptImage]

    def unpack(self) -> Batch:
        """Return the batch, laid out in memory as `collate` does."""
        images = torch.from_numpy(self.images)
        images = images.permute(0, 3, 1, 2) if images.ndim == 4 else images
        return Batch(images, torch.from_numpy(self.indices), self.bad)

    def pin_memory(self) -> Batch:
        """Return the batch in memory that a GPU reads by itself."""
        return self.unpack().pin_memory()


def _collate_packed(items: list[tuple[int, torch.Tensor | CorruptImage]]) -> _Packed:
    batch = collate(items)
    images = batch.images.permute(0, 2, 3, 1) if batch.images.ndim == 4 else batch.images
    return _Packed(images.numpy(), batch.indices.numpy(), batch.bad)


def load_batches(
    images: Images, plan: list[list[tuple[int, int]]], workers: int, pin_memory: bool = False
) -> Iterator[Batch]:
    """Yield the batches of `plan`, lists of (index, seed), loaded in worker processes; 0 loads in this one.

    The result does not depend on `workers`: every picture's random numbers come from its seed alone. Where
    shared memory is too small for them, workers hand over pictures through pipes.

    Raises:
        DataError: a worker was killed, or does not answer for longer than any batch can take.
    """
    largest = max(map(len, plan), default=0)
    # A batch is the work of one process, and one alone comes as soon from here: data of a few pictures would
    # wait for processes to start, every epoch.
    workers = usable_workers(min(workers, len(plan)) if len(plan) > 1 else 0)
    loader = torch.utils.data.DataLoader(
        images,
        batch_sampler=plan,
        num_workers=workers,
        collate_fn=_collate_packed if is_short(workers, largest, memory_side(images.spec)) else collate,
        pin_memory=pin_memory,
        timeout=max(LEAST_TIMEOUT_S, SLOWEST_IMAGE_S * largest) if workers else 0,
        generator=torch.Generator(),  # or the loader would draw from, and move, torch's global one
        worker_init_fn=_keep_socket_paths_short,
    )
    try:
        for batch in iterate_loader(loader):
            yield batch if isinstance(batch, Batch) else batch.unpack()
    except RuntimeError as error:
        if not str(error).startswith(("DataLoader worker", "DataLoader timed out")):
            raise
        raise DataError(_describe_loss(str(error), workers)) from error


def _describe_loss(said: str, workers: int) -> str:
    """Return why pictures do not come any more, in a sentence."""
    silent = "timed out" in said
    what = "did not answer for minutes" if silent else "was killed"
    why = " (out of shared memory)" if "Bus error" in said else "" if silent else ", maybe for want of memory"
    return (
        f"One of the {workers} processes that load pictures {what}{why}: resume the run with fewer --workers "
        "(0 loads without any), or give it more memory (in Docker also --shm-size=2g)."
    )


def _keep_socket_paths_short(_worker: int) -> None:
    """Move a worker's temporary files to /tmp where the path of a socket among them would be too long.

    A worker hands over its tensors through such a socket; if it cannot be opened, the batch is lost and the
    loader waits for it without end.
    """
    longest = f"{tempfile.gettempdir()}/pymp-12345678/listener-12345678"  # as multiprocessing names them
    if os.name == "posix" and len(os.fsencode(longest)) > SOCKET_PATH_BYTES:
        tempfile.tempdir = "/tmp"
