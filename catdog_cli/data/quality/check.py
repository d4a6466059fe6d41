"""Look at every picture of a dataset and say what is wrong with it.

Read-only: each file is decoded in full, by the same function as in training, and nothing is changed.
"""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...errors import DataError
from ...images.decode import find_format
from ...images.facts import read_facts
from ...images.read import ImageError, read_image
from ...images.suffixes import FORMAT_NAMES, IMAGE_FORMATS, image_suffix
from ...runtime.text import printable
from ..dataset import Dataset, class_counts, class_text
from ..digests import file_digest, file_size, map_threads
from .label_errors import LabelError, find_label_errors
from .near_duplicates import find_similar, gather_groups, join_pairs, make_thumbnail, pair_equals

__all__ = ["CheckReport", "Duplicates", "Finding", "check_dataset", "find_label_errors"]

UNREADABLE = ("empty", "truncated", "damaged", "unsupported")
KINDS = (*UNREADABLE, "flawed", "misnamed", "blank", "cmyk", "16-bit", "animated", "rotated", "tiny", "huge")
COUNTED = {
    "rotated": "turned upright when read, as their Exif orientation says"
}  # there may be many, all well
BLANK_LEVELS = 6  # between the darkest and the lightest px of a channel
TINY_PX = 32
HUGE_FROM_PIXELS = 50_000_000
BATCH = 512  # pictures between two calls of `report`


@dataclass(frozen=True)
class Finding:
    """One thing that the user should know about one picture; `kind` is one of KINDS."""

    path: str
    split: str
    class_name: str
    kind: str
    detail: str


@dataclass(frozen=True)
class Duplicates:
    """Pictures that are the same: `kind` is "exact" (every byte) or "near" (they look the same)."""

    kind: str
    paths: list[str]
    splits: list[str]
    class_names: list[str]

    @property
    def conflict(self) -> bool:
        """Whether they are labelled differently."""
        return len(set(self.class_names)) > 1

    @property
    def leak(self) -> bool:
        """Whether they are in different splits."""
        return len(set(self.splits)) > 1


