"""Work shared out to threads: how many there may be, in which parts, and the results in order."""

import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future

T = TypeVar("T")
R = TypeVar("R")


def usable_cores() -> int:
    """Return the number of cores for this process: its part of those that all of one launch may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    beside = os.environ.get("LOCAL_WORLD_SIZE", "1")  # set by torchrun and accelerate launch
    return max(1, cores // max(1, int(beside))) if beside.isdigit() else cores


def split_batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield items in lists of `size`, the last one shorter."""
    part: list[T] = []
    for item in items:
        part.append(item)
        if len(part) == size:
            yield part
            part = []
    if part:
        yield part


def map_in_order(function: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[R]:
    """Yield function(item) for each item, in order, computed by `threads` threads a little ahead.

    Each thread gives torch one core: separate batches on separate cores beat one batch on all of them.
    """
    if threads <= 1:
        yield from map(function, items)
        return
    from concurrent.futures import ThreadPoolExecutor

    pending: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(threads, "catdog", initializer=_give_torch_one_core)
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > 2 * threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _give_torch_one_core() -> None:
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
