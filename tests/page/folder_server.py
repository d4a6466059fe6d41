"""A plain server of a folder, as `python -m http.server` is one; it can be ended while a browser looks on."""

import contextlib
import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path


class FolderServer:
    """Serves a folder on this machine until it is stopped."""

    def __init__(self, folder: Path):
        """Start."""
        self.asked: list[str] = []
        handler = functools.partial(_Handler, self.asked, directory=str(folder))
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/"

    def stop(self) -> None:
        """End; nobody answers under the address any more."""
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(60)


class _Handler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, asked, *args, **options):
        self.asked = asked
        super().__init__(*args, **options)

    def log_message(self, text, *args):
        self.asked.append(self.path)


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[FolderServer]:
    """Serve a folder within the block."""
    server = FolderServer(folder)
    try:
        yield server
    finally:
        if server.thread.is_alive():
            server.stop()
