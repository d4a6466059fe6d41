"""What the user asks about, as a stream: files, folders, patterns, lists, addresses.

A folder that `catdog data prepare` wrote stands for its pictures, read from its array without decoding.

Nothing is ever gathered but the names of one folder, which have to be sorted: a million inputs cost no more
memory than a hundred. Names are kept as the system gives them, undecodable bytes included.
"""

import fnmatch
import functools
import io
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from ..data.image_files import walk_folder
from ..data.natural_sort import sort_naturally
from ..errors import DataError
from ..images.read import ImageError
from ..runtime.files import TABLE_SUFFIXES, expand_home
from .streams import STDIN, ImageBytes, PeekedStream, is_stream
from .urls import fetch_image, find_file, is_address, is_file_address

if TYPE_CHECKING:
    from ..data.dataset import Dataset

LIST_SUFFIXES = (".txt", *TABLE_SUFFIXES)
UTF8_MARK = b"\xef\xbb\xbf"
READ_BYTES = 1 << 16


@dataclass(frozen=True)
class Unusable:
    """An input that stands for no picture, such as a folder without any; it gets a row as well."""

    path: str
    reason: str


@dataclass(frozen=True)
class PreparedImage:
    """A picture of a prepared folder; `path` is the file that it was made from, as files.csv says."""

    path: str
    dataset: "Dataset"
    split: str
    index: int

    def __reduce__(self) -> tuple:
        """Go to another process as a place in the folder, not with the names of all pictures."""
        return _find_prepared, (str(self.dataset.root), self.path, self.split, self.index)


Input = str | Unusable | PreparedImage | ImageBytes


def input_path(source: Input) -> str:
    """Return what names an input in the answer."""
    return source if isinstance(source, str) else source.path


def fetch_input(source: Input) -> str | Path | bytes | np.ndarray:
    """Return what can be read of an input: its path, the bytes at its address, or prepared pixels.

    Raises:
        ImageError: the input stands for no picture, or its address does not answer with one.
    """
    if isinstance(source, Unusable):
        raise ImageError(source.reason)
    if isinstance(source, PreparedImage):
        return source.dataset.source(source.split, source.index)
    if isinstance(source, ImageBytes):
        return source.content
    return fetch_image(source) if is_address(source) else source


def fetch_first(sources: Iterable[Input], count: int) -> Iterator[Input]:
    """Yield the inputs, the first `count` at addresses with their bytes, for who looks at them twice."""
    for source in sources:
        if count > 0 and isinstance(source, str) and is_address(source):
            count -= 1
            try:
                yield ImageBytes(source, fetch_image(source))
            except ImageError as error:
                yield Unusable(source, str(error))
        else:
            yield source


def describe_error(source: Input, error: str) -> str:
    """Return what is wrong with an input; what came from an address or through a pipe is named by it."""
    return error.replace("given as bytes", repr(input_path(source)), 1)


def expand_inputs(
    arguments: Iterable[str], stdin: IO[bytes], ignored: Counter[str] | None = None
) -> Iterator[Input]:
    """Yield every input that the arguments mean, in their order, those of a folder in natural order.

    Args:
        arguments: picture files; folders (searched to the bottom for pictures); prepared folders (in the
            order of their arrays); patterns with *, ?, [] and **; .txt files with a path a line and .csv
            files with a column `path`; http(s) and file addresses; "-" or "/dev/stdin" for the bytes of a
            picture from `stdin`, or paths divided by lines, or by null characters as `find -print0` writes
            them; the pipes of a shell's <(...), for the same.
        ignored: counts what is no picture in the folders among the arguments, by suffix or by kind.

    Raises:
        DataError: a list cannot be read, or a prepared folder is damaged.
    """
    ignored = Counter() if ignored is None else ignored
    for argument in arguments:
        yield from map(_find_local, _expand_argument(argument, stdin, ignored))


def _expand_argument(argument: str, stdin: IO[bytes], ignored: Counter[str]) -> Iterator[Input]:
    if argument in STDIN:
        yield from _expand_stream(argument, stdin)
    elif is_stream(argument):
        try:
            with Path(argument).open("rb", buffering=0) as file:
                yield from _expand_stream(argument, file)
        except OSError as error:
            yield Unusable(argument, f"Cannot read the pipe {argument!r} ({error.strerror}): check it.")
    elif is_address(argument):
        yield argument
    else:
        local = _find_local(argument)
        yield from _expand_path(expand_home(local), ignored) if isinstance(local, str) else [local]


def _find_local(source: Input) -> Input:
    """Return an input, the path of a file:// address in its place: lists hold such addresses, too."""
    if not isinstance(source, str) or not is_file_address(source):
        return source
    try:
        return find_file(source)
    except ImageError as error:
        return Unusable(source, str(error))


def _expand_stream(name: str, file: IO[bytes]) -> Iterator[Input]:
    """Yield the picture that comes through a pipe, or those whose paths come."""
    stream = PeekedStream(file)
    if not stream.is_image:
        yield from read_lines(stream)
        return
    image = stream.read_image(name)
    yield image or Unusable(name, f"What comes from {name!r} is too large for a picture: check it.")


def _expand_path(path: str, ignored: Counter[str]) -> Iterator[Input]:
    if os.path.isdir(path):  # noqa: PTH112 - Path would change what the user wrote
        from ..data.prepared import is_prepared  # which a single file needs not

        if is_prepared(Path(path)):
            yield from _expand_prepared(Path(path))
        else:
            yield from _or_unusable(_walk(path, ignored), path, "holds no pictures")
    elif not os.path.lexists(path) and re.search(r"[*?[]", path):
        yield from _or_unusable(_expand_pattern(path), path, "matches no file")
    elif path.lower().endswith(LIST_SUFFIXES):
        yield from _read_list(path)
    else:
        yield path


