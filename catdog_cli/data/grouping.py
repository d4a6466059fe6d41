"""Which pictures must stay on one side of a split: copies, look-alikes, pictures of one subject."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..errors import CatdogError, DataError, SettingsError
from ..images.read import read_image
from .dataset import Dataset
from .digests import content_keys, map_threads
from .quality.check import look_at_all, pair_similar
from .quality.near_duplicates import find_similar, join_pairs, make_thumbnail, pair_equals

SCALED_PX = 64  # the shorter side of what a thumbnail is made of where that has to be quick
LOOKED_AT = 256  # pictures between two reports


def group_images(
    dataset: Dataset,
    split: str,
    pattern: str | None = None,
    report: Callable[[int, int], None] | None = None,
    quick: bool = False,
) -> list[str]:
    """Return the name of each picture's group in a split, for `split_dataset(groups=)`.

    Pictures that look the same or hold the same bytes are one group; so are those in whose path `pattern`, a
    regular expression, finds the same text: what its groups catch, or all that it matches. A group is named
    after its content, so that adding other pictures does not move it; a picture that joins it may. `quick`
    decodes large JPEGs at a fraction of their size, which hardly changes what looks alike.

    Raises:
        SettingsError: `pattern` is not a regular expression.
        DataError: no path matches it.
    """
    found = _match_paths(dataset.splits[split].paths, pattern) if pattern is not None else []
    only = Dataset(dataset.root, dataset.class_names, {split: dataset.splits[split]}, images=dataset.images)
    keys = content_keys(only, split)
    pairs = [*pair_equals(keys), *pair_equals(found)]
    if dataset.images is None:
        pairs += _pair_quickly(only, split, report) if quick else pair_similar(look_at_all(only, report)[1])
    roots = join_pairs(len(keys), pairs)
    names: dict[int, str] = {}
    for index, (root, key) in enumerate(zip(roots, keys, strict=True)):
        name = f"group {found[index]}" if found and found[index] is not None else f"picture {key}"
        names[root] = min(name, names.get(root, name))
    return [names[root].removeprefix("picture ") for root in roots]


def _match_paths(paths: list[str], pattern: str) -> list[str | None]:
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise SettingsError(
            f"--group-by {pattern!r} is not a regular expression ({error}): try for example '(\\d+)_'."
        ) from error
    matches = [expression.search(path) for path in paths]
    if not any(matches):
        raise DataError(f"--group-by {pattern!r} matches none of the paths, such as {paths[0]!r}: change it.")
    return [match and "\0".join(part or "" for part in match.groups() or (match[0],)) for match in matches]


def _pair_quickly(
    dataset: Dataset, split: str, report: Callable[[int, int], None] | None
) -> list[tuple[int, int]]:
    """Return the pairs of pictures that look the same, by thumbnails of scaled ones."""
    paths = [dataset.root / path for path in dataset.splits[split].paths]
    seen: dict[int, np.ndarray] = {}
    for start in range(0, len(paths), LOOKED_AT):
        part = paths[start : start + LOOKED_AT]
        for place, thumbnail in enumerate(map_threads(_thumbnail, part, 8), start):
            if thumbnail is not None:
                seen[place] = thumbnail
        if report is not None:
            report(start + len(part), len(paths))
    if not seen:
        return []
    places = list(seen)
    first: dict[bytes, int] = {}  # what looks the same to the last bit is compared once
    pairs, compared = [], []
    for place in places:
        other = first.setdefault(seen[place].tobytes(), place)
        if other == place:
            compared.append(place)
        else:
            pairs.append((other, place))
    close = find_similar(np.stack([seen[place] for place in compared]))
    return pairs + [(compared[left], compared[right]) for left, right in close]


def _thumbnail(path: Path) -> np.ndarray | None:
    try:
        return make_thumbnail(read_image(path, SCALED_PX))
    except CatdogError:  # it is found unreadable again, and named, where it is trained on
        return None
