"""`catdog lr-find`: parse, call `training.lr_finder`, draw, print."""

from typing import TYPE_CHECKING, Any

import click

from ..errors import SettingsError
from ..settings_rules import check_phase_number
from . import options
from .grouped_help import GroupedCommand
from .output.terminal import echo, echo_json
from .output.train_progress import TrainReport

if TYPE_CHECKING:
    from ..training.lr_finder import RateTest


@click.command(
    "lr-find",
    cls=GroupedCommand,
    first=("--phase", "--plot", "--arch", "--weights", "--recipe", "--fine-tune-epochs"),
)
@click.argument("data", type=options.PATH)
@options.trial_options
@click.option("--phase", type=click.IntRange(min=1), default=1, help="Which phase's rate.  [default: 1]")
@click.option("--plot", type=options.PATH, default="lr-find.png", help="The curve.  [default: lr-find.png]")
@options.json_option
def lr_find(
    data: str, recipe: str | None, config: str | None, phase: int, plot: str, as_json: bool, **given: Any
) -> None:
    """Raise the learning rate batch by batch, watch the loss, and suggest a rate. Trains nothing.

    \b
    Examples:
      catdog lr-find pets
      catdog lr-find pets --fine-tune-epochs 3 --phase 2 --plot rates.png
    """
    from ..plots import check_suffix, plot_lr_find
    from ..training.lr_finder import measure_rates

    check_suffix(plot)
    settings = options.trial_settings(data, config, recipe, given)
    try:
        check_phase_number(settings.phases, phase)
    except SettingsError as error:
        raise click.UsageError(str(error)) from error
    with TrainReport() as report:
        found = measure_rates(settings, phase, report)
    _print(found, phase, plot, as_json)  # before the picture, which may not be writable: it took minutes
    plot_lr_find(found.rates, found.losses, found.suggestion, plot, found.steepest)
    echo(f"Curve: {plot}", err=True)


def _print(found: "RateTest", phase: int, plot: str, as_json: bool) -> None:
    if as_json:
        echo_json({**found.to_dict(), "plot": plot})
        return
    option = "--learning-rate" if phase == 1 else "--fine-tune-learning-rate"
    echo(f"{option} {found.suggestion:.1e}")
    echo(found.reason, err=True)
