"""The feature cache: what a frozen prefix makes of a picture, kept on disk by content.

A store is a folder: `rows.bin` (fixed-size rows), `keys.bin` (a 16-byte content digest a row), `store.json`
(dtype and shape). Rows are written and synced before their keys, so a kill leaves nothing half-known.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch
from filelock import FileLock

KEY_BYTES = 16


def cache_root() -> Path:
    """Return the folder of all stores: $CATDOG_CACHE, else catdog's folder in the user's cache."""
    if os.environ.get("CATDOG_CACHE"):
        return Path(os.environ["CATDOG_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "catdog"


class Store:
    """Rows of one prefix, input spec and view: (rows, *shape) of `dtype`, found by content digest."""

    def __init__(self, folder: Path, shape: tuple[int, ...], dtype: torch.dtype):
        self.folder, self.shape, self.dtype = folder, tuple(shape), dtype
        self.row_bytes = dtype.itemsize * torch.Size(shape).numel()
        folder.mkdir(parents=True, exist_ok=True)
        described = {"shape": list(shape), "dtype": str(dtype).removeprefix("torch.")}
        (folder / "store.json").write_text(json.dumps(described))  # its time says when it was last used
        self.rows: dict[str, int] = {}
        self.refresh()

    @property
    def _data(self) -> Path:
        return self.folder / "rows.bin"

    @property
    def _keys(self) -> Path:
        return self.folder / "keys.bin"

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with FileLock(self.folder / "lock"):
            yield

    def refresh(self) -> None:
        """Read the keys that are there now, this process's and others'."""
        keys = self._keys.read_bytes() if self._keys.exists() else b""
        stored = self._data.stat().st_size // self.row_bytes if self._data.exists() else 0
        known = min(len(keys) // KEY_BYTES, stored)
        self.rows = {keys[i * KEY_BYTES : (i + 1) * KEY_BYTES].hex(): i for i in range(known)}

    def append(self, keys: list[str], values: torch.Tensor) -> None:
        """Add rows: hexadecimal digests, and values (len(keys), *shape); those already there are kept."""
        with self._locked():
            self.refresh()
            new = [i for i, key in enumerate(keys) if key not in self.rows]
            block = values[new].to(self.dtype).contiguous().view(torch.uint8).numpy().tobytes()
            count = len(self.rows)
            _write_at(self._data, count * self.row_bytes, block)
            _write_at(self._keys, count * KEY_BYTES, b"".join(bytes.fromhex(keys[i]) for i in new))
            self.rows.update({keys[i]: count + place for place, i in enumerate(new)})

    def open(self) -> torch.Tensor:
        """Return all rows as one memory-mapped tensor (rows, *shape)."""
        count = len(self.rows)
        if not count:
            return torch.empty((0, *self.shape), dtype=self.dtype)
        numel = count * self.row_bytes // self.dtype.itemsize
        mapped = torch.from_file(str(self._data), shared=False, size=numel, dtype=self.dtype)
        return mapped.view(count, *self.shape)


def _write_at(path: Path, offset: int, block: bytes) -> None:
    """Write `block` at `offset`, dropping a torn tail that a killed process left there."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    with os.fdopen(descriptor, "r+b") as file:
        file.truncate(offset)
        file.seek(offset)
        file.write(block)
        file.flush()
        os.fsync(file.fileno())


def list_stores() -> list[dict]:
    """Return the stores, least recently used first: path, bytes, rows, used (seconds since 1970)."""
    stores = []
    for marker in sorted(cache_root().glob("*/store.json"), key=lambda path: path.stat().st_mtime):
        keys = marker.with_name("keys.bin")
        rows = keys.stat().st_size // KEY_BYTES if keys.exists() else 0
        stores.append(
            {
                "path": str(marker.parent),
                "bytes": folder_bytes(marker.parent),
                "rows": rows,
                "used": marker.stat().st_mtime,
            }
        )
    return stores


def folder_bytes(folder: Path) -> int:
    """Return the size of a store's files."""
    return sum(file.stat().st_size for file in folder.iterdir() if file.is_file())


def make_room(needed_bytes: int, limit_bytes: float, keep: set[Path]) -> None:
    """Delete least recently used stores, never those in `keep`, until `needed_bytes` more fit."""
    stores = list_stores()
    total = sum(store["bytes"] for store in stores)
    for store in stores:
        if total + needed_bytes <= limit_bytes:
            return
        if Path(store["path"]) not in keep:
            shutil.rmtree(store["path"], ignore_errors=True)
            total -= store["bytes"]


def clear_cache() -> int:
    """Delete every store and return the number of bytes freed."""
    stores = list_stores()
    for store in stores:
        shutil.rmtree(store["path"], ignore_errors=True)
    return sum(store["bytes"] for store in stores)
