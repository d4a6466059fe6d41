"""Files of rows that only grow, so that a killed run resumes where it was.

A form turns rows into bytes and back; `RowFile` appends them and, on resume, cuts a torn last one.
"""

import contextlib
import csv
import io
import json
import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import CatdogError, DataError

SYNC_SECONDS = 5.0
BASE = ("path", "status", "error", "class", "name", "probability")
LABELS = "labels"  # where pictures have several: joined, as a table of labels to train on has them
KNOWN = ("known", "known_p")  # where the checkpoint tells strangers
SURE = "sure"  # the classes of a set, joined as labels are
DELIMITER = ";"


@dataclass(frozen=True)
class Extras:
    """What stands in a row beside its classes."""

    labels: bool = False
    known: bool = False
    sure: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of a table that they take, between the error and the best class."""
        return (
            *(KNOWN if self.known else ()),
            *((LABELS,) if self.labels else ()),
            *((SURE,) if self.sure else ()),
        )

    @property
    def keys(self) -> set[str]:
        """The keys that they are in a row of `Prediction.to_dict`."""
        named = {"known": self.known, LABELS: self.labels, SURE: self.sure}
        return {name for name, is_there in named.items() if is_there}


NO_EXTRAS = Extras()


def column_names(
    class_names: list[str], top_k: int, everything: bool, extras: Extras = NO_EXTRAS
) -> list[str]:
    """Return the columns of a table: the best class, then the next ones, or every class's probability.

    What else a row says stands before it.
    """
    first = [*BASE[:3], *extras.columns, *BASE[3:]]
    if everything:
        return [*first, *(f"probability:{name}" for name in class_names)]
    places = range(2, min(top_k, len(class_names)) + 1)
    return [*first, *(f"{what}_{place}" for place in places for what in ("class", "name", "probability"))]


class CsvForm:
    """Comma-separated values, a header first; file names keep their bytes, quoted where they need it."""

    def __init__(self, class_names: list[str], top_k: int, everything: bool, extras: Extras = NO_EXTRAS):
        self.class_names, self.everything, self.extras = class_names, everything, extras
        self.columns = column_names(class_names, top_k, everything, extras)
        self.header = self.encode_cells(self.columns)

    def encode(self, row: dict[str, Any]) -> bytes:
        """Return a row of `make_row` as one record."""
        cells = [row["path"], row["status"], row["error"]]
        if row["predictions"]:
            cells += self._extra_cells(row)
        predictions = row["predictions"]
        if not predictions:
            cells += [None] * (len(self.columns) - len(cells))
        elif self.everything:
            values = {each["class"]: each["probability"] for each in predictions}
            cells += [*predictions[0].values(), *(values[name] for name in self.class_names)]
        else:
            cells += [value for each in predictions for value in each.values()]
        return self.encode_cells(cells)

    def _extra_cells(self, row: dict[str, Any]) -> list[Any]:
        known = row.get("known", {})
        cells: dict[str, Any] = {
            KNOWN[0]: "true" if known.get("is_known") else "false",
            KNOWN[1]: known.get("p_value"),
            LABELS: DELIMITER.join(each["class"] for each in row.get(LABELS, [])),
            SURE: DELIMITER.join(row.get(SURE, {}).get("classes", [])),
        }
        return [cells[name] for name in self.extras.columns]

    def encode_cells(self, cells: list[Any]) -> bytes:
        """Return cells as one record; \\r\\n while writing has lone \\r quoted as well as \\n."""
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\r\n").writerow(cells)
        return (text.getvalue()[:-2] + "\n").encode("utf-8", "surrogateescape")

    def decode_cells(self, record: bytes) -> list[str]:
        """Return the cells of one record; ValueError if their number is wrong."""
        text = io.StringIO(record.decode("utf-8", "surrogateescape"), newline="")
        cells = next(csv.reader(text), [])
        if len(cells) != len(self.columns):
            raise ValueError(f"{len(cells)} cells instead of {len(self.columns)}")
        return cells

    def decode(self, record: bytes) -> dict[str, Any]:
        """Return a record as a row of `make_row`, its best prediction alone."""
        cells = dict(zip(self.columns, self.decode_cells(record), strict=True))
        path, status, error, class_name, name, probability = (cells[column] for column in BASE)
        if status != "ok":
            return {"path": path, "status": status, "error": error, "predictions": []}
        best = {"class": class_name, "name": name, "probability": float(probability)}
        row: dict[str, Any] = {"path": path, "status": status, "error": None, "predictions": [best]}
        if self.extras.known:
            is_known, p_value = (cells[column] for column in KNOWN)
            row["known"] = {"p_value": float(p_value), "is_known": is_known.lower() == "true"}
        if self.extras.labels:
            names = cells[LABELS].split(DELIMITER) if cells[LABELS] else []
            row[LABELS] = [{"class": each, "name": each, "probability": math.nan} for each in names]
        return row

    def ends(self, record: bytes) -> bool:
        """Say whether `record`, which ends in a newline, is a whole one: its quotes are in pairs."""
        return record.count(b'"') % 2 == 0


class JsonForm:
    """A JSON document a line, as --json prints them; lone bytes of file names stay as \\udcXX."""

    header = b""

    def __init__(self, num_predictions: int, extras: Extras = NO_EXTRAS):
        self.num_predictions, self.extras = num_predictions, extras

    def encode(self, row: dict[str, Any]) -> bytes:
        """Return a row of `make_row` as one record."""
        return json.dumps(row).encode("ascii") + b"\n"

    def decode(self, record: bytes) -> dict[str, Any]:
        """Return a record as a row; ValueError if it is none, or has another number of predictions."""
        row = json.loads(record)
        wanted = {"path", "status", "error", "predictions"}
        wanted |= self.extras.keys if isinstance(row, dict) and row.get("status") == "ok" else set()
        if not isinstance(row, dict) or set(row) != wanted:
            raise ValueError("no row of predictions")
        listed = [*row["predictions"], *row.get(LABELS, [])]
        if not all(set(each) == {"class", "name", "probability"} for each in listed):
            raise ValueError("no predictions")
        if "known" in row and set(row["known"]) != {"p_value", "is_known"}:
            raise ValueError("not whether it is known")
        if row["predictions"] and len(row["predictions"]) != self.num_predictions:
            raise ValueError(f"{len(row['predictions'])} predictions instead of {self.num_predictions}")
        return row

    def ends(self, record: bytes) -> bool:
        """Say whether `record`, which ends in a newline, is a whole one."""
        return True


class RowFile:
    """A file that rows are appended to, each in one piece, and synced every few seconds."""

    def __init__(self, path: str, form: CsvForm | JsonForm, mode: str):
        """Open it; mode is "xb" (new), "wb" (replace) or "r+b" (resume).

        Raises:
            CatdogError: it cannot be opened, or another process writes it.
        """
        self.path, self.form, self.rows = path, form, 0
        with self._sentences("Cannot open"):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            self.file = Path(path).open(mode.replace("w", "a+"), buffering=0)  # noqa: SIM115
            _lock(self.file, path)
            if mode == "wb":
                self.file.truncate(0)
        self._synced = time.monotonic()

    def read(self) -> Iterator[dict[str, Any]]:
        """Yield the whole rows that are there, then cut what is torn and stand ready to append.

        Raises:
            DataError: the file holds something else.
        """
        end = number = 0
        with self._sentences("Cannot read"), Path(self.path).open("rb") as file:
            for number, record in enumerate(self.records(file)):
                if number or not self.form.header:
                    yield self._decode(record, number + 1)
                    self.rows += 1
                elif record != self.form.header:
                    raise self._foreign("its columns are others")
                end += len(record)
        with self._sentences("Cannot write"):
            self.file.truncate(end)
            self.file.seek(end)

    def start(self) -> None:
        """Write the header where the file is empty."""
        with self._sentences("Cannot write"):
            if self.form.header and self.file.seek(0, os.SEEK_END) == 0:
                self.append(self.form.header)

    def write(self, row: dict[str, Any]) -> None:
        """Append one row.

        Raises:
            CatdogError: the disk is full, or the file is gone; the rows before stay.
        """
        with self._sentences("Cannot write"):
            self.append(self.form.encode(row))
            self.rows += 1
            if time.monotonic() > self._synced + SYNC_SECONDS:
                self.sync()

    def sync(self) -> None:
        """Make the rows last through a power cut.

        Raises:
            CatdogError: somebody has removed or replaced the file.
        """
        with self._sentences("Cannot write"):
            os.fsync(self.file.fileno())
        if not _is_at(self.file, self.path):
            raise CatdogError(f"{self.path!r} was removed or replaced while catdog wrote it: run this again.")
        self._synced = time.monotonic()

    def close(self) -> None:
        """Close it; what is there stays."""
        self.file.close()

    def append(self, record: bytes) -> None:
        done = 0
        while done < len(record):  # a disk that is filling up takes a part
            done += self.file.write(record[done:])

    def records(self, file: io.BufferedReader) -> Iterator[bytes]:
        record = b""
        for line in file:
            record += line
            if line.endswith(b"\n") and self.form.ends(record):
                yield record
                record = b""

    def _decode(self, record: bytes, number: int) -> dict[str, Any]:
        try:
            return self.form.decode(record)
        except (ValueError, IndexError, TypeError, RecursionError, csv.Error) as error:
            raise self._foreign(f"record {number} is none of this run's: {str(error)[:200]}") from error

    def _foreign(self, problem: str) -> DataError:
        return DataError(
            f"Cannot resume {self.path!r} ({problem}): give the options and the checkpoint of the run "
            "that wrote it, or --overwrite."
        )

    @contextlib.contextmanager
    def _sentences(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            kept = f"; {self.rows:,} rows are kept: fix that and add --resume" if self.rows else ""
            reason = error.strerror or error
            raise CatdogError(
                f"{what} {self.path!r} ({reason}){kept or ': give another --output'}."
            ) from error


def _is_at(file: Any, path: str) -> bool:
    """Say whether `path` still names the open file; on Windows nobody can remove it."""
    try:
        there, here = os.stat(path), os.fstat(file.fileno())  # noqa: PTH116
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)


def _lock(file: Any, path: str) -> None:
    """Hold the file against a second catdog until it is closed; Windows does without."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise CatdogError(f"{path!r} is being written by another process: wait for it.") from error
