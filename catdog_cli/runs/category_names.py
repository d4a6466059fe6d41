"""Names to show for classes: read from a JSON file, matched to the classes of a network."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import SettingsError, UnavailableError, quote
from ..runtime.files import expand_home, read_text

SHAPE = 'expected one object such as {"cats": "Cat", "dogs": "Dog"}'
Names = Mapping[str, Any]  # as a file holds them


def read_category_names(path: str | Path) -> Names:
    """Return what a JSON file of names holds, one object.

    Raises:
        UnavailableError: the file cannot be read, or is of another shape.
    """
    try:
        names = json.loads(read_text(expand_home(path)), object_pairs_hook=_once)
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or str(error)[:200]
        raise UnavailableError(f"Cannot read the names in {str(path)!r} ({reason}): {SHAPE}.") from error
    if not isinstance(names, dict):
        raise UnavailableError(f"{str(path)!r} holds a {type(names).__name__}, no names: {SHAPE}.")
    return names


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the pairs of a JSON object, whose reader would take the last of two names without a word."""
    names = dict(pairs)
    if len(names) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"it gives {quote(twice)} two names")
    return names


def load_category_names(given: str | Path | Names | None, class_names: Sequence[str]) -> dict[str, str]:
    """Return {class: name to show} of a file, or of names from Python; nothing without any.

    Raises:
        UnavailableError: the file cannot be read.
        SettingsError: what it holds, or what was given, is no names.
    """
    if given is None:
        return {}
    if isinstance(given, Mapping):
        return match_category_names(given, class_names)
    path = os.fspath(given)
    try:
        return match_category_names(read_category_names(path), class_names, repr(path))
    except SettingsError as error:
        raise UnavailableError(str(error)) from error


def match_category_names(
    names: Names, class_names: Sequence[str], source: str = "category_names"
) -> dict[str, str]:
    """Return {class: name to show} for those of `class_names` that have one.

    Args:
        names: names by class, in any case if that leaves no doubt; or by index ("0", "1", as class_to_idx
            counts) where no class is called so; or the other way round, classes or indices by name; or as
            Keras has them: {"0": ["n01440764", "tench"]}.
        class_names: the classes, in the order of their indices.
        source: what a sentence calls the names.

    Raises:
        SettingsError: a name is not a text, or a class has two.
    """
    pairs = [_split_pair(key, value) for key, value in names.items()]
    keys = _place(class_names, [key for key, _ in pairs])
    if not any(each is not None for each in keys):
        turned = _place(class_names, [value for _, value in pairs])
        if any(each is not None for each in turned):
            pairs, keys = [(value, key) for key, value in pairs], turned
    found: dict[str, str] = {}
    for (key, name), place in zip(pairs, keys, strict=True):
        if not isinstance(name, str) or not name.strip() or _is_torn(name):
            raise SettingsError(
                f"{source} gives {quote(key)} the name {quote(name)}, which is not a text: {SHAPE}."
            )
        if place is not None and found.setdefault(class_names[place], name) != name:
            raise SettingsError(f"{source} gives the class {quote(class_names[place])} two names: give one.")
    return found


def _split_pair(key: str, value: Any) -> tuple[Any, Any]:
    """Return a class and its name; ["n01440764", "tench"] holds both."""
    is_pair = isinstance(value, list) and len(value) == 2 and all(isinstance(each, str) for each in value)
    return tuple(value) if is_pair and str(key).isdecimal() else (key, value)


def _place(class_names: Sequence[str], keys: Sequence[Any]) -> list[int | None]:
    """Return the index of the class that each key means: by its name, also in another case, or its index."""
    exact = {name: index for index, name in enumerate(class_names)}
    folded: dict[str, list[int]] = {}
    for index, name in enumerate(class_names):
        folded.setdefault(name.casefold(), []).append(index)

    def by_case(key: Any) -> int | None:
        found = folded.get(key.casefold(), []) if isinstance(key, str) else []
        return found[0] if len(found) == 1 and class_names[found[0]] not in keys else None

    def by_index(key: Any) -> int | None:
        is_index = (isinstance(key, str) and key.isdecimal()) or type(key) is int
        return int(key) if is_index and 0 <= int(key) < len(class_names) else None

    found = [exact.get(key) if isinstance(key, str) else None for key in keys]
    found = [by_case(key) if index is None else index for key, index in zip(keys, found, strict=True)]
    if any(index is not None for index in found) or not all(_is_like_index(key) for key in keys):
        return found
    return [by_index(key) for key in keys]


def _is_like_index(key: Any) -> bool:
    return type(key) is int or (isinstance(key, str) and key.isdecimal() and len(key) < 10)


def _is_torn(name: str) -> bool:
    """Say whether a text holds half a character, which no file can hold."""
    return any("\ud800" <= letter <= "\udfff" for letter in name)


def describe_missing(source: str, named: Mapping[str, str], class_names: Sequence[str]) -> str | None:
    """Return a sentence on the classes that got no name; None where all have one."""
    missing = [name for name in class_names if name not in named]
    if not missing:
        return None
    shown = ", ".join(missing[:5]) + (" ..." if len(missing) > 5 else "")
    return (
        f"{source!r} has no name for {len(missing)} of {len(class_names)} classes ({shown}): their folder "
        f"names are shown."
    )


def tell_apart(class_names: Sequence[str], names: Sequence[str]) -> list[str]:
    """Return the names to show, with the class behind those that several classes share."""
    return [
        f"{name} ({own})" if names.count(name) > 1 else name
        for own, name in zip(class_names, names, strict=True)
    ]
