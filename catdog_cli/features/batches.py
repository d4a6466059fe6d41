"""Where a phase's batches come from: kept features, or pictures that pass through the prefix each time."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from ..data.loaders import CorruptImage, Images, load_batches
from ..runtime.distributed import processes
from ..runtime.seeds import seed_of
from .extractor import FORWARD_BATCH, AnyPrefix, FeatureTable, ImageSet, JoinedTable, View, run_prefix

GATHERED_BYTES = 64 * 2**20
ROWS_AT_ONCE = 256  # rows of pooled features; whole activations go in smaller batches


@dataclass(frozen=True)
class Inputs:
    """What the suffix gets: values (B, ...), labels (B,), places in the split (B,), unreadable pictures."""

    values: torch.Tensor
    labels: torch.Tensor
    indices: torch.Tensor
    bad: list[CorruptImage]


@dataclass(eq=False)
class KeptFeatures:
    """Batches from feature tables, one a view; epoch e looks through view e modulo their number.

    `map` looks through the first view, or gives the mean over all where they are `averaged`.
    Pooled features of some ten thousand pictures are gathered once, in order, as float32; more are read from
    the cache as they are needed, so that memory does not grow with their number.
    """

    chosen: ImageSet
    tables: Sequence[FeatureTable | JoinedTable]
    device: torch.device
    averaged: bool = False

    def __post_init__(self):
        shape = self.tables[0].shape
        self.pooled = len(shape) == 1
        if self.pooled and 4 * len(self.chosen) * shape[0] * len(self.tables) <= GATHERED_BYTES:
            self.tables = [self._gather(table) for table in self.tables]

    def _gather(self, table: FeatureTable | JoinedTable) -> FeatureTable:
        good = self.chosen.good_indices()
        places = torch.full((len(self.chosen),), -1, dtype=torch.int64)
        places[good] = torch.arange(len(good))
        return FeatureTable(table.take(good).float().to(self.device), places)

    def _take(self, table: FeatureTable | JoinedTable, indices: torch.Tensor) -> torch.Tensor:
        values = table.take(indices).to(self.device)
        return values.float() if self.pooled else values

    def batches(self, plan: list[torch.Tensor], epoch: int) -> Iterator[Inputs]:
        """Yield the batches of `plan`, lists of places in the split, for an epoch (counted from 0), without
        unreadable pictures."""
        table = self.tables[epoch % len(self.tables)]
        readable = table.places >= 0
        if not readable.all():
            plan = [planned[readable[planned]] for planned in plan]
        # several batches of pooled features at once: a step of a head is short beside what looking up costs
        ahead = max(1, ROWS_AT_ONCE // max([1, *map(len, plan)])) if self.pooled else 1
        for start in range(0, len(plan), ahead):
            parts = plan[start : start + ahead]
            indices, sizes = torch.cat(parts), [len(part) for part in parts]
            values = self._take(table, indices).split(sizes)
            labels = self.chosen.labels[indices].to(self.device).split(sizes)
            for batch in zip(values, labels, parts, strict=True):
                yield Inputs(*batch, bad=[])

    def map(self, function: Callable[[torch.Tensor], torch.Tensor]) -> Iterator[tuple]:
        """Yield (indices, function(values)) over this process's part of the readable pictures."""
        tables = self.tables if self.averaged else self.tables[:1]
        size = ROWS_AT_ONCE if self.pooled else FORWARD_BATCH
        for places in processes().chunks(self.chosen.good_indices().tolist(), size):
            indices = torch.tensor(places)
            yield indices, _mean([function(self._take(table, indices)) for table in tables])


@dataclass(eq=False)
class FreshImages:
    """Batches that are decoded, augmented and passed through the frozen prefix each time.

    `map` gives the mean over `looks`.
    """

    chosen: ImageSet
    prefix: AnyPrefix
    augment: str
    views: int
    seed: int
    phase_index: int
    workers: int
    looks: Sequence[View] = (View(),)

    def batches(self, plan: list[torch.Tensor], epoch: int) -> Iterator[Inputs]:
        """Yield the batches of `plan` for an epoch (counted from 0), without unreadable pictures."""
        view = self.view(epoch)
        images = Images(self.chosen.images.dataset, self.chosen.images.split, self.prefix.spec, view.augment)
        seeded = [[(i, view.seed_for(self.chosen.keys[i])) for i in part.tolist()] for part in plan]
        pin = self.prefix.device.type == "cuda"
        for batch in load_batches(images, seeded, self.workers, pin):
            values = self.prefix(batch.images) if len(batch.indices) else batch.images.float()
            values = values.float() if values.dim() == 2 else values  # as those that are kept
            labels = self.chosen.labels[batch.indices].to(self.prefix.device)
            yield Inputs(values, labels, batch.indices, batch.bad)

    def view(self, epoch: int) -> View:
        """Return the epoch's view: a fresh one, or one of the fixed `views`."""
        if self.augment == "none":
            return View()
        if self.views:
            return fixed_view(self.augment, self.seed, epoch % self.views)
        return View(self.augment, seed_of(self.seed, self.phase_index, epoch, "view"))

    def map(self, function: Callable[[torch.Tensor], torch.Tensor]) -> Iterator[tuple]:
        """Yield (indices, function(values)) over this process's part of the readable pictures."""
        chunks = processes().chunks(self.chosen.good_indices().tolist(), self.prefix.batch)
        places = [place for chunk in chunks for place in chunk]
        seen = [run_prefix(self.prefix, self.chosen, places, view, function) for view in self.looks]
        for looks in zip(*seen, strict=True):
            indices, _, bad = looks[0]
            self.chosen.note_bad(bad)
            if len(indices):
                yield indices, _mean([values for _, values, _ in looks])


def _mean(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the mean of tensors; of a single one the very same bits."""
    return parts[0] if len(parts) == 1 else sum(parts[1:], parts[0]) / len(parts)


def fixed_view(augment: str, seed: int, number: int) -> View:
    """Return view `number` (from 0) of the fixed ones; the first is plain, shared with evaluation."""
    return View() if number == 0 else View(augment, seed_of(seed, "view", number))
