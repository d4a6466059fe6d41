"""`catdog_cli.cross_validate`: how good a recipe is, by trainings that each leave a fold out."""

import dataclasses
import multiprocessing
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.dataset import Dataset
from ..data.folds import draw_folds
from ..data.grouping import group_images
from ..data.label_lists import LabelForm
from ..data.scan import describe_scan, scan_dataset
from ..errors import CatdogError, DataError, InterruptedRunError, SettingsError
from ..recipes.build import build_settings
from ..runs.directory import create_folder
from ..runtime.files import expand_home
from ..runtime.memory import available_bytes, peak_bytes
from ..runtime.parallel import usable_cores
from ..runtime.progress import report_progress
from ..runtime.seeds import seed_of
from ..settings import TrainSettings
from ..settings_schema import check_range
from ..training.events import Advised, Listener, Warned, broadcast, ignore, report_steps
from ..training.setup import check_settings, separate_head
from .cross_result import DOCUMENT, Collected, CrossValidation, Cut, write_files
from .events import FoldEnded, Worked
from .fold_run import FoldOutcome, FoldTrainer, join_splits, open_base

if TYPE_CHECKING:
    from torch import nn

WORTH_PROCESSES_S = 20  # of work that is left: another process takes seconds to begin
ROOM = 0.7  # of the free memory, that further processes may take


