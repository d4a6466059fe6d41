"""A file of decisions that grows, a row at a time: what was acknowledged survives a kill and a full disk."""

import contextlib
import datetime
import os
from pathlib import Path

from ..errors import DataError
from ..runtime.files import write_atomic
from .decisions import UNDO, Decision, format_rows, read_rows, settle_rows

NOT_TAKEN = "the decision is not taken; free space, or choose another --output"


class DecisionLog:
    """The rows of a file of decisions, read again where somebody else has changed it.

    Taking a decision back is a row of its own, so that the file only ever grows.
    """

    def __init__(self, path: Path) -> None:
        """Read the file if it is there, and try whether it can be written.

        Raises:
            DataError: it is not a file of decisions, or cannot be written.
        """
        self.path, self.rows = path, list[Decision]()
        self._known: tuple[int, int] | None = None
        was_there = path.exists()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab"):
                pass
        except OSError as error:
            raise _not_written(path, error, "choose another --output") from error
        self._refresh()
        if not was_there:
            path.unlink()
            self._known = None

    def append(self, decision: Decision) -> None:
        """Write a decision through to the disk; only then is it among `rows`.

        Raises:
            DataError: it cannot be written; the file is as before.
        """
        try:
            if self._known != self._stamp():
                self._refresh()
            self._write(decision)
        except OSError as error:
            raise _not_written(self.path, error, NOT_TAKEN) from error
        self.rows.append(decision)

    def undo(self, path: str, checkpoint: str = "") -> None:
        """Take back the last decision about a picture.

        Raises:
            DataError: it cannot be written; the decision holds.
        """
        self.append(Decision(path, "", UNDO, when=utc_now(), checkpoint=checkpoint))

    def settled(self) -> dict[str, Decision]:
        """Return the decision that holds for each picture, by path, in the order of the rows."""
        return {row.path: row for row in settle_rows(self.rows)}

    def _write(self, decision: Decision) -> None:
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            before = os.fstat(descriptor).st_size
            data = format_rows([decision], header=before == 0)
            try:
                written = os.write(descriptor, data)
                if written < len(data):  # the disk is full
                    written += os.write(descriptor, data[written:])
                os.fsync(descriptor)
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(descriptor, before)
                raise
        finally:
            os.close(descriptor)
        self._known = self._stamp()

    def _stamp(self) -> tuple[int, int] | None:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        return found.st_size, found.st_mtime_ns

    def _refresh(self) -> None:
        """Read the file; what a spreadsheet or a broken off write made of it is written as it should be."""
        stamp = self._stamp()
        if stamp is None:  # somebody took it away: what it held is written again
            rows = list(self.rows)
            data = b""
        else:
            rows, data = read_rows(self.path), self.path.read_bytes()
        form = format_rows(rows, header=True) if rows else b""
        if form != data:
            write_atomic(self.path, form, DataError, NOT_TAKEN)
        self.rows, self._known = rows, self._stamp()


def utc_now() -> str:
    """Return the time as a row of decisions has it: 2026-11-29T02:10:00Z."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _not_written(path: Path, error: OSError, advice: str) -> DataError:
    return DataError(f"Cannot write {str(path)!r} ({error.strerror or error}): {advice}.")