@dataclass(frozen=True)
class CheckReport:
    """All that `check_data` found."""

    root: Path
    num_pictures: int
    counts: dict[str, dict[str, int]]  # split: class: pictures
    findings: list[Finding] = field(default_factory=list)
    duplicates: list[Duplicates] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # how the data was understood, and what was ignored
    label_errors: list[LabelError] | None = None  # None: not looked for, for want of a checkpoint

    @property
    def imbalance(self) -> float:
        """Pictures of the largest class for each of the smallest, all splits together; 1 is balanced."""
        sizes = [sum(counts[name] for counts in self.counts.values()) for name in self._class_names()]
        return max(sizes) / max(1, min(sizes))

    def _class_names(self) -> list[str]:
        return list(dict.fromkeys(name for counts in self.counts.values() for name in counts))

    def count_kinds(self) -> dict[str, int]:
        """Return how many pictures have each kind of finding, the worst kinds first."""
        found = [finding.kind for finding in self.findings]
        return {kind: found.count(kind) for kind in KINDS if kind in found}

    def list_excluded(self) -> list[str]:
        """Return the paths that are better left out of training, in the order of the data.

        They are: what cannot be read; every copy of a picture with two labels; of a picture in several splits
        the copies in train, so that scores stay honest; of a picture repeated in a split all but the first.
        """
        wanted = {finding.path for finding in self.findings if finding.kind in UNREADABLE}
        for group in self.duplicates:
            wanted.update(_superfluous(group))
        return sorted(wanted)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain containers, for --json."""
        return {
            "data": str(self.root),
            "num_pictures": self.num_pictures,
            "counts": self.counts,
            "imbalance": round(self.imbalance, 3),
            "kinds": self.count_kinds(),
            "findings": [dataclasses.asdict(finding) for finding in self.findings],
            "duplicates": [
                {**dataclasses.asdict(group), "conflict": group.conflict, "leak": group.leak}
                for group in self.duplicates
            ],
            "label_errors": (
                None
                if self.label_errors is None
                else [dataclasses.asdict(found) for found in self.label_errors]
            ),
            "excluded": self.list_excluded(),
            "warnings": self.warnings,
            "notes": self.notes,
        }

    def __str__(self) -> str:
        return "\n".join(map(printable, self._list_lines()))

    def _list_lines(self) -> Iterator[str]:
        """Yield sentences that count what was found; `to_dict` names it."""
        yield (
            f"{self.root}: {self.num_pictures:,} pictures in {len(self._class_names())} classes, the largest "
            f"{self.imbalance:.1f} times as large as the smallest"
        )
        yield from self.notes
        yield from (f"Warning: {warning}" for warning in self.warnings)
        yield from (f"{count:,} {kind}" for kind, count in self.count_kinds().items())
        if self.label_errors:
            count = len(self.label_errors)
            yield f"{count:,} label{'s' * (count != 1)} probably wrong"
        if self.duplicates:
            conflicts, leaks = (
                sum(getattr(group, name) for group in self.duplicates) for name in ("conflict", "leak")
            )
            count = len(self.duplicates)
            yield (
                f"{count:,} group{'s' * (count != 1)} of copies and look-alikes: {conflicts:,} labelled "
                f"differently, {leaks:,} in several splits"
            )
        if not (self.findings or self.duplicates or self.label_errors):
            yield "Nothing is wrong with them."

    def _repr_html_(self) -> str:
        """Return the counts, and the first thumbnails of each kind of finding, for a notebook."""
        from .check_html import build_page

        return build_page(self, page=False)


def _superfluous(group: Duplicates) -> list[str]:
    if group.conflict:
        return group.paths
    kept, left_out = set(), []
    for path, split in zip(group.paths, group.splits, strict=True):
        leaking = group.leak and split == "train"
        if leaking or (group.kind == "exact" and split in kept):
            left_out.append(path)
        kept.add(split)
    return left_out


@dataclass(frozen=True)
class _Look:
    """What one picture shows: its findings as (kind, detail); no thumbnail where it cannot be read."""

    digest: str | None
    thumbnail: np.ndarray | None
    findings: tuple[tuple[str, str], ...]


def check_dataset(dataset: Dataset, report: Callable[[int, int], None] | None = None) -> CheckReport:
    """Decode every picture of a dataset and find damaged, odd and repeated ones.

    `report(done, total)` is called after each batch of pictures.

    Raises:
        DataError: the dataset is a prepared folder, whose files are not there to be checked.
    """
    items, looks = look_at_all(dataset, report)
    counts = {
        name: dict(zip(dataset.class_names, class_counts(dataset, name).tolist(), strict=True))
        for name in dataset.splits
    }
    findings = [
        Finding(*item, kind, detail)
        for item, look in zip(items, looks, strict=True)
        for kind, detail in look.findings
    ]
    duplicates = _find_duplicates(items, looks)
    return CheckReport(dataset.root, len(items), counts, findings, duplicates, list(dataset.warnings))


def look_at_all(
    dataset: Dataset, report: Callable[[int, int], None] | None = None
) -> tuple[list[tuple[str, str, str]], list[_Look]]:
    """Decode every picture; return (path, split, class name) and the look of each, in the dataset's order."""
    if dataset.images is not None:
        raise DataError(f"{str(dataset.root)!r} is a prepared folder: give the data that it was made from.")
    items = [
        (path, name, class_text(dataset, name, index))
        for name, split in dataset.splits.items()
        for index, path in enumerate(split.paths)
    ]
    looks: list[_Look] = []
    for start in range(0, len(items), BATCH):
        paths = [dataset.root / item[0] for item in items[start : start + BATCH]]
        looks += map_threads(_look, paths, 8)
        if report is not None:
            report(len(looks), len(items))
    return items, looks


