"""Who is in train, val and test: drawn by content.

A picture's side follows from (seed, digest of its file) and those of its class, so that renaming moves no
picture, adding or removing some moves hardly any, shares are exact in every class, and files with the same
content are always on the same side.
"""

import dataclasses
import hashlib
from collections import Counter

import numpy as np

from ..errors import DataError, quote
from .dataset import Dataset
from .digests import content_keys, fingerprint
from .stratify import stratify

__all__ = ["fingerprint", "split_dataset"]

RARE = 5  # different pictures of a class: with fewer, none or one is measured
SHOWN = 20  # names in a sentence


def split_dataset(
    dataset: Dataset,
    val_fraction: float = 0.2,
    seed: int = 0,
    test_fraction: float = 0.0,
    groups: list[str] | None = None,
) -> Dataset:
    """Return the dataset with train and val (and test, where asked) drawn from "all", or val from train.

    A dataset that has train and val already is returned as it is. Each picture gets a number out of (seed,
    content). Class by class, those with the smallest numbers are val and those with the largest test, as many
    as the shares say, rounded; every class with two different pictures is in train and in val. A picture that
    is added moves at most one other of its class from side to side for each share. `groups[i]` names the
    group of picture i of the split that is drawn from; a group stays on one side, which can make shares
    inexact. Where pictures have several labels, the sides are stratified by all of them (`stratify`), and a
    picture that is added may move others.

    Raises:
        DataError: there is neither "all" nor train; or no class has two different pictures.
    """
    if {"train", "val"} <= set(dataset.splits):
        return dataset
    drawn = next((name for name in ("all", "train") if name in dataset.splits), None)
    if drawn is None:
        names = ", ".join(dataset.splits)
        raise DataError(f"{str(dataset.root)!r} has only {names}, no train/: add a folder to train from.")
    keys = content_keys(dataset, drawn) if groups is None else groups
    draw = _draw_labelled if dataset.has_several_labels else _draw_sides
    sides = draw(dataset.splits[drawn].labels, keys, val_fraction, test_fraction, seed)
    return _divide(dataset, drawn, keys, sides, val_fraction)


def _draw_sides(
    labels: np.ndarray, keys: list[str], val_fraction: float, test_fraction: float, seed: int
) -> np.ndarray:
    """Return "train", "val" or "test" for each picture: (N,) of str."""
    numbers = {key: _number(seed, key) for key in set(keys)}  # key: its number from 0 to 1
    sides: dict[str, str] = {}
    for label in np.unique(labels):
        counts = Counter(keys[index] for index in np.flatnonzero(labels == label))  # key: its pictures
        members = sorted(counts, key=lambda key: (numbers[key], key))
        wanted = {
            "val": round(val_fraction * counts.total()),
            "test": round(test_fraction * counts.total()),
        }
        _draw_class(members, counts, wanted, sides)
    return np.array([sides[key] for key in keys], dtype=object)


def _draw_labelled(
    labels: np.ndarray, keys: list[str], val_fraction: float, test_fraction: float, seed: int
) -> np.ndarray:
    """Return the side of each picture (N,) where `labels` (N, C) are several."""
    names, group = np.unique(np.array(keys, dtype=object), return_inverse=True)
    counts = np.zeros((len(names), labels.shape[1]), dtype=np.int64)
    np.add.at(counts, group, labels == 1)
    sizes = np.bincount(group, minlength=len(names))
    numbers = np.array([_number(seed, name) for name in names])
    shares = {"train": 1 - val_fraction - test_fraction, "val": val_fraction, "test": test_fraction}
    kept = [side for side, share in shares.items() if share > 0]
    parts = stratify(counts, sizes, [shares[side] for side in kept], numbers)
    sides = np.array(kept, dtype=object)[parts]
    _spread_rare(sides, counts, numbers)
    return sides[group]


