"""What to do where memory runs out: work on fewer pictures at once, and remember it.

Used by training's steps and passes and by prediction. Source of the idea: automatic microbatching, as in
MosaicML's Composer.
"""

import contextlib
import itertools
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from ..errors import CatdogError
from .devices import refuse_unrepeatable

SIGNS = ("out of memory", "can't allocate memory", "STATUS_ALLOC_FAILED")  # the last of cuBLAS, cuDNN


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether torch raised `error` because a device has no memory left."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS)


def peak_bytes() -> int:
    """Return the most memory that this process has held; 0 where the system does not say."""
    try:
        import resource
    except ImportError:
        return _windows_peak_bytes()
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _windows_peak_bytes() -> int:
    """Return PeakWorkingSetSize of PROCESS_MEMORY_COUNTERS, as GetProcessMemoryInfo fills it."""
    import ctypes

    class Counters(ctypes.Structure):
        _fields_ = (
            ("cb", ctypes.c_uint32),
            ("PageFaultCount", ctypes.c_uint32),
            ("PeakWorkingSetSize", ctypes.c_size_t),
            ("others", ctypes.c_size_t * 7),
        )

    libraries = getattr(ctypes, "windll", None)
    if libraries is None:
        return 0
    found = Counters(cb=ctypes.sizeof(Counters))
    process = ctypes.c_void_p(libraries.kernel32.GetCurrentProcess())
    done = libraries.kernel32.K32GetProcessMemoryInfo(process, ctypes.byref(found), found.cb)
    return int(found.PeakWorkingSetSize) if done else 0


@dataclass(eq=False)
class MicroBatch:
    """How many pictures are worked on at once; halved where memory runs out, and kept so.

    `size` 0 means as many as there are. `on_shrink(size)` is called with each new size.
    """

    size: int = 0
    on_shrink: Callable[[int], None] = lambda size: None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def parts(self, count: int) -> list[range]:
        """Return the rows of `count` pictures in parts that fit, as equal as can be, longer ones first."""
        size = self.size
        number = max(1, -(-count // size)) if size else 1
        least, longer = divmod(count, number)
        edges = (part * least + min(part, longer) for part in range(number + 1))
        return [range(*edge) for edge in itertools.pairwise(edges)]

    def lower(self, size: int) -> None:
        """Take over a smaller size (0 is none), such as another process's."""
        with self._lock:  # threads that decode may all have been at it
            if size and (not self.size or size < self.size):
                self.size = size
                self.on_shrink(size)

    def shrink(self, error: RuntimeError, tried: int) -> None:
        """Take half of `tried` pictures at once, which were too many; raise `error` if it says another thing.

        Raises:
            CatdogError: even one picture is too many; or --deterministic asks for what cannot be.
        """
        if not is_out_of_memory(error):
            refuse_unrepeatable(error)
            raise error
        if tried <= 1:
            raise CatdogError(
                "Out of memory with one picture at a time: give a smaller --image-size, train less of the "
                "network (a smaller --unfreeze), or use --cpu."
            ) from error
        self.lower(tried // 2)

    def run(self, function: Callable[[torch.Tensor], torch.Tensor], values: torch.Tensor) -> torch.Tensor:
        """Return function(values), both (B, ...), without gradients; in parts where it does not fit."""
        while True:
            parts = self.parts(len(values))
            try:
                if len(parts) == 1:
                    return function(values)
                return torch.cat([function(values[part.start : part.stop]) for part in parts])
            except RuntimeError as error:
                self.shrink(error, len(parts[0]))
            free_memory()  # behind the except: the error holds on to what was computed so far


def free_memory() -> None:
    """Give back what torch keeps of a GPU's memory for later."""
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def describe_shrink(size: int) -> str:
    """Return what the user is told when memory has run out and prediction continues with less at once."""
    return f"Out of memory: continuing with at most {size} pictures at once."


def available_bytes() -> int:
    """Return how much memory the system could hand out without swapping; where it does not say, 0."""
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1])
    with contextlib.suppress(ValueError, OSError, AttributeError):
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 0
