"""Archives as DATA: unpacked once into the cache, known again by content, or by the address they came from.

A folder takes its name when it is whole, so that a kill half-way leaves nothing half.
"""

import hashlib
import os
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from ...errors import DataError
from ...images.suffixes import image_suffix, is_picture
from ...runtime.files import TABLE_SUFFIXES, cache_root
from ...runtime.progress import report_progress
from ..digests import file_digest
from ..image_files import list_folder
from ..split_names import split_of
from .archives import DAMAGED, unpack_archive
from .fetch import RemoteFile, fetch_file

UNPACKED = "unpacked"  # the folder in the cache
ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06")
COMPRESSED_STARTS = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0")
OTHER_STARTS = {b"7z\xbc\xaf\x27\x1c": ".7z", b"Rar!\x1a\x07": ".rar", b"\x28\xb5\x2f\xfd": ".zst"}
SPREADSHEETS = (".xlsx", ".xlsm", ".ods", ".numbers")
LEAST_BYTES = 20 * 10**9  # that any archive may unpack to
MAX_RATIO = 30  # unpacked bytes for each of a larger archive: images hardly shrink
MAX_FILES = 5_000_000


def is_archive(path: Path) -> bool:
    """Tell whether a file is a .zip, .tar or compressed .tar, by its content.

    Raises:
        DataError: it is an archive of a kind that is not read, or a compressed file without an archive in it.
    """
    try:
        with path.open("rb") as file:
            start = file.read(512)
    except OSError:  # said by whoever reads it
        return False
    for mark, kind in OTHER_STARTS.items():
        if start.startswith(mark):
            raise DataError(
                f"{str(path)!r} is a {kind} archive, which is not read: unpack it, or give a .zip."
            )
    if start.startswith(ZIP_STARTS):
        return True
    if start[257:262] == b"ustar":
        return True
    if start.startswith(COMPRESSED_STARTS):
        if not _is_tar(path):
            raise DataError(f"{str(path)!r} is compressed, but not an archive of pictures: unpack it first.")
        return True
    return False


def _is_tar(path: Path) -> bool:
    try:
        return tarfile.is_tarfile(path)
    except DAMAGED:
        return False


def unpack_once(path: Path) -> tuple[Path, str]:
    """Return the folder that an archive unpacks to, and a sentence on it.

    Raises:
        DataError: the archive is damaged, refused or without images, or there is no room for it.
    """
    if zipfile.is_zipfile(path):
        _check_names(path)
    digest = (file_digest(path) or "")[:16]
    folder = cache_root() / UNPACKED
    known = [found for found in folder.glob(f"*-{digest}") if not found.name.startswith(".")]
    target = known[0] if known else folder / f"{_short(path.name)}-{digest}"
    if known:
        return _inner(target), f"{str(path)!r} is an archive, unpacked before in {str(target)!r}."
    with report_progress(None, show=True) as report:
        _fill(target, lambda work: _unpack(path, work, report))
    return _inner(
        target
    ), f"{str(path)!r} is an archive: unpacked in {str(target)!r}, where it stays for next time."


def fetch_once(address: str) -> tuple[Path, str]:
    """Return the folder that the archive at an http(s) address unpacks to, and a sentence on it.

    The address is asked once: what came from it stays in the cache.

    Raises:
        DataError: the address does not answer, sends something else than an archive, or there is no room.
    """
    remote = RemoteFile(address, refused="check the address", offline="")
    target = (
        cache_root() / UNPACKED / f"{_short(remote.name)}-{hashlib.sha256(address.encode()).hexdigest()[:16]}"
    )
    if target.is_dir():
        note = f"{address!r} was downloaded before, to {str(target)!r}: delete that to download it again."
        return _inner(target), note

    def fetch(work: Path) -> None:
        archive = target.with_name(f"{target.name}.download")
        with report_progress(None, show=True) as report:
            fetch_file(remote, archive, lambda done, total: report("downloading", done, total))
            try:
                if not is_archive(archive):
                    raise DataError(
                        f"What {address!r} sends is not a .zip or .tar archive: check the address."
                    )
                _unpack(archive, work, report)
            finally:
                archive.unlink()

    _fill(target, fetch)
    return _inner(target), f"{address!r} was downloaded and unpacked in {str(target)!r}, where it stays."


def unpacked_bytes() -> int:
    """Return how much room all takes that archives were unpacked to."""
    folder = cache_root() / UNPACKED
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def clear_unpacked() -> int:
    """Delete all that archives were unpacked to; return the number of bytes freed."""
    before = unpacked_bytes()
    shutil.rmtree(cache_root() / UNPACKED, ignore_errors=True)
    return before - unpacked_bytes()


def _fill(target: Path, fill: Callable[[Path], None]) -> None:
    """Let `fill` write into a hidden folder that becomes `target` when it is whole."""
    work = target.with_name(f".{target.name}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(f".{target.name}.lock")):
            if target.is_dir():  # another process was faster
                return
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir()
            try:
                fill(work)
                work.rename(target)
            finally:
                shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise DataError(
            f"Cannot unpack into {str(target.parent)!r} ({error.strerror or error}): make room, or set "
            "CATDOG_CACHE to another folder."
        ) from error


def _unpack(archive: Path, work: Path, report: Callable[[str, int, int], None]) -> None:
    max_bytes = max(LEAST_BYTES, MAX_RATIO * archive.stat().st_size)
    unpack_archive(archive, work, max_bytes, MAX_FILES, lambda done, total: report("unpacking", done, total))


def _check_names(path: Path) -> None:
    """Raise DataError where a .zip has no picture in it, such as a checkpoint or a spreadsheet."""
    if path.suffix.lower() in SPREADSHEETS:
        raise DataError(f"{str(path)!r} is a spreadsheet: save it as a CSV file with the columns path,class.")
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError):
        return  # said by whoever unpacks it
    if not any(is_picture(suffix := image_suffix(name)) or suffix in TABLE_SUFFIXES for name in names):
        raise DataError(
            f"{str(path)!r} is a .zip file without pictures: give a folder or an archive of them."
        )


def _short(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in name)[:40] or "archive"


def _inner(folder: Path) -> Path:
    """Return the folder that holds the data: the archive may have folders in folders around it."""
    while True:
        listing = list_folder(str(folder))
        tables = [name for name in os.listdir(folder) if name.lower().endswith(TABLE_SUFFIXES)]  # noqa: PTH208
        if listing.images or tables or len(listing.folders) != 1 or split_of(listing.folders[0]):
            return folder
        folder = folder / listing.folders[0]
