"""`catdog runs`: all runs of a folder at a glance."""

import click

from . import options
from .output.run_tables import print_runs
from .output.terminal import echo_json

SORTS = ("name", "accuracy", "loss", "seconds", "size", "changed")


@click.command()
@click.argument("folder", type=options.PATH, default="checkpoints", metavar="[DIR]")
@click.option(
    "--sort",
    type=click.Choice(SORTS),
    default="name",
    show_default=True,
    help="accuracy: the best first; loss: the lowest; others: the most.",
)
@options.json_option
def runs(folder: str, sort: str, as_json: bool) -> None:
    """List the runs in DIR (default: checkpoints): what each was trained on, and what it has reached.

    A run is training (some process works in it), finished, stopped (`catdog train --resume` goes on), not
    saved yet, or damaged. Accuracy, of several labels the mean average precision, is that of its best epoch
    on validation pictures, with its 95 % interval; seconds are those of its epochs.

    \b
    Examples:
      catdog runs
      catdog runs checkpoints --sort accuracy
      catdog runs --json
    """
    from ..runs.summaries import list_runs

    found = list_runs(folder, sort=sort)
    echo_json([run.to_dict() for run in found]) if as_json else print_runs(found, folder)
