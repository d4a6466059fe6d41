"""`catdog predict`: parse, call `inference`, print the likeliest classes or write a row for every input."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import SettingsError
from ..runtime.distributed import Group
from . import options
from .distributed import log_memory, several, share_out
from .grouped_help import GroupedCommand
from .output.terminal import echo, printable

if TYPE_CHECKING:
    from ..inference.predictor import Predictor


FIRST = (
    "--top-k",
    "--plot",
    "--output",
    "--summary",
    "--sort-into",
    "--explain",
    "--unknown-rate",
    "--sure",
    "--with",
    "--json",
)


@click.command(cls=GroupedCommand, first=FIRST)
@click.argument("arguments", nargs=-1, type=options.PATH, metavar="IMAGE... CKPT")
@click.option(
    "--top-k", type=click.IntRange(1), help="Classes to show.  [default: 5; of several labels, all]"
)
@options.with_option
@options.category_names_option
@click.option("--plot", type=options.PATH, metavar="FILE", help="Draw the pictures beside their classes.")
@click.option("--explain", is_flag=True, help="Say where each picture speaks for its class, with proof.")
@options.class_option
@click.option("--output", type=options.PATH, metavar="FILE", help="Write .csv, .jsonl or .parquet instead.")
@click.option("--all", "all_classes", is_flag=True, help="Give every class's probability, not the top k.")
@click.option("--resume", is_flag=True, help="Go on with a half-written --output.")
@click.option("--overwrite", is_flag=True, help="Replace --output if it exists.")
@click.option("--summary", is_flag=True, help="Count the pictures of each class.")
@click.option("--sort-into", type=options.PATH, metavar="DIR", help="Link each picture in DIR/CLASS.")
@click.option("--copy", is_flag=True, help="With --sort-into: copy instead of linking.")
@options.looks_options
@options.unknown_rate_option
@click.option(
    "--sure", type=float, metavar="P", help="Say which classes it may be, to be right at this rate: 0.95."
)
@click.option(
    "--sets", type=click.Choice(("lac", "aps")), help="With --sure: how.  [default: lac, the smallest]"
)
@click.option("--uncalibrated", is_flag=True, help="Leave out the temperature that the checkpoint holds.")
@options.device_options
@options.precision_option
@options.json_option
def predict(arguments: tuple[str, ...], **given: Any) -> int | None:
    """Name what each IMAGE shows, with the checkpoint or run directory CKPT.

    Of a checkpoint that tells several labels a picture, every label above its threshold is given; with
    --top-k the likeliest ones, those above it with a mark.

    IMAGE is a picture, a folder of pictures, a pattern in quotes, an http(s) or file address, a .txt list of
    paths (from here on), a .csv list (column `path`, counted from the list's own folder, as `catdog train`
    does), a folder that `catdog data prepare` wrote, or - for stdin: the bytes of a picture, or paths. A
    shell's <(...) is read as stdin is.

    \b
    Examples:
      catdog predict photo.jpg checkpoints/mobilenet_v2-1
      catdog predict cat.jpg dog.jpg best.pt --plot answer.png
      catdog predict photo.jpg best.pt --explain --plot why.png
      catdog predict cat.jpg one.pt --with two.pt --with three.pt
      catdog predict holiday/ best.pt --output predictions.csv --summary
      catdog predict photo.jpg best.pt --sure 0.95 --unknown-rate 0.05
      find . -name '*.jpg' -print0 | catdog predict - best.pt --output predictions.jsonl
      curl https://example.org/cat.jpg | catdog predict - best.pt
    """
    inputs, checkpoint = split_arguments(arguments)
    check_options(inputs, given)
    from .predict_run import show_rows, write_rows

    if given["with_"]:
        from ..inference.mean import describe_mean

        echo(f"Predicting the {describe_mean([checkpoint, *given['with_']])}.", err=True)
    with several(given["device"]) as group:
        predictor = group.in_each(lambda: load_predictor(checkpoint, given, group))
        if given["sort_into"] and predictor.task.several:
            raise SettingsError(
                f"--sort-into puts each picture into one folder, but {checkpoint!r} tells several labels a "
                f"picture: write --output FILE.csv instead."
            )
        return share_out(
            predictor, lambda: (write_rows if given["output"] else show_rows)(predictor, inputs, given)
        )


def check_options(inputs: tuple[str, ...], given: dict[str, Any]) -> None:
    """Refuse options that mean nothing together, before anything is loaded.

    Raises:
        click.UsageError: an option needs another one.
        SettingsError: --output is of no known kind, or one of the inputs; or an option needs files, where
            a prepared folder has none.
    """
    if given["resume"] and given["overwrite"]:
        raise click.UsageError("--resume continues the file, --overwrite replaces it: give one of them.")
    for name in ("resume", "overwrite"):
        if given[name] and not given["output"]:
            raise click.UsageError(f"--{name} belongs to --output FILE.")
    if given["sets"] and given["sure"] is None:
        raise click.UsageError("--sets belongs to --sure P.")
    if given["copy"] and not given["sort_into"]:
        raise click.UsageError("--copy belongs to --sort-into DIR.")
    _check_explain(given)
    from ..inference.streams import STDIN

    if sum(each in STDIN for each in inputs) > 1:
        raise click.UsageError("- and /dev/stdin mean stdin, which can be read only once.")
    if given["output"]:
        from ..inference.outputs.predictions_file import check_apart, check_suffix

        check_suffix(given["output"])
        check_apart(given["output"], inputs, "--output")
    if given["plot"]:
        from ..plots import check_suffix as check_plot

        check_plot(given["plot"])
    if given["plot"] or given["sort_into"]:
        _refuse_prepared(inputs, "--plot" if given["plot"] else "--sort-into")


def _check_explain(given: dict[str, Any]) -> None:
    if given["class_name"] and not given["explain"]:
        raise click.UsageError("--class belongs to --explain.")
    if given["explain"] and given["output"]:
        raise click.UsageError(
            "--explain goes without --output: catdog explain PICTURES CKPT --output DIR writes a table, too."
        )
    if given["explain"] and given["with_"]:
        raise click.UsageError(
            "--explain goes without --with, for a mean of probabilities has no map: explain each checkpoint."
        )


def _refuse_prepared(inputs: tuple[str, ...], option: str) -> None:
    from ..data.prepared import is_prepared

    for argument in inputs:
        if is_prepared(Path(argument)):
            raise SettingsError(
                f"{option} needs the pictures' files, but {argument!r} is a prepared folder: give the folder "
                "that it was made from."
            )


def split_arguments(arguments: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """Return the inputs and the checkpoint, which comes last.

    Raises:
        click.UsageError: one of them is missing, or they were given the other way round.
    """
    if not arguments:
        raise click.UsageError("Nothing was given: name pictures, then the checkpoint.")
    *inputs, checkpoint = arguments
    suffix = Path(checkpoint).suffix.lower()
    from ..images.suffixes import IMAGE_SUFFIXES
    from ..runtime.files import TABLE_SUFFIXES

    if suffix in (*IMAGE_SUFFIXES, ".txt", *TABLE_SUFFIXES) or checkpoint == "-":
        raise click.UsageError(
            f"{printable(checkpoint)!r} is not a checkpoint, and the checkpoint comes last: "
            "catdog predict photo.jpg best.pt"
        )
    from ..runs.argument_order import refuse_swapped

    refuse_swapped(inputs, [checkpoint], "catdog predict {data} {checkpoint}")
    if not inputs:
        raise click.UsageError(
            f"Only {printable(checkpoint)!r} was given: name pictures, then the checkpoint, which comes "
            "last: catdog predict photo.jpg best.pt"
        )
    return tuple(inputs), checkpoint


def load_predictor(checkpoint: str, given: dict[str, Any], group: Group) -> "Predictor":
    """Load the checkpoint with the options that change its answers.

    Raises:
        CheckpointError: it cannot be used.
        SettingsError: the device is not there, or the file of names cannot be used.
    """
    from ..inference.predictor import Predictor

    predictor = Predictor.load(
        checkpoint,
        *given["with_"],
        device=given["device"] or "auto",
        precision=given["precision"] or "auto",
        calibrated=not given["uncalibrated"],
        category_names=given["category_names"],
        mirror=given["tta"],
        looks=given["looks"],
        group=group,
        on_shrink=log_memory,
        unknown_rate=pick_unknown_rate(given["unknown_rate"]),
        sure=given["sure"],
        sets=given["sets"] or "lac",
    )
    log_missing_names(given["category_names"], predictor)
    log_never_unknown(given["unknown_rate"], predictor)
    return predictor


def pick_unknown_rate(given: float | None) -> float:
    """Return the rate that was asked for, else the usual one."""
    from ..inference.known import UNKNOWN_RATE

    return UNKNOWN_RATE if given is None else given


def log_never_unknown(unknown_rate: float | None, predictor: "Predictor") -> None:
    """Say why nothing is called unknown, where a rate was asked for."""
    from ..inference.known import why_never_unknown

    reason = why_never_unknown(predictor.reference, unknown_rate or 0)
    if reason is not None:
        echo(reason, err=True)


def log_missing_names(path: str | None, predictor: "Predictor") -> None:
    """Say which classes a file of names has none for."""
    from ..runs.category_names import describe_missing

    missing = describe_missing(path, predictor.category_names, predictor.class_names) if path else None
    if missing is not None:
        echo(missing, err=True)
