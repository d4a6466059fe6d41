"""What the files hold, by digest: fingerprints, exact duplicates and pictures that are in two splits."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from .dataset import Dataset

DIGEST_BYTES = 16
CHUNK_BYTES = 1 << 20
THREADS = min(8, 2 * (os.cpu_count() or 1))
T = TypeVar("T")
R = TypeVar("R")


def map_threads(function: Callable[[T], R], items: Iterable[T], batch: int = 64) -> list[R]:
    """Return `function` of every item, in order, worked on in threads by batches of `batch`."""
    items = list(items)
    batches = [items[start : start + batch] for start in range(0, len(items), batch)]
    with ThreadPoolExecutor(THREADS) as pool:
        return list(chain.from_iterable(pool.map(lambda part: [function(item) for item in part], batches)))


def file_digest(path: str | Path) -> str | None:
    """Return the hexadecimal blake2b digest (16 bytes) of a file's content, None where unreadable."""
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - half the cost of Path.open
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
    except OSError:
        return None
    return digest.hexdigest()


def file_size(path: str | Path) -> int:
    """Return a file's size in bytes, -1 where it cannot be asked."""
    try:
        return os.stat(path).st_size  # noqa: PTH116
    except OSError:
        return -1


def file_paths(dataset: Dataset, split: str) -> list[str]:
    """Return the full path of every picture of a split."""
    root = str(dataset.root)
    return [os.path.join(root, path) for path in dataset.splits[split].paths]  # noqa: PTH118


def content_keys(dataset: Dataset, split: str) -> list[str]:
    """Return a digest of each picture's file, by which splits are drawn; an unreadable one's path."""
    chosen = dataset.splits[split]
    if chosen.keys is not None:
        return list(chosen.keys)
    digests = map_threads(file_digest, file_paths(dataset, split))
    return [digest or f"unreadable {path}" for digest, path in zip(digests, chosen.paths, strict=True)]


def fingerprint(dataset: Dataset, known: dict[str, list[str]] | None = None) -> dict[str, Any]:
    """Return {"num_files", "digest"}: changes with any file's path, label, split or content.

    `known` holds what `content_keys` gave for splits of files, so that they are not read again.
    """
    lines = []
    for name, split in dataset.splits.items():
        contents = (
            known[name] if known and dataset.pixels is None and name in known else _contents(dataset, name)
        )
        for path, label, content in zip(split.paths, split.labels.tolist(), contents, strict=True):
            lines.append(f"{name}\0{path}\0{label}\0{content}".encode(errors="surrogatepass"))
    total = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for line in sorted(lines):
        total.update(len(line).to_bytes(8, "little") + line)
    return {"num_files": len(lines), "digest": total.hexdigest()}


def find_leaks(dataset: Dataset) -> list[tuple[str, str]]:
    """Return pairs of paths in two different splits that hold the same bytes, the earlier split's first.

    Only files whose size occurs in more than one split are read; a picture of a later split is paired once.
    """
    entries = [
        (split, path, full)
        for split in dataset.splits
        for path, full in zip(dataset.splits[split].paths, file_paths(dataset, split), strict=True)
    ]
    if dataset.images is not None:
        keys = chain.from_iterable(content_keys(dataset, split) for split in dataset.splits)
        return _pairs(list(zip(entries, keys, strict=True)))
    sizes = map_threads(file_size, (full for _, _, full in entries), 1024)
    entries = _in_two_splits(entries, sizes)
    return _pairs(list(zip(entries, map_threads(file_digest, (entry[2] for entry in entries)), strict=True)))


def _contents(dataset: Dataset, split: str) -> list[str]:
    """Return a digest of what `Dataset.source` gives for each picture."""
    pixels, rows = dataset.pixels, dataset.splits[split].rows
    if pixels is not None and rows is not None:
        return map_threads(lambda row: _array_digest(pixels[row]), rows.tolist())
    return content_keys(dataset, split)


def _array_digest(array: np.ndarray) -> str:
    data = np.ascontiguousarray(array)
    return f"{data.nbytes} {hashlib.blake2b(data.data, digest_size=DIGEST_BYTES).hexdigest()}"


def _in_two_splits(entries: list[tuple], values: list) -> list[tuple]:
    """Return the entries (split, ...) whose value also occurs in another split."""
    splits = defaultdict(set)
    for entry, value in zip(entries, values, strict=True):
        splits[value].add(entry[0])
    return [entry for entry, value in zip(entries, values, strict=True) if len(splits[value]) > 1]


def _pairs(digests: list[tuple[tuple, str | None]]) -> list[tuple[str, str]]:
    first: dict[str, tuple[str, str]] = {}
    pairs = []
    for (split, path, _), digest in digests:
        if digest is None:
            continue
        known = first.setdefault(digest, (split, path))
        if known[0] != split:
            pairs.append((known[1], path))
    return pairs
