"""A run directory: the names of all that one training writes, and who may write there.

`best.pt` predicts, `last.pt` resumes, `settings.json` and `split.csv` say what the run was asked and which
images are its own, `history.jsonl` has a row for each epoch.
"""

import contextlib
import itertools
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ..data.dataset import Dataset
from ..data.decisions import format_rows
from ..data.location import FROM_RUN, describe_place, find_data
from ..data.manifests import read_keys, read_split, write_split
from ..errors import CatdogError, CheckpointError, SettingsError
from ..models.file_kinds import describe_folder
from ..models.zoo.registry import is_listed
from ..runtime.files import BEST as BEST
from ..runtime.files import (
    CURVES,
    HISTORY,
    RUN_SETTINGS,
    RUN_SPLIT,
    expand_home,
    read_text,
    sweep,
    write_atomic,
)
from ..runtime.files import LAST as LAST
from ..settings import TrainSettings
from .lock import locked

SETTINGS, SPLIT, DECISIONS, REPORTS = RUN_SETTINGS, RUN_SPLIT, "decisions.csv", "reports"
MLFLOW_NOTE, MLFLOW_PENDING, TENSORBOARD = "mlflow.json", "mlflow-pending.jsonl", "tensorboard"


@dataclass(frozen=True)
class RunDirectory:
    """The directory of one run, whether or not it exists yet."""

    path: Path

    @property
    def best(self) -> Path:
        """The checkpoint that predicts."""
        return self.path / BEST

    @property
    def last(self) -> Path:
        """The checkpoint that resumes."""
        return self.path / LAST

    @property
    def settings(self) -> Path:
        return self.path / SETTINGS

    @property
    def split(self) -> Path:
        return self.path / SPLIT

    @property
    def decisions(self) -> Path:
        """What the user had decided about labels when the run began."""
        return self.path / DECISIONS

    @property
    def history(self) -> Path:
        return self.path / HISTORY

    @property
    def curves(self) -> Path:
        return self.path / CURVES

    def phase_best(self, index: int, name: str) -> Path:
        """Return the checkpoint of the best epoch of phase `index` (from 0) called `name`."""
        return self.path / f"best-{phase_label(index, name)}.pt"

    def report(self, index: int, name: str) -> Path:
        """Return the folder of the report of phase `index` (from 0) called `name`."""
        return self.path / REPORTS / phase_label(index, name)

    @classmethod
    def reserve(cls, parent: Path, arch: str) -> "RunDirectory":
        """Create parent/ARCH-N, N above those of the runs there: two that start at once get two.

        Raises:
            CatdogError: it cannot be created.
        """
        newest = newest_run(parent)
        first = _run_number(newest) + 1 if newest else 1
        create_folder(parent)
        for number in itertools.count(first):
            path = parent / f"{_short_name(arch)}-{number}"
            try:
                path.mkdir()
                return cls(path)
            except FileExistsError:  # somebody else's, since a moment ago, or a file
                continue
            except OSError as error:
                raise _not_created(path, error) from error
        raise AssertionError("itertools.count ends never")

    @classmethod
    def find(cls, path: str | Path) -> "RunDirectory":
        """Return the run meant by `path`: its directory, or its last.pt.

        Raises:
            CheckpointError: there is no run, or it has lost its last.pt.
        """
        run = cls(Path(expand_home(path)))
        if not _exists(run.settings) or _exists(run.last):
            return cls(find_checkpoint(path, LAST).parent)
        if _exists(run.history):  # written after last.pt
            raise CheckpointError(
                f"{str(run.path)!r} has lost its last.pt, without which it cannot be resumed (`catdog clean` "
                f"deletes it): put it back, or start a new run with another --output."
            )
        return run

    def create(self) -> None:
        """Create the directory and check that it can be written to."""
        create_folder(self.path)

    def refuse_old_run(self) -> None:
        """Raise CatdogError if a run is here already, so that none is ever written over."""
        if _exists(self.last) or _exists(self.best):
            raise CatdogError(
                f"{str(self.path)!r} holds a run already: choose another --output, or resume it with "
                f"`catdog train --resume {self.path}`."
            )

    def locked(self, warn: Callable[[str], None]) -> contextlib.AbstractContextManager[None]:
        """Hold the directory for the time of a `with` block; see `runs.lock`."""
        return locked(self.path, warn)

    def sweep(self) -> list[Path]:
        """Delete what a killed process left unfinished; whoever calls this holds the lock."""
        return sweep(self.path)

    def write_settings(self, settings: TrainSettings) -> None:
        """Write settings.json, for people to read; a resume takes last.pt's as soon as there is one."""
        values = {**settings.to_dict(), **describe_place(settings.data, self.path)}
        write_run_file(self.settings, (json.dumps(values, indent=1) + "\n").encode())

    def read_settings(self) -> TrainSettings:
        """Return the settings that the run was started with.

        Raises:
            CheckpointError: they cannot be read.
        """
        try:
            values = json.loads(read_text(self.settings))
            if isinstance(values, dict):
                values.pop(FROM_RUN, None)
            return TrainSettings.from_dict(values)
        except (OSError, ValueError, TypeError, RecursionError, SettingsError) as error:
            raise CheckpointError(
                f"Cannot read {str(self.settings)!r} ({str(error)[:300]}): restore it from a copy, or start "
                f"a new run from the data folder."
            ) from error

    def write_split(self, dataset: Dataset, keys: dict[str, list[str]]) -> None:
        """Write which images are the run's own, on which side, with a digest each (`keys`, by split)."""
        write_split(dataset, self.split, keys=keys)

    def write_decisions(self, dataset: Dataset) -> None:
        """Write a copy of the decisions that the labels follow, unless there are none, or a copy is here."""
        if dataset.decisions and not self.decisions.exists():
            write_run_file(self.decisions, format_rows(dataset.decisions, header=True))

    def read_split(self, root: Path) -> Dataset:
        """Return the run's own images below `root`, whether or not they are still there."""
        return read_split(self.split, root)

    def find_data(self, data: str) -> str:
        """Return where the run's data is now: where it was, or where it moved to together with the run."""
        return find_data(data, self.path)

    def read_keys(self) -> dict[str, str]:
        """Return the digest of each of the run's images by path; {} where there is no split.csv."""
        return read_keys(self.split) if self.split.exists() else {}

    def write_history(self, rows: list[dict[str, Any]]) -> None:
        """Write a row for each epoch."""
        write_run_file(self.history, "".join(json.dumps(row) + "\n" for row in rows).encode())

    @classmethod
    @contextlib.contextmanager
    def chosen(
        cls,
        output: str | Path | None,
        arch: str,
        on_main: Callable[[Callable[[], "RunDirectory"]], "RunDirectory"] = lambda reserve: reserve(),
    ) -> Iterator["RunDirectory"]:
        """Yield where a run goes: `output`, or a new checkpoints/ARCH-N, deleted if nothing came into it.

        Args:
            on_main: calls what reserves a number; where several processes train, in the main one alone.
        """
        if output:
            yield cls(Path(expand_home(output)))
            return
        directory = on_main(lambda: cls.reserve(Path("checkpoints"), arch))
        try:
            yield directory
        finally:
            with contextlib.suppress(OSError):  # it holds something
                directory.path.rmdir()


