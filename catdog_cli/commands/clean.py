"""`catdog clean`: frees what finished runs can do without."""

import click

from . import options
from .output.run_tables import print_freeable
from .output.terminal import echo_json


@click.command()
@click.argument("folders", nargs=-1, type=options.PATH, metavar="[DIR]...")
@click.option("--yes", is_flag=True, help="Delete these files; without it nothing is changed.")
@options.json_option
def clean(folders: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Say what the finished runs in DIR (default: checkpoints) no longer need; with --yes, delete it.

    That is last.pt, without which a run can no longer be made longer, and the best checkpoints of its
    phases: best.pt, which predicts, is the best of them. Settings, split, history and reports stay. Runs
    that are training, were stopped or are damaged are left alone.

    \b
    Examples:
      catdog clean
      catdog clean checkpoints/alexnet-1 --yes
    """
    from ..runs.summaries import clean_runs

    found = clean_runs(folders or ("checkpoints",), delete=yes)
    if as_json:
        echo_json({"deleted": yes, "runs": [run.to_dict() for run in found]})
    else:
        print_freeable(found, yes)
