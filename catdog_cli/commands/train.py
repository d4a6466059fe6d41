"""`catdog train`: parse, call `catdog_cli.train` or `catdog_cli.resume`, print."""

import contextlib
from collections.abc import Iterator
from typing import Any

import click

from ..errors import CatdogError, SettingsError
from ..recipes.build import build_settings
from ..runtime.distributed import processes
from . import options
from .distributed import several
from .grouped_help import GroupedCommand
from .output.terminal import echo_json, log
from .output.train_progress import TrainReport
from .stop_signals import StopSignals
from .tune import BUDGET, budget_option, search_and_print

AUTO = "auto"  # of --recipe: a search finds one
TRACKING = ("mlflow", "mlflow_experiment", "mlflow_model", "tensorboard")
FIRST = (
    "--arch",
    "--weights",
    "--recipe",
    "--epochs",
    "--learning-rate",
    "--fine-tune-epochs",
    "--output",
    "--resume",
    "--dry-run",
)


@click.command(cls=GroupedCommand, first=FIRST)
@click.argument("data", required=False, type=options.PATH)
@options.train_options
@options.device_options
@options.tracking_options
@options.recipe_option
@options.config_option
@budget_option
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
    data: str | None,
    config: str | None,
    budget: str | None,
    output: str | None,
    resume: str | None,
    dry_run: bool,
    **given: Any,
) -> None:
    """Train on DATA: a folder with a folder of pictures per class (below train/ and val/, or not), a table
    path,class or path,labels, an archive, or the address of one.

    \b
    Examples:
      catdog train pets
      catdog train pets --arch resnet18 --fine-tune-epochs 3
      catdog train pets --budget 10m
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
    if budget is not None or given.get("recipe") == AUTO:
        _search(str(data), config, budget, output, resume, dry_run, given, as_json)
        return
    with several(given["device"]):
        if dry_run:
            _dry_run(str(data), config, given, as_json)
            return
        result = _train(str(data), config, output, given) if resume is None else _resume(data, resume, given)
        if as_json:
            echo_json(_document(result))


def _refuse_run(data: str | None) -> None:
    """Raise SettingsError where the data is a run, which trains further with --resume, or a checkpoint."""
    from ..runs.argument_order import is_like_checkpoint

    if data is not None and is_like_checkpoint(data):
        raise SettingsError(
            f"{data!r} is a checkpoint, not pictures: resume a run with `catdog train --resume RUN`, or "
            f"train on a folder of pictures."
        )


def _search(
    data: str,
    config: str | None,
    budget: str | None,
    output: str | None,
    resume: str | None,
    dry_run: bool,
    given: dict[str, Any],
    as_json: bool,
) -> None:
    """Search within a budget, as `catdog tune` does, and train what it finds."""
    if resume is not None or dry_run:
        raise click.UsageError(
            "--budget searches: continue one with `catdog tune --resume RUN`; no --dry-run."
        )
    merged, tracking = _merge(config, given)
    if merged.pop("recipe", AUTO) != AUTO:
        raise click.UsageError("--budget finds the recipe: leave out --recipe, or the budget.")
    search_and_print(data, None, {**merged, "budget": budget or BUDGET, "output": output}, tracking, as_json)


def _train(data: str, config: str | None, output: str | None, given: dict[str, Any]) -> Any:
    from ..training import api

    merged, tracking = _merge(config, {**given, "output": output})
    with _followed(tracking) as following:
        return api.train(data, **merged, **following)


def _resume(data: str | None, path: str, given: dict[str, Any]) -> Any:
    """Resume a run; what would change the network or the past is refused by name, once the run is known."""
    from ..training import api

    tracking = {name: given.pop(name) for name in TRACKING}
    with _followed(tracking) as following:
        return api.resume(path, data=data, **given, **following)


def _merge(config: str | None, given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the options of a training, and those of tracking, from an option file and the command line."""
    merged = options.read_config(config, set(given))
    merged |= {name: value for name, value in given.items() if value is not None}
    return merged, {name: merged.pop(name, None) for name in TRACKING}


@contextlib.contextmanager
def _followed(tracking: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield how this command follows a run, as arguments of `train` and `resume`: it prints and tracks.

    Where several processes train, the main one alone does; all of them listen to signals.
    """
    stop = StopSignals(aloud=processes().size == 1)
    listeners: list[Any] = [stop]
    with contextlib.ExitStack() as stack:
        if processes().is_main:
            from ..tracking.follow import track_mlflow, track_tensorboard

            report = stack.enter_context(TrainReport())
            uri, experiment, model, board = (tracking[name] for name in TRACKING)
            listeners = [
                report,
                track_tensorboard(board, log=report.log),
                track_mlflow(uri, experiment=experiment, model=model, log=report.log),
                stop,
            ]
        yield {"listeners": listeners, "should_stop": stop.asked, "progress": False}


def _dry_run(data: str, config: str | None, given: dict[str, Any], as_json: bool) -> None:
    from ..data.scan import describe_scan
    from ..tracking.mlflow import try_address
    from ..training import run
    from ..training.dry_run import estimate_run

    merged, tracking = _merge(config, {**given, "output": None})
    merged.pop("output", None)
    settings = build_settings(data, merged, merged.pop("recipe", None), log)
    if processes().size > 1:
        raise SettingsError("--dry-run measures one process: start it without torchrun.")
    with TrainReport() as report:
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


def _document(result: Any) -> dict[str, Any]:
    best = result.best
    if best is None:
        raise CatdogError(
            "No epoch was trained, so there is no best checkpoint: give --epochs of at least 1."
        )
    return result.to_dict()
