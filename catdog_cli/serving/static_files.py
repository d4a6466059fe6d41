"""A folder of a page's files, looked through once: no path that a client sends ever reaches the disk."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from .http_server import Reply

INDEX = "index.html"
KINDS = {  # Python's own list depends on the system
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".wasm": "application/wasm",
    ".onnx": "application/octet-stream",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".ico": "image/x-icon",
    ".txt": "text/plain; charset=utf-8",
}


@dataclass(frozen=True)
class StaticFile:
    """A file that is served."""

    path: Path
    kind: str
    tag: str  # changes with its content

    def reply(self, known_tag: str | None) -> Reply:
        """Return the file, or that the client has it already."""
        headers = {"ETag": self.tag, "Cache-Control": "no-cache"}
        if known_tag == self.tag:
            return Reply(b"", self.kind, 304, headers)
        return Reply(self.path.read_bytes(), self.kind, 200, headers)


def list_files(folder: Path, left_out: Collection[str] = ()) -> dict[str, StaticFile]:
    """Return the files of a folder by the path that they are asked for by; / is its index.html."""
    found: dict[str, StaticFile] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix in KINDS and path.name not in left_out:
            digest = hashlib.blake2b(path.read_bytes(), digest_size=12).hexdigest()
            name = path.relative_to(folder).as_posix()
            file = StaticFile(path, KINDS[path.suffix], f'"{digest}"')
            found |= {"/" + name: file, "/" + name.removesuffix(INDEX): file}
    return found
