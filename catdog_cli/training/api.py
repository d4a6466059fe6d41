"""`catdog_cli.train` and `catdog_cli.resume`: training from Python leaves what the command leaves."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..data.scan import describe_scan
from ..recipes.build import build_settings
from ..runs.directory import RunDirectory
from ..runtime.distributed import processes
from ..runtime.progress import report_progress
from ..settings import list_options
from . import run as runs
from .events import (
    Advised,
    Event,
    Listener,
    Reported,
    RunClosed,
    RunOpened,
    RunStarted,
    Warned,
    broadcast,
    report_steps,
)
from .reports import ReportWriter
from .result import RunResult
from .setup import separate_head

if TYPE_CHECKING:
    from torch import nn

NOT_OPTIONS = ("data", "recipe", "output", "listeners", "log", "should_stop", "progress")  # of `train`


def train(
    data: str | Path,
    *,
    arch: str | None = None,
    weights: str | Sequence[str] | None = None,
    recipe: str | None = None,
    output: str | Path | None = None,
    hidden_layers: tuple[int, ...] | None = None,
    dropout: float | tuple[float, ...] | None = None,
    activation: str | None = None,
    head_norm: str | None = None,
    head: "str | nn.Module | None" = None,
    image_size: int | None = None,
    looks: str | None = None,
    epochs: int | None = None,
    learning_rate: float | None = None,
    fine_tune_epochs: int | None = None,
    fine_tune_learning_rate: float | None = None,
    unfreeze: int | Literal["all"] | None = None,
    batch_size: int | None = None,
    optimizer: str | None = None,
    weight_decay: float | None = None,
    scheduler: str | None = None,
    warmup_epochs: float | None = None,
    label_smoothing: float | None = None,
    class_weights: str | None = None,
    sampler: str | None = None,
    augment: str | None = None,
    views: int | None = None,
    mixup: float | None = None,
    cutmix: float | None = None,
    layer_decay: float | None = None,
    clip_norm: float | None = None,
    ema: float | None = None,
    patience: int | None = None,
    min_delta: float | None = None,
    monitor: str | None = None,
    exclude: str | None = None,
    decisions: str | None = None,
    category_names: str | None = None,
    label_delimiter: str | None = None,
    label_columns: str | Sequence[str] | None = None,
    val_fraction: float | None = None,
    seed: int | None = None,
    device: str | None = None,
    precision: str | None = None,
    workers: int | None = None,
    micro_batch_size: int | None = None,
    compile: bool | None = None,
    deterministic: bool | None = None,
    cache: bool | None = None,
    cache_limit: float | None = None,
    max_bad_fraction: float | None = None,
    save_every: str | None = None,
    listeners: Iterable[Listener] = (),
    log: Callable[[str], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    progress: bool | None = None,
) -> RunResult:
    """Train a classifier on a folder of labelled images, as `catdog train` does.

    Args:
        data: a folder per class, or train/ and val/ of such; a manifest, COCO or prepared images.
        recipe: the phases of a recipe, by name or file.
        arch: one network, or several side by side, such as "a+b".
        weights: "imagenet", "none" or a file; of several networks a list, one each in the same order.
        head: "linear", "cosine", or a module, of which a copy learns: standardised (B, D) to logits (B, C).
        output: the run directory; checkpoints/ARCH-N where nothing is given.
        listeners: called with each event (`training.events`), such as `track_mlflow` makes one.
        log: gets warnings and what the reports say, a sentence each.
        should_stop: asked after every batch; True saves and stops.
        progress: show a bar; None: in a notebook alone.

    The other arguments are the options of `catdog train`; None takes their default.

    Returns:
        What the run reached. The run directory holds checkpoints, history, curves and reports.

    Raises:
        CatdogError: data, weights or options cannot be used; InterruptedRunError: `should_stop` said so.
    """
    options = {name: value for name, value in locals().items() if name not in NOT_OPTIONS}
    options["head"], module = separate_head(head)
    with _listen(listeners, log, progress) as listener:
        settings = build_settings(str(data), options, recipe, lambda text: listener(Advised(text)))
        with (
            RunDirectory.chosen(output, settings.arch, processes().from_main) as directory,
            _opened(listener, directory, resuming=False),
        ):
            return runs.train(settings, directory.path, listener, should_stop, module)


def resume(
    run: str | Path,
    *,
    data: str | None = None,
    epochs: int | None = None,
    fine_tune_epochs: int | None = None,
    device: str | None = None,
    workers: int | None = None,
    cache: bool | None = None,
    cache_limit: float | None = None,
    max_bad_fraction: float | None = None,
    save_every: str | None = None,
    micro_batch_size: int | None = None,
    head: "nn.Module | None" = None,
    accept_changed_data: bool = False,
    listeners: Iterable[Listener] = (),
    log: Callable[[str], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    progress: bool | None = None,
    **same: Any,
) -> RunResult:
    """Resume a run, or make a finished one longer, as `catdog train --resume` does.

    Args:
        run: its directory, or its last.pt.
        data: where the images are now, if they have moved.
        head: a module like the one that is trained, where the run has a custom head.
        accept_changed_data: continue although images were added, removed or changed.
        same: other options of `train`, which must say what the run does anyway.

    The other arguments are those of `train`; None keeps what the run has.

    Raises:
        CatdogError: there is nothing to resume, or a change would alter what has been trained already.
    """
    for name in same.keys() - {*list_options(), "recipe"}:
        raise TypeError(f"resume() got an unexpected keyword argument {name!r}")
    changes = runs.Changes(
        data=data,
        epochs=epochs,
        fine_tune_epochs=fine_tune_epochs,
        device=device,
        workers=workers,
        cache=cache,
        cache_limit=cache_limit,
        max_bad_fraction=max_bad_fraction,
        save_every=save_every,
        accept_changed_data=accept_changed_data,
        micro_batch_size=micro_batch_size,
        head=head,
        **same,
    )
    directory = processes().from_main(lambda: RunDirectory.find(run))
    with _listen(listeners, log, progress) as listener, _opened(listener, directory, resuming=True):
        return runs.resume(run, changes, listener, should_stop)


@contextlib.contextmanager
def _listen(
    listeners: Iterable[Listener], log: Callable[[str], None] | None, progress: bool | None
) -> Iterator[Listener]:
    """Yield a listener for all: reports and curves, warnings to `log`, a bar, and the caller's own.

    Where several processes train, the main one alone has more than the caller's.
    """
    if not processes().is_main:
        yield broadcast(*listeners)
        return
    say = log or (lambda text: None)

    def warn(event: Event) -> None:
        if isinstance(event, Warned):
            say(f"Warning: {event.text}")
        elif isinstance(event, (Advised, Reported)):
            say(event.text)
        elif isinstance(event, RunStarted):
            for text in describe_scan(event.setup.dataset):
                say(text)

    with report_progress(None, progress) as report:
        others = broadcast(warn, report_steps(report), *listeners)
        yield broadcast(ReportWriter(lambda text: others(Reported(text))), others)


@contextlib.contextmanager
def _opened(listener: Listener, directory: RunDirectory, resuming: bool) -> Iterator[None]:
    """Tell listeners of the run before it begins, and when it is over, however that came."""
    error: BaseException | None = None
    try:
        listener(RunOpened(directory.path, resuming))
        yield
    except BaseException as caught:
        error = caught
        raise
    finally:
        listener(RunClosed(error))
