"""One process at a time trains in a run directory.

The lock is the system's (flock), so it ends with the process that holds it, however that ends. It holds
between machines on file systems that say so: NFS since Linux 2.6.12 (unless mounted with local_lock), SMB,
Lustre (mounted with flock), CephFS, GPFS. Where there are no locks at all, the user is warned.
"""

import contextlib
import errno
import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import CatdogError

LOCK_FILE = ".lock"  # holds who has the lock, as JSON
WAIT_S = 0.1  # an owner that ends just now deletes the file before it gives up the lock
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL)  # flock's own errors


@contextlib.contextmanager
def locked(run_dir: Path, warn: Callable[[str], None]) -> Iterator[None]:
    """Hold a run directory for the time of a `with` block.

    Raises:
        CatdogError: another process holds it, or nothing can be written there.
    """
    path = run_dir / LOCK_FILE
    lock = FileLock(path, timeout=WAIT_S, mode=0o644, on_acquired=_sign)
    try:
        lock.acquire()
    except Timeout as error:
        raise CatdogError(_in_use(path)) from error
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise CatdogError(
                f"Cannot write into {str(run_dir)!r} ({error.strerror}): choose another --output, or fix its "
                f"permissions."
            ) from error
        warn(f"The file system of {str(run_dir)!r} has no locks: let no other process train there.")
        yield
        return
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()  # while it is held: whoever waits for it sees that it is gone, and makes another
        lock.release()


def _sign(descriptor: int) -> None:
    """Write who has the lock, for whoever is refused; it holds without, as on a full disk."""
    owner = json.dumps({"pid": os.getpid(), "host": socket.gethostname()})
    with contextlib.suppress(OSError):
        os.truncate(descriptor, 0)
        os.write(descriptor, b" " + owner.encode())  # Windows lets nobody else read the first byte


def _in_use(path: Path) -> str:
    who = "another process"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError), path.open("rb", buffering=0) as file:
        file.seek(1)
        owner = json.loads(file.read())
        who = f"process {owner['pid']} on {owner['host']!r}"
    return (
        f"{str(path.parent)!r} is in use by {who}: wait until it has ended, or stop it; evaluate and predict "
        f"work meanwhile."
    )
