"""A run directory's beginning and its going on: what `commands.train` calls."""

import contextlib
import dataclasses
import itertools
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data.dataset import Dataset, match_classes
from ..data.scan import scan_dataset
from ..data.splits import split_dataset, write_split
from ..errors import CatdogError, CheckpointError, SettingsError
from ..runs.checkpoint import find_checkpoint, load_checkpoint, newest_run, write_atomic
from ..runs.lock import locked
from ..runtime.distributed import SOLO, Group
from ..runtime.files import read_text, sweep
from ..settings import Phase, TrainSettings
from .checkpointing import restore_progress
from .loop import Report, RunResult, run_phases
from .resume.checkpoint_validation import check_progress
from .resume.data_changes import SPLIT_FILE, own_split, settle_changes
from .setup import Setup, check_settings, prepare_run

SETTINGS_FILE = "settings.json"


def train(
    settings: TrainSettings,
    run_dir: Path,
    report: Report,
    should_stop: Callable[[], bool] = lambda: False,
    group: Group = SOLO,
) -> RunResult:
    """Train from the beginning into a new run directory, which the main process of `group` alone writes.

    Raises:
        CatdogError: the data, the weights or the settings cannot be used; the directory holds a run already.
    """
    group.gather(lambda: check_settings(settings))
    dataset = group.from_main(lambda: _look_first(settings, run_dir, report))
    setup = prepare_run(settings, dataset, None, report, group)
    group.from_main(lambda: claim_folder(run_dir))
    with _held(run_dir, report, group):
        group.from_main(lambda: refuse_old_run(run_dir))
        return _begin(setup, run_dir, report, should_stop)


@contextlib.contextmanager
def _held(run_dir: Path, report: Report, group: Group) -> Iterator[None]:
    """Hold the lock of a run directory in the main process, for all of them."""
    with contextlib.ExitStack() as stack:
        group.from_main(lambda: stack.enter_context(locked(run_dir, report)))
        yield


def _look_first(settings: TrainSettings, run_dir: Path, report: Report) -> Dataset:
    """Return the data; a run directory that cannot be used is said before the work begins."""
    if os.path.isdir(run_dir):  # noqa: PTH112 - where nobody may look, too
        with locked(run_dir, report):
            refuse_old_run(run_dir)
    return read_data(settings, report)


def _begin(setup: Setup, run_dir: Path, report: Report, should_stop: Callable[[], bool]) -> RunResult:
    def write() -> None:
        sweep(run_dir)
        write_split(setup.dataset, run_dir / SPLIT_FILE, keys=setup.contents)
        write_settings(setup.settings, run_dir)  # last: where it is, a resume can begin

    setup.group.from_main(write)
    report("setup", setup=setup, run_dir=run_dir)
    return run_phases(setup, run_dir, report, should_stop)


def read_data(settings: TrainSettings, report: Report) -> Dataset:
    """Scan the data folder and split it where it has no val; what the user should know is reported."""
    scanned = scan_dataset(settings.data, exclude=settings.exclude or None)
    dataset = split_dataset(scanned, settings.val_fraction, settings.seed)
    if "val" in scanned.splits and settings.val_fraction != TrainSettings.val_fraction:
        text = f"{settings.data!r} has val already: --val-fraction {settings.val_fraction:g} changes nothing."
        report("warning", text=text)
    for warning in dataset.warnings:
        report("warning", text=warning)
    return dataset


def refuse_old_run(run_dir: Path) -> None:
    """Raise CatdogError if `run_dir` holds a run, so that none is ever written over."""
    if _is_there(run_dir / "last.pt") or _is_there(run_dir / "best.pt"):
        raise CatdogError(
            f"{str(run_dir)!r} holds a run already: choose another --output, or go on with "
            f"`catdog train --resume {run_dir}`."
        )


def _is_there(path: Path) -> bool:
    """`Path.exists`, but where nobody may look there is nothing: writing there says why it cannot."""
    return os.path.exists(path)  # noqa: PTH110


