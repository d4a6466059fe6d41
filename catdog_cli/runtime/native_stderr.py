"""Keeps what C libraries print about a damaged picture off the user's screen, and lets it be read.

libjpeg and libtiff print to C's `stderr` themselves, whoever calls them. While a picture is decoded, that
variable points elsewhere; Python's own stderr is another thing, and progress bars go on. Only on Linux with
the GNU C library; elsewhere nothing is kept off, and nothing heard.
"""

import contextlib
import ctypes
import functools
import os
import platform
import sys
import threading
import time
from collections.abc import Iterator

PAUSE_S = 0.001  # between two looks at whether other threads have finished a picture
NOT_BUFFERED = 2  # of setvbuf


class _Diversion:
    """The variable, where it may point to, and how many threads are decoding."""

    def __init__(self) -> None:
        libc = ctypes.CDLL(None)
        libc.fdopen.restype = libc.fopen.restype = ctypes.c_void_p
        libc.setvbuf.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_size_t]
        self.file = os.memfd_create("catdog-native-stderr")
        self.nowhere = libc.fopen(b"/dev/null", b"w")
        self.kept = libc.fdopen(self.file, b"w")
        if not self.nowhere or not self.kept:
            raise OSError("no stream")
        libc.setvbuf(self.kept, None, NOT_BUFFERED, 0)
        self.variable = ctypes.c_void_p.in_dll(libc, "stderr")
        self.own = self.variable.value
        self.forget_others()
        os.register_at_fork(after_in_child=self.forget_others)

    def forget_others(self) -> None:
        """Begin anew: a forked process has no other threads."""
        self.lock = threading.Lock()
        self.count = 0  # threads that are decoding
        self.listeners = 0  # of them, those that ask whether anything was printed
        self.closed = False  # one thread wants to be alone
        self.variable.value = self.own

    def enter(self, listening: bool) -> int:
        while True:
            with self.lock:
                if not self.closed:
                    self.count += 1
                    self.listeners += listening
                    if self.count == 1 or listening:
                        self.variable.value = self.kept if listening else self.nowhere
                    return self.size() if listening else 0
            time.sleep(PAUSE_S)

    def leave(self, listening: bool) -> int:
        with self.lock:
            self.count -= 1
            self.listeners -= listening
            if not self.count:
                self.variable.value = self.own
            elif listening and not self.listeners:
                self.variable.value = self.nowhere
            return self.size() if listening else 0

    def size(self) -> int:
        """Return how many bytes were printed and kept so far."""
        return os.lseek(self.file, 0, os.SEEK_CUR)


@functools.cache
def _divert() -> _Diversion | None:
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return None
    try:
        return _Diversion()
    except (OSError, ValueError, AttributeError):  # no such variable, file or function here
        return None


class Quiet:
    """Keep off the screen what C libraries print while the block runs, in whatever thread.

    With `listening`, `heard` says afterwards whether anything was printed meanwhile, be it by another thread.
    """

    __slots__ = ("diversion", "heard", "listening", "start")

    def __init__(self, listening: bool = False) -> None:
        self.listening = listening
        self.heard = False

    def __enter__(self) -> "Quiet":
        self.diversion = _divert()
        if self.diversion is not None:
            self.start = self.diversion.enter(self.listening)
        return self

    def __exit__(self, *error: object) -> None:
        if self.diversion is not None:
            self.heard = self.diversion.leave(self.listening) != self.start


@contextlib.contextmanager
def listen_alone() -> Iterator[list[str]]:
    """Run the block while no other thread is within `Quiet`; the list then holds the lines that C printed."""
    lines: list[str] = []
    diversion = _divert()
    if diversion is None:
        yield lines
        return
    while True:
        with diversion.lock:
            if not diversion.closed:
                diversion.closed = True
                break
        time.sleep(PAUSE_S)
    while diversion.count:
        time.sleep(PAUSE_S)
    diversion.variable.value = diversion.kept
    start = diversion.size()
    try:
        yield lines
    finally:
        printed = os.pread(diversion.file, max(0, diversion.size() - start), start)
        lines += printed.decode(errors="replace").splitlines()
        diversion.variable.value = diversion.own
        diversion.closed = False
