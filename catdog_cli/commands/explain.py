"""`catdog explain`: parse, call `inference`, print what speaks for a class, or write maps into a folder."""

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import options
from .output.predict_output import Tally, print_json
from .output.terminal import counted, echo, printable
from .predict import log_missing_names, split_arguments
from .predict_run import Bar, log_ignored

if TYPE_CHECKING:
    from ..inference.explain import Explanation
    from ..inference.predictor import Predictor

Falls = tuple[float, float]  # of a probability: the important fifth blurred, a random one


@click.command()
@click.argument("arguments", nargs=-1, type=options.PATH, metavar="IMAGE... CKPT")
@options.class_option
@click.option(
    "--output", type=options.PATH, metavar="DIR", help="Write each picture beside its map there, and a table."
)
@click.option("--check/--no-check", default=True, help="Blur what matters, as proof; eight times the time.")
@options.category_names_option
@options.looks_options
@click.option("--uncalibrated", is_flag=True, help="Leave out the temperature that the checkpoint holds.")
@options.device_options
@options.precision_option
@options.json_option
def explain(arguments: tuple[str, ...], **given: Any) -> int:
    """Show why each IMAGE gets its class from the checkpoint or run directory CKPT.

    A map says how much each place of a picture speaks for the class. Where features are the mean over places
    and the head is linear, it is exact: its mean is the logit. The proof: by how much the probability falls
    when the most important fifth is blurred, and when a random fifth is.

    IMAGE is what `catdog predict` takes.

    \b
    Examples:
      catdog explain photo.jpg checkpoints/mobilenet_v2-1
      catdog explain photo.jpg best.pt --class dogs --json
      catdog explain holiday/ best.pt --output maps
    """
    inputs, checkpoint = split_arguments(arguments)
    if given["output"]:
        from ..inference.outputs.sort_into import check_outside

        check_outside(given["output"], inputs, "--output")
    from ..inference.predictor import Predictor

    predictor = Predictor.load(
        checkpoint,
        device=given["device"] or "auto",
        precision=given["precision"] or "auto",
        calibrated=not given["uncalibrated"],
        category_names=given["category_names"],
        mirror=given["tta"],
        looks=given["looks"],
        unknown_rate=0,
    )
    log_missing_names(given["category_names"], predictor)
    return _explain(predictor, inputs, given)


def _explain(predictor: "Predictor", inputs: tuple[str, ...], given: dict[str, Any]) -> int:
    """Print or write the explanations; return the exit code."""
    from ..inference.batch import read_inputs
    from ..inference.explain import iterate_explanations, write_maps
    from ..inference.inputs import fetch_first, fetch_input

    ignored, falls = Counter[str](), list[Falls]()
    with Bar(inputs, show=bool(given["output"]), step="explaining") as bar:
        tally = Tally(bar.log)
        sources = fetch_first(read_inputs(inputs, ignored=ignored), sys.maxsize if given["output"] else 0)
        rows = iterate_explanations(predictor, sources, given["class_name"], given["check"], fetch_input)
        rows = write_maps(rows, Path(given["output"])) if given["output"] else rows
        rows = _watch(rows, tally, bar, falls)
        if given["as_json"]:
            print_json(rows)
        else:
            _print_text(rows, aloud=not given["output"])
    if given["output"]:
        shown = tally.total - tally.errors
        echo(f"{counted(shown, 'picture')} beside their maps: {printable(given['output'])}", err=True)
    if len(falls) > 1:
        echo(_describe_falls(falls), err=True)
    log_ignored(ignored)
    return tally.finish()


def _watch(
    rows: "Iterable[Explanation]", tally: Tally, bar: Bar, falls: list[Falls]
) -> "Iterator[Explanation]":
    """Pass explanations on, counting them and keeping by how much their probabilities fall."""
    for row in rows:
        tally.count_error(row.error)
        pairs = ((each.fall, each.fall_random) for each in row.maps)
        falls += [(fall, random) for fall, random in pairs if fall is not None and random is not None]
        bar.step()
        yield row


def _print_text(rows: "Iterable[Explanation]", aloud: bool) -> None:
    for row in rows:
        if aloud and row.error is None:
            for line in str(row).split("\n"):
                echo(line)


def _describe_falls(falls: list[Falls]) -> str:
    own, random = (100 * sum(column) / len(falls) for column in zip(*falls, strict=True))
    return (
        f"Blurring the most important fifth takes {own:.1f} points of probability on average, a random fifth "
        f"{random:.1f} ({counted(len(falls), 'map')})."
    )
