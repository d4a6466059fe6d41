"""http and https requests, what comes held to a size and a time.

Python's own client does what is needed (redirects, proxies, TLS). What is left to do, resuming a file and
stopping a server that sends too much or too slowly, another client would leave to its user, too.
"""

import contextlib
import functools
import http.client
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping

BLOCK_BYTES = 1 << 18


class OversizeError(Exception):
    """A server sends more bytes than it may."""


@contextlib.contextmanager
def open_url(
    url: str, timeout_s: float, headers: Mapping[str, str] = {}, method: str = "GET"
) -> Iterator[http.client.HTTPResponse]:
    """Yield the answer of a server, redirects followed; `timeout_s` is how long it may be silent.

    Raises:
        urllib.error.HTTPError: the server refuses.
        OSError, http.client.HTTPException: it cannot be reached, or talks nonsense.
        ValueError: `url` is no address.
    """
    request = urllib.request.Request(url, headers={"User-Agent": "catdog", **headers}, method=method)
    with _opener().open(request, timeout=timeout_s) as response:
        yield response


def read_blocks(
    response: http.client.HTTPResponse, max_bytes: int | None = None, max_seconds: float | None = None
) -> Iterator[bytes]:
    """Yield what a server sends, as it comes.

    Raises:
        OversizeError: it is more than `max_bytes`.
        TimeoutError: it takes longer than `max_seconds`, or the server is silent for too long.
    """
    started, num_bytes = time.monotonic(), 0
    while block := response.read1(BLOCK_BYTES):
        num_bytes += len(block)
        if max_bytes is not None and num_bytes > max_bytes:
            raise OversizeError
        if max_seconds is not None and time.monotonic() - started > max_seconds:
            raise TimeoutError
        yield block


def find_reason(error: Exception) -> str:
    """Return what went wrong with a request in the system's or the server's words."""
    reason = getattr(error, "reason", None) or error  # a URLError holds the error that it comes from
    return getattr(reason, "strerror", None) or str(reason) or type(error).__name__


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
