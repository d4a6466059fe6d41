"""All runs of a folder at a glance, and what finished ones no longer need.

What a run has reached stands in its checkpoints, whose tensors are not read: they stay on the disk.
"""

import contextlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..errors import CatdogError, CheckpointError, SettingsError
from ..models.safe_load import load_plain
from ..runtime.files import expand_home, read_text
from ..settings import TrainSettings
from ..settings_schema import check_choice
from .directory import REPORTS, RunDirectory, phase_label
from .lock import LOCK_FILE

TRAINING, FINISHED, STOPPED, BEGUN, DAMAGED = "training", "finished", "stopped", "not saved yet", "damaged"
SORTS = ("name", "accuracy", "loss", "seconds", "size", "changed")
DEEPEST = 4  # folders below the one that is asked for


@dataclass(frozen=True)
class RunSummary:
    """What one run is and has reached; None where nothing says.

    Attributes:
        state: training, finished, stopped (it can be resumed), not saved yet, or damaged.
        metric: what `value` is: accuracy, or map for several labels; a fraction, with its 95 % interval.
        seconds: of all its epochs, without start and reports.
        size_bytes: of all files in its directory.
        freeable: files that a finished run no longer needs, with their bytes.
    """

    path: Path
    state: str
    data: str | None
    arch: str | None
    phases: tuple[str, ...]
    metric: str
    value: float | None
    interval: tuple[float, float] | None
    loss: float | None
    epochs: int
    seconds: float
    size_bytes: int
    changed: float
    freeable: tuple[tuple[Path, int], ...] = ()

    @property
    def freeable_bytes(self) -> int:
        """How much `clean_runs` would free."""
        return sum(size for _, size in self.freeable)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values; paths are texts."""
        freeable = [{"path": str(path), "bytes": size} for path, size in self.freeable]
        return {**asdict(self), "path": str(self.path), "phases": list(self.phases), "freeable": freeable}


def find_runs(folder: Path) -> list[Path]:
    """Return the run directories at or below a folder, a few levels deep, by path.

    Raises:
        CatdogError: it is not there, not a folder, or cannot be read.
    """
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise CatdogError(
            f"The folder of runs {str(folder)!r} {what}: give the one that `catdog train` wrote to."
        )
    found: list[Path] = []
    _search(folder, DEEPEST, found)
    return sorted(found)


def _search(folder: Path, depth: int, found: list[Path]) -> None:
    run = RunDirectory(folder)
    if run.settings.is_file() or run.last.is_file() or (run.best.is_file() and run.history.is_file()):
        found.append(folder)
        return
    if not depth:
        return
    try:
        inside = [path for path in folder.iterdir() if path.is_dir() and not path.is_symlink()]
    except OSError as error:
        raise CatdogError(
            f"Cannot read the folder {str(folder)!r} ({error.strerror}): check its permissions."
        ) from error
    for path in inside:
        if not path.name.startswith("."):
            _search(path, depth - 1, found)


def list_runs(folder: str | Path = "checkpoints", *, sort: str = "name") -> list[RunSummary]:
    """Return what every run at or below a folder is and has reached, as `catdog runs` shows it.

    Args:
        folder: a folder of runs, or one run.
        sort: name, accuracy (the best first), loss (the lowest first), seconds, size or changed (the most
            first).

    Raises:
        CatdogError: there is no such folder.
        SettingsError: nothing sorts so.
    """
    check_choice("sort", sort, SORTS)
    runs = [summarise_run(path) for path in find_runs(Path(expand_home(folder)))]
    keys: dict[str, Callable[[RunSummary], Any]] = {
        "accuracy": lambda run: -(run.value if run.value is not None else -1),
        "loss": lambda run: run.loss if run.loss is not None else float("inf"),
        "seconds": lambda run: -run.seconds,
        "size": lambda run: -run.size_bytes,
        "changed": lambda run: -run.changed,
    }
    return sorted(runs, key=keys[sort]) if sort in keys else runs


def summarise_run(path: Path) -> RunSummary:
    """Return what one run directory holds; what cannot be read makes it damaged, never an error."""
    run = RunDirectory(path)
    content, damaged = _read_checkpoints(run)
    settings = _read_settings(run, content)
    found = content.get("best")
    best: dict[str, Any] = found if isinstance(found, dict) else {}
    history = _read_history(run)
    metric = "map" if "val_map" in best else "accuracy"
    files = [(file, file.stat()) for file in path.rglob("*") if file.is_file() and not file.is_symlink()]
    state = _state(run, content, settings, history, damaged)
    return RunSummary(
        path=path,
        state=state,
        data=settings.data if settings else None,
        arch=settings.arch if settings else _text(content.get("arch")),
        phases=tuple(phase.name for phase in settings.phases) if settings else (),
        metric=metric,
        value=_number(best.get(f"val_{metric}")),
        interval=_interval(run, best, metric),
        loss=_number(best.get("val_loss")),
        epochs=len(history),
        seconds=sum(_number(row.get("seconds")) or 0.0 for row in history),
        size_bytes=sum(facts.st_size for _, facts in files),
        changed=max((facts.st_mtime for _, facts in files), default=0.0),
        freeable=_freeable(run) if state == FINISHED else (),
    )


def clean_runs(folders: Sequence[str | Path] = ("checkpoints",), *, delete: bool = False) -> list[RunSummary]:
    """Return the finished runs that hold files they no longer need, and delete those files if asked to.

    That is `last.pt`, with which a run could be made longer, and the best checkpoint of each phase, a copy
    of which is `best.pt`. A run that is training, was stopped or is damaged is left alone, and so is one
    whose `best.pt` cannot be loaded.

    Args:
        folders: runs, or folders of runs.
        delete: free them; else nothing is changed.

    Raises:
        CatdogError: there is no such folder, or a file cannot be deleted.
    """
    found = [run for folder in folders for run in list_runs(folder) if run.freeable]
    if not delete:
        return found
    for run in found:
        with RunDirectory(run.path).locked(lambda text: None):
            for path, _ in run.freeable:
                _delete(path)
    return found


def _delete(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise CatdogError(
            f"Cannot delete {str(path)!r} ({error.strerror}): check the permissions of its folder."
        ) from error


def _freeable(run: RunDirectory) -> tuple[tuple[Path, int], ...]:
    """Return what a finished run can do without, with bytes."""
    if not run.best.is_file():
        return ()
    paths = [run.last, *sorted(run.path.glob("best-*.pt"))]
    return tuple((path, path.stat().st_size) for path in paths if path.is_file())


def _read_checkpoints(run: RunDirectory) -> tuple[dict[str, Any], bool]:
    """Return what last.pt and best.pt hold together, and whether one of them cannot be read."""
    content: dict[str, Any] = {}
    damaged = False
    for path in (run.last, run.best):
        if not path.exists():
            continue
        try:
            found = load_plain(path, mapped=True)
        except CheckpointError:
            damaged = True
            continue
        damaged = damaged or not isinstance(found, dict)
        content |= found if isinstance(found, dict) else {}
    return content, damaged


def _read_settings(run: RunDirectory, content: dict[str, Any]) -> TrainSettings | None:
    """Return the settings of last.pt, which a resume may have changed, or else of settings.json."""
    with contextlib.suppress(SettingsError, TypeError, ValueError):
        if isinstance(content.get("settings"), dict):
            return TrainSettings.from_dict(content["settings"])
    with contextlib.suppress(CheckpointError):
        return run.read_settings()
    return None


def _read_history(run: RunDirectory) -> list[dict[str, Any]]:
    with contextlib.suppress(OSError, ValueError):
        rows = [json.loads(line) for line in read_text(run.history).splitlines()]
        return [row for row in rows if isinstance(row, dict)]
    return []


def _state(
    run: RunDirectory,
    content: dict[str, Any],
    settings: TrainSettings | None,
    history: list[dict[str, Any]],
    damaged: bool,
) -> str:
    if _is_locked(run.path):
        return TRAINING
    if damaged or settings is None:
        return DAMAGED
    if not run.last.exists():  # clean_runs took it
        return FINISHED if run.best.exists() else BEGUN
    place, epoch, patience = (content.get(key) for key in ("phase", "epoch", "patience"))
    if not (isinstance(place, int) and isinstance(epoch, int) and isinstance(patience, int)):
        return DAMAGED
    if not 0 <= place < len(settings.phases):
        return DAMAGED
    phase, rest = settings.phases[place], settings.phases[place + 1 :]
    is_over = epoch >= phase.epochs or (phase.patience and patience >= phase.patience)
    folds = _number(history[-1].get("fold_accuracy")) if history else None
    is_last = all(after.skip_accuracy and (folds or 0.0) >= after.skip_accuracy for after in rest)
    return FINISHED if is_last and is_over and run.best.exists() else STOPPED


def _is_locked(path: Path) -> bool:
    """Say whether a process trains in a run directory; where there are no locks, none does."""
    if not (path / LOCK_FILE).exists():
        return False
    lock = FileLock(path / LOCK_FILE, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        return True
    except OSError:
        return False
    lock.release()
    return False


def _interval(run: RunDirectory, best: dict[str, Any], metric: str) -> tuple[float, float] | None:
    """Return the 95 % interval that the report of the best phase gives."""
    index, name = best.get("phase"), best.get("phase_name")
    if not isinstance(index, int) or not isinstance(name, str):
        return None
    path = run.path / REPORTS / phase_label(index, name) / "report.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        low, high = json.loads(read_text(path))["intervals"][metric]
        return float(low), float(high)
    return None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and value == value else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
