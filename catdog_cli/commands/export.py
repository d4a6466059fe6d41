"""`catdog export`: parse, call `export`, print where the file is and how it compares."""

from typing import Any

import click

from . import options
from .output.eval_tables import StepBar
from .output.terminal import echo, echo_json, echo_lines, log

FORMATS = ("onnx", "onnx-fp16", "onnx-int8", "pte")


@click.command()
@click.argument("checkpoint", type=options.PATH, metavar="CKPT")
@click.option("--to", type=click.Choice(FORMATS), default="onnx", show_default=True, help="What to write.")
@click.option("--output", type=options.PATH, metavar="FILE", help="The file.  [default: beside CKPT]")
@click.option(
    "--data",
    type=options.PATH,
    metavar="DATA",
    help="Labelled pictures to compare on.  [default: those that the run kept apart]",
)
@click.option(
    "--max-loss",
    type=float,
    metavar="POINTS",
    default=0.5,
    show_default=True,
    help="Refuse an int8 file that costs more accuracy.",
)
@options.looks_options
@options.json_option
def export(checkpoint: str, **given: Any) -> None:
    """Write CKPT, a checkpoint or run directory, as one file that answers anywhere, without torch.

    The file holds all that an answer takes: preprocessing, classes, calibration, what strangers are told by.
    Before it is written it has to give the checkpoint's answers on pictures of yours; how they compare is
    kept beside it. onnx-fp16 is half as large; onnx-int8 a quarter, and faster.

    \b
    Examples:
      catdog export checkpoints/mobilenet_v2-1
      catdog export best.pt --to onnx-int8 --data pets --output pets.onnx
      catdog predict photo.jpg checkpoints/mobilenet_v2-1/best.onnx
    """
    from ..export.api import ParityError
    from ..export.api import export as write

    try:
        with StepBar() as bar:
            result = write(
                checkpoint,
                given["to"],
                output=given["output"],
                data=given["data"],
                max_loss=given["max_loss"],
                tta=given["tta"],
                looks=given["looks"],
                log=log,
                on_progress=bar,
            )
    except ParityError as error:
        if given["as_json"]:
            echo_json(error.result.to_dict())
        raise
    if given["as_json"]:
        echo_json(result.to_dict())
        return
    echo_lines(str(result))
    for each in result.parity.changed:
        echo(f"  changed: {each.path}: {each.checkpoint}, now {each.file} ({each.difference:.3f})", err=True)
