"""Find the image files that a table names: as it writes them, or by name among the files beside it."""

import os
from collections import defaultdict
from pathlib import Path

from ..errors import DataError, quote
from ..images.suffixes import image_suffix, is_picture
from .image_files import CLUTTER
from .split_names import split_of

MAX_DEPTH = 4  # folders below the table's own that are searched


class ListedFiles:
    """The files around one table: `find` turns what a row says into a path from `folder` on."""

    def __init__(self, table: Path, folder: Path):
        self.table, self.folder = table, str(folder)
        self.searched: dict[str, None] = {}  # the folders where names were found that are no paths
        self._by_name: dict[str, list[str]] | None = None  # name or stem: paths from the folder on

    def find(self, name: str, label: str | None = None, split: str | None = None) -> str | None:
        """Return the path of the file that a row names, absolute or from the folder on; None for none.

        Args:
            name: a path; or a file's name, with or without suffix, which one folder below has.
            label, split: of the row: of several files of a name, the one in such a folder is meant.

        Raises:
            DataError: several files have that name.
        """
        for written in dict.fromkeys((name, name.strip(), name.strip().replace("\\", "/"))):
            if written and os.path.isfile(os.path.join(self.folder, written)):  # noqa: PTH113, PTH118
                return written
        return self._search(name.strip().replace("\\", "/"), label, split)

    def _search(self, name: str, label: str | None, split: str | None) -> str | None:
        folder, _, last = name.rpartition("/")
        if not last or name.startswith("/"):
            return None
        if self._by_name is None:
            self._by_name = self._list_names()
        place = os.path.normpath(folder) if folder else None  # a bare name may lie anywhere
        named = self._by_name.get(last, ())
        found = [path for path in named if place in (None, path.rpartition("/")[0] or ".")]
        if len(found) > 1:
            found = _prefer(found, label, split)
        if len(found) > 1:
            raise DataError(
                f"The manifest {str(self.table)!r} lists {quote(name)}, which may be {quote(found[0])} or "
                f"{quote(found[1])}: write the path from the manifest's folder on."
            )
        for path in found:
            self.searched[path.rpartition("/")[0]] = None
        return found[0] if found else None

    def _list_names(self) -> dict[str, list[str]]:
        names: dict[str, list[str]] = defaultdict(list)
        for top, folders, files in os.walk(self.folder, followlinks=False):
            below = os.path.relpath(top, self.folder).replace(os.sep, "/")
            depth = 0 if below == "." else below.count("/") + 1
            kept = [name for name in folders if not name.startswith(".") and name.lower() not in CLUTTER]
            folders[:] = kept if depth < MAX_DEPTH else []
            for name in files:
                suffix = image_suffix(name)
                if not name.startswith(".") and is_picture(suffix):
                    path = name if below == "." else f"{below}/{name}"
                    names[name].append(path)
                    names[name[: -len(suffix)]].append(path)
        return names


def _prefer(paths: list[str], label: str | None, split: str | None) -> list[str]:
    """Return those of several paths that lie in a folder of the row's class or split, else in train."""
    folders = {path: path.split("/")[:-1] for path in paths}
    labelled = [path for path in paths if label is not None and label in folders[path]]
    chosen = labelled if labelled else paths
    wanted = "train" if split in (None, "all") else split
    in_split = [path for path in chosen if wanted in map(split_of, folders[path])]
    return in_split or chosen
