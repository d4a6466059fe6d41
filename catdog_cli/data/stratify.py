"""Iterative stratification: parts in which every label has its share, where images have several labels.

Source: Sechidis, Tsoumakas and Vlahavas 2011, "On the Stratification of Multi-Label Data", algorithm 1. Ties
are broken by the numbers of the groups instead of by chance, so that the same images fall the same way.
"""

import heapq
from collections.abc import Sequence

import numpy as np


def stratify(
    counts: np.ndarray, sizes: np.ndarray, shares: Sequence[float], numbers: np.ndarray
) -> np.ndarray:
    """Return the part of each group: int64 (G,), 0 to len(shares) - 1.

    The label with the fewest images left comes first; each of its groups goes to the part that wants most
    images of the label, among equals to the one that wants most images at all. Groups without labels come
    last.

    Args:
        counts: (G, C), how many images of a group have each label.
        sizes: (G,), how many images a group has.
        shares: of the parts; they sum to 1.
        numbers: (G,), the order of groups of one size.
    """
    parts = np.full(len(sizes), -1, dtype=np.int64)
    weights = np.asarray(shares, dtype=np.float64)
    wanted = weights[:, None] * counts.sum(0)[None, :]  # (P, C), images of each label
    room = weights * sizes.sum()  # (P,), images at all
    left = counts.sum(0).astype(np.float64)
    order = np.lexsort((numbers, -sizes))  # what is large finds its place while there is room
    members = [order[counts[order, label] > 0] for label in range(counts.shape[1])]
    queue = [(count, label) for label, count in enumerate(left) if count > 0]
    heapq.heapify(queue)

    def place(group: int, part: int) -> None:
        parts[group] = part
        wanted[part] -= counts[group]
        room[part] -= sizes[group]
        left[:] -= counts[group]

    while queue:
        count, label = heapq.heappop(queue)
        if left[label] != count:  # some went away with rarer labels
            if left[label] > 0:
                heapq.heappush(queue, (left[label], label))
            continue
        for group in members[label]:
            if parts[group] < 0:
                place(group, _neediest(wanted[:, label], room))
    for group in order:
        if parts[group] < 0:
            place(group, _neediest(room, room))
    return parts


def _neediest(wanted: np.ndarray, room: np.ndarray) -> int:
    """Return the part that wants most, among equals the one with most room; shares are rounded for this."""
    wanted, room = wanted.round(9), room.round(9)
    return int(max(range(len(wanted)), key=lambda part: (wanted[part], room[part], -part)))
