"""Fills the feature cache: computes what it lacks, alone or in shares."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from ..data.loaders import CorruptImage
from ..runtime.distributed import processes
from .extractor import (
    AnyPrefix,
    FeatureTable,
    FrozenPrefix,
    ImageSet,
    JoinedPrefix,
    JoinedTable,
    View,
    run_prefix,
    store_folder,
)
from .store import KEY_BYTES, Store, make_room

APPEND_ROWS = 1024
ROUND_BATCHES = 8  # batches that each process computes before all say how far they are
Rows = list[tuple[list[str], torch.Tensor]]  # keys with values, a batch each


def table_bytes(prefix: AnyPrefix, num_rows: int) -> int:
    """Return what a table of `num_rows` outputs weighs in the cache, with its keys."""
    return num_rows * sum(
        torch.Size(part.output_shape).numel() * part.dtype.itemsize + KEY_BYTES for part in prefix.parts
    )


def claim_room(prefix: AnyPrefix, wanted: list[tuple[ImageSet, View]], limit_bytes: float) -> bool:
    """Make room for the tables of a phase, all at once; say whether the cache then stays below its limit.

    Stores of other networks and views go first, the least recently used one before the others; then, from
    the stores that the phase uses, what they hold of pictures that it does not use. Two runs that fill the
    cache at the same time do not know of each other's share.

    Raises:
        OSError: the cache cannot be written: no permission, or the disk is full.
    """
    keys: dict[Path, set[str]] = {}
    homes: dict[Path, FrozenPrefix] = {}
    for chosen, view in wanted:
        readable = {chosen.keys[i] for i in chosen.good_indices().tolist()}
        for part in prefix.parts:
            folder = store_folder(part.key, view)
            keys.setdefault(folder, set()).update(readable)
            homes[folder] = part
    return processes().in_each(lambda: _claim_here(homes, keys, limit_bytes))


def _claim_here(homes: dict[Path, FrozenPrefix], keys: dict[Path, set[str]], limit_bytes: float) -> bool:
    """As `claim_room`, in this process's cache; `keys` are what a store is to hold, `homes` whose it is."""
    stores = [Store(folder, part.output_shape, part.dtype) for folder, part in homes.items()]
    needed = sum(store.entry_bytes * len(keys[store.folder] - store.rows.keys()) for store in stores)
    over = make_room(needed, limit_bytes, keep=set(keys))
    for store in stores:
        if over > 0:
            with contextlib.nullcontext() if needed else contextlib.suppress(OSError):  # complete: read it
                over -= store.keep_only(keys[store.folder])
    return over <= 0 or not needed


def build_feature_table(
    prefix: AnyPrefix,
    chosen: ImageSet,
    view: View,
    report: Callable[[int, int], None],
) -> FeatureTable | JoinedTable:
    """Return the prefix's outputs for every picture of a set, computing what the cache does not hold.

    `report(done, total)` is called as pictures pass. Unreadable pictures are noted in `chosen`. Several
    processes compute shares; every one of them finds all rows in its own cache afterwards.

    Raises:
        OSError: the cache cannot be written: no permission, or the disk is full.
    """
    if isinstance(prefix, FrozenPrefix):
        return _build_table(prefix, chosen, view, report)
    if processes().size == 1:
        _compute_together(prefix, chosen, view, report)
    return JoinedTable([_build_table(part, chosen, view, report) for part in prefix.parts])


def _compute_together(
    prefix: JoinedPrefix, chosen: ImageSet, view: View, report: Callable[[int, int], None]
) -> None:
    """Add what all of several networks lack to their stores, each picture decoded once for all of them."""
    stores = [Store(store_folder(part.key, view), part.output_shape, part.dtype) for part in prefix.parts]
    lacking = set(chosen.keys).difference(*(store.rows for store in stores))
    missing = [place for place in _missing(stores[0], chosen) if chosen.keys[place] in lacking]
    _compute(prefix, chosen, view, stores, missing, report)


def _build_table(
    prefix: FrozenPrefix,
    chosen: ImageSet,
    view: View,
    report: Callable[[int, int], None],
) -> FeatureTable:
    """As `build_feature_table`, of one network."""
    folder = store_folder(prefix.key, view)
    store = processes().in_each(lambda: Store(folder, prefix.output_shape, prefix.dtype))
    missing = _missing_anywhere(store, chosen)
    while missing:  # a second time only for what has the content of an unreadable picture
        if processes().size == 1:
            _compute(prefix, chosen, view, [store], missing, report)
        else:
            _compute_in_shares(prefix, chosen, view, store, missing, report)
        missing = _missing_anywhere(store, chosen)
    rows = processes().in_each(store.open)
    places = torch.tensor([store.rows.get(key, -1) for key in chosen.keys], dtype=torch.int64)
    return FeatureTable(rows, places)


