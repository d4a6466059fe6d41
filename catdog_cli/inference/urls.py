"""Pictures at http(s) addresses, fetched only when the user gave such an address; and at file addresses."""

import os
import time
from typing import Any

from ..images.read import ImageError
from ..runtime.addresses import is_address, is_file_address, path_of_address
from ..runtime.files import expand_home

__all__ = ["fetch_image", "find_file", "is_address", "is_file_address", "read_source"]

MAX_IMAGE_BYTES = 50_000_000
MAX_SECONDS = 20.0


def find_file(address: str) -> str:
    """Return the path that a file:// address means, its percent signs decoded.

    Raises:
        ImageError: it names another machine.
    """
    try:
        return path_of_address(address)
    except ValueError as error:
        raise ImageError(str(error)) from error


def fetch_image(address: str, max_bytes: int = MAX_IMAGE_BYTES, max_seconds: float = MAX_SECONDS) -> bytes:
    """Return the bytes at an http(s) address, held to a size and a time.

    Raises:
        ImageError: it does not answer in time, refuses, leads elsewhere than http(s), or sends too much.
    """
    import http.client  # with it come ssl and email, of which a file on the disk needs nothing

    from ..runtime.http import OversizeError, find_reason, open_url, read_blocks

    started = time.monotonic()
    try:
        with open_url(address, max_seconds) as response:
            left_s = max_seconds - (time.monotonic() - started)
            return b"".join(read_blocks(response, max_bytes, left_s))
    except OversizeError as error:
        raise _refuse(address, f"it sends more than {max_bytes / 1e6:g} MB") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        timed_out = isinstance(getattr(error, "reason", error), TimeoutError)  # a URLError of one is one, too
        reason = f"it took longer than {max_seconds:g} s" if timed_out else find_reason(error)
        raise _refuse(address, reason) from error


def _refuse(address: str, problem: str) -> ImageError:
    return ImageError(f"Cannot fetch the picture {address!r}: {problem}; check the address.")


def read_source(source: Any) -> Any:
    """Return what can be read of a source: the bytes at an address, the path of a file, all else as it is.

    Raises:
        ImageError: the address does not answer with a picture.
    """
    if isinstance(source, str) and is_address(source):
        return fetch_image(source)
    if isinstance(source, str) and is_file_address(source):
        return find_file(source)
    return expand_home(source) if isinstance(source, (str, os.PathLike)) else source
