"""The images of a report's page: those of each cell of the confusion matrix, the least sure, and class maps.

A page holds so many thumbnails and no more, so that it opens at once; each part says how many of how many it
shows. What else is worth showing is one more `Gallery` in `Sections.galleries`.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..images.preview import Preview, make_preview
from ..images.read import ImageError
from ..runtime.text import show_percent

THUMBNAIL_PX = 112  # longer side
MOST_IN_CELL = 12
MOST_WRONG, MOST_RIGHT = 80, 40  # thumbnails of all cells together
MOST_UNSURE = 12
MOST_EXPLAINED = 12  # mistakes with class maps
MOST_COLUMNS = 12  # classes of which the whole matrix is shown

ReadPhoto = Callable[[dict[str, Any]], Any]  # of an item with "path": uint8 (3, H, W)


class View(NamedTuple):
    """A thumbnail with a caption, and how it was made, "" of an image itself."""

    preview: Preview
    caption: str = ""
    method: str = ""


Explain = Callable[[dict[str, Any]], list[View]]  # of a mistake: maps over the image


class Photo(NamedTuple):
    """One image, or an image beside its maps, with lines of text; `alt` says which it is."""

    views: tuple[View, ...]
    lines: tuple[str, ...]
    alt: str


class Gallery(NamedTuple):
    """A part of the page with images: a section, or what a cell opens. `key` is its place in the page."""

    key: str
    title: str
    note: str
    photos: tuple[Photo, ...]


class Cell(NamedTuple):
    """A count that opens a gallery, where it has a `key`."""

    text: str
    meaning: str
    key: str
    is_wrong: bool


class Sections(NamedTuple):
    """What a page shows of images: a table of counts, what its cells open, and further galleries."""

    header: tuple[str, ...] = ()
    rows: tuple[tuple[str, tuple[Cell, ...]], ...] = ()
    links: tuple[Cell, ...] = ()  # instead of a table that would be too large
    cells: tuple[Gallery, ...] = ()
    galleries: tuple[Gallery, ...] = ()


class Thumbnails:
    """Makes thumbnails by path, each once; those that cannot be read any more are left out."""

    def __init__(self, read_photo: ReadPhoto):
        self.read_photo = read_photo
        self._made: dict[str, Preview | None] = {}

    def find(self, path: str) -> Preview | None:
        if path not in self._made:
            try:
                self._made[path] = make_preview(self.read_photo({"path": path}), THUMBNAIL_PX)
            except ImageError:
                self._made[path] = None
        return self._made[path]

    def show(self, path: str, *lines: str) -> list[Photo]:
        """Return an image with lines of text, or nothing where it is gone."""
        preview = self.find(path)
        return [] if preview is None else [Photo((View(preview),), lines, path)]


def make_sections(
    document: dict[str, Any],
    scores: tuple[np.ndarray, np.ndarray],
    paths: Sequence[str],
    read_photo: ReadPhoto,
    explain: Explain | None = None,
) -> Sections:
    """Return what a page shows of the images of an evaluation with one class an image.

    Args:
        document: what `full_metrics` returned, with "mistakes".
        scores: the probabilities (N, C) and labels (N,) that it is about.
        paths: N paths, as those of mistakes.
        read_photo: gives the uint8 (3, H, W) of an item with "path".
        explain: gives the maps of a mistake; None: there are none.
    """
    thumbnails, names = Thumbnails(read_photo), document["class_names"]
    probabilities, labels = scores
    predicted = probabilities.argmax(1)
    sure = probabilities[np.arange(len(labels)), predicted]

    def show(index: int) -> list[Photo]:
        said = f"{names[predicted[index]]} {show_percent(sure[index])}"
        right = predicted[index] == labels[index]
        lines = (said,) if right else (f"is {names[labels[index]]}", f"said {said}")
        return thumbnails.show(paths[index], *lines)

    members = {
        (int(i), int(j)): np.flatnonzero((labels == i) & (predicted == j))
        for i, j in np.unique(np.stack([labels, predicted], 1), axis=0)
    }
    cells = {
        place: Cell(
            f"{len(rows):,}", _name_cell(names, *place, len(rows)), _key(*place), place[0] != place[1]
        )
        for place, rows in members.items()
    }
    # the surest of the wrong ones, the least sure of the right ones
    ranked = {
        place: rows[np.argsort(sure[rows] if place[0] == place[1] else -sure[rows], kind="stable")]
        for place, rows in members.items()
    }
    opened = open_cells(cells, ranked, show)
    unsure = [photo for index in np.argsort(sure, kind="stable")[:MOST_UNSURE] for photo in show(int(index))]
    galleries = [
        gallery("unsure", "The least sure", unsure, len(labels)),
        *explain_mistakes(
            document["mistakes"],
            thumbnails,
            explain,
            lambda item: (
                f"is {item['true']}",
                f"said {item['predicted']} {show_percent(item['probability'])}",
            ),
        ),
    ]
    return lay_out(cells, opened, names, names)._replace(galleries=tuple(galleries))


def open_cells(
    cells: dict[tuple[int, int], Cell],
    ranked: dict[tuple[int, int], np.ndarray],
    show: Callable[[int], list[Photo]],
) -> list[Gallery]:
    """Return what cells open: the wrong ones with most images first, until the page has its thumbnails.

    Args:
        ranked: the images of each cell by index, those to show first.
        show: gives the photo of an image.
    """
    room = {True: MOST_WRONG, False: MOST_RIGHT}
    found = []
    for place in sorted(cells, key=lambda place: (not cells[place].is_wrong, -len(ranked[place]), place)):
        cell, rows = cells[place], ranked[place]
        chosen = rows[: min(MOST_IN_CELL, room[cell.is_wrong])]
        photos = [photo for index in chosen for photo in show(int(index))]
        room[cell.is_wrong] -= len(photos)
        if photos:
            found.append(gallery(cell.key, cell.meaning.rpartition(":")[0], photos, len(rows)))
    return found


def lay_out(
    cells: dict[tuple[int, int], Cell],
    opened: Sequence[Gallery],
    names: Sequence[str],
    columns: Sequence[str],
) -> Sections:
    """Return a table of cells and what they open; where it would be too large, links alone."""
    keys = {each.key for each in opened}
    known = {place: cell if cell.key in keys else cell._replace(key="") for place, cell in cells.items()}
    if max(len(names), len(columns)) > MOST_COLUMNS:
        by_key = {cell.key: cell for cell in known.values()}
        return Sections(links=tuple(by_key[each.key] for each in opened), cells=tuple(opened))
    nothing = Cell("0", "", "", False)
    rows = tuple(
        (name, tuple(known.get((i, j), nothing) for j in range(len(columns)))) for i, name in enumerate(names)
    )
    return Sections(header=tuple(columns), rows=rows, cells=tuple(opened))


def explain_mistakes(
    mistakes: Sequence[dict[str, Any]],
    thumbnails: Thumbnails,
    explain: Explain | None,
    describe: Callable[[dict[str, Any]], tuple[str, ...]],
) -> list[Gallery]:
    """Return the section of the worst mistakes beside what speaks for their classes, if anything does."""
    photos = []
    for item in mistakes[:MOST_EXPLAINED] if explain is not None else ():
        preview = thumbnails.find(item["path"])
        if preview is not None and explain is not None:
            photos.append(Photo((View(preview), *explain(item)), describe(item), item["path"]))
    if not photos:
        return []
    methods = dict.fromkeys(view.method for photo in photos for view in photo.views if view.method)
    note = (
        f"Yellow speaks for the class, blue against it; grey was not seen, or says nothing. "
        f"Method: {', '.join(methods)}."
    )
    return [gallery("maps", "Why: maps of the worst mistakes", photos, len(mistakes), note)]


def gallery(key: str, title: str, photos: Iterable[Photo], total: int, note: str = "") -> Gallery:
    """Return a part of the page; its note says how many of `total` images it shows."""
    shown = tuple(photos)
    count = f"All {total:,} shown." if len(shown) == total else f"{len(shown):,} of {total:,} shown."
    return Gallery(key, title, f"{count} {note}".strip(), shown)


def _key(row: int, column: int) -> str:
    return f"cell-{row}-{column}"


def _name_cell(names: Sequence[str], row: int, column: int, count: int) -> str:
    what = f"{names[row]}, told right" if row == column else f"{names[row]} taken for {names[column]}"
    return f"{what}: {count:,}"
