"""`catdog export`: parse, call `export`, print where the file is and how it compares."""

import shlex
from typing import Any

import click

from . import options
from .output.eval_tables import StepBar
from .output.terminal import echo, echo_json, echo_lines, log, printable

FORMATS = ("onnx", "onnx-fp16", "onnx-int8", "pte", "web")


@click.command()
@click.argument("checkpoint", type=options.PATH, metavar="CKPT")
@click.argument("place", type=options.PATH, metavar="[OUTPUT]", required=False)
@click.option("--to", type=click.Choice(FORMATS), default="onnx", show_default=True, help="What to write.")
@click.option(
    "--output",
    type=options.PATH,
    metavar="FILE",
    help="The file, or the folder; the same as OUTPUT.  [default: beside CKPT]",
)
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
@click.option(
    "--ort",
    type=options.PATH,
    metavar="FILE",
    help="onnxruntime-web's npm package (.tgz), for web.  [default: from the cache, else fetched once]",
)
@options.looks_options
@options.json_option
def export(checkpoint: str, place: str | None, **given: Any) -> None:
    """Write CKPT, a checkpoint or run directory, as one file that answers anywhere, without torch.

    The file holds all that an answer takes: preprocessing, classes, calibration, what strangers are told by.
    Before it is written it has to give the checkpoint's answers on pictures of yours; how they compare is
    kept beside it. onnx-fp16 is half as large; onnx-int8 a quarter, and faster. web is a folder: a page for
    phones and other browsers, which works offline and sends nothing anywhere.

    \b
    Examples:
      catdog export checkpoints/mobilenet_v2-1
      catdog export best.pt --to onnx-int8 --data pets --output pets.onnx
      catdog predict photo.jpg checkpoints/mobilenet_v2-1/best.onnx
      catdog export checkpoints/mobilenet_v2-1 --to web pets-page
    """
    if place is not None and given["output"] is not None:
        raise click.UsageError("OUTPUT and --output are the same: give one of them.")
    from ..export.api import ParityError
    from ..export.api import export as write

    try:
        with StepBar() as bar:
            result = write(
                checkpoint,
                given["to"],
                output=given["output"] if place is None else place,
                data=given["data"],
                max_loss=given["max_loss"],
                ort=given["ort"],
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
    if result.format == "web":
        _say_how_to_open(str(result.path), checkpoint)
    for each in result.parity.changed:
        echo(f"  changed: {each.path}: {each.checkpoint}, now {each.file} ({each.difference:.3f})", err=True)


def _say_how_to_open(folder: str, checkpoint: str) -> None:
    folder, checkpoint = (shlex.quote(printable(each)) for each in (folder, checkpoint))
    log(f"On this machine: python -m http.server -d {folder} -b localhost, then http://localhost:8000")
    log(f"As a service:    catdog serve {checkpoint} --page {folder}")
    log("On a phone:      put the folder where https serves it; docs/phone.md says how")
