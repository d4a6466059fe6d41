"""`catdog train`: parse, call `training.run`, print."""

import contextlib
import functools
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from ..errors import CatdogError, SettingsError
from ..recipes.build import build_settings
from ..runtime.distributed import processes
from . import options
from .distributed import several
from .output.terminal import echo_json, echo_lines, log
from .output.train_progress import TrainReport

TOGETHER_S = 2.0  # signals to one of several processes that are this close are one
TRACKING = ("mlflow", "mlflow_experiment", "mlflow_model", "tensorboard")


@click.command(cls=options.GroupedCommand)
@click.argument("data", required=False, type=options.PATH)
@options.train_options
@options.device_options
@options.tracking_options
@options.recipe_option
@options.config_option
@options.run_option("--output", type=options.PATH, help="Run directory.  [default: checkpoints/ARCH-N]")
@options.run_option(
    "--resume", type=options.PATH, metavar="RUN", help="Resume a run: its directory or last.pt."
)
@options.run_option(
    "--accept-changed-data",
    is_flag=True,
    help="With --resume: continue although pictures were added, removed or changed.",
)
@options.run_option(
    "--dry-run",
    is_flag=True,
    help="Say what would happen, how long it takes, whether MLflow answers; write nothing.",
)
@options.json_option
def train(
    data: str | None, config: str | None, output: str | None, resume: str | None, dry_run: bool, **given: Any
) -> None:
    """Train on DATA: a folder with train/ and val/, each with a folder per class, or just those folders.

    DATA may also be a CSV file with the columns path,class (and split), whose paths count from its folder; a
    folder of pictures beside such a file; or a .zip or .tar of these, or its http(s) address. Where pictures
    have several labels: the columns path,labels (cat;dog), or path and a column of 1 and 0 for each label.

    \b
    Examples:
      catdog train pets
      catdog train pets --arch resnet18 --fine-tune-epochs 3
      catdog train pets --arch simple_cnn --weights none --epochs 20
      catdog train photos.csv --label-delimiter '|'
      catdog train --resume checkpoints/mobilenet_v2-1 --epochs 10
    """
    as_json = given.pop("as_json")
    if resume is not None and (dry_run or config or output):
        raise click.UsageError("--resume takes no --dry-run, --config or --output.")
    if resume is None and given.pop("accept_changed_data"):
        raise click.UsageError("--accept-changed-data belongs to --resume.")
    if resume is None and data is None:
        raise click.UsageError("Missing argument DATA: the folder with pictures.")
    if resume is None:
        _refuse_run(data)
    with several(given["device"]):
        result = None
        if resume is not None:
            result = _resume(data, resume, given)
        elif data is not None:
            result = _train(data, config, output, dry_run, given, as_json)
        if result is not None and as_json:
            echo_json(_document(result))


def _refuse_run(data: str | None) -> None:
    """Raise SettingsError where the data is a run, which trains further with --resume, or a checkpoint."""
    from ..runs.argument_order import is_like_checkpoint

    if data is not None and is_like_checkpoint(data):
        raise SettingsError(
            f"{data!r} is a checkpoint, not pictures: resume a run with `catdog train --resume RUN`, or "
            f"train on a folder of pictures."
        )


def _train(
    data: str,
    config: str | None,
    output: str | None,
    dry_run: bool,
    given: dict,
    as_json: bool,
) -> Any:
    known = {*given, "output"}
    read = options.read_config(config, known)
    output = output or read.pop("output", None)
    merged = {**read, **{name: value for name, value in given.items() if value is not None}}
    settings = build_settings(data, merged, merged.pop("recipe", None), log)
    from ..runs.directory import RunDirectory
    from ..training import run

    with TrainReport() as report:
        if dry_run and processes().size > 1:
            raise SettingsError("--dry-run measures one process: start it without torchrun.")
        tracking = {name: merged.get(name) for name in TRACKING}
        if dry_run:
            _dry_run(settings, tracking, report, as_json)
            return None
        with RunDirectory.chosen(output, settings.arch, processes().from_main) as directory:
            start = functools.partial(run.train, settings, directory.path)
            return _follow(directory.path, tracking, report, start)


def _dry_run(settings: Any, tracking: dict, report: TrainReport, as_json: bool) -> None:
    from ..data.scan import describe_scan
    from ..tracking.mlflow import try_address
    from ..training import run
    from ..training.dry_run import estimate_run

    followed = try_address(*(tracking[name] for name in ("mlflow", "mlflow_experiment", "mlflow_model")))
    dataset = run.read_data(settings, report)
    facts = estimate_run(settings, dataset)
    if followed is not None:
        facts["mlflow"] = followed
    if as_json:
        echo_json(facts)
    else:
        report.show_plan(facts)
    for text in describe_scan(dataset):
        report.log(text)


def _resume(data: str | None, path: str, given: dict[str, Any]) -> Any:
    """Resume a run; what would change the network or the past is refused by name, once the run is known."""
    tracking = {name: given.pop(name) for name in TRACKING}
    from ..runs.directory import RunDirectory
    from ..training import run

    run_dir = processes().from_main(lambda: RunDirectory.find(path)).path
    changes = run.Changes(data=data, **given)
    with TrainReport() as report:
        start = functools.partial(run.resume, path, changes)
        return _follow(run_dir, tracking, report, start, resuming=True)


def _follow(
    run_dir: Path,
    tracking: dict,
    report: TrainReport,
    start: Callable[..., Any],
    resuming: bool = False,
) -> Any:
    """Call `start(report, should_stop)`; MLflow and TensorBoard listen too where that is asked for."""
    from ..training.events import Listener, broadcast, ignore
    from ..training.reports import ReportWriter

    if not processes().is_main:
        with _stop_on_signals(aloud=False) as should_stop:
            return start(ignore, should_stop)
    from ..tracking.mlflow import open_tracker
    from ..tracking.tensorboard import open_event_writer

    with contextlib.ExitStack() as stack:
        board = open_event_writer(run_dir, tracking["tensorboard"], report.log, resuming)
        names = (tracking["mlflow"], tracking["mlflow_experiment"], tracking["mlflow_model"])
        tracker = open_tracker(run_dir, *names, report.log, resuming)
        followers: list[Listener] = []
        if board is not None:
            followers.append(stack.enter_context(board))
        if tracker is not None:
            followers.append(stack.enter_context(tracker))
        should_stop = stack.enter_context(_stop_on_signals(aloud=processes().size == 1))
        return start(broadcast(ReportWriter(report.log), report, *followers), should_stop)


@contextlib.contextmanager
def _stop_on_signals(aloud: bool = True) -> Iterator[Callable[[], bool]]:
    """Yield a function that says whether Ctrl-C or SIGTERM came; a second one stops at once.

    Not `aloud`, in one of several processes: the launcher passes signals on, and sends its own SIGTERM to all
    when one process has ended, so that two that come together are one.
    """
    asked: list[float] = []
    owner = os.getpid()

    def note(number: int, frame: Any) -> None:
        if os.getpid() != owner:  # a loading process, which ends with this one
            return
        now = time.monotonic()
        if asked and (aloud or now - asked[0] > TOGETHER_S):
            raise KeyboardInterrupt
        asked.append(now)
        if aloud:
            echo_lines("\nStopping after this batch; once more to stop at once.", err=True)

    old = {}
    with contextlib.suppress(ValueError):  # not in the main thread: somebody else handles signals
        old = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def _document(result: Any) -> dict[str, Any]:
    best = result.best
    if best is None:
        raise CatdogError(
            "No epoch was trained, so there is no best checkpoint: give --epochs of at least 1."
        )
    return result.to_dict()
