"""Links to pictures, or copies, in a folder for each predicted class."""

import errno
import filecmp
import hashlib
import os
import shutil
from pathlib import Path

from ...errors import CatdogError, SettingsError, UnavailableError
from ...runtime.files import replacing
from ..prediction import Prediction
from ..streams import is_stream
from ..urls import is_address

NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
NO_PRIVILEGE = 1314  # Windows' own number


class Sorter:
    """Puts each predicted picture under `folder`/CLASS; never moves one, never replaces a file.

    Pictures that are unlike what was trained on go into a folder of their own: see `name_unknown`.
    Doing it twice changes nothing, so that a run can be resumed. A second picture of the same name
    gets eight digits of its path's digest behind its name. Where no links can be made, `copy` becomes True.
    """

    def __init__(self, folder: str, copy: bool, names: list[str]):
        """Check the names that classes are shown by, which the folders in it get.

        Raises:
            UnavailableError: one leads out of the folder.
        """
        self.folder, self.copy, self.placed = Path(folder), copy, 0
        self.unknown = name_unknown(names)
        for name in names:
            if name in ("", ".", "..") or "/" in name or os.sep in name or "\0" in name:
                raise UnavailableError(
                    f"The class {name!r} cannot be a folder's name: leave out --sort-into."
                )

    def place(self, prediction: Prediction) -> bool:
        """Put a picture into its place; return whether it has one: errors, addresses and pipes do not.

        Raises:
            CatdogError: it cannot be linked or copied, or something else has taken its place.
        """
        if prediction.error is not None or is_address(prediction.path) or is_stream(prediction.path):
            return False
        source = Path(os.path.abspath(prediction.path))  # noqa: PTH100 - resolve would follow a link
        is_unknown = prediction.known is not None and not prediction.known.is_known
        folder = self.folder / (self.unknown if is_unknown else prediction.predictions[0].name)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            digest = hashlib.sha256(os.fsencode(source)).hexdigest()[:8]
            for name in (source.name, f"{source.stem}-{digest}{source.suffix}"):
                if self._put(source, folder / name):
                    self.placed += 1
                    return True
        except OSError as error:
            hint = "" if self.copy else ", or add --copy if links are not possible there"
            raise CatdogError(
                f"Cannot sort {prediction.path!r} into {str(self.folder)!r} ({error.strerror or error}): "
                f"fix that{hint}; what was written so far is kept."
            ) from error
        raise CatdogError(f"{str(folder / name)!r} is another file: give another folder to --sort-into.")

    def _put(self, source: Path, target: Path) -> bool:
        """Return whether `target` now is, or was already, the picture; False if something else is there."""
        if os.path.lexists(target):
            if self.copy:
                same = target.is_file() and not target.is_symlink()
                return same and filecmp.cmp(source, target, shallow=False)
            return target.is_symlink() and os.readlink(target) == os.fspath(source)  # noqa: PTH115
        if not self.copy:
            try:
                target.symlink_to(source)
                return True
            except OSError as error:
                if not _refuses_links(error):
                    raise
                self.copy = True  # so that all in this folder are of one kind
        with replacing(target, sync=False) as unfinished:
            shutil.copyfile(source, unfinished)
        return True


def _refuses_links(error: OSError) -> bool:
    """Say whether a file system has no links, as FAT, or a system lets this user make none, as Windows."""
    return error.errno in NO_LINKS or getattr(error, "winerror", None) == NO_PRIVILEGE


def name_unknown(names: list[str]) -> str:
    """Return the folder of pictures that are of no class: unknown, unless a class is called so."""
    taken, found = {name.casefold() for name in names}, "unknown"
    while found in taken:
        found = f"_{found}"
    return found


def check_outside(folder: str, arguments: tuple[str, ...], option: str = "--sort-into") -> None:
    """Raise SettingsError if `folder` lies in a folder that is searched: what it gets would be inputs too."""
    own = Path(folder).resolve()
    for argument in arguments:
        if os.path.isdir(argument) and own.is_relative_to(Path(argument).resolve()):  # noqa: PTH112
            raise SettingsError(f"{option} {folder!r} lies in the input {argument!r}: give a folder outside.")
