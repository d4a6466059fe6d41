"""The feature cache: what a frozen prefix makes of a picture, kept on disk by content.

A store is a folder: `rows.bin` (fixed-size rows), `keys.bin` (a 16-byte content digest a row), `store.json`
(dtype and shape). Rows are written and synced before their keys, so a kill leaves nothing half-known.
"""

import contextlib
import json
import mmap
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from ..data.sources.unpacked import clear_unpacked
from ..runtime.files import cache_root

KEY_BYTES = 16
RESIDENT_BYTES = 32 * 2**20
AROUND_BYTES = 2**16  # the system maps that much around each place that is read
REWRITTEN = ("rows.new", "keys.new")  # while a store loses rows
STORE_NAME = "[0-9a-f]" * 24 + "-*"  # a prefix's key and a view; whatever else lies there is not ours


class Store:
    """Rows of one prefix, input spec and view: (rows, *shape) of `dtype`, found by content digest."""

    def __init__(self, folder: Path, shape: tuple[int, ...], dtype: torch.dtype):
        self.folder, self.shape, self.dtype = folder, tuple(shape), dtype
        self.row_bytes = dtype.itemsize * torch.Size(shape).numel()
        self.entry_bytes = self.row_bytes + KEY_BYTES  # what a picture takes
        self.rows: dict[str, int] = {}
        self.count, self._token = 0, None
        self._describe()
        self.refresh()

    def _describe(self, again: bool = False) -> None:
        """Write store.json, whose time says when it was last used; a read-only store is used as it is.

        Its token tells this store from one that is made in its place once it was deleted, or made smaller.
        """
        marker = self.folder / "store.json"
        said = {"shape": list(self.shape), "dtype": str(self.dtype).removeprefix("torch.")}
        there = _read_description(self.folder)
        try:
            if not again and there.get("token") and said.items() <= there.items():
                os.utime(marker)
                return
            self.folder.mkdir(parents=True, exist_ok=True)
            marker.write_text(json.dumps({**said, "token": secrets.token_hex(8)}))
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
        """Read the keys that came since the last time, this process's and others'."""
        count = min(_whole(self._keys, KEY_BYTES), _whole(self._data, self.row_bytes))
        token = _read_description(self.folder).get("token")
        if token != self._token or count < self.count:  # another process deleted the store
            self.rows, self.count, self._token = {}, 0, token
        if count > self.count:
            with self._keys.open("rb") as file:
                file.seek(self.count * KEY_BYTES)
                keys = file.read((count - self.count) * KEY_BYTES).hex()
            width = 2 * KEY_BYTES
            self.rows |= {keys[i : i + width]: self.count + i // width for i in range(0, len(keys), width)}
            self.count = count

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

    def keep_only(self, keys: set[str]) -> int:
        """Forget the rows of all but `keys`; return the bytes that this frees.

        Whoever has the rows mapped keeps the old file. Where this is cut short, the store is empty, never
        wrong: its keys go first and come back last.

        Raises:
            OSError: the rows that stay cannot be written again.
        """
        with self._locked():
            self.refresh()
            kept = sorted((row, key) for key, row in self.rows.items() if key in keys)
            before = self.count
            if len(kept) < before:
                data, names = (self.folder / name for name in REWRITTEN)
                _copy_rows(self._data, data, [row for row, _ in kept], self.row_bytes)
                _write_at(names, 0, b"".join(bytes.fromhex(key) for _, key in kept))
                self._keys.unlink()
                self._describe(again=True)  # with another token, by which others see that rows have moved
                data.replace(self._data)
                names.replace(self._keys)
                self.refresh()
            return (before - len(kept)) * self.entry_bytes

    def open(self) -> "KeptRows":
        """Return all rows that are there now, as `self.rows` numbers them until the next `refresh`.

        Raises:
            OSError: they cannot be mapped.
        """
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError):  # a store that can only be read is not rewritten either
                stack.enter_context(self._locked())
            self.refresh()
            return KeptRows(self._data, (self.count, *self.shape), self.dtype)


class KeptRows:
    """Rows of a store, memory-mapped; at most about RESIDENT_BYTES of them are held in memory."""

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: torch.dtype):
        self.shape = shape
        self._mapped: mmap.mmap | None = None
        self._touched = 0
        if not shape[0]:
            self._values = torch.empty(shape, dtype=dtype)
            return
        size = torch.Size(shape).numel() * dtype.itemsize
        try:
            with path.open("rb") as file:  # private: torch wants memory that may be written to
                self._mapped = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_COPY)
        except ValueError as error:  # the file is shorter
            raise OSError(f"{str(path)!r} cannot be mapped: {error}") from error
        self._values = torch.frombuffer(self._mapped, dtype=dtype).view(shape)
        self._row_bytes = max(size // shape[0], AROUND_BYTES)

    def __getitem__(self, rows: torch.Tensor) -> torch.Tensor:
        """Return a copy of the rows (B,) asked for: (B, *shape)."""
        found = self._values[rows]
        self._touched += len(rows) * self._row_bytes if self._mapped else 0
        if self._mapped and self._touched > RESIDENT_BYTES and hasattr(mmap, "MADV_DONTNEED"):
            self._mapped.madvise(mmap.MADV_DONTNEED)  # out of this process; the system keeps what it can
            self._touched = 0
        return found


def _whole(path: Path, unit_bytes: int) -> int:
    """Return how many whole units a file holds; 0 where there is none."""
    try:
        return path.stat().st_size // unit_bytes
    except FileNotFoundError:
        return 0


def stored_shape(folder: Path) -> tuple[int, ...] | None:
    """Return the shape of a store's rows, None where there is no store."""
    shape = _read_description(folder).get("shape")
    if not isinstance(shape, list) or not all(type(side) is int and side > 0 for side in shape):
        return None
    return tuple(shape)


def _read_description(folder: Path) -> dict[str, Any]:
    """Return what store.json says; nothing where it is not there, or not whole."""
    try:
        found = json.loads((folder / "store.json").read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write_at(path: Path, offset: int, block: bytes) -> None:
    """Write `block` at `offset`, dropping a torn tail that a killed process left there."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    with os.fdopen(descriptor, "r+b") as file:
        file.truncate(offset)
        file.seek(offset)
        file.write(block)
        file.flush()
        os.fsync(file.fileno())


def _copy_rows(source: Path, target: Path, rows: list[int], row_bytes: int) -> None:
    """Write the chosen rows of a file into a new one, in order."""
    with source.open("rb") as old, target.open("wb") as new:
        for row in rows:
            old.seek(row * row_bytes)
            new.write(old.read(row_bytes))
        new.flush()
        os.fsync(new.fileno())


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
        for name in ("store.json", "keys.bin", "rows.bin", *REWRITTEN, "lock"):
            (Path(folder) / name).unlink(missing_ok=True)
        Path(folder).rmdir()


def make_room(needed_bytes: int, limit_bytes: float, keep: set[Path]) -> float:
    """Delete least recently used stores, never those in `keep`, until `needed_bytes` more fit.

    Return by how many bytes the cache would still be too large; 0 or less where it fits.
    """
    stores = list_stores()
    over = sum(store["bytes"] for store in stores) + needed_bytes - limit_bytes
    for store in stores:
        if over <= 0:
            break
        if Path(store["path"]) not in keep:
            _delete(store["path"])
            over -= store["bytes"]
    return over


def clear_cache() -> int:
    """Delete every store, and what archives were unpacked to; return the number of bytes freed."""
    stores = list_stores()
    for store in stores:
        _delete(store["path"])
    return sum(store["bytes"] for store in stores) + clear_unpacked()