def pair_similar(looks: list[_Look]) -> list[tuple[int, int]]:
    """Return pairs of pictures that hold the same bytes or look the same: enough to join all their groups."""
    pairs = list(pair_equals(look.digest for look in looks))
    pairs += pair_equals(None if look.thumbnail is None else look.thumbnail.tobytes() for look in looks)
    later = {pair[1] for pair in pairs}  # each equals an earlier one: compared once, through that one
    seen = {
        i: look.thumbnail for i, look in enumerate(looks) if look.thumbnail is not None and i not in later
    }
    if seen:
        places, close = list(seen), find_similar(np.stack(list(seen.values())))
        pairs += [(places[left], places[right]) for left, right in close]
    return pairs


def _find_duplicates(items: list[tuple[str, str, str]], looks: list[_Look]) -> list[Duplicates]:
    groups = []
    for members in gather_groups(join_pairs(len(looks), pair_similar(looks))):
        kind = "exact" if len({looks[index].digest for index in members}) == 1 else "near"
        paths, splits, class_names = (
            list(column) for column in zip(*(items[i] for i in members), strict=True)
        )
        groups.append(Duplicates(kind, paths, splits, class_names))
    return sorted(groups, key=lambda group: (not group.conflict, not group.leak, group.kind))


def _look(path: Path) -> _Look:
    """Decode one file; never raises for what the file holds."""
    digest = file_digest(path)
    if file_size(path) == 0:
        return _Look(None, None, (("empty", "the file has 0 bytes"),))
    remarks: list[str] = []
    try:
        image = read_image(path, remarks=remarks)
    except ImageError as error:
        return _Look(digest, None, ((_name_failure(str(error)), str(error)),))
    height, width = image.shape[1:]
    findings = [("flawed", f"{remark}; read all the same") for remark in remarks]
    findings += [("blank", "one colour and nothing else")] if _is_blank(image) else []
    return _Look(
        digest, make_thumbnail(image), (*findings, *_size_findings(width, height), *_header_findings(path))
    )


def _name_failure(text: str) -> str:
    if "truncated" in text or "breaks off" in text:
        return "truncated"
    return "unsupported" if "which is not read" in text or "needs catdog[" in text else "damaged"


def _is_blank(image: torch.Tensor) -> bool:
    """Say whether a picture (3, H, W) has one colour, but for what JPEG makes of it."""
    for part in (image[:, ::16, ::16], image):  # a few px are enough for nearly every picture
        pixels = part.flatten(1)
        if int((pixels.amax(1).int() - pixels.amin(1).int()).max()) > BLANK_LEVELS:
            return False
    return True


def _size_findings(width: int, height: int) -> list[tuple[str, str]]:
    if min(width, height) < TINY_PX:
        return [("tiny", f"{width} x {height} px")]
    if width * height > HUGE_FROM_PIXELS:
        return [("huge", f"{width} x {height} px: {width * height / 1e6:.0f} megapixels are slow to read")]
    return []


def _header_findings(path: Path) -> list[tuple[str, str]]:
    """Return what is odd about a readable file's format."""
    found = []
    try:
        data = path.read_bytes()
        suffix = image_suffix(path.name)
        kind = find_format(data, suffix) or ""
        if suffix in IMAGE_FORMATS and kind != IMAGE_FORMATS[suffix]:
            found.append(("misnamed", f"a {FORMAT_NAMES.get(kind, kind)} file called {suffix!r}"))
        facts = read_facts(data, kind)
    except Exception:  # a header that Pillow dislikes hides no pixels: these were read above
        return found
    if facts.cmyk:
        found.append(("cmyk", "printing colours, converted to RGB"))
    if facts.deep:
        found.append(("16-bit", "scaled to 8 bits a channel"))
    if facts.num_frames > 1:
        found.append(("animated", f"{facts.num_frames} frames, of which the first is used"))
    if facts.orientation != 1:
        found.append(("rotated", f"Exif orientation {facts.orientation}, turned upright when read"))
    return found
