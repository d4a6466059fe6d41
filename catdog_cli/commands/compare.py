"""`catdog compare`: parse, call `evaluation`, print tables."""

import click

from ..evaluation.eval_split import SPLITS
from . import options
from .output.eval_tables import StepBar, print_comparison
from .output.terminal import echo_json, log


@click.command()
@click.argument("first", type=options.PATH)
@click.argument("second", type=options.PATH)
@click.option(
    "--data", required=True, type=options.PATH, metavar="DATA", help="Labelled pictures, as for evaluate."
)
@click.option("--split", type=click.Choice(SPLITS), help="Default: test if there is one, else val, else all.")
@options.exclude_option
@options.decisions_option
@options.label_options
@options.category_names_option
@options.device_options
@options.precision_option
@options.json_option
def compare(
    first: str,
    second: str,
    data: str,
    split: str | None,
    exclude: str | None,
    decisions: str | None,
    label_delimiter: str | None,
    label_columns: str | None,
    category_names: str | None,
    device: str | None,
    precision: str | None,
    as_json: bool,
) -> None:
    """Measure two checkpoints, FIRST and SECOND, on the same pictures, and say whether they differ.

    \b
    Examples:
      catdog compare checkpoints/resnet18-1 checkpoints/mobilenet_v2-2 --data pets
      catdog compare checkpoints/resnet18-1 checkpoints/mobilenet_v2-2 --data pets --exclude bad.txt
    """
    from ..runs.argument_order import refuse_swapped

    refuse_swapped([data], [first, second], "catdog compare {checkpoint} OTHER --data {data}")
    from ..evaluation import api

    with StepBar() as bar:
        found = api.compare(
            first,
            second,
            data,
            split=split,
            exclude=exclude,
            decisions=decisions,
            label_delimiter=label_delimiter or "",
            label_columns=label_columns or "",
            category_names=category_names,
            device=device or "auto",
            precision=precision or "auto",
            log=log,
            on_progress=bar,
            progress=False,
        )
    echo_json(found.to_dict()) if as_json else print_comparison(found)
