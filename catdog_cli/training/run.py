"""Starting and resuming a run: what has to be settled before the training loop, and the lock around it."""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.dataset import Dataset, match_classes
from ..data.label_lists import LabelForm
from ..data.location import absolute_data
from ..data.scan import scan_dataset
from ..data.splits import split_dataset
from ..errors import CheckpointError, DataError, SettingsError
from ..models.tasks import SINGLE_LABEL
from ..models.zoo.registry import resolve_arch
from ..recipes import load_recipe
from ..runs.category_names import describe_missing, load_category_names
from ..runs.checkpoint import kept_category_names, kept_origin, load_checkpoint
from ..runs.directory import LAST, RunDirectory, find_checkpoint
from ..runtime.distributed import processes
from ..runtime.files import expand_home
from ..settings import Phase, TrainSettings, list_options
from ..settings_networks import WORDS, Weights, parse_weights
from ..settings_rules import refuse_on_resume
from .checkpointing import Progress, restore_progress
from .events import Listener, RunRestarted, RunResumed, RunStarted, Warned
from .loop import fit
from .result import RunResult
from .resume.checkpoint_validation import check_progress
from .resume.data_changes import describe_new_decisions, own_split, settle_changes
from .setup import Setup, check_settings, prepare_run

if TYPE_CHECKING:
    from torch import nn


def train(
    settings: TrainSettings,
    run_dir: Path,
    listener: Listener,
    should_stop: Callable[[], bool] = lambda: False,
    head: "nn.Module | None" = None,
) -> RunResult:
    """Train from the beginning into a new run directory, which the main process alone writes.

    `head` is the user's own module, where the settings have a custom head.

    Raises:
        CatdogError: the data, the weights or the settings cannot be used; the directory holds a run already.
    """
    directory = RunDirectory(run_dir)
    with open_run(settings, directory, listener, head) as setup:
        return fit(setup, directory, listener, should_stop)


def resume(
    path: str | Path,
    changes: "Changes",
    listener: Listener,
    should_stop: Callable[[], bool] = lambda: False,
) -> RunResult:
    """Resume a run from its last.pt (`path` is it, or its directory), as if it had never stopped.

    A run that was stopped before its first save starts again, with its own settings and its own split.

    Raises:
        CheckpointError: there is nothing to resume, or it cannot be used.
        SettingsError: a change would alter what has been trained already.
        CatdogError: another process works in the run directory, or the data no longer exists.
    """
    with reopen_run(path, changes, listener) as (setup, directory, content, progress):
        return fit(setup, directory, listener, should_stop, content, progress)


@contextlib.contextmanager
def open_run(
    settings: TrainSettings, directory: RunDirectory, listener: Listener, head: "nn.Module | None" = None
) -> Iterator[Setup]:
    """Yield what a new run trains with, and hold its directory for the time of the block.

    `head` is the user's own module, where the settings have a custom head.
    """
    on_main = processes().from_main
    processes().gather(lambda: check_settings(settings))
    settings = _with_full_paths(settings)
    dataset = on_main(lambda: _look_first(settings, directory, listener))
    setup = prepare_run(settings, dataset, None, listener, head)
    on_main(directory.create)
    with _held(directory, listener):
        on_main(directory.refuse_old_run)
        _name_classes(setup, listener)
        _begin(setup, directory, listener)
        yield setup


def _with_full_paths(settings: TrainSettings) -> TrainSettings:
    """Return the settings with paths that mean the same from any folder, where the run may be resumed."""
    return dataclasses.replace(
        settings,
        data=absolute_data(settings.data),
        exclude=_full_path(settings.exclude),
        decisions=_full_path(settings.decisions),
        weights=full_weights(settings.weights),
    )


def _full_path(value: str) -> str:
    """Return what --weights, --exclude or --decisions says, a path in full."""
    return value if value in ("", *WORDS) else absolute_data(value)


def full_weights(weights: Weights) -> Weights:
    """Return weights with their paths in full."""
    return _full_path(weights) if isinstance(weights, str) else tuple(map(_full_path, weights))


Reopened = tuple[Setup, RunDirectory, dict[str, Any] | None, Progress | None]


@contextlib.contextmanager
def reopen_run(path: str | Path, changes: "Changes", listener: Listener) -> Iterator[Reopened]:
    """Yield what a run resumes with, None for last.pt and progress where nothing was saved; hold its lock."""
    on_main = processes().from_main
    directory = on_main(lambda: RunDirectory.find(path))
    with _held(directory, listener):
        on_main(directory.sweep)
        if on_main(lambda: Path(path).is_dir() and not directory.last.exists()):
            yield _restart(directory, changes, listener), directory, None, None
            return
        checkpoint = on_main(lambda: find_checkpoint(path, LAST))
        content = on_main(lambda: load_checkpoint(checkpoint, resume=True, head=changes.head))
        progress = restore_progress(content)
        yield _reopen(checkpoint, content, progress, changes, listener), directory, content, progress


