"""HTTP itself: a port, uvicorn, the time and room that a connection gets, and what every answer forbids.

Whoever serves anything gives a function from a request of starlette to a `Reply`.
"""

import asyncio
import contextlib
import ipaddress
import json
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import CatdogError, require

BACKLOG = 512  # connections that the system takes before they are looked at
HEADER_BYTES = 32_768  # of all headers of a request, while they come; `limits` looks at what has come
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
STRICT_POLICY = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


@dataclass(frozen=True)
class Reply:
    """What a request gets."""

    body: bytes
    kind: str = "application/json"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_json(cls, document: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> "Reply":
        """Return a document as an answer.

        Raises:
            ValueError: it holds a number that is none, for which JSON has no word.
        """
        return cls(json.dumps(document, allow_nan=False).encode(), status=status, headers=headers or {})


Answer = Callable[[Any], Awaitable[Reply]]  # of a request of starlette
Application = Callable[[Any, Any, Any], Awaitable[None]]  # what ASGI calls one


@dataclass(frozen=True)
class Patience:
    """How long a connection may take (s), and how many there may be."""

    header_s: float = 10  # from the first byte of a request, or from connecting, to the end of its headers
    idle_s: int = 5  # between two requests
    write_s: float = 30  # for a client to take a part of an answer
    stop_s: int = 30  # for answers that are on their way when the server stops
    connections: int = 512


async def _nothing() -> None:
    pass


def make_application(
    answer: Answer,
    policy: str = STRICT_POLICY,
    start: Callable[[], Awaitable[None]] = _nothing,
    stop: Callable[[], Awaitable[None]] = _nothing,
) -> Application:
    """Return an ASGI application that gives every request to `answer`, whatever its path or method.

    Raises:
        CatdogError: starlette is not installed.
    """
    make_request = require("starlette.requests", "serve").Request
    make_response = require("starlette.responses", "serve").Response
    always = {**SECURITY_HEADERS, "Content-Security-Policy": policy}

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send, start, stop)
        elif scope["type"] == "http":
            reply = await answer(make_request(scope, receive))
            headers = {**always, "Content-Type": reply.kind, **reply.headers}
            await make_response(reply.body, reply.status, headers)(scope, receive, send)
        else:  # a websocket
            await send({"type": "websocket.close"})

    return application


async def _live(
    receive: Any, send: Any, start: Callable[[], Awaitable[None]], stop: Callable[[], Awaitable[None]]
) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await start()
            await send({"type": "lifespan.startup.complete"})
        else:
            await stop()
            await send({"type": "lifespan.shutdown.complete"})
            return


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach what listens on `host`."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host.lower() == "localhost"


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that holds a port of `host`, a name or an address; port 0 takes a free one.

    Raises:
        CatdogError: the port is taken, or the host is not this machine.
    """
    if not 0 <= port <= 65_535:
        raise _refuse_port(host, port, "there is no such port")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # With its protocol, or asyncio would not know it for TCP and answers would wait 40 ms for each other.
        found = socket.socket(family, kind, protocol)
    except (OSError, OverflowError, UnicodeError) as error:
        raise _refuse_port(host, port, error) from error
    try:
        if os.name == "posix":  # elsewhere it would share a port with whoever listens there
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        found.close()
        raise _refuse_port(host, port, error) from error
    return found


def _refuse_port(host: str, port: int, why: Exception | str) -> CatdogError:
    reason = getattr(why, "strerror", None) or why
    place = "this machine" if is_loopback(host) else repr(host)
    advice = "choose another --port" if is_loopback(host) else "choose another --host or --port"
    return CatdogError(f"Cannot listen on port {port} of {place} ({reason}): {advice}.")


def make_server(application: Application, patience: Patience, lifespan: bool = False, **options: Any) -> Any:
    """Return uvicorn's server of an application; `options` are more of uvicorn's.

    Raises:
        CatdogError: uvicorn is not installed.
    """
    uvicorn = require("uvicorn", "serve")
    return uvicorn.Server(
        uvicorn.Config(
            application,
            http=_make_protocol(patience),
            ws="none",
            log_level="critical",
            access_log=False,
            server_header=False,
            proxy_headers=False,  # who is asked for, and how, is what the connection says
            lifespan="on" if lifespan else "off",
            backlog=BACKLOG,
            h11_max_incomplete_event_size=HEADER_BYTES,
            timeout_keep_alive=patience.idle_s,
            timeout_graceful_shutdown=patience.stop_s,
            **options,
        )
    )


def _refusal(status: str, sentence: str, more: str = "") -> bytes:
    """Return a whole answer to what never became a request."""
    body = json.dumps({"error": sentence})
    lines = [
        f"HTTP/1.1 {status}",
        "Content-Type: application/json",
        "X-Content-Type-Options: nosniff",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *([more] if more else []),
    ]
    return ("\r\n".join(lines) + f"\r\n\r\n{body}").encode()


MALFORMED = _refusal("400 Bad Request", "This is not a request that HTTP/1.1 knows.")
CROWDED = _refusal("503 Service Unavailable", "Too many connections: try again.", "Retry-After: 1")
SLOW = _refusal("408 Request Timeout", "The headers took too long.")


def _make_protocol(patience: Patience) -> Any:
    """Return uvicorn's protocol with what it lacks: limits for slow headers, slow readers and crowds."""
    protocol: Any = require("uvicorn.protocols.http.h11_impl", "serve").H11Protocol

    class PatientProtocol(protocol):
        timer: asyncio.TimerHandle | None = None
        write_timer: asyncio.TimerHandle | None = None
        is_refused = False

        def connection_made(self, transport: Any) -> None:
            if len(self.connections) >= patience.connections:
                self.is_refused = True
                transport.write(CROWDED)
                transport.close()
                return
            super().connection_made(transport)
            self._watch_headers()

        def data_received(self, data: bytes) -> None:
            if not self.is_refused:
                super().data_received(data)
                self._watch_headers()

        def connection_lost(self, exc: Exception | None) -> None:
            for timer in (self.timer, self.write_timer):
                if timer is not None:
                    timer.cancel()
            if not self.is_refused:
                super().connection_lost(exc)

        def _watch_headers(self) -> None:
            """Start the time for headers, or stop it where a request is under way."""
            if self.cycle is not None and not self.cycle.response_complete:
                if self.timer is not None:
                    self.timer.cancel()
                    self.timer = None
            elif self.timer is None:
                self.timer = self.loop.call_later(patience.header_s, self._end_slow)

        def _end_slow(self) -> None:
            self.timer = None
            if self.cycle is None or self.cycle.response_complete:
                if self.cycle is None and not self.transport.is_closing():
                    self.transport.write(SLOW)
                self.transport.close()

        def send_400_response(self, msg: str) -> None:
            self.transport.write(MALFORMED)
            self.transport.close()

        def pause_writing(self) -> None:
            super().pause_writing()
            self.write_timer = self.loop.call_later(patience.write_s, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            if self.write_timer is not None:
                self.write_timer.cancel()
                self.write_timer = None

    return PatientProtocol
