"""Which pictures must stay on one side of a split: copies, look-alikes, pictures of one subject."""

import re
from collections.abc import Callable

from ..errors import DataError, SettingsError
from .dataset import Dataset
from .digests import content_keys
from .quality.check import look_at_all, pair_similar
from .quality.near_duplicates import join_pairs, pair_equals


def group_images(
    dataset: Dataset,
    split: str,
    pattern: str | None = None,
    report: Callable[[int, int], None] | None = None,
) -> list[str]:
    """Return the name of each picture's group in a split, for `split_dataset(groups=)`.

    Pictures that look the same or hold the same bytes are one group; so are those in whose path `pattern`, a
    regular expression, finds the same text: what its groups catch, or all that it matches. A group is named
    after its content, so that adding other pictures does not move it; a picture that joins it may.

    Raises:
        SettingsError: `pattern` is not a regular expression.
        DataError: no path matches it.
    """
    found = _match_paths(dataset.splits[split].paths, pattern) if pattern is not None else []
    only = Dataset(dataset.root, dataset.class_names, {split: dataset.splits[split]}, images=dataset.images)
    keys = content_keys(only, split)
    pairs = [*pair_equals(keys), *pair_equals(found)]
    if dataset.images is None:
        pairs += pair_similar(look_at_all(only, report)[1])
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
