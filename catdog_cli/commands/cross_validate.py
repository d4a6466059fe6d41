"""`catdog cross-validate`: parse, call `catdog_cli.cross_validate`, print the table."""

from typing import Any

import click

from . import options
from .grouped_help import GroupedCommand
from .output.terminal import echo_json, echo_lines
from .output.tune_progress import SearchReport

FIRST = ("--folds", "--repeats", "--group-by", "--output", "--arch", "--weights", "--recipe", "--epochs")


@click.command("cross-validate", cls=GroupedCommand, first=FIRST)
@click.argument("data", type=options.PATH)
@options.trial_options
@click.option(
    "--folds", type=click.IntRange(2, 1000), default=5, help="Parts, each held out once.  [default: 5]"
)
@click.option(
    "--repeats", type=click.IntRange(1, 1000), default=1, help="How often, with other folds.  [default: 1]"
)
@options.group_by_option
@click.option("--jobs", type=click.IntRange(1, 1024), help="Folds at the same time.  [default: by machine]")
@click.option("--output", type=options.PATH, metavar="DIR", help="Write predictions.csv and a report there.")
@options.json_option
def cross_validate(
    data: str,
    config: str | None,
    recipe: str | None,
    folds: int,
    repeats: int,
    group_by: str | None,
    jobs: int | None,
    output: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Measure a recipe on DATA: train on all folds but one, measure on that one, and so with each of them.

    DATA and the options are those of `catdog train`. Where DATA has train/ and val/, val is left alone.
    Pictures that look the same are in one fold. What the frozen network makes of pictures is computed once.

    \b
    Examples:
      catdog cross-validate pets --recipe best
      catdog cross-validate pets --arch mobilenet_v2 --optimizer lbfgs --folds 10 --output folds
      catdog cross-validate pets --repeats 2 --group-by '(.*)_[0-9]+'
    """
    settings = options.trial_settings(data, config, recipe, given)
    from ..tuning.cross_validation import run_cross_validation

    with SearchReport() as report:
        found = run_cross_validation(settings, folds, repeats, group_by, output, jobs, report)
    if as_json:
        echo_json(found.to_dict())
        return
    echo_lines(str(found))
    if found.output is not None:
        echo_lines(f"Report: {found.output / 'report' / 'report.html'}")
