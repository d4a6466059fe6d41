"""A service in a thread of the tests, and the ways of asking it."""

import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from catdog_cli.serving.app import Service
from catdog_cli.serving.http_server import Patience, listen, make_server

PATIENCE_S = 60


@dataclass(frozen=True)
class Served:
    """A service that answers at a port."""

    service: Service
    port: int

    def ask(
        self, method: str = "GET", path: str = "/health", body: Any = None, **headers: Any
    ) -> tuple[int, Any, Any]:
        """Return status, document (bytes where it is no JSON) and headers of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, named)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        is_json = answer.headers.get("Content-Type") == "application/json"
        return answer.status, json.loads(content) if is_json and content else content, answer.headers

    def predict(self, content: bytes, query: str = "", **headers: Any) -> tuple[int, Any, Any]:
        """Ask what a picture shows."""
        return self.ask("POST", f"/predict{query}", content, **{"Content_Type": "image/png", **headers})

    def send(self, raw: bytes, then: Any = None) -> bytes:
        """Send bytes, call `then` with the socket, and return all that comes until the connection ends."""
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE_S) as connection:
            connection.sendall(raw)
            if then is not None:
                then(connection)
            found = b""
            with contextlib.suppress(ConnectionError):
                while part := connection.recv(1 << 16):
                    found += part
            return found


@contextlib.contextmanager
def running(service: Service, patience: Patience | None = None) -> Iterator[Served]:
    """Serve in a thread until the block ends."""
    patience = patience or Patience(stop_s=5)
    with contextlib.closing(listen("127.0.0.1", 0)) as bound:
        server = make_server(service, patience, lifespan=True)
        port = bound.getsockname()[1]
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        try:
            yield Served(service, port)
        finally:
            server.should_exit = True
            thread.join(PATIENCE_S)
            assert not thread.is_alive()


def make_form(*files: tuple[str, bytes]) -> tuple[bytes, str]:
    """Return the body of a form with files, and its Content-Type."""
    parts = [
        f'--x\r\nContent-Disposition: form-data; name="p"; filename="{name}"\r\n\r\n'.encode()
        + content
        + b"\r\n"
        for name, content in files
    ]
    return b"".join(parts) + b"--x--\r\n", "multipart/form-data; boundary=x"