@contextlib.contextmanager
def _held(directory: RunDirectory, listener: Listener) -> Iterator[None]:
    """Hold the lock of a run directory in the main process, for all of them."""
    with contextlib.ExitStack() as stack:
        processes().from_main(lambda: stack.enter_context(_locked(directory, listener)))
        yield


def _locked(directory: RunDirectory, listener: Listener) -> contextlib.AbstractContextManager[None]:
    return directory.locked(lambda text: listener(Warned(text)))


def _look_first(settings: TrainSettings, directory: RunDirectory, listener: Listener) -> Dataset:
    """Return the data; a run directory that cannot be used is said before the work begins."""
    if os.path.isdir(directory.path):  # noqa: PTH112 - where nobody may look, too
        with _locked(directory, listener):
            directory.refuse_old_run()
    return read_data(settings, listener)


def _begin(setup: Setup, directory: RunDirectory, listener: Listener) -> None:
    def write() -> None:
        directory.sweep()
        directory.write_split(setup.dataset, setup.contents)
        directory.write_decisions(setup.dataset)
        directory.write_settings(setup.settings)  # last: where it is, a resume can begin

    processes().from_main(write)
    listener(RunStarted(setup, directory.path))


def _name_classes(setup: Setup, listener: Listener) -> None:
    """Read the names to show for the run's classes, once: its checkpoints keep them."""
    path, class_names = setup.settings.category_names, setup.dataset.class_names
    if not path:
        return
    setup.category_names = processes().from_main(lambda: load_category_names(path, class_names))
    missing = describe_missing(path, setup.category_names, class_names)
    if missing is not None:
        listener(Warned(missing))


def read_data(settings: TrainSettings, listener: Listener) -> Dataset:
    """Scan the data folder and split it where it has no val; what the user should know is an event."""
    labels = LabelForm.of(settings)
    scanned = scan_dataset(
        settings.data,
        exclude=settings.exclude or None,
        labels=labels,
        decisions=settings.decisions or None,
    )
    dataset = split_dataset(scanned, settings.val_fraction, settings.seed)
    if "val" in scanned.splits and settings.val_fraction != TrainSettings.val_fraction:
        text = f"{settings.data!r} has val already: --val-fraction {settings.val_fraction:g} changes nothing."
        listener(Warned(text))
    for warning in dataset.warnings:
        listener(Warned(warning))
    return dataset


class Changes:
    """What is given again on resume; None keeps what the checkpoint says."""

    def __init__(
        self,
        data: str | None = None,
        accept_changed_data: bool = False,
        head: "nn.Module | str | None" = None,
        **settings: Any,
    ) -> None:
        """Take options by name; one that may not change on resume has to say what the run does anyway.

        `head` is the user's own module, which a run with a custom head needs again, or the option's word.
        """
        self.data = expand_home(data)
        self.head = None if isinstance(head, str) else head
        if isinstance(head, str):
            settings["head"] = head
        self.accept_changed_data = accept_changed_data
        given = {name: value for name, value in settings.items() if value is not None}
        free = [name for name, setting in list_options().items() if setting.on_resume]
        self.settings = {name: value for name, value in given.items() if name in free}
        self.fixed = {name: value for name, value in given.items() if name not in free}


def _restart(directory: RunDirectory, changes: Changes, listener: Listener) -> Setup:
    """Return the setup of a run that was stopped before its first save, with its own split."""
    on_main = processes().from_main
    settings = apply_changes(on_main(directory.read_settings), changes, phase=0, epochs_done=0)
    listener(RunRestarted(directory.path))
    settings = _follow_data(settings, directory, listener)
    processes().gather(lambda: check_settings(settings))
    dataset, found = on_main(lambda: own_split(settings, directory))
    _warn_of_new_decisions(settings, directory, listener)
    setup = prepare_run(settings, dataset, None, listener, changes.head)
    accept = changes.accept_changed_data
    on_main(lambda: settle_changes(setup, found, directory, None, accept, listener))
    _name_classes(setup, listener)
    _begin(setup, directory, listener)
    return setup