def _compute(
    prefix: AnyPrefix,
    chosen: ImageSet,
    view: View,
    stores: list[Store],
    missing: list[int],
    report: Callable[[int, int], None],
) -> None:
    """Add the rows of the pictures at `missing`, one store a network, and note those that cannot be read."""
    waiting: Rows = []
    done = 0
    try:
        for indices, outputs, bad in run_prefix(prefix, chosen, missing, view):
            chosen.note_bad(bad)
            if len(indices):
                waiting.append(([chosen.keys[i] for i in indices.tolist()], outputs))
            done += len(indices) + len(bad)
            report(done, len(missing))
            if len(waiting) * prefix.batch >= APPEND_ROWS:
                _flush(stores, waiting)
    finally:  # whoever stops the run has not waited for nothing
        _flush(stores, waiting)


def _compute_in_shares(
    prefix: FrozenPrefix,
    chosen: ImageSet,
    view: View,
    store: Store,
    missing: list[int],
    report: Callable[[int, int], None],
) -> None:
    """As `_compute`, each process a part of the batches, in rounds behind which all know what all know.

    The batches are those of one process, so that the rows are the same to the last bit.
    """
    mine = processes().chunks(missing, prefix.batch)
    computed = run_prefix(prefix, chosen, [place for chunk in mine for place in chunk], view)
    rounds = -(-len(missing) // (prefix.batch * processes().size * ROUND_BATCHES))
    waiting: Rows = []
    try:
        for number in range(1, rounds + 1):
            for bad in processes().gather(lambda: _advance(computed, chosen, waiting)):
                chosen.note_bad(bad)
            if number == rounds or number % (APPEND_ROWS // prefix.batch // ROUND_BATCHES) == 0:
                _flush_everywhere(store, waiting)
            passed = number * ROUND_BATCHES * processes().size * prefix.batch
            report(min(len(missing), passed), len(missing))
    finally:
        computed.close()
        _flush([store], waiting)


def _advance(computed: Iterator[tuple], chosen: ImageSet, waiting: Rows) -> list[CorruptImage]:
    """Compute one round's batches into `waiting`; return the unreadable pictures."""
    found: list[CorruptImage] = []
    for _ in range(ROUND_BATCHES):
        indices, outputs, bad = next(computed, ((), (), []))
        found += bad
        if len(indices):
            waiting.append(([chosen.keys[i] for i in indices.tolist()], outputs))
    return found


def _flush_everywhere(store: Store, waiting: Rows) -> None:
    """Append the rows; where the others' caches lie elsewhere, on other machines, they get them too."""
    mine = list(waiting)

    def flush() -> list[str]:
        _flush([store], waiting)
        return [key for keys, _ in mine for key in keys]

    everyone = processes().gather(flush)
    if not any(processes().gather(lambda: _lacks(store, everyone))):
        return
    for rows in processes().gather(lambda: mine):
        processes().gather(functools.partial(_flush, [store], list(rows)))


def _lacks(store: Store, everyone: list[list[str]]) -> bool:
    store.refresh()
    return any(key not in store.rows for keys in everyone for key in keys)


def _missing_anywhere(store: Store, chosen: ImageSet) -> list[int]:
    """Return the places of pictures without a row in the cache of any process, in order."""
    found = processes().gather(lambda: _missing(store, chosen))
    return found[0] if len(found) == 1 else sorted(set().union(*found))


def _missing(store: Store, chosen: ImageSet) -> list[int]:
    """Return the places of pictures without a row, not known to be unreadable; a content once."""
    first: dict[str, int] = {}
    for index, key in enumerate(chosen.keys):
        if key not in store.rows and index not in chosen.bad:
            first.setdefault(key, index)
    return list(first.values())


def _flush(stores: list[Store], waiting: Rows) -> None:
    """Append the rows; of several networks each store gets its columns."""
    if waiting:
        keys = [key for part, _ in waiting for key in part]
        outputs = torch.cat([outputs for _, outputs in waiting])
        parts = [outputs] if len(stores) == 1 else outputs.split([store.shape[0] for store in stores], 1)
        for store, part in zip(stores, parts, strict=True):
            store.append(keys, part)
        waiting.clear()
