"""Pictures that look the same: resized, recompressed, a little brighter, cropped by a hair.

A picture is a thumbnail of 16 x 16 px; its perceptual hash is the signs of the low frequencies of the
thumbnail's grey (pHash: Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010).
Pictures with close hashes are compared by their thumbnails. Turned and mirrored copies are not found.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator

import numpy as np
import torch
import torch.nn.functional as F

SIDE = 16  # px of a thumbnail
FREQUENCIES = 8  # kept in each direction: 64 bits
MAX_DISTANCE = 10  # bits of 64 that may differ
MIN_CORRELATION = 0.95  # of two thumbnails' pixels
MAX_DIFFERENCE = 0.15  # mean, of the range of a pixel
ROWS = 512  # hashes compared with all others at a time


def make_thumbnail(image: torch.Tensor) -> np.ndarray:
    """Return what `find_similar` compares, uint8 (16, 16, 3), of a picture, uint8 (3, H, W)."""
    small = F.interpolate(image[None], (SIDE, SIDE), mode="bilinear", antialias=True)
    return small[0].permute(1, 2, 0).numpy()


def hash_thumbnails(thumbnails: np.ndarray) -> np.ndarray:
    """Return the perceptual hashes, bool (N, 64), of thumbnails, uint8 (N, 16, 16, 3)."""
    from scipy.fft import dctn  # here: half a second

    grey = thumbnails.astype(np.float32) @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    low = dctn(grey, axes=(1, 2))[:, :FREQUENCIES, :FREQUENCIES].reshape(len(grey), -1)
    return low > np.median(low[:, 1:], axis=1, keepdims=True)  # the first is the mean brightness


def find_similar(thumbnails: np.ndarray) -> list[tuple[int, int]]:
    """Return the pairs (i, j), i < j, that look the same among thumbnails, uint8 (N, 16, 16, 3).

    All pairs of hashes are compared, as one product of matrices: 25,000 pictures take some seconds.
    """
    signs = np.where(hash_thumbnails(thumbnails), 1, -1).astype(np.float32)
    pairs = []
    for start in range(0, len(signs), ROWS):
        agreement = signs[start : start + ROWS] @ signs[start:].T  # 64 - 2 * bits that differ
        first, second = np.nonzero(agreement >= 64 - 2 * MAX_DISTANCE)
        chosen = second > first
        pairs.append(_look_same(thumbnails, first[chosen] + start, second[chosen] + start))
    return [pair for part in pairs for pair in part]


def _look_same(thumbnails: np.ndarray, first: np.ndarray, second: np.ndarray) -> list[tuple[int, int]]:
    """Return the pairs whose thumbnails agree: (P,) and (P,) indices in."""
    found: list[tuple[int, int]] = []
    for start in range(0, len(first), 4096):
        left, right = first[start : start + 4096], second[start : start + 4096]
        a = thumbnails[left].reshape(len(left), -1).astype(np.float32) / 255
        b = thumbnails[right].reshape(len(right), -1).astype(np.float32) / 255
        near = np.abs(a - b).mean(axis=1) <= MAX_DIFFERENCE
        a -= a.mean(axis=1, keepdims=True)
        b -= b.mean(axis=1, keepdims=True)
        power = (a * a).sum(axis=1) * (b * b).sum(axis=1)
        same = near & ((a * b).sum(axis=1) >= MIN_CORRELATION * np.sqrt(power))
        found += zip(left[same].tolist(), right[same].tolist(), strict=True)
    return found


def join_pairs(count: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """Return for each of `count` items the lowest item that it is joined to, directly or through others."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    left, right = np.array(list(pairs), dtype=np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(len(left), dtype=bool), (left, right)), shape=(count, count))
    _, labels = connected_components(graph, directed=False)
    _, lowest = np.unique(labels, return_index=True)
    return lowest[labels].tolist()


def pair_equals(values: Iterable[Hashable | None]) -> Iterator[tuple[int, int]]:
    """Yield (first, later) for items with an equal value; None equals nothing."""
    first: dict[Hashable, int] = {}
    for index, value in enumerate(values):
        if value is not None and first.setdefault(value, index) != index:
            yield first[value], index


def gather_groups(roots: list[int]) -> list[list[int]]:
    """Return the groups of two and more items that `join_pairs` joined, each in order."""
    groups = defaultdict(list)
    for index, root in enumerate(roots):
        groups[root].append(index)
    return [members for members in groups.values() if len(members) > 1]
