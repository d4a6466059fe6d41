"""`catdog evaluate`: a checkpoint's answers on labelled pictures, what they are worth, and a report."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..evaluation.eval_split import SPLITS, choose_images, image_path
from . import options
from .distributed import several, share_out
from .evaluation import (
    Answers,
    ask_network,
    load_predictor,
    log,
)
from .output.terminal import echo, echo_json, make_console, printable

if TYPE_CHECKING:
    from rich.table import Table

MOST_CLASSES = 12  # with more, the confusion matrix is left to the picture


@click.command()
@click.argument("data")
@click.argument("checkpoint")
@click.option("--split", type=click.Choice(SPLITS), help="Default: test if there is one, else val, else all.")
@options.exclude_option
@click.option("--output", type=click.Path(), metavar="DIR", help="Write a report with pictures there.")
@click.option("--uncalibrated", is_flag=True, help="Take probabilities as trained, without temperature.")
@click.option("--tta", is_flag=True, help="Average each picture with its mirror image; takes twice as long.")
@options.device_options
@options.precision_option
@options.json_option
def evaluate(
    data: str,
    checkpoint: str,
    split: str | None,
    exclude: str | None,
    output: str | None,
    uncalibrated: bool,
    tta: bool,
    device: str | None,
    precision: str | None,
    as_json: bool,
) -> None:
    """Measure CHECKPOINT (a file or a run directory) on the labelled pictures of DATA.

    A folder that the checkpoint was trained on is measured on the pictures that training kept apart.

    \b
    Examples:
      catdog evaluate pets checkpoints/mobilenet_v2-1
      catdog evaluate pets checkpoints/mobilenet_v2-1 --split test --output report
    """
    chosen = {"calibrated": not uncalibrated, "mirror": tta}
    given = {"data": data, "checkpoint": checkpoint}
    with several(device) as group:
        predictor = group.in_each(
            lambda: load_predictor(checkpoint, device, precision, group=group, **chosen)
        )
        share_out(predictor, lambda: _report(predictor, given, split, exclude, output, as_json))


def _report(
    predictor: Any,
    given: dict[str, str],
    split: str | None,
    exclude: str | None,
    output: str | None,
    as_json: bool,
) -> None:
    """Measure and print; write the report where one is asked for."""
    data, checkpoint = given["data"], given["checkpoint"]
    dataset, split = choose_images(data, [checkpoint], predictor.class_names, split, log, exclude)
    if output is not None:
        _claim(output)
    log(_introduce(predictor, len(dataset), split))
    answers = ask_network(predictor, dataset, split)
    document = {**given, "split": split, **_measure(predictor, dataset, split, answers)}
    document |= {"calibrated": predictor.calibrated, "tta": predictor.mirror}
    if output is not None:
        _write(Path(output), document, answers, dataset)
    if as_json:
        echo_json(document)
    else:
        _print_tables(document)


def _claim(output: str) -> None:
    """Make the folder now: a name that cannot be used should not cost a measurement."""
    from ..runs.directory import create_folder

    create_folder(Path(output))


def _introduce(predictor: Any, number: int, split: str) -> str:
    where = f"{predictor.device.type}, {str(predictor.dtype).removeprefix('torch.')}"
    mirrored = ", each with its mirror image" if predictor.mirror else ""
    return f"Measuring {predictor.arch} on {number:,} pictures ({split}){mirrored}; {where}"


def _measure(predictor: Any, dataset: Any, split: str, answers: Answers) -> dict[str, Any]:
    """Return the JSON document: all that `full_metrics` says, calibration, mistakes and unreadable files."""
    from ..evaluation.calibration import calibrate, describe_calibration
    from ..evaluation.metrics import full_metrics
    from ..evaluation.report import find_mistakes

    names, paths = predictor.class_names, dataset.splits[split].paths
    probabilities = calibrate(answers.logits, predictor.temperature)
    shown = [image_path(dataset, paths[place]) for place in answers.places]
    metrics = full_metrics(probabilities, answers.labels, names)
    if predictor.temperature != 1:
        metrics["notes"]["probabilities"] = f"Calibrated with temperature {predictor.temperature:.4f}."
    return {
        **metrics,
        "temperature": predictor.temperature,
        "calibration": describe_calibration(answers.logits, answers.labels, predictor.temperature),
        "num_unreadable": len(answers.unreadable),
        "unreadable": [{"path": path, "error": error} for path, error in answers.unreadable.items()],
        "mistakes": find_mistakes(probabilities, answers.labels, names, shown),
    }


def _write(output: Path, document: dict[str, Any], answers: Answers, dataset: Any) -> None:
    from ..evaluation.calibration import calibrate
    from ..evaluation.report_files import photo_reader, write_files

    title = f"{document['checkpoint']} on {document['data']} ({document['split']})"
    scores = calibrate(answers.logits, document["temperature"]), answers.labels
    read_photo = photo_reader(dataset, document["split"])
    files = write_files(output, title, document, scores, read_photo)
    log(f"Report: {files[2]}")


def _print_tables(document: dict[str, Any]) -> None:
    """Print the numbers, the classes and, for few of them, who was taken for whom."""
    from ..evaluation.report import list_classes, list_notes, list_numbers, summarize

    console = make_console()
    numbers = list_numbers(document, document["calibration"])
    console.print(build_table(("", "value", "95 % interval"), numbers))
    console.print(build_table(("class", "precision", "recall", "F1", "pictures"), list_classes(document)))
    names = document["class_names"]
    if len(names) <= MOST_CLASSES:
        rows = [(name, *map(str, row)) for name, row in zip(names, document["confusion"], strict=True)]
        console.print(build_table(("true class \\ answer", *names), rows))
    for note in list_notes(document):
        echo(note)
    if document["num_unreadable"]:
        echo(f"{document['num_unreadable']:,} unreadable pictures were left out.")
    echo(summarize(document))


def build_table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> "Table":
    """Return a table whose first column is text and whose others are numbers."""
    from rich.table import Table

    table = Table()
    for place, name in enumerate(header):
        table.add_column(printable(name), justify="right" if place else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(printable, row))
    return table
