"""`catdog export`: parse, call `export`, print where the file is."""

from typing import Any

import click

from . import options
from .output.terminal import echo, echo_json, printable


@click.command()
@click.argument("checkpoint", type=options.PATH, metavar="CKPT")
@click.option("--to", default="onnx", show_default=True, metavar="FORMAT", help="What to write: onnx.")
@click.option("--output", type=options.PATH, metavar="FILE", help="The file.  [default: beside CKPT]")
@options.looks_options
@options.json_option
def export(checkpoint: str, **given: Any) -> None:
    """Write CKPT, a checkpoint or run directory, as a file that answers anywhere, without torch.

    \b
    Examples:
      catdog export checkpoints/mobilenet_v2-1
      catdog predict photo.jpg checkpoints/mobilenet_v2-1/best.onnx
    """
    from ..export.api import export as write

    result = write(checkpoint, given["to"], output=given["output"], tta=given["tta"], looks=given["looks"])
    if given["as_json"]:
        echo_json({"path": str(result.path), "format": result.format})
    else:
        echo(f"Exported: {printable(str(result.path))}")
