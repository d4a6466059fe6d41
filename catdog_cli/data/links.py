"""Where links in a data folder lead: never to a label from elsewhere.

A picture's label is the class folder that it lies in. A link may bring pictures from outside into a class;
one that leads to a folder above, or into another class, would give pictures the wrong label.
"""

import os
from dataclasses import dataclass, field

ABOVE, STRANGE, TWICE = "links to folders above", "links into other classes", "linked into two classes"
MAX_LINKS = 40  # in a row, as many as the system follows


@dataclass
class Links:
    """The class folders of one data folder by their real paths, and what links in them lead to."""

    root: str
    owners: dict[str, str] = field(default_factory=dict)  # real path of a class folder: its class
    refused: dict[str, list[tuple[str, str]]] = field(default_factory=dict)  # why: (link, where it leads)
    ambiguous: set[str] = field(default_factory=set)  # images taken before they were met in another class
    _tops: set[str] = field(default_factory=set)  # the real paths of all folders that hold class folders
    _folders: dict[str, str] = field(default_factory=dict)  # real paths, each asked for once
    _taken: dict[str, tuple[str, str]] = field(default_factory=dict)  # real path of an image: class, path

    def __post_init__(self) -> None:
        self._tops.update(_with_parents(os.path.realpath(self.root)))

    def claim(self, folder: str, label: str) -> None:
        """Note that `folder`, which is no link, holds the class `label`."""
        real = os.path.realpath(folder)
        self.owners[real] = label
        self._tops.update(_with_parents(os.path.dirname(real)))  # noqa: PTH120

    def problem(self, path: str, label: str | None) -> str | None:
        """Return why a linked folder or image must not be followed into the class `label`; None if it may.

        Without a label, `path` is a folder of classes itself, and must not lead above the data.
        """
        real = self._real(path)
        if label is None:
            above = real in _with_parents(os.path.realpath(self.root))
            return self._refuse(ABOVE, path, real) if above else None
        if real in self._tops:
            return self._refuse(ABOVE, path, real)
        owner = self._owner(real)
        return self._refuse(STRANGE, path, owner) if owner not in (None, label) else None

    def take(self, path: str, label: str) -> str | None:
        """Note an image that lies behind a link; return why it must be ignored, None if it need not.

        That is where the same file was reached by way of another class before: neither is then to be used.
        """
        known = self._taken.setdefault(self._real(path), (label, path))
        if known[0] == label:
            return None
        self.ambiguous.add(known[1])
        return self._refuse(TWICE, path, known[1])

    def describe(self) -> list[str]:
        """Return what should be said of links that were not followed, in a sentence a kind."""
        return [self._describe(why, pairs) for why, pairs in self.refused.items()]

    def _describe(self, why: str, pairs: list[tuple[str, str]]) -> str:
        path, target = pairs[0]
        link = os.path.relpath(path, self.root)
        more = f" (and {len(pairs) - 1:,} more such links)" if len(pairs) > 1 else ""
        if why == ABOVE:
            return (
                f"The link {link!r} leads to a folder above the class folders{more}: ignored, or pictures "
                "would get a label from elsewhere."
            )
        if why == STRANGE:
            return (
                f"The link {link!r} leads into the class {target!r}{more}: ignored, for what it leads to has "
                "a class already."
            )
        other = os.path.relpath(target, self.root)
        return (
            f"{other!r} and {link!r} lead to the same picture from two classes{more}: both are ignored, put "
            "it into one class."
        )

    def _refuse(self, why: str, path: str, target: str) -> str:
        self.refused.setdefault(why, []).append((path, target))
        return why

    def _owner(self, real: str) -> str | None:
        """Return the class of the innermost class folder around a real path."""
        return next((self.owners[above] for above in _with_parents(real) if above in self.owners), None)

    def _real(self, path: str) -> str:
        """Return `os.path.realpath`, at one look a file: folders are asked for once."""
        for _ in range(MAX_LINKS):
            if not os.path.islink(path):  # noqa: PTH114
                break
            path = os.path.join(os.path.dirname(path), os.readlink(path))  # noqa: PTH115, PTH118, PTH120
            if os.path.isdir(path):  # noqa: PTH112
                return os.path.realpath(path)
        folder, name = os.path.split(path)
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder)
        return os.path.join(self._folders[folder], name)  # noqa: PTH118


def _with_parents(path: str) -> list[str]:
    """Return a real path and all folders above it, the innermost first."""
    found = [path]
    while (above := os.path.dirname(path)) != path:  # noqa: PTH120
        found.append(above)
        path = above
    return found
