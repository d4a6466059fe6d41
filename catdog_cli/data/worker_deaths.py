"""Let the death of a loading process be an error where its batch is waited for.

torch raises it from a signal handler, wherever the program is just then: in the middle of a training step, or
of writing a file.
"""

import contextlib
import signal
from collections.abc import Iterator
from typing import Any, TypeVar

T = TypeVar("T")


class _Guard:
    """A handler of SIGCHLD that asks torch's own only while a batch is waited for."""

    def __init__(self) -> None:
        self.waiting, self.missed = False, False
        self.inner: Any = None

    def install(self) -> None:
        """Stand before torch's handler, which it sets with its first loader, in the main thread alone."""
        current = signal.getsignal(signal.SIGCHLD)
        if callable(current) and current != self.handle:
            with contextlib.suppress(ValueError):  # another thread
                signal.signal(signal.SIGCHLD, self.handle)
                self.inner = current

    def handle(self, number: int, frame: Any) -> None:
        """Tell torch that a child has ended, now or when the next batch is waited for."""
        if self.waiting:
            self.inner(number, frame)
        else:
            self.missed = True

    def next(self, batches: Iterator[T]) -> T:
        """Return the next of `batches`; a death that was missed is an error here."""
        self.waiting = True
        try:
            if self.missed and self.inner is not None:
                self.missed = False
                self.inner(signal.SIGCHLD, None)
            return next(batches)
        finally:
            self.waiting = False


_GUARD = _Guard()


def iterate_loader(loader: Any) -> Iterator[Any]:
    """Yield the batches of a torch DataLoader.

    Raises:
        RuntimeError: a worker has ended, or does not answer.
    """
    batches = iter(loader)
    if hasattr(signal, "SIGCHLD"):
        _GUARD.install()
    try:
        while True:
            try:
                batch = _GUARD.next(batches)
            except StopIteration:
                return
            yield batch
    except RuntimeError:
        # or torch would report the same death again, as long as a traceback keeps the iterator
        getattr(batches, "_shutdown_workers", lambda: None)()
        raise