def cross_validate(
    data: str | Path,
    *,
    folds: int = 5,
    repeats: int = 1,
    group_by: str | None = None,
    output: str | Path | None = None,
    jobs: int | None = None,
    recipe: str | None = None,
    listeners: Iterable[Listener] = (),
    log: Callable[[str], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    progress: bool | None = None,
    **options: Any,
) -> CrossValidation:
    """Train a recipe on all folds but one, measure it on that one, and do so for each of them.

    The images are those of train/, or all where there are no such sides; val/ and test/ are left alone.
    Images that look the same are on one side, and so are those of a group. Where a recipe lets validation
    images choose an epoch, these are drawn from the training part: the fold held out chooses nothing.

    Args:
        data: as for `train`.
        folds: at least 2.
        repeats: how often, each time with other folds.
        group_by: a regular expression; images whose paths match in the same text stay together.
        output: a folder for predictions.csv, cross_validation.json and a report; None: no files.
        jobs: folds that are trained at the same time, in processes; None: as many as cores and memory allow,
            where one cannot use all of them.
        recipe: as for `train`; `options` are its other options.
        listeners: called with each event, see `training.events` and `tuning.events`.
        log: gets warnings, a sentence each.
        should_stop: asked after every batch; True ends it.
        progress: show a bar; None: in a notebook alone.

    Raises:
        CatdogError: data, weights or options cannot be used; InterruptedRunError: `should_stop` said so.
    """
    options["head"], head = separate_head(options.get("head"))
    say = log or (lambda text: None)
    settings = build_settings(str(data), options, recipe, say)
    check_range("folds", folds, 2, 1000, whole=True)
    check_range("repeats", repeats, 1, 1000, whole=True)
    if jobs is not None:
        check_range("jobs", jobs, 1, 1024, whole=True)

    def warn(event: Any) -> None:
        if isinstance(event, Warned):
            say(f"Warning: {event.text}")
        elif isinstance(event, Advised):
            say(event.text)

    with report_progress(None, progress) as report:
        steps = report_steps(report)

        def show(event: Any) -> None:
            if isinstance(event, Worked):
                report(event.step, event.done, event.total)
            steps(event)

        listener = broadcast(warn, show, *listeners)
        return run_cross_validation(
            settings, folds, repeats, group_by, output, jobs, listener, should_stop, head
        )


def run_cross_validation(
    settings: TrainSettings,
    folds: int,
    repeats: int,
    group_by: str | None = None,
    output: str | Path | None = None,
    jobs: int | None = None,
    listener: Listener = ignore,
    should_stop: Callable[[], bool] = lambda: False,
    head: "nn.Module | None" = None,
) -> CrossValidation:
    """As `cross_validate`, of settings."""
    began = time.monotonic()
    check_settings(settings)
    target = None if output is None else _open_output(Path(expand_home(output)))
    dataset, groups = read_images(settings, group_by, listener)
    cuts = [
        (repeat, draw_folds(dataset.splits["train"].labels, groups, folds, seed_of(settings.seed, repeat)))
        for repeat in range(repeats)
    ]
    work = {
        (repeat, fold): found == fold
        for repeat, found in cuts
        for fold in range(folds)
        if (found == fold).any()
    }
    collected = Collected(dataset, settings, folds, repeats)
    for cut, outcome in _train_all(settings, dataset, groups, work, jobs, listener, should_stop, head):
        row = collected.add(cut, outcome)
        listener(FoldEnded(row, len(collected.rows), len(work)))
    fold_of = np.stack([found for _, found in cuts])
    result = collected.finish(fold_of, len(set(groups)), time.monotonic() - began, target)
    if target is not None:
        write_files(result, target)
    return result


def read_images(
    settings: TrainSettings, group_by: str | None, listener: Listener
) -> tuple[Dataset, list[str]]:
    """Return the images that may be trained on, as the split "train", and the group of each.

    Raises:
        DataError: there are none.
    """
    dataset = scan_dataset(
        settings.data,
        exclude=settings.exclude or None,
        labels=LabelForm.of(settings),
        decisions=settings.decisions or None,
    )
    for text in describe_scan(dataset):
        listener(Advised(text))
    for warning in dataset.warnings:
        listener(Warned(warning))
    name = next((name for name in ("train", "all") if name in dataset.splits), None)
    if name is None:
        raise DataError(f"{settings.data!r} has only {', '.join(dataset.splits)}, no pictures to train on.")
    rest = [other for other in dataset.splits if other != name]
    if rest:
        listener(Advised(f"Of {settings.data!r} train alone is used; {' and '.join(rest)} stay unseen."))
    dataset = dataclasses.replace(dataset, splits={"train": join_splits([dataset.splits[name]])})
    return dataset, find_groups(dataset, group_by, listener)


def find_groups(dataset: Dataset, group_by: str | None, listener: Listener) -> list[str]:
    """Return the group of each image of "train": look-alikes, and what `group_by` says."""

    def report(done: int, total: int) -> None:
        listener(Worked("looking for look-alikes", done, total))

    return group_images(dataset, "train", group_by, report, quick=True)


def _train_all(
    settings: TrainSettings,
    dataset: Dataset,
    groups: list[str],
    work: dict[Cut, np.ndarray],
    jobs: int | None,
    listener: Listener,
    should_stop: Callable[[], bool],
    head: "nn.Module | None",
) -> Iterator[tuple[Cut, FoldOutcome]]:
    """Yield each fold's outcome: the first from here, the others from several processes if that helps."""
    trainer = FoldTrainer(open_base(settings, dataset, listener, head), groups, listener)
    waiting = list(work)
    while waiting:
        cut = waiting.pop(0)
        outcome = trainer.run(work[cut], seed_of(settings.seed, *cut, "val"), should_stop)
        yield cut, outcome
        done = len(work) - len(waiting)
        if done == 1 and jobs is None:
            continue  # the first one computes features: the second says how long one takes
        count = _count_processes(trainer, jobs, len(waiting), outcome.seconds)
        if count > 1:
            rest = {cut: work[cut] for cut in waiting}
            yield from _train_elsewhere(settings, dataset, groups, rest, count, listener, should_stop, head)
            return


def _count_processes(trainer: FoldTrainer, jobs: int | None, left: int, fold_s: float) -> int:
    """Return how many processes the folds that are left are worth, and memory has room for.

    A fold that trains more than the head on kept features, or solves it, uses all cores by itself.
    """
    phases = trainer.base.settings.phases
    if jobs is not None:
        return min(jobs, left)
    alone = all(not phase.unfreeze and phase.optimizer != "lbfgs" for phase in phases)
    if trainer.base.device.type != "cpu" or not alone or left * fold_s < WORTH_PROCESSES_S:
        return 1
    fitting = int(ROOM * available_bytes() // max(1, peak_bytes()))
    return max(1, min(usable_cores(), left, fitting))


_worker: FoldTrainer | None = None  # of a process of the pool


def _begin_worker(
    settings: TrainSettings, dataset: Dataset, groups: list[str], head: "nn.Module | None"
) -> None:
    global _worker
    _worker = FoldTrainer(open_base(settings, dataset, ignore, head), groups, ignore)


def _work(cut: Cut, held: np.ndarray, seed: int) -> tuple[Cut, FoldOutcome]:
    assert _worker is not None
    return cut, _worker.run(held, seed)


def _train_elsewhere(
    settings: TrainSettings,
    dataset: Dataset,
    groups: list[str],
    work: dict[Cut, np.ndarray],
    count: int,
    listener: Listener,
    should_stop: Callable[[], bool],
    head: "nn.Module | None",
) -> Iterator[tuple[Cut, FoldOutcome]]:
    """Yield the outcomes of folds that are trained in `count` processes, as they come."""
    listener(Advised(f"The other {len(work)} folds are trained by {count} processes at the same time."))
    context = multiprocessing.get_context("spawn")
    arguments = (settings, dataset, groups, head)
    pool = ProcessPoolExecutor(count, context, _begin_worker, arguments)
    try:
        futures = [
            pool.submit(_work, cut, held, seed_of(settings.seed, *cut, "val")) for cut, held in work.items()
        ]
        for future in as_completed(futures):
            yield future.result()
            if should_stop():
                raise InterruptedRunError("Stopped between two folds; nothing is kept of them.")
    except (OSError, RuntimeError) as error:  # a process was killed; BrokenProcessPool is a RuntimeError
        raise CatdogError(
            f"A process that trained a fold has ended ({error}): give --jobs 1, or free memory."
        ) from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _open_output(folder: Path) -> Path:
    if (folder / DOCUMENT).exists():
        raise SettingsError(f"{str(folder)!r} holds a cross-validation already: choose another --output.")
    create_folder(folder)
    return folder
