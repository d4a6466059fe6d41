"""`catdog tune`: parse, call `tuning.api`, print what was found."""

import os
from typing import Any

import click

from ..errors import SettingsError
from . import options
from .grouped_help import GroupedCommand
from .output.terminal import echo, echo_json
from .output.tune_progress import SearchReport
from .stop_signals import StopSignals

DATA_OPTIONS = (
    *("exclude", "decisions", "category_names", "label_delimiter", "label_columns", "val_fraction"),
    *("max_bad_fraction", "seed", "precision", "workers", "cache_limit", "looks", "image_size", "augment"),
)
METRICS = ("accuracy", "loss", "f1", "auc", "map")
BUDGET = "10m"

budget_option = options.run_option(
    "--budget",
    metavar="TIME",
    help="Search for the best settings within 90s, 10m, 2h, as `catdog tune` does.",
)
FIRST = ("--budget", "--arch", "--weights", "--space", "--metric", "--trials", "--output", "--resume")


@click.command(cls=GroupedCommand, first=FIRST)
@click.argument("data", required=False, type=options.PATH)
@options.run_option(
    "--budget", metavar="TIME", help=f"All the time there is: 90s, 10m, 1h30m.  [default: {BUDGET}]"
)
@click.option(
    "--arch", metavar="A,B,C", help="Networks to search among.  [default: those whose weights are here]"
)
@click.option(
    "--weights", metavar="FILE,FILE", help="Weights of the networks, in their order.  [default: imagenet]"
)
@click.option("--space", type=options.PATH, metavar="FILE.toml", help="Narrow or widen what is searched.")
@click.option("--metric", type=click.Choice(METRICS), help="Search by this.  [default: accuracy; map]")
@click.option("--trials", type=click.IntRange(1), metavar="N", help="Most heads to try, and to fine-tune.")
@click.option(
    "--folds", type=click.IntRange(2, 1000), default=5, help="Of the cross-validation.  [default: 5]"
)
@options.group_by_option
@options.add_options(*(options.setting_option(name) for name in DATA_OPTIONS))
@options.device_options
@options.tracking_options
@options.run_option(
    "--output",
    type=options.PATH,
    help="Run directory; one with a search is joined.  [default: checkpoints/tune-N]",
)
@options.run_option("--resume", type=options.PATH, metavar="RUN", help="Continue a search that was stopped.")
@options.json_option
def tune(data: str | None, resume: str | None, as_json: bool, **given: Any) -> None:
    """Search for the best network and settings for DATA within a time, and train with them.

    Every trial is scored by cross-validation on the training pictures; the validation pictures are asked
    once, at the end. What a frozen network makes of pictures is kept, so that a trial takes a second and not
    minutes. The run directory is like any other; tuned.toml in it is a recipe, tuning.html says what
    mattered.

    Start the same command with the same --output twice, or with torchrun, and the processes share one search.

    \b
    Examples:
      catdog tune pets --budget 10m
      catdog tune pets --budget 1h --arch mobilenet_v2,resnet18 --space narrow.toml
      catdog tune --resume checkpoints/tune-1
    """
    if resume is None and data is None:
        raise click.UsageError("Missing argument DATA: the folder with pictures.")
    asked = [name for name, value in given.items() if value is not None and name not in ("folds", *TRACKING)]
    if resume is not None and (data is not None or asked):
        raise click.UsageError("--resume continues a search as it was asked: give it alone.")
    tracking = {name: given.pop(name) for name in TRACKING}
    given["budget"] = given["budget"] or BUDGET
    search_and_print(data, resume, given, tracking, as_json)


TRACKING = ("mlflow", "mlflow_experiment", "mlflow_model", "tensorboard")


def search_and_print(
    data: str | None, resume: str | None, given: dict[str, Any], tracking: dict[str, Any], as_json: bool
) -> None:
    """Search as `catdog tune` does, and print what was found.

    Raises:
        SettingsError: several processes were started without a directory that they share.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not given.get("output") and resume is None:
        raise SettingsError("Several processes share a search by its directory: add --output DIR.")
    from ..runtime.process_age import process_age_s
    from ..tracking.follow import track_mlflow, track_tensorboard
    from ..tuning import api

    is_main = os.environ.get("RANK", "0") == "0"
    stop = StopSignals(aloud=is_main)
    with SearchReport(quiet=not is_main) as report:
        uri, experiment, model, board = (tracking[name] for name in TRACKING)
        listeners: list[Any] = [report]
        if is_main:
            listeners += [
                track_tensorboard(board, log=report.log),
                track_mlflow(uri, experiment=experiment, model=model, log=report.log),
            ]
        found = api.tune(
            data,
            resume=resume,
            listeners=[*listeners, stop],
            should_stop=stop.asked,
            progress=False,
            age_s=process_age_s(),
            **given,
        )
    if not is_main:
        return
    if as_json:
        echo_json(found.to_dict())
        return
    for line in found.lines():
        echo(line, wrap=True)
    echo(f"Checkpoint: {found.checkpoint}")
    echo(f"Recipe:     {found.recipe}")
    echo(f"Page:       {found.page}")
