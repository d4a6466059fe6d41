"""A server for one person's browser on the same machine, which no other page and no other machine reaches.

It listens on 127.0.0.1 alone. A request must name this address in Host, which stops names that a stranger's
server points here (DNS rebinding); its path must begin with a random token; what changes anything must come
from the page itself, as Origin and Sec-Fetch-Site say. The page may load nothing from elsewhere.
"""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from ..errors import CatdogError
from .http_server import Patience, Reply, listen, make_application, make_server

__all__ = ["Handler", "LoopbackServer", "Reply", "Request"]

ADDRESS = "127.0.0.1"
MAX_BODY_BYTES = 64_000
PATIENCE = Patience(stop_s=1)


@dataclass(frozen=True)
class Request:
    """What a page asks: the path below the token, without a slash in front."""

    method: str
    path: str
    query: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


Handler = Callable[[Request], Reply]  # called in threads; raises CatdogError for a sentence on the page


class LoopbackServer:
    """A server that holds its port already, and answers while `run` is called."""

    def __init__(self, port: int = 0) -> None:
        """Listen on `port` of this machine; 0 takes a free one.

        Raises:
            CatdogError: the port is taken, or starlette or uvicorn is not installed.
        """
        self.token = secrets.token_urlsafe(24)
        self._handler: Handler | None = None
        self._server = make_server(make_application(self._answer_request), PATIENCE)
        self.socket = listen(ADDRESS, port)
        self.port = self.socket.getsockname()[1]
        self.hosts = (f"{ADDRESS}:{self.port}", f"localhost:{self.port}")
        self.url = f"http://{self.hosts[0]}/{self.token}/"

    def __enter__(self) -> "LoopbackServer":
        return self

    def __exit__(self, *exception: object) -> None:
        self.socket.close()

    def run(self, handler: Handler) -> None:
        """Answer by `handler` until somebody stops it: KeyboardInterrupt where that was Ctrl-C."""
        self._handler = handler
        self._server.run(sockets=[self.socket])

    def stop(self) -> None:
        """Let `run`, in another thread, come to its end."""
        self._server.should_exit = True

    async def _answer_request(self, request: Any) -> Reply:
        refused = self._refuse(request.method, request.url.path, request.headers)
        if refused is not None:
            return refused
        body = await _read_body(request)
        if body is None:
            return Reply.of_json({"error": "The request is too large."}, 413)
        return await asyncio.to_thread(self._answer, request, body)

    def _refuse(self, method: str, path: str, headers: Any) -> Reply | None:
        """Return why a request is not answered, None where it is."""
        if headers.get("host") not in self.hosts:
            return Reply.of_json({"error": "This address is not this server's."}, 421)
        token = path.removeprefix("/").partition("/")[0]
        if not secrets.compare_digest(token.encode(), self.token.encode()):
            return Reply.of_json({"error": "There is nothing here."}, 404)
        if method not in ("GET", "POST"):
            return Reply.of_json({"error": "Only GET and POST are answered."}, 405)
        from_page = headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")
        if method == "POST":
            own = {f"http://{host}" for host in self.hosts}
            is_json = headers.get("content-type", "").partition(";")[0].strip() == "application/json"
            from_page = from_page and headers.get("origin") in own and is_json
        return None if from_page else Reply.of_json({"error": "Another page asked for this."}, 403)

    def _answer(self, request: Any, body: bytes) -> Reply:
        query = {name: values[-1] for name, values in parse_qs(request.url.query).items()}
        path = request.url.path.removeprefix(f"/{self.token}").removeprefix("/")
        try:
            assert self._handler is not None  # else nobody answers
            return self._handler(Request(request.method, path, query, body))
        except CatdogError as error:
            return Reply.of_json({"error": str(error)}, 409)


async def _read_body(request: Any) -> bytes | None:
    """Return the body of a request, None where it is too large."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            return None
    return body
