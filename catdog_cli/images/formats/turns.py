"""Lets threads decode at once, but huge pictures one after the other: many would fill the memory."""

import contextlib
import functools
import os
import threading
from collections.abc import Iterator

HUGE_PIXELS = 40_000_000  # from here on a process decodes one picture at a time


@contextlib.contextmanager
def in_turn(pixels: int) -> Iterator[None]:
    """Run the block at once, or where it decodes a huge picture, when no other thread does."""
    if pixels < HUGE_PIXELS:
        yield
        return
    with _turnstile(os.getpid()):
        yield


@functools.cache
def _turnstile(process: int) -> threading.Lock:
    """Return the lock of a process: a forked one must not inherit it locked."""
    return threading.Lock()


def choose_reduction(width: int, height: int, shorter_side: int | None) -> int:
    """Return by how much a huge picture is reduced, its shorter side still at least twice what is wanted."""
    if shorter_side and width * height >= HUGE_PIXELS:
        return max(1, min(width, height) // (2 * shorter_side))
    return 1
