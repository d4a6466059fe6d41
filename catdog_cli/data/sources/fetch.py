"""Fetch one file over HTTP, resuming where an earlier try broke off."""

import hashlib
import http.client
import re
import ssl
import time
import urllib.error
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ...errors import DataError
from ...runtime.http import OversizeError, find_reason, open_url, read_blocks

TIMEOUT_S = 30
MAX_TRIES = 5  # in a row that bring nothing


@dataclass(frozen=True)
class RemoteFile:
    """A file to fetch; `checksum` is "sha256:HEX" or "md5:HEX" where one is known.

    `refused` and `offline` say what else to do where the server refuses, or cannot be reached.
    """

    url: str
    checksum: str | None = None
    num_bytes: int | None = None
    refused: str = "its address may have changed, upgrade catdog"
    offline: str = ", or draw pictures with `catdog data sample`"

    @property
    def name(self) -> str:
        """The last part of the address."""
        return urlsplit(self.url).path.rsplit("/", 1)[-1]


class _BrokenOffError(Exception):
    """The connection ended early, or the server asked to come back later."""


def fetch_file(
    remote: RemoteFile,
    path: Path,
    report: Callable[[int, int], None] | None = None,
    wait_s: float = 1.0,
) -> None:
    """Fetch a file to `path`, through `path`.part, which a later call resumes.

    A connection that breaks off is opened again, up to five times in a row without a byte more.
    `report(bytes done, bytes in all)` is called after each chunk; 0 in all where the server does not say.

    Raises:
        DataError: the server cannot be reached, refuses, breaks off for good, or sends something else.
        OSError: the disk is full, or the like.
    """
    if path.is_file():
        return
    part = path.with_name(path.name + ".part")
    failures = 0
    while True:
        before = _size(part)
        try:
            _receive(remote, part, report or (lambda done, total: None))
            break
        except _BrokenOffError as error:
            failures = 0 if _size(part) > before else failures + 1
            if failures == MAX_TRIES:
                raise DataError(
                    f"The download of {remote.url!r} broke off at {_size(part):,} bytes ({error}): run the "
                    "same command again to resume it."
                ) from error
            time.sleep(wait_s * 2**failures if failures else 0)
    _verify(remote, part)
    part.rename(path)


def _receive(remote: RemoteFile, part: Path, report: Callable[[int, int], None]) -> None:
    """Append what is missing to `part`."""
    headers = {"Accept-Encoding": "identity"}
    if offset := _size(part):
        headers["Range"] = f"bytes={offset}-"
    try:
        with open_url(remote.url, TIMEOUT_S, headers) as response:
            _save(response, remote, part, offset, report)
    except urllib.error.HTTPError as error:
        if error.code != 416 or error.headers.get("Content-Range", "") != f"bytes */{offset}":
            raise _refusal(error, remote, part) from error  # else nothing is missing
    except urllib.error.URLError as error:
        if offset:
            raise _BrokenOffError(find_reason(error)) from error
        raise DataError(
            f"{urlsplit(remote.url).hostname!r} cannot be reached ({find_reason(error)}): connect to the "
            f"internet and run the same command again{remote.offline}."
        ) from error
    except (http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError) as error:
        raise _BrokenOffError(find_reason(error)) from error


def _refusal(error: urllib.error.HTTPError, remote: RemoteFile, part: Path) -> Exception:
    """Return what a server's refusal means: try again, or give up."""
    if error.code == 416:  # the range begins after the end of the file
        part.unlink(missing_ok=True)
        return _BrokenOffError("the part kept from before did not fit")
    if error.code == 429 or error.code >= 500:
        return _BrokenOffError(f"HTTP {error.code} {error.reason}")
    return DataError(
        f"The server refused {remote.url!r} (HTTP {error.code} {error.reason}): {remote.refused}."
    )


def _save(
    response: http.client.HTTPResponse,
    remote: RemoteFile,
    part: Path,
    offset: int,
    report: Callable[[int, int], None],
) -> None:
    """Write an answer to `part`; more bytes than are expected are never kept."""
    done, total = _read_range(response, offset)
    _check_total(remote, total)
    limit = total or remote.num_bytes
    with part.open("r+b" if done else "wb") as file:
        file.seek(done)
        file.truncate()
        try:
            for block in read_blocks(response, None if limit is None else limit - done):
                file.write(block)
                done += len(block)
                report(done, limit or 0)
        except OversizeError as error:
            raise DataError(
                f"{response.url!r} sent more than the {limit:,} bytes expected: try again later."
            ) from error
    if total is not None and done < total:
        raise _BrokenOffError(f"{total:,} were announced")


def _read_range(response: http.client.HTTPResponse, offset: int) -> tuple[int, int | None]:
    """Return where the answer's bytes begin, and the size of the whole file if it says so."""
    length = response.headers.get("Content-Length", "")
    size = int(length) if length.isdigit() else None
    if response.status == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if found and int(found[1]) == offset:
            return offset, None if found[2] == "*" else int(found[2])
        raise DataError(
            f"The server sent another part of {response.url!r} than was asked for: try again later."
        )
    return 0, size


def _check_total(remote: RemoteFile, total: int | None) -> None:
    if total is not None and remote.num_bytes is not None and total != remote.num_bytes:
        raise DataError(
            f"{remote.url!r} has {total:,} bytes now, but {remote.num_bytes:,} are expected: it was changed, "
            "and this catdog cannot use it."
        )


def _verify(remote: RemoteFile, part: Path) -> None:
    """Check size and checksum; a wrong file is removed, so that the next call starts again."""
    problem = None
    if remote.num_bytes is not None and _size(part) != remote.num_bytes:
        problem = f"has {_size(part):,} bytes instead of {remote.num_bytes:,}"
    elif remote.checksum is not None:
        kind, wanted = remote.checksum.split(":")
        with part.open("rb") as file:
            if hashlib.file_digest(file, kind).hexdigest() != wanted:
                problem = f"does not have the {kind} checksum {wanted}"
    if problem:
        part.unlink()
        raise DataError(
            f"What came from {remote.url!r} {problem}: it was removed, run the same command again."
        )


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