def _expand_prepared(folder: Path) -> Iterator[PreparedImage]:
    from ..data.prepared import open_prepared

    dataset = open_prepared(folder)
    for name, split in dataset.splits.items():
        for index, path in enumerate(split.paths):
            yield PreparedImage(path, dataset, name, index)


@functools.lru_cache(maxsize=4)
def _open_once(folder: Path) -> "Dataset":
    from ..data.prepared import open_prepared

    return open_prepared(folder)


def _find_prepared(folder: str, path: str, split: str, index: int) -> PreparedImage:
    return PreparedImage(path, _open_once(Path(folder)), split, index)


def _or_unusable(inputs: Iterator[str | Unusable], path: str, problem: str) -> Iterator[str | Unusable]:
    """Yield the inputs, or where there are none, one that says so."""
    empty = True
    for source in inputs:
        empty = False
        yield source
    if empty:
        yield Unusable(path, f"{path!r} {problem}: check the path.")


def _walk(folder: str, ignored: Counter[str]) -> Iterator[str | Unusable]:
    """Yield the pictures in a folder, those of a kind that is not read included, then its sub-folders'."""
    for listing in walk_folder(folder):
        ignored.update(listing.ignored)
        if listing.error is not None:
            reason = f"The folder {listing.path!r} cannot be opened ({listing.error.strerror}): check it."
            yield Unusable(listing.path, reason)
        names = sort_naturally([*listing.images, *listing.unread]) if listing.unread else listing.images
        yield from (os.path.join(listing.path, name) for name in names)  # noqa: PTH118


def _expand_pattern(pattern: str) -> Iterator[str | Unusable]:
    """Yield what a pattern means, as if the shell had expanded it: matching folders are searched."""
    root = os.sep if pattern.startswith(os.sep) else ""
    parts = [part for part in pattern.split(os.sep) if part]  # noqa: PTH206 - Path drops ./
    for match in _match(root, parts):
        if os.path.isdir(match):  # noqa: PTH112
            if "**" not in parts:  # which has gone to the bottom already
                yield from _walk(match, Counter())
        else:
            yield match


def _match(folder: str, parts: list[str]) -> Iterator[str]:
    """Yield the paths under `folder` that match the parts of a pattern; ** is any number of folders."""
    part, rest = parts[0], parts[1:]
    if part == "**" and rest:
        yield from _match(folder, rest)
    elif not re.search(r"[*?[]", part):
        path = os.path.join(folder, part)  # noqa: PTH118
        if os.path.lexists(path):
            yield from _match(path, rest) if rest else [path]
        return
    for name in _names_or_none(folder):
        if name.startswith(".") and not part.startswith("."):
            continue
        path = os.path.join(folder, name)  # noqa: PTH118
        if part == "**" and rest:
            if os.path.isdir(path) and not os.path.islink(path):  # noqa: PTH112, PTH114
                yield from _match(path, parts)
        elif fnmatch.fnmatchcase(name, part):
            yield from _match(path, rest) if rest else [path]


def _names_or_none(folder: str) -> list[str]:
    try:
        return sort_naturally(os.listdir(folder or "."))  # noqa: PTH208
    except OSError:  # a file, or a folder that may not be opened: the shell finds nothing there either
        return []


def read_lines(file: IO[bytes] | PeekedStream) -> Iterator[str]:
    """Yield the paths in a binary stream as they come: lines, or null-ended names if it holds any null."""
    rest, end = b"", b"\n"
    read = (
        file.read1 if isinstance(file, PeekedStream) else getattr(file, "read1", file.read)
    )  # what has come
    while block := read(READ_BYTES):
        if b"\0" in block:
            end = b"\0"
        *lines, rest = (rest + block).split(end)
        yield from _decode_lines(lines, end)
    yield from _decode_lines([rest], end)


def _decode_lines(lines: list[bytes], end: bytes) -> Iterator[str]:
    for line in lines:
        name = os.fsdecode(line.removesuffix(b"\r") if end == b"\n" else line)
        if name:
            yield name


def _read_list(path: str) -> Iterator[str]:
    """Yield the paths in a list: those of a table as `read_manifest` means them; relative ones in a .txt file
    count from the working directory, as on stdin."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116
            raise DataError(f"The list {path!r} is not a regular file: give one, or use - for stdin.")
        if path.lower().endswith(TABLE_SUFFIXES):
            from ..data.manifests import iterate_listed

            yield from iterate_listed(path)
            return
        with Path(path).open("rb") as file:
            yield from _read_text(file)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"Cannot read the list {path!r} ({reason}): check it.") from error


def _read_text(file: IO[bytes]) -> Iterator[str]:
    """Yield the lines of a text in any usual encoding; one of UTF-8 may hold names that cannot be decoded."""
    from ..data.tables import START_BYTES, find_encoding

    start = file.read(START_BYTES)
    encoding = find_encoding(start)
    file.seek(len(UTF8_MARK) if encoding == "utf-8-sig" else 0)
    if encoding.startswith("utf-8"):
        yield from read_lines(file)
    else:
        lines = io.TextIOWrapper(file, encoding)
        yield from (line.rstrip("\r\n") for line in lines if line.strip())