def _spread_rare(sides: np.ndarray, counts: np.ndarray, numbers: np.ndarray) -> None:
    """Move a group into train for each label that train lacks: what nobody can learn cannot be measured."""
    for label in np.argsort(counts.sum(0), kind="stable"):
        members = np.flatnonzero(counts[:, label])
        if len(members) and not (sides[members] == "train").any():
            sides[members[np.argmax(numbers[members])]] = "train"


def _number(seed: int, key: str) -> float:
    data = f"{seed}\0{key}".encode(errors="surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big") / 2**64


def _draw_class(
    members: list[str], counts: Counter[str], wanted: dict[str, int], sides: dict[str, str]
) -> None:
    """Give each key of a class, ordered by their numbers, a side: val from the front, test from the end.

    Keys that another class has as well may have a side already, and keep it. A class with two keys is in
    train and in val, whatever the shares.
    """
    if len(members) == 1:
        sides.setdefault(members[0], "train")
        return
    free = [key for key in members if key not in sides]
    for side, order in (("val", free), ("test", free[::-1])):
        held = sum(counts[key] for key in members if sides.get(key) == side)
        for key in order:
            short = wanted[side] - held
            if key not in sides and short > 0 and counts[key] < 2 * short:  # nearer with it than without
                sides[key] = side
                held += counts[key]
    for key in free:
        sides.setdefault(key, "train")
    if free and all(sides[key] != "val" for key in members):
        sides[free[0]] = "val"
    if all(sides[key] != "train" for key in members):
        tested = [key for key in free if sides[key] == "test"]
        sides[tested[0] if tested else (free or members)[-1]] = "train"


def _name_rare(class_names: list[str], labels: np.ndarray, keys: list[str]) -> list[str]:
    """Return what should be known of classes with hardly any different pictures, in a sentence a kind."""
    different = [len({keys[index] for index in np.flatnonzero(labels == i)}) for i in range(len(class_names))]
    single = [name for name, count in zip(class_names, different, strict=True) if count == 1]
    rare = [
        f"{name!r} {count}" for name, count in zip(class_names, different, strict=True) if 1 < count < RARE
    ]
    warnings = []
    if len(single) == 1:
        warnings.append(f"The class {single[0]!r} has one picture only: it goes to train, unmeasured.")
    elif single:
        names = _join([repr(name) for name in single])
        warnings.append(
            f"{len(single)} classes have one picture only, which goes to train, unmeasured: {names}."
        )
    if rare:
        warnings.append(f"Of classes with few pictures, what is measured says little: {_join(rare)}.")
    return warnings


def _name_rare_labels(class_names: list[str], labels: np.ndarray, keys: list[str]) -> list[str]:
    """As `_name_rare`, for labels (N, C)."""
    names = np.array(keys, dtype=object)
    counts = [len(set(names[labels[:, label] == 1])) for label in range(len(class_names))]
    rare = [f"{quote(name)} {count}" for name, count in zip(class_names, counts, strict=True) if count < RARE]
    return [f"Of labels that few pictures have, what is measured says little: {_join(rare)}."] if rare else []


def _join(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _divide(dataset: Dataset, drawn: str, keys: list[str], sides: np.ndarray, val_fraction: float) -> Dataset:
    source = dataset.splits[drawn]
    warnings = list(dataset.warnings)
    if drawn == "train":
        warnings.append(f"There is no val/: {val_fraction:.0%} of train is kept apart as val.")
    name = _name_rare_labels if dataset.has_several_labels else _name_rare
    warnings += name(dataset.class_names, source.labels, keys)
    if not (sides == "val").any():
        raise DataError(f"{str(dataset.root)!r} has too few different pictures for val: add some.")
    kept = [name for name in ("train", "val", "test") if (sides == name).any()]
    splits = {name: source.take(np.flatnonzero(sides == name)) for name in kept}
    rest = {name: split for name, split in dataset.splits.items() if name not in ("all", "train")}
    return dataclasses.replace(dataset, splits={**splits, **rest}, warnings=warnings)
