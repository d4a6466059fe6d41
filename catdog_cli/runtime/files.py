"""Files that are whole or not there: written under another name, synced, renamed. And texts, read whole.

The names of files stand here that parts know which may not import each other.
"""

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, overload

from ..errors import CatdogError

# what catdog draws, and the file beside which it lies: of a run, and of a report
HISTORY, CURVES = "history.jsonl", "curves.png"
REPORT, REPORT_PLOTS = "report.json", ("confusion_matrix.png", "roc.png", "calibration.png", "mistakes.png")
LABEL_PLOTS = ("labels.png", "precision_recall.png", "calibration.png", "mistakes.png")  # of several labels
BEST, LAST, RUN_SETTINGS, RUN_SPLIT = "best.pt", "last.pt", "settings.json", "split.csv"  # of a run
TABLE_SUFFIXES = (".csv", ".tsv")  # of lists of images
MAX_TEXT_BYTES = 16_000_000
LEFT_OVER = re.compile(r"\..+\.\d+\.tmp")  # what `replacing` calls a file that is not whole yet


def cache_root() -> Path:
    """Return the folder of all that can be made again: $CATDOG_CACHE, else catdog's in the user's cache."""
    import platformdirs

    return Path(os.environ.get("CATDOG_CACHE") or platformdirs.user_cache_dir("catdog", appauthor=False))


@contextlib.contextmanager
def replacing(path: Path, sync: bool = True) -> Iterator[Path]:
    """Yield a hidden name beside `path` to write to; at the end of the block it is renamed to `path`.

    Readers see the old file or the new one, also after a power cut (`sync` writes the file and its folder
    through to the disk). Where the block fails, the old one stays.

    Raises:
        OSError: the disk is full, read-only, or the folder is gone.
    """
    unfinished = path.with_name(f".{path.name[:50]}.{os.getpid()}.tmp")  # a name has at most 255 bytes
    try:
        yield unfinished
        if sync:
            _sync(unfinished, os.O_RDWR)
        unfinished.replace(path)
        if sync:
            _sync_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):  # the folder may be gone, or a file
            unfinished.unlink(missing_ok=True)


def write_atomic(
    path: Path,
    content: bytes | Callable[[IO[bytes]], object],
    error: type[CatdogError],
    advice: str,
    parents: bool = False,
) -> None:
    """Write the file at `path`, whole or not at all: `content`, or what it writes into a file.

    `parents` makes the folder where it is missing.

    Raises:
        `error`: the disk is full, read-only, or the folder is gone; what was at `path` is intact.
    """
    try:
        if parents:
            path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as unfinished, unfinished.open("wb") as file:
            file.write(content) if isinstance(content, bytes) else content(file)
    except (OSError, RuntimeError) as failure:  # torch.save turns a full disk into a RuntimeError
        raise error(f"Cannot write {str(path)!r} ({_reason(failure)}): {advice}.") from failure


def _reason(failure: BaseException) -> str:
    """Return what the system said; torch hides it behind an error of its own."""
    hidden: BaseException | None = failure
    while hidden is not None and not isinstance(hidden, OSError):
        hidden = hidden.__context__
    return (hidden and hidden.strerror) or str(failure).splitlines()[0]


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    """Make a rename last through a power cut; file systems that cannot do this are left alone."""
    with contextlib.suppress(OSError):
        _sync(folder, os.O_RDONLY)


def sweep(folder: Path) -> list[Path]:
    """Delete what a killed process left unfinished under a folder that is this process's alone; return it."""
    found = [path for path in folder.rglob(".*.tmp") if LEFT_OVER.fullmatch(path.name)]
    for path in found:
        with contextlib.suppress(OSError):
            path.unlink()
    return found


@overload
def expand_home(path: None) -> None: ...
@overload
def expand_home(path: str | os.PathLike[str]) -> str: ...
def expand_home(path: str | os.PathLike[str] | None) -> str | None:
    """Return a path with ~ in front as the home folder, which a shell leaves as it is in --output=~/run.

    A file that is really called so is meant itself. None, for no path, stays None.
    """
    if path is None:
        return None
    text = os.fspath(path)
    if not text.startswith("~") or os.path.lexists(text):
        return text
    return os.path.expanduser(text)  # noqa: PTH111 - Path raises where there is no such user


def read_text(path: str | Path) -> str:
    """Return the text of a file that was written for catdog: options, a recipe, names; with or without a BOM.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not UTF-8, or larger than any such file.
    """
    with Path(path).open("rb") as file:
        data = file.read(MAX_TEXT_BYTES + 1)
    if len(data) > MAX_TEXT_BYTES:
        raise ValueError(f"it has more than {MAX_TEXT_BYTES / 1e6:g} MB")
    return data.decode("utf-8-sig")
