"""Unpack an archive from elsewhere without trusting it.

Nothing is written outside the folder, no link is made, and there is a limit to bytes and files.
"""

import lzma
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Self

from ...errors import DataError

MAX_UNPACKED_BYTES = 5 * 10**9
MAX_FILES = 100_000
MAX_HEADER_BYTES = 1 << 20  # of a member's name and the like, which are read at once
DAMAGED = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, NotImplementedError),
    *(UnicodeDecodeError, RuntimeError),  # names that are none; what is encrypted
)
MAX_REASON = 200  # letters of it in a sentence
LONG_HEADERS = (
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
)


def unpack_archive(
    path: Path,
    folder: Path,
    max_bytes: int = MAX_UNPACKED_BYTES,
    max_files: int = MAX_FILES,
    report: Callable[[int, int], None] | None = None,
) -> None:
    """Unpack the regular files of a .zip or .tar, compressed or not, into `folder`.

    `report(files done, files in all)` is called after each file; 0 in all where the archive does not say.

    Raises:
        DataError: the archive is damaged; holds a link, a device or a path out of the folder; is too large.
        OSError: the disk is full, or the like.
    """
    try:
        done_bytes = 0
        for number, (name, size, file, total) in enumerate(_iterate(path, max_files), 1):
            done_bytes += size
            if done_bytes > max_bytes or number > max_files:
                limits = f"{max_bytes:,} bytes or {max_files:,} files"
                raise DataError(f"The archive {path.name!r} unpacks to more than {limits}: nothing was used.")
            target = folder / _safe_name(path, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            with file, target.open("wb") as output:
                shutil.copyfileobj(_Limited(file, size), output, 1 << 20)
            if report is not None:
                report(number, total)
    except DAMAGED as error:
        raise DataError(
            f"The archive {path.name!r} is damaged ({_find_reason(error)}): remove it and try again."
        ) from error


def _find_reason(error: Exception) -> str:
    """Return what is wrong with an archive; tarfile lists what each of its readers has to say."""
    reason = " ".join(str(error).split())[:MAX_REASON]
    if not reason.startswith("file could not be opened successfully"):
        return reason
    found = re.findall(r"""ReadError\((['"])(.*?)\1\)""", str(error))
    telling = [said for _, said in found if not said.startswith(("not a", "invalid header"))]
    return telling[0] if telling else "its beginning or end is missing"


class _BoundedHeader(tarfile.TarInfo):
    """A header that may not be larger than any honest one: gzip packs a gigabyte of name into a megabyte."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        header = super().frombuf(buf, encoding, errors)
        if header.type in LONG_HEADERS and header.size > MAX_HEADER_BYTES:
            raise tarfile.ReadError("a member's header is too large")
        return header


class _Limited:
    """A file that gives no more bytes than its archive announced for it."""

    def __init__(self, file: IO[bytes], size: int):
        self.file, self.left = file, size

    def read(self, size: int = -1, /) -> bytes:
        data = self.file.read(size)
        self.left -= len(data)
        if self.left < 0:
            raise zipfile.BadZipFile("a file is larger than announced")
        return data


def _iterate(path: Path, max_files: int) -> Iterator[tuple[str, int, IO[bytes], int]]:
    """Yield (name, bytes, opened file, files in all) of every regular file."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            members = [info for info in archive.infolist() if not info.filename.endswith("/")]
            for info in members:
                mode = info.external_attr >> 16
                if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                    raise _refuse(path, info.filename, "is a link or a device")
                yield info.filename, info.file_size, _open_member(archive, info), len(members)
        return
    with tarfile.open(path, "r:*", tarinfo=_BoundedHeader) as archive:
        for number, member in enumerate(archive):
            if number > 2 * max_files:  # folders, which are no files
                raise _refuse(path, member.name, "is one of too many")
            if member.isdir():
                continue
            file = archive.extractfile(member) if member.isreg() else None
            if file is None:
                raise _refuse(path, member.name, "is a link or a device")
            yield member.name, member.size, file, 0


def _open_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> IO[bytes]:
    try:
        return archive.open(info)
    except OSError as error:  # no trouble of the disk's: it is said to lie before the archive's start
        raise zipfile.BadZipFile(f"a member lies outside of it: {error}") from error


def _safe_name(path: Path, name: str) -> str:
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\\" in name or ":" in name or "\0" in name:
        raise _refuse(path, name, "leads out of the folder")
    return "/".join(parts)


def _refuse(path: Path, name: str, problem: str) -> DataError:
    return DataError(f"The archive {path.name!r} holds {name!r}, which {problem}: nothing of it was used.")