def claim_folder(folder: Path) -> None:
    """Make a folder and check that it can be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_made(folder, error) from error


def _not_made(folder: Path, error: OSError) -> CatdogError:
    return CatdogError(f"Cannot make the folder {str(folder)!r} ({error.strerror}): choose another --output.")


def write_settings(settings: TrainSettings, run_dir: Path) -> None:
    """Write settings.json, for people to read; a resume takes them from last.pt as soon as there is one."""
    text = json.dumps(settings.to_dict(), indent=1) + "\n"
    write_atomic(run_dir / SETTINGS_FILE, lambda file: file.write(text.encode()))


def reserve_run_dir(parent: Path, arch: str) -> Path:
    """Make and return parent/ARCH-N, N above the highest number there: two that begin at once get two."""
    newest = newest_run(parent)
    first = int(re.search(r"\d+$", newest.name).group()) + 1 if newest else 1
    claim_folder(parent)
    for number in itertools.count(first):
        run_dir = parent / f"{arch}-{number}"
        try:
            run_dir.mkdir()
            return run_dir
        except FileExistsError:  # somebody else's, since a moment ago, or a file
            continue
        except OSError as error:
            raise _not_made(run_dir, error) from error


@dataclass(frozen=True)
class Changes:
    """What may be given again on resume; None keeps what the checkpoint says."""

    data: str | None = None
    epochs: int | None = None
    fine_tune_epochs: int | None = None
    device: str | None = None
    workers: int | None = None
    cache: bool | None = None
    cache_limit: float | None = None
    max_bad_fraction: float | None = None
    save_every: str | None = None
    accept_changed_data: bool = False
    micro_batch_size: int | None = None


def resume(
    path: str | Path,
    changes: Changes,
    report: Report,
    should_stop: Callable[[], bool] = lambda: False,
    group: Group = SOLO,
) -> RunResult:
    """Go on with a run from its last.pt (`path` is it, or its directory), as if it had never stopped.

    A run that was stopped before its first save begins again, with its own settings and its own split.

    Raises:
        CheckpointError: there is nothing to go on with, or it cannot be used.
        SettingsError: a change would alter what has been trained already.
        CatdogError: another process works in the run directory, or the data is not there any more.
    """
    run_dir = group.from_main(lambda: find_run(path))
    with _held(run_dir, report, group):
        group.from_main(lambda: sweep(run_dir))
        if group.from_main(lambda: Path(path).is_dir() and not (run_dir / "last.pt").exists()):
            return _begin_again(run_dir, changes, report, should_stop, group)
        checkpoint = group.from_main(lambda: find_checkpoint(path, "last.pt"))
        return _go_on(checkpoint, changes, report, should_stop, group)


def find_run(path: str | Path) -> Path:
    """Return the directory of the run meant by `path`: itself, or the folder of a last.pt.

    Raises:
        CheckpointError: there is no run, or it has lost its last.pt.
    """
    folder = Path(path)
    if not _is_there(folder / SETTINGS_FILE) or _is_there(folder / "last.pt"):
        return find_checkpoint(path, "last.pt").parent
    if _is_there(folder / "history.jsonl"):  # written behind last.pt
        raise CheckpointError(
            f"{str(folder)!r} has lost its last.pt, without which it cannot go on: put it back, or start a "
            f"new run with another --output."
        )
    return folder


def _begin_again(
    run_dir: Path, changes: Changes, report: Report, should_stop: Callable[[], bool], group: Group
) -> RunResult:
    old = group.from_main(lambda: _read_settings(run_dir / SETTINGS_FILE))
    settings = apply_changes(old, changes, phase=0, epochs_done=0)
    report("begin_again", run_dir=run_dir)
    group.gather(lambda: check_settings(settings))
    dataset, found = group.from_main(lambda: own_split(settings, run_dir))
    setup = prepare_run(settings, dataset, None, report, group)
    accept = changes.accept_changed_data
    group.from_main(lambda: settle_changes(setup, found, run_dir, None, accept, report))
    return _begin(setup, run_dir, report, should_stop)


def _read_settings(path: Path) -> TrainSettings:
    try:
        return TrainSettings.from_dict(json.loads(read_text(path)))
    except (OSError, ValueError, TypeError, RecursionError, SettingsError) as error:
        raise CheckpointError(
            f"Cannot read {str(path)!r} ({str(error)[:300]}), and nothing else was saved yet: start a new "
            f"run."
        ) from error


def _go_on(
    checkpoint: Path, changes: Changes, report: Report, should_stop: Callable[[], bool], group: Group
) -> RunResult:
    run_dir = checkpoint.parent
    content = group.from_main(lambda: load_checkpoint(checkpoint, resume=True))
    old = _old_settings(content, checkpoint)
    progress = restore_progress(content)
    settings = apply_changes(old, changes, progress.phase, progress.epoch)
    report("resume", path=checkpoint, old=old, new=settings, progress=progress)
    class_names = sorted(content["class_to_idx"], key=content["class_to_idx"].__getitem__)
    dataset, found = group.from_main(lambda: own_split(settings, run_dir))
    dataset = match_classes(dataset, class_names)
    for warning in dataset.warnings:
        report("warning", text=warning)
    setup = prepare_run(settings, dataset, content["state_dict"], report, group)
    if changes.micro_batch_size is None:
        setup.micro_batch.size = _known_size(content, settings)
    group.gather(lambda: check_progress(content, setup.classifier, checkpoint))
    accept, digest = changes.accept_changed_data, content["data_fingerprint"]
    group.from_main(lambda: settle_changes(setup, found, run_dir, digest, accept, report))
    group.from_main(lambda: write_settings(settings, run_dir))
    report("setup", setup=setup, run_dir=run_dir)
    return run_phases(setup, run_dir, report, should_stop, content, progress)


def _known_size(content: dict[str, Any], settings: TrainSettings) -> int:
    """Return how many pictures at once the run found to fit, which older files do not say."""
    size = content.get("micro_batch_size", 0)
    return size if type(size) is int and size > 0 else settings.micro_batch_size


def _old_settings(content: dict[str, Any], path: Path) -> TrainSettings:
    try:
        return TrainSettings.from_dict(content["settings"])
    except (SettingsError, TypeError, AttributeError) as error:
        raise CheckpointError(f"The settings in {str(path)!r} cannot be read ({error}).") from error


def apply_changes(old: TrainSettings, changes: Changes, phase: int, epochs_done: int) -> TrainSettings:
    """Return the settings to go on with.

    Raises:
        SettingsError: epochs of a phase that is over would change, or fewer are asked than were done.
    """
    phases = list(old.phases)
    for index, epochs, option in (
        (0, changes.epochs, "--epochs"),
        (1, changes.fine_tune_epochs, "--fine-tune-epochs"),
    ):
        if epochs is None:
            continue
        if index >= len(phases):
            raise SettingsError(f"{option} was given, but the run has no such phase: start a new run for it.")
        phases[index] = _extend(
            phases[index], epochs, option, over=index < phase, done=epochs_done if index == phase else 0
        )
    plain = {
        name: value
        for name, value in dataclasses.asdict(changes).items()
        if value is not None and name not in ("epochs", "fine_tune_epochs", "accept_changed_data")
    }
    return dataclasses.replace(old, phases=tuple(phases), **plain)


def _extend(phase: Phase, epochs: int, option: str, over: bool, done: int) -> Phase:
    if epochs == phase.epochs:
        return phase
    if over:
        raise SettingsError(
            f"{option} {epochs}: phase {phase.name!r} is over and a later one built on it; start a new run."
        )
    if epochs < done:
        raise SettingsError(f"{option} {epochs}: {done} epochs are done already; give at least that many.")
    return dataclasses.replace(phase, epochs=epochs)