def _reopen(
    checkpoint: Path,
    content: dict[str, Any],
    progress: Progress,
    changes: Changes,
    listener: Listener,
) -> Setup:
    """Return the setup of a run that resumes from the content of its last.pt."""
    on_main, directory = processes().from_main, RunDirectory(checkpoint.parent)
    old = _old_settings(content, checkpoint)
    settings = apply_changes(old, changes, progress.phase, progress.epoch)
    listener(RunResumed(checkpoint, old, settings, progress))
    settings = _follow_data(settings, directory, listener)
    class_names = sorted(content["class_to_idx"], key=content["class_to_idx"].__getitem__)
    dataset, found = on_main(lambda: own_split(settings, directory))
    _warn_of_new_decisions(settings, directory, listener)
    if dataset.has_several_labels != (content.get("task", SINGLE_LABEL.name) != SINGLE_LABEL.name):
        raise DataError(
            f"{settings.data!r} no longer says whether pictures have one class or several labels as when the "
            f"run began: put back its split.csv, or start a new run."
        )
    dataset = match_classes(dataset, class_names)
    for warning in dataset.warnings:
        listener(Warned(warning))
    setup = prepare_run(settings, dataset, content["state_dict"], listener, changes.head)
    setup.category_names = kept_category_names(content, class_names)
    setup.origin = kept_origin(content)
    if "micro_batch_size" not in changes.settings:
        setup.micro_batch.size = _known_size(content, settings)
    processes().gather(lambda: check_progress(content, setup.classifier, checkpoint))
    accept, digest = changes.accept_changed_data, content["data_fingerprint"]
    on_main(lambda: settle_changes(setup, found, directory, digest, accept, listener))
    on_main(lambda: directory.write_settings(settings))
    listener(RunStarted(setup, directory.path))
    return setup


def _warn_of_new_decisions(settings: TrainSettings, directory: RunDirectory, listener: Listener) -> None:
    text = processes().from_main(lambda: describe_new_decisions(settings, directory))
    if text is not None:
        listener(Warned(text))


def _follow_data(settings: TrainSettings, directory: RunDirectory, listener: Listener) -> TrainSettings:
    """Return the settings with where the data is now, which may have moved together with the run."""
    found = processes().from_main(lambda: directory.find_data(settings.data))
    if found != settings.data:
        listener(Warned(f"The data of this run has moved with it, from {settings.data!r} to {found!r}."))
    return dataclasses.replace(settings, data=absolute_data(found))


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
    """Return the settings to resume with; `phase` (from 0) is the one that the run is in.

    --epochs are those of the first phase, --fine-tune-epochs those of the second, or of the phase that a run
    of more phases is in.

    Raises:
        SettingsError: epochs of a phase that is over would change, or fewer are asked than were done, or an
            option says other than the run does.
    """
    _refuse_other(changes.fixed, old)
    phases, plain = list(old.phases), dict(changes.settings)
    for index, epochs, option in (
        (0, plain.pop("epochs", None), "--epochs"),
        (max(1, phase), plain.pop("fine_tune_epochs", None), "--fine-tune-epochs"),
    ):
        if epochs is None:
            continue
        if index >= len(phases):
            raise SettingsError(f"{option} was given, but the run has no such phase: start a new run for it.")
        phases[index] = _extend(
            phases[index], epochs, option, over=index < phase, done=epochs_done if index == phase else 0
        )
    if changes.data is not None:
        plain["data"] = changes.data
    return dataclasses.replace(old, phases=tuple(phases), **plain)


def _refuse_other(fixed: dict[str, Any], old: TrainSettings) -> None:
    """Raise SettingsError where options, or the recipe among them, differ from what the run began with."""
    given = dict(fixed)
    recipe = given.pop("recipe", None)
    if "arch" in given:
        given["arch"] = resolve_arch(given["arch"])
    refuse_on_resume({name: _as_stored(name, value, old) for name, value in given.items()}, old)
    if recipe is None:
        return
    loaded = load_recipe(recipe)
    same = [
        dataclasses.replace(phase, epochs=own.epochs, monitor=_settled(phase.monitor, own.monitor))
        for phase, own in zip(loaded.phases, old.phases, strict=False)
    ]
    try:
        refuse_on_resume(loaded.options, old)
        if len(loaded.phases) != len(old.phases) or tuple(same) != old.phases:
            raise SettingsError("It has other phases.")
    except SettingsError as error:
        raise SettingsError(
            f"--recipe cannot change on resume: the run has other phases or options than {recipe!r}. Leave "
            f"it out, or start a new run."
        ) from error


def _settled(monitor: str, own: str) -> str:
    """Return what a run watches by a recipe's word, which its data may have decided."""
    return own if monitor == "auto" else monitor


def _as_stored(name: str, value: Any, old: TrainSettings) -> Any:
    """Return an option as the run has stored it: paths in full, but for runs of an older catdog."""
    if name == "weights":
        parsed = parse_weights(old.arch, expand_home(value) if isinstance(value, str) else value)
        return old.weights if full_weights(parsed) == old.weights else parsed
    if name in ("exclude", "decisions") and _full_path(value) == getattr(old, name):
        return getattr(old, name)
    return expand_home(value) if isinstance(value, str) else value


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
