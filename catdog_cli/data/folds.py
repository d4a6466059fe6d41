"""Folds for cross-validation: every class in each of them, groups of images on one side.

A fold follows from (seed, name of the group), as sides of a split do: the same images fall into the same
folds whatever they are called, on every machine.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

from ..errors import DataError
from .stratify import stratify

NEVER = -1  # the fold of images that are always trained on: a class's only group cannot be held out


def draw_folds(labels: np.ndarray, groups: Sequence[str], folds: int, seed: int = 0) -> np.ndarray:
    """Return the fold of each image, int64 (N,): 0 to folds - 1, or NEVER.

    Args:
        labels: (N,) class indices, or (N, C) of several labels.
        groups: N names; images with the same one are in the same fold.
        folds: at least 2.
        seed: draws the folds.

    Raises:
        DataError: there are fewer groups than folds.
    """
    names, group = np.unique(np.array(groups, dtype=object), return_inverse=True)
    if len(names) < folds:
        raise DataError(
            f"{len(names)} different pictures cannot be divided into {folds} folds: give fewer --folds, or "
            f"add pictures."
        )
    numbers = np.array([_number(seed, name) for name in names])
    sizes = np.bincount(group, minlength=len(names))
    if labels.ndim == 1:
        return _deal(labels, group, sizes, numbers, folds)[group]
    counts = np.zeros((len(names), labels.shape[1]), dtype=np.int64)
    np.add.at(counts, group, labels == 1)
    parts = stratify(counts, sizes, [1 / folds] * folds, numbers)
    only = (counts > 0).sum(0) == 1  # labels of a single group
    parts[(counts[:, only] > 0).any(1)] = NEVER
    return parts[group]


def _deal(
    labels: np.ndarray, group: np.ndarray, sizes: np.ndarray, numbers: np.ndarray, folds: int
) -> np.ndarray:
    """Return the fold of each group: class by class, the largest first, where fewest of the class are.

    A group of several classes, such as look-alikes with different labels, counts for the first of them.
    """
    found = np.full(len(sizes), NEVER, dtype=np.int64)
    filled = np.zeros(folds, dtype=np.int64)
    for label in np.unique(labels):
        every = np.unique(group[labels == label])
        members = every[found[every] == NEVER]
        if len(every) < 2:
            continue
        held = np.zeros(folds, dtype=np.int64)
        np.add.at(held, found[every[found[every] != NEVER]], 1)
        for index in members[np.lexsort((numbers[members], -sizes[members]))]:
            fold = min(range(folds), key=lambda each: (held[each], filled[each], each))
            found[index] = fold
            held[fold] += sizes[index]
            filled[fold] += sizes[index]
    return found


def _number(seed: int, name: str) -> float:
    data = f"{seed}\0fold\0{name}".encode(errors="surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big") / 2**64
