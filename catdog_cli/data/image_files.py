"""Lists the image files in folders: in natural order, links followed, no folder twice.

Names are kept as the system gives them, undecodable bytes included. Nothing is opened but folders, and the
first bytes of files whose name does not say what they are.
"""

import itertools
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from ..images.suffixes import (
    SNIFF_BYTES,
    image_suffix,
    is_picture,
    is_readable,
    missing_extra,
    sniff_image,
)
from ..runtime.files import CURVES, HISTORY, LABEL_PLOTS, REPORT, REPORT_PLOTS
from .natural_sort import sort_naturally

CLUTTER = frozenset(("thumbs.db", "desktop.ini", "__macosx", "@eadir"))
OWN_PLOTS = {
    HISTORY: (CURVES,),
    REPORT: (*REPORT_PLOTS, *LABEL_PLOTS),
}  # `catdog train .` must not learn what catdog drew
NO_SUFFIX = "without suffix"
TELLS_NOTHING = re.compile(
    r"|\.|\.[0-9]+|\.(jpe?g|png|webp|gif|bmp|tiff?)[^a-z0-9].*"
)  # .jpg?w=300, frame.12
SHOWN = 12  # suffixes in a sentence

Follow = Callable[[str], str | None]  # a linked folder or image: why it must not be followed


@dataclass
class Listing:
    """What a folder holds, by name; `ignored` says why, or with which suffix, and how often."""

    path: str
    folders: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)  # what is called like one, or is one
    unread: list[str] = field(default_factory=list)  # pictures of a kind that this installation does not read
    links: set[str] = field(default_factory=set)  # of the folders and images
    unusable: dict[str, str] = field(default_factory=dict)  # of the images: what each is instead of a file
    ignored: Counter[str] = field(default_factory=Counter)  # neither folders nor pictures
    error: OSError | None = None  # the folder cannot be opened
    linked: bool = False  # reached through a link below the top


def walk_folder(top: str, follow: Follow = lambda path: None) -> Iterator[Listing]:
    """Yield what a folder holds, then what each folder under it holds; a folder met again is empty.

    `follow` may refuse linked folders: they are counted under the reason that it gives.
    """
    waiting, seen = [(top, False)], set()
    while waiting:
        path, linked = waiting.pop()
        try:
            status = os.stat(path)  # noqa: PTH116
        except OSError as error:
            yield Listing(path, error=error)
            continue
        identity = (status.st_dev, status.st_ino)
        if identity in seen:  # a link back to a folder above, or a second link to the same one
            yield Listing(path, ignored=Counter(("repeated folders",)))
            continue
        seen.add(identity)
        listing = list_folder(path)
        listing.linked = linked
        for name in reversed(listing.folders):
            below = os.path.join(path, name)  # noqa: PTH118
            reason = follow(below) if name in listing.links else None
            if reason is None:
                waiting.append((below, linked or name in listing.links))
            else:
                listing.ignored[reason] += 1
        yield listing


def list_folder(path: str) -> Listing:
    """Return what a folder holds, in natural order."""
    found = Listing(path)
    own_plots: set[str] = set()
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                _sort_in(entry, found)
                own_plots.update(OWN_PLOTS.get(entry.name, ()))
    except OSError as error:
        found.error = error
    if own_plots.intersection(found.images):
        kept = [name for name in found.images if name not in own_plots]
        found.ignored["plots of catdog"] += len(found.images) - len(kept)
        found.images = kept
    found.folders, found.images = sort_naturally(found.folders), sort_naturally(found.images)
    return found


def _sort_in(entry: os.DirEntry[str], found: Listing) -> None:
    name = entry.name
    if name.startswith(".") or name.lower() in CLUTTER:
        found.ignored["hidden"] += 1
        return
    problem = None
    try:
        if entry.is_symlink():
            found.links.add(name)
        if entry.is_dir():
            found.folders.append(name)
            return
        if not entry.is_file():
            problem = "broken links" if entry.is_symlink() else "pipes and devices"
    except OSError:  # a link to itself, or to where nobody may look
        problem = "broken links"
    suffix = image_suffix(name)
    if is_readable(suffix) or (problem is None and _is_image_inside(entry.path, suffix)):
        found.images.append(name)
        if problem:
            found.unusable[name] = problem
    elif is_picture(suffix):
        found.unread.append(name)
    else:
        found.ignored[problem or (suffix if suffix.strip(".") else NO_SUFFIX)] += 1


def _is_image_inside(path: str, suffix: str) -> bool:
    """Say whether a file whose name tells nothing begins as an image that is read."""
    if not TELLS_NOTHING.fullmatch(suffix):
        return False
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - half the cost of Path.open
            kind = sniff_image(file.read(SNIFF_BYTES))
    except OSError:
        return False
    return kind is not None and (kind != "HEIF" or missing_extra(".heic") is None)


def count_unread(listing: Listing) -> Counter[str]:
    """Return how many pictures of a folder are of a kind that is not read, by suffix."""
    return Counter(map(image_suffix, listing.unread))


def describe_ignored(ignored: Mapping[str, int]) -> str:
    """Return what was not read and what would read it: "6 .heic (install catdog[heic]), 2 .txt".

    What the same is to be said of stands together, and it is said once.

    Args:
        ignored: how many, by suffix or by what they are instead; the empty text for none.
    """
    counts = {why: count for why, count in ignored.items() if count}
    advice = {why: _advise(why) for why in counts}
    order = sorted(
        counts,
        key=lambda why: (not is_picture(why), not why.startswith("."), advice[why], -counts[why], why),
    )
    groups = itertools.groupby(order[:SHOWN], key=advice.__getitem__)
    shown = [", ".join(f"{counts[why]:,} {why}" for why in group) + said for said, group in groups]
    rest = sum(counts[why] for why in order[SHOWN:])
    return ", ".join(shown + ([f"{rest:,} of {len(order) - SHOWN} other kinds"] if rest else []))


def _advise(suffix: str) -> str:
    if not is_picture(suffix) or is_readable(suffix):
        return ""
    extra = missing_extra(suffix)
    return f" (install catdog[{extra}])" if extra else " (pictures of a kind that is not read)"
