"""How much a command says on stderr, and the file that keeps it: --quiet, --verbose, --log-file.

What a process was asked for; a program that uses catdog as a library has none of it.
"""

import contextlib
import datetime
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from ..errors import CatdogError

WARNING = "Warning:"


@dataclass
class Talk:
    """What is shown of the lines that are no results; every one of them goes into `file`, if there is one."""

    quiet: bool = False  # errors and warnings alone
    verbose: bool = False  # with the seconds since the start, and what caused an error
    file: IO[str] | None = None
    started_s: float = field(default_factory=time.monotonic)

    def shows(self, text: str) -> bool:
        """Say whether a line of talk is for the screen."""
        return not self.quiet or text.startswith(WARNING)

    def mark(self, text: str) -> str:
        """Return a line as the screen gets it."""
        return f"[{time.monotonic() - self.started_s:7.1f} s] {text}" if self.verbose else text

    def record(self, text: str) -> None:
        """Keep a line with the time of day; a disk that is full must not end the command."""
        if self.file is not None:
            now = datetime.datetime.now().astimezone().isoformat(timespec="milliseconds")
            with contextlib.suppress(OSError, ValueError):
                self.file.write(f"{now} {text}\n")
                self.file.flush()

    def open_file(self, path: str) -> None:
        """Keep every line in a file, too, after what is there.

        Raises:
            CatdogError: it cannot be written.
        """
        self._close()
        try:
            self.file = Path(path).open("a", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
        except OSError as error:
            raise CatdogError(
                f"Cannot write the log {path!r} ({error.strerror}): choose another --log-file."
            ) from error

    def _close(self) -> None:
        if self.file is not None:
            with contextlib.suppress(OSError):
                self.file.close()
            self.file = None

    @contextlib.contextmanager
    def own(self) -> Iterator[None]:
        """For the time of a `with` block, take what is asked for; then forget it."""
        self.started_s = time.monotonic()
        try:
            yield
        finally:
            self._close()
            self.quiet = self.verbose = False


talk = Talk()
