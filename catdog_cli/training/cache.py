"""The feature cache: what a frozen prefix makes of a picture, kept on disk by content.

A store is a folder: `rows.bin` (fixed-size rows), `keys.bin` (a 16-byte content digest a row), `store.json`
(dtype and shape). Rows are written and synced before their keys, so a kill leaves nothing half-known.
"""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import torch
from filelock import FileLock

KEY_BYTES = 16
STORE_NAME = "[0-9a-f]" * 24 + "-*"  # a prefix's key and a view; whatever else lies there is not ours


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
        self.rows: dict[str, int] = {}
        self.count = 0
        self._describe()
        self.refresh()

    def _describe(self) -> None:
        """Write store.json, whose time says when it was last used; a read-only store is used as it is."""
        marker = self.folder / "store.json"
        text = json.dumps({"shape": list(self.shape), "dtype": str(self.dtype).removeprefix("torch.")})
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            marker.write_text(text)
        except OSError:
            if not marker.exists():
                raise

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
        self.count = min(len(keys) // KEY_BYTES, stored)
        self.rows = {keys[i * KEY_BYTES : (i + 1) * KEY_BYTES].hex(): i for i in range(self.count)}

    def append(self, keys: list[str], values: torch.Tensor) -> None:
        """Add rows: hexadecimal digests, and values (len(keys), *shape); those already there are kept."""
        with self._locked():
            self._describe()  # again: another process may have made room by deleting the store
            self.refresh()
            new: dict[str, int] = {}
            for i, key in enumerate(keys):
                if key not in self.rows:
                    new.setdefault(key, i)
            block = values[list(new.values())].to(self.dtype).reshape(-1).view(torch.uint8)
            _write_at(self._data, self.count * self.row_bytes, block.numpy().tobytes())
            _write_at(self._keys, self.count * KEY_BYTES, b"".join(map(bytes.fromhex, new)))
            self.refresh()

    def open(self) -> torch.Tensor:
        """Return all rows that are there now as one memory-mapped tensor (rows, *shape).

        Raises:
            OSError: they cannot be mapped.
        """
        self.refresh()
        if not self.count:
            return torch.empty((0, *self.shape), dtype=self.dtype)
        numel = self.count * self.row_bytes // self.dtype.itemsize
        try:
            mapped = torch.from_file(str(self._data), shared=False, size=numel, dtype=self.dtype)
        except RuntimeError as error:
            raise OSError(f"{str(self._data)!r} cannot be mapped: {error}") from error
        return mapped.view(self.count, *self.shape)


def stored_shape(folder: Path) -> tuple[int, ...] | None:
    """Return the shape of a store's rows, None where there is no store."""
    try:
        shape = tuple(json.loads((folder / "store.json").read_text())["shape"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return shape if all(type(side) is int and side > 0 for side in shape) else None


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
    for marker in cache_root().glob(STORE_NAME + "/store.json"):
        with contextlib.suppress(FileNotFoundError):  # another process deleted it just now
            keys = marker.with_name("keys.bin")
            rows = keys.stat().st_size // KEY_BYTES if keys.exists() else 0
            size = sum(file.stat().st_size for file in marker.parent.iterdir())
            used = marker.stat().st_mtime
            stores.append({"path": str(marker.parent), "bytes": size, "rows": rows, "used": used})
    return sorted(stores, key=lambda store: store["used"])


def _delete(folder: str) -> None:
    """Delete a store, and nothing that somebody else put into its folder."""
    with contextlib.suppress(OSError):
        for name in ("store.json", "keys.bin", "rows.bin", "lock"):
            (Path(folder) / name).unlink(missing_ok=True)
        Path(folder).rmdir()


def make_room(needed_bytes: int, limit_bytes: float, keep: set[Path]) -> None:
    """Delete least recently used stores, never those in `keep`, until `needed_bytes` more fit."""
    stores = list_stores()
    total = sum(store["bytes"] for store in stores)
    for store in stores:
        if total + needed_bytes <= limit_bytes:
            return
        if Path(store["path"]) not in keep:
            _delete(store["path"])
            total -= store["bytes"]


def clear_cache() -> int:
    """Delete every store and return the number of bytes freed."""
    stores = list_stores()
    for store in stores:
        _delete(store["path"])
    return sum(store["bytes"] for store in stores)
