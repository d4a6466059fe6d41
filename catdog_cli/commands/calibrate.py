"""`catdog calibrate`: parse, call `evaluation`, print what was measured and written."""

import click

from ..evaluation.eval_split import SPLITS
from . import options
from .output.eval_tables import StepBar
from .output.terminal import echo, echo_json, echo_lines, log


@click.command()
@click.argument("checkpoint", type=options.PATH)
@click.argument("data", type=options.PATH)
@click.option("--split", type=click.Choice(SPLITS), help="Default: test if there is one, else val, else all.")
@options.exclude_option
@options.label_options
@options.device_options
@options.precision_option
@options.json_option
def calibrate(
    checkpoint: str,
    data: str,
    split: str | None,
    exclude: str | None,
    label_delimiter: str | None,
    label_columns: str | None,
    device: str | None,
    precision: str | None,
    as_json: bool,
) -> None:
    """Measure CHECKPOINT on the labelled pictures of DATA, and keep in it what makes its answers honest.

    That is the temperature of its probabilities, the thresholds of several labels, what --sure chooses sets
    of classes by, and what --unknown-rate tells strangers by. Of a run directory, its best.pt is written.
    The file is replaced whole or not at all. The pictures should not be ones that it was trained on.

    \b
    Examples:
      catdog calibrate checkpoints/mobilenet_v2-1 pets
      catdog calibrate old.pt pets --split test
    """
    from ..runs.argument_order import refuse_swapped

    refuse_swapped([data], [checkpoint], "catdog calibrate {checkpoint} {data}")
    from ..evaluation.calibrate import calibrate as run

    with StepBar() as bar:
        found = run(
            checkpoint,
            data,
            split=split,
            exclude=exclude,
            label_delimiter=label_delimiter or "",
            label_columns=label_columns or "",
            device=device or "auto",
            precision=precision or "auto",
            log=log,
            on_progress=bar,
            progress=False,
        )
    echo_json(found.to_dict()) if as_json else echo_lines(str(found))
    echo(f"Written: {found.checkpoint}", err=True)
