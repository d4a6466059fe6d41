"""Names of classes that a person takes for the same: those that differ by case, blanks or accents alone."""

import re
import unicodedata
from collections.abc import Iterable

from ..errors import quote

LETTER_PAIRS = 3  # as many of A and a are a set of handwritten letters, in which case is the class
SHOWN = 3  # pairs in a sentence


def class_name(folder: str) -> str:
    """Return a folder's name as a class name: the same text whichever system composed its accents."""
    return unicodedata.normalize("NFC", folder)


def find_alike(names: Iterable[str]) -> list[list[str]]:
    """Return the groups of different names that look the same: "Cat", "cat" and "cat "."""
    groups: dict[str, dict[str, None]] = {}
    for name in names:
        groups.setdefault(_look(name), {})[name] = None
    found = [list(group) for group in groups.values() if len(group) > 1]
    letters = [group for group in found if all(len(name) == 1 for name in group)]
    return [group for group in found if group not in letters or len(letters) < LETTER_PAIRS]


def describe_alike(alike: list[list[str]], where: dict[str, list[str]]) -> str:
    """Return one sentence on groups of names that look the same.

    Args:
        where: the places of each name, such as its splits, to be named beside it.
    """
    pairs = [" and ".join(_show(name, group, where.get(name, [])) for name in group) for group in alike]
    more = f", and {len(pairs) - SHOWN:,} more" if len(pairs) > SHOWN else ""
    kinds = {_difference(group) for group in alike}
    by = " or ".join(sorted(kinds))
    return (
        f"{'; '.join(pairs[:SHOWN])}{more}: these class names differ by {by} alone, give each class one name."
    )


def _look(name: str) -> str:
    """Return what a person reads: no invisible characters, single blanks, lower case."""
    composed = unicodedata.normalize("NFC", name)
    seen = "".join(letter for letter in composed if unicodedata.category(letter) != "Cf")
    return unicodedata.normalize("NFC", re.sub(r"\s+", " ", seen).strip().lower())


def _difference(group: list[str]) -> str:
    composed = {unicodedata.normalize("NFC", name) for name in group}
    if len(composed) == 1:
        return "how accents are stored"
    if len({name.lower() for name in composed}) == 1:
        return "upper and lower case"
    if len({re.sub(r"\s+", " ", name).strip() for name in composed}) == 1:
        return "blanks"
    return "case, blanks or invisible characters"


def _show(name: str, group: list[str], places: list[str]) -> str:
    written = ascii(name)[:100] if _difference(group) == "how accents are stored" else quote(name)
    return written + (f" (in {', '.join(places)})" if places else "")