def phase_label(index: int, name: str) -> str:
    """Return what a phase's files are called: its number from 1, and its name as a file can have it."""
    written = re.sub(r"[^\w.-]+", "-", name).strip("-.")
    return f"{index + 1}-{written or 'phase'}"


def find_checkpoint(path: str | Path, name: str = BEST) -> Path:
    """Return the checkpoint file meant by `path`: a file itself, or `name` in a run directory.

    Raises:
        CheckpointError: nothing there.
    """
    path = Path(expand_home(path))
    try:
        if path.is_dir():
            if (path / name).is_file():
                return path / name
            kind = describe_folder(path)
            if kind is not None:
                raise CheckpointError(f"{str(path)!r} {kind}.")
            newest = newest_run(path)
            hint = f"; did you mean {str(newest)!r}?" if newest and (newest / name).is_file() else "."
            raise CheckpointError(
                f"No {name} in {str(path)!r}: give a run directory or a checkpoint file{hint}"
            )
        if path.exists():
            return path
    except OSError as error:  # no permission to look, a name too long
        raise CheckpointError(f"Cannot look for {str(path)!r} ({error.strerror}): check the path.") from error
    raise CheckpointError(f"No checkpoint at {str(path)!r}: give a run directory or a .pt file.")


def newest_run(folder: Path) -> Path | None:
    """Return the run directory in `folder` whose number is highest, by number, not by text."""
    numbers = {run: number for run in folder.glob("*") if run.is_dir() and (number := _run_number(run))}
    return max(numbers, key=numbers.__getitem__, default=None)


def _run_number(path: Path) -> int:
    """Return N of a directory called ARCH-N, 0 of others: `backup-20261125` does not count runs."""
    found = re.fullmatch(r"(.+)-([0-9]+)", path.name)
    if found is None:
        return 0
    if not is_listed(found[1]) and found[1] != _trained_arch(path):
        return 0
    return int(found[2])


def _short_name(arch: str) -> str:
    """Return an arch as a folder can be called: without the library before it, as in timm/resnet50."""
    return arch.rpartition("/")[2]


def _trained_arch(run: Path) -> str:
    """Return the short name of the arch that a directory's settings say, empty where they say none."""
    try:
        return _short_name(RunDirectory(run).read_settings().arch)
    except CheckpointError:
        return ""


def create_folder(folder: Path) -> None:
    """Create a folder and check that it can be written to.

    Raises:
        CatdogError: it cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_created(folder, error) from error


def _not_created(folder: Path, error: OSError) -> CatdogError:
    return CatdogError(f"Cannot make the folder {str(folder)!r} ({error.strerror}): choose another --output.")


def _exists(path: Path) -> bool:
    """`Path.exists`, but where nobody may look there is nothing: writing there says why it cannot."""
    return os.path.exists(path)  # noqa: PTH110


def write_run_file(path: Path, content: bytes | Callable[[IO[bytes]], object]) -> None:
    """Write a file of a run, whole or not at all; see `runtime.files.write_atomic`.

    Raises:
        CheckpointError: it cannot be written; what was at `path` is intact.
    """
    there = "; what was saved before is intact" if any(path.parent.glob("*.pt")) else ""
    write_atomic(path, content, CheckpointError, f"free space or choose another --output{there}")
