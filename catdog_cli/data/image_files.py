"""Lists the image files in folders: in natural order, links followed, no folder twice.

Names are kept as the system gives them, undecodable bytes included. Nothing is opened but folders.
"""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..images.suffixes import IMAGE_SUFFIXES
from ..runtime.files import CURVES, HISTORY, REPORT, REPORT_PLOTS
from .natural_sort import sort_naturally

CLUTTER = frozenset(("thumbs.db", "desktop.ini", "__macosx", "@eadir"))
OWN_PLOTS = {HISTORY: (CURVES,), REPORT: REPORT_PLOTS}  # `catdog train .` must not learn what catdog drew


@dataclass
class Listing:
    """What a folder holds, by name; `ignored` says why and how often."""

    path: str
    folders: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)  # what is called like one
    unusable: dict[str, str] = field(default_factory=dict)  # of them: what each is instead of a file
    ignored: Counter[str] = field(default_factory=Counter)
    error: OSError | None = None  # the folder cannot be opened


def walk_folder(top: str) -> Iterator[Listing]:
    """Yield what a folder holds, then what each folder under it holds; a folder met again is empty."""
    waiting, seen = [top], set()
    while waiting:
        path = waiting.pop()
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
        waiting += [os.path.join(path, name) for name in reversed(listing.folders)]  # noqa: PTH118
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
    is_image = os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122
    problem = None
    if name.startswith(".") or name.lower() in CLUTTER:
        found.ignored["hidden"] += 1
        return
    try:
        if entry.is_dir():
            found.folders.append(name)
            return
        if is_image and not entry.is_file():
            problem = "broken links" if entry.is_symlink() else "pipes and devices"
    except OSError:  # a link to itself, or to where nobody may look
        problem = "broken links"
    if is_image:
        found.images.append(name)
        if problem:
            found.unusable[name] = problem
    else:
        found.ignored[problem or "other"] += 1
