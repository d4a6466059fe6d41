"""Keeps what C libraries print about a damaged picture off the user's screen, and lets it be read.

libjpeg and libtiff print to C's `stderr` themselves, whoever calls them. While a picture is decoded, that
variable points to a file in memory; Python's own stderr is another thing, and progress bars go on. Only on
Linux with the GNU C library; elsewhere nothing is kept off, and nothing heard.
"""

import contextlib
import ctypes
import os
import platform
import sys
import threading
from collections.abc import Iterator

MAX_BYTES = 2**20  # what is kept in memory before it starts again


class Heard:
    """Whether anything was printed meanwhile, be it for another thread's picture."""

    anything = False


class _Diversion:
    """The variable, the file, and how many threads are decoding."""

    def __init__(self) -> None:
        libc = ctypes.CDLL(None)
        libc.fdopen.restype = ctypes.c_void_p
        libc.setvbuf.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_size_t]
        self.file = os.memfd_create("catdog-native-stderr")
        self.stream = libc.fdopen(self.file, b"w")
        libc.setvbuf(self.stream, None, 2, 0)  # 2: not buffered
        self.variable = ctypes.c_void_p.in_dll(libc, "stderr")
        self.own = self.variable.value
        self.start_anew()
        os.register_at_fork(after_in_child=self.start_anew)

    def start_anew(self) -> None:
        """Forget other threads: a forked process has none of them."""
        self.changed = threading.Condition()
        self.count = 0
        self.closed = False  # one thread wants to be alone
        self.variable.value = self.own

    def enter(self) -> int:
        with self.changed:
            while self.closed:
                self.changed.wait()
            self.count += 1
            if self.count == 1:
                self.variable.value = self.stream
            return os.lseek(self.file, 0, os.SEEK_CUR)

    def leave(self) -> int:
        with self.changed:
            end = os.lseek(self.file, 0, os.SEEK_CUR)
            self.count -= 1
            if self.count == 0:
                self.variable.value = self.own
                if end > MAX_BYTES:
                    os.lseek(self.file, 0, os.SEEK_SET)
                self.changed.notify_all()
            return end


def _divert() -> _Diversion | None:
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return None
    try:
        return _Diversion()
    except (OSError, ValueError, AttributeError):  # no such file or variable here
        return None


_diversion: _Diversion | None = None
_looked = threading.Lock()
_tried = False


def _get() -> _Diversion | None:
    global _diversion, _tried
    if not _tried:
        with _looked:
            if not _tried:
                _diversion, _tried = _divert(), True
    return _diversion


class quiet:  # noqa: N801 - used as `with quiet() as heard:`; a class, because it is entered for each picture
    """Keep off the screen what C libraries print while the block runs, in whatever thread."""

    def __enter__(self) -> Heard:
        self.heard = Heard()
        self.diversion = _get()
        self.start = self.diversion.enter() if self.diversion is not None else 0
        return self.heard

    def __exit__(self, *error: object) -> None:
        if self.diversion is not None:
            self.heard.anything = self.diversion.leave() != self.start


@contextlib.contextmanager
def listen() -> Iterator[list[str]]:
    """Run the block while no other thread is within `quiet`; the list then holds the lines that C printed."""
    lines: list[str] = []
    diversion = _get()
    if diversion is None:
        yield lines
        return
    with diversion.changed:
        while diversion.closed:
            diversion.changed.wait()
        diversion.closed = True
        while diversion.count:
            diversion.changed.wait()
        diversion.variable.value = diversion.stream
        start = os.lseek(diversion.file, 0, os.SEEK_CUR)
    try:
        yield lines
    finally:
        with diversion.changed:
            end = os.lseek(diversion.file, 0, os.SEEK_CUR)
            lines += (
                os.pread(diversion.file, max(0, end - start), start).decode(errors="replace").splitlines()
            )
            diversion.variable.value = diversion.own
            diversion.closed = False
            diversion.changed.notify_all()
