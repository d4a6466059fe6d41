"""One process at a time trains in a run directory.

The lock is the system's (flock), so it ends with the process that holds it, however that ends. It holds
between machines on file systems that say so: NFS since Linux 2.6.12 (unless mounted with local_lock), SMB,
Lustre (mounted with flock), CephFS, GPFS. Where there are no locks at all, the user is warned.
"""

import contextlib
import functools
import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from ..errors import CatdogError

LOCK_FILE = ".lock"  # holds who has the lock, as JSON
FAR = 1 << 20  # Windows locks bytes for reading, too: one that is not of the text

_held: set[int] = set()  # descriptors


@contextlib.contextmanager
def locked(run_dir: Path, warn: Callable[[str], None]) -> Iterator[None]:
    """Hold a run directory for the time of a `with` block.

    Raises:
        CatdogError: another process holds it, or nothing can be written there.
    """
    path = run_dir / LOCK_FILE
    descriptor = _take(path)
    if descriptor is None:
        warn(f"The file system of {str(run_dir)!r} has no locks: let no other process train there.")
        yield
        return
    _close_in_children()
    _held.add(descriptor)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()  # while it is held: whoever waits for it sees that it is gone, and makes another
        _held.discard(descriptor)
        os.close(descriptor)


@functools.cache
def _close_in_children() -> None:
    """Let no loading process keep the lock when the process that started it is killed."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_close_all)


def _close_all() -> None:
    for descriptor in _held:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _held.clear()


def _take(path: Path) -> int | None:
    """Return the descriptor of the locked file, or None where there are no locks."""
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise CatdogError(
                f"Cannot write into {str(path.parent)!r} ({error.strerror}): choose another --output, or "
                f"mend its permissions."
            ) from error
        try:
            _lock(descriptor)
        except (BlockingIOError, PermissionError) as error:
            os.close(descriptor)
            raise CatdogError(_in_use(path)) from error
        except OSError:
            os.close(descriptor)
            return None
        if _is_at(descriptor, path):
            _sign(descriptor)
            return descriptor
        os.close(descriptor)  # its last owner deleted it between the opening and the locking


def _sign(descriptor: int) -> None:
    """Write who has the lock, for whoever is refused; it holds without, as on a full disk."""
    with contextlib.suppress(OSError):
        os.truncate(descriptor, 0)
        os.write(descriptor, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode())


def _lock(descriptor: int) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        os.lseek(descriptor, FAR, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


def _in_use(path: Path) -> str:
    who = "another process"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        owner = json.loads(path.read_text())
        who = f"process {owner['pid']} on {owner['host']!r}"
    return (
        f"{str(path.parent)!r} is in use by {who}: wait until it has ended, or stop it; evaluate and predict "
        f"work meanwhile."
    )
