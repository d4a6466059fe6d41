"""Pictures at http(s) addresses, fetched only when the user gave such an address."""

import functools
import http.client
import time
import urllib.error
import urllib.request

from ..images.read import ImageError

MAX_BYTES = 50_000_000
MAX_SECONDS = 20.0
BLOCK_BYTES = 1 << 16


def is_address(text: str) -> bool:
    """Say whether `text` is an http(s) address rather than a path."""
    return text.lower().startswith(("http://", "https://"))


def fetch_image(address: str, max_bytes: int = MAX_BYTES, max_seconds: float = MAX_SECONDS) -> bytes:
    """Return the bytes at an http(s) address, held to a size and a time.

    Raises:
        PictureError: it does not answer in time, refuses, leads elsewhere than http(s), or sends too much.
    """
    deadline = time.monotonic() + max_seconds
    try:
        request = urllib.request.Request(address, headers={"User-Agent": "catdog"})
        with _opener().open(request, timeout=max_seconds) as response:
            data = _receive(response, deadline, max_bytes)
    except TimeoutError as error:
        raise _refuse(address, f"it took longer than {max_seconds:g} s") from error
    except (OSError, ValueError, http.client.HTTPException) as error:  # URLError and HTTPError are OSErrors
        reason = getattr(error, "reason", None) or error
        if isinstance(reason, TimeoutError):
            reason = f"it took longer than {max_seconds:g} s"
        reason = getattr(reason, "strerror", None) or str(reason) or type(error).__name__
        raise _refuse(address, reason) from error
    return data


def _receive(response: http.client.HTTPResponse, deadline: float, max_bytes: int) -> bytes:
    parts, size = [], 0
    while part := response.read1(BLOCK_BYTES):
        parts.append(part)
        size += len(part)
        if size > max_bytes:
            raise ValueError(f"it sends more than {max_bytes / 1e6:g} MB")
        if time.monotonic() > deadline:
            raise TimeoutError
    return b"".join(parts)


def _refuse(address: str, problem: str) -> ImageError:
    return ImageError(f"Cannot fetch the picture {address!r}: {problem}; check the address.")


@functools.cache
def _opener() -> urllib.request.OpenerDirector:
    """Return what opens http and https alone: a redirect to file: or ftp: finds no handler."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.UnknownHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    return opener
