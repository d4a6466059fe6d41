"""How much a request may ask for: bytes, time, pictures; and the reading of a body within these limits."""

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .http_server import Reply

DRAIN_S = 2  # in which a body that nobody wants may end, so that its sender reads the refusal


@dataclass(frozen=True)
class Limits:
    """What a service takes from its clients; what a connection may take is `http_server.Patience`."""

    queue: int = 256  # pictures that wait
    huge: int = 8  # among them: of a size that takes seconds
    pictures: int = 32  # of one request
    header_bytes: int = 32_768  # of all headers of a request
    body_bytes: int = 32_000_000  # of one request
    held_bytes: int = 256_000_000  # of all requests at a time
    stall_s: float = 10  # between two parts of a body
    body_s: float = 60  # for all of it
    answer_s: float = 60  # in the queue and in the network


class RefusedError(Exception):
    """A request that gets no answer but a status, 4xx or 5xx, and a sentence."""

    def __init__(self, status: int, sentence: str, **headers: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def to_reply(self) -> Reply:
        """Return what the client gets."""
        return Reply.of_json({"error": self.sentence}, self.status, self.headers)


class ClientLeftError(Exception):
    """The client has closed the connection: nobody reads an answer."""


def check_headers(headers: Any, limits: Limits) -> None:
    """Raise RefusedError where the headers of a request are longer than any client needs."""
    if sum(len(name) + len(value) for name, value in headers.raw) > limits.header_bytes:
        raise RefusedError(431, "The headers are too long.")


@dataclass(eq=False)
class Held:
    """How many bytes of bodies are in memory, of all requests."""

    limit: int
    now: int = 0

    def take(self, count: int) -> None:
        """Count more bytes.

        Raises:
            RefusedError: that would be too many.
        """
        if self.now + count > self.limit:
            raise RefusedError(503, "Too much is being uploaded: try again.", Retry_After="1")
        self.now += count


class Body:
    """The body of one request, of which no more comes into memory than the limits allow."""

    def __init__(self, request: Any, limits: Limits, held: Held) -> None:
        self.request, self.limits, self.held = request, limits, held
        self.num_bytes = 0  # that came
        self._taken = 0  # of `held`
        self.is_complete = not self._is_announced()

    def _is_announced(self) -> bool:
        headers = self.request.headers
        return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Give back, at the end of the request, what it holds."""
        try:
            yield
        finally:
            self.held.now -= self._taken

    async def read(self) -> bytes:
        """Return all of it.

        Raises:
            RefusedError: it is too large, or comes too slowly.
            ClientLeftError: it breaks off.
        """
        declared = self.request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared[:20]) > self.limits.body_bytes:
            raise self._too_large()
        parts = []
        try:
            async with asyncio.timeout(self.limits.body_s):
                while not self.is_complete:
                    async with asyncio.timeout(self.limits.stall_s):
                        part = await self._read_part()
                    if self.num_bytes > self.limits.body_bytes:
                        raise self._too_large()
                    self.held.take(len(part))
                    self._taken += len(part)
                    parts.append(part)
        except TimeoutError as error:
            raise RefusedError(408, "The body took too long.") from error
        return b"".join(parts)

    async def drain(self) -> None:
        """Read on for a moment, keeping nothing: who sends a body reads no answer before its end."""
        if self.request.headers.get("expect"):  # it waits to be asked for it
            return
        start = self.num_bytes
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                while not self.is_complete and self.num_bytes - start < self.limits.body_bytes:
                    await self._read_part()

    async def _read_part(self) -> bytes:
        message = await self.request.receive()
        if message["type"] == "http.disconnect":
            raise ClientLeftError
        part: bytes = message.get("body", b"")
        self.num_bytes += len(part)
        self.is_complete = not message.get("more_body", False)
        return part

    def _too_large(self) -> RefusedError:
        return RefusedError(413, f"The body has more than {self.limits.body_bytes / 1e6:g} MB.")
