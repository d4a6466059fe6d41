"""`catdog evaluate`: parse, call `evaluation`, print tables."""

import click

from ..evaluation.eval_split import SPLITS
from . import options
from .distributed import log_memory, several, share_out
from .output.eval_tables import StepBar, print_evaluation
from .output.terminal import echo_json, log
from .predict import log_missing_names


@click.command()
@click.argument("data", type=options.PATH)
@click.argument("checkpoint", type=options.PATH)
@options.with_option
@click.option("--split", type=click.Choice(SPLITS), help="Default: test if there is one, else val, else all.")
@options.exclude_option
@options.decisions_option
@options.label_options
@options.category_names_option
@click.option("--output", type=options.PATH, metavar="DIR", help="Write a report with pictures there.")
@click.option("--all-classes", is_flag=True, help="List all classes, not only the weakest of many.")
@click.option("--uncalibrated", is_flag=True, help="Take probabilities as trained, without temperature.")
@options.looks_options
@options.device_options
@options.precision_option
@options.json_option
def evaluate(
    data: str,
    checkpoint: str,
    with_: tuple[str, ...],
    split: str | None,
    exclude: str | None,
    decisions: str | None,
    label_delimiter: str | None,
    label_columns: str | None,
    category_names: str | None,
    output: str | None,
    all_classes: bool,
    uncalibrated: bool,
    tta: bool | None,
    looks: str | None,
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
      catdog evaluate pets one.pt --with two.pt
    """
    from ..runs.argument_order import refuse_swapped

    checkpoints = [checkpoint, *with_]
    refuse_swapped([data], [checkpoint], "catdog evaluate {data} {checkpoint}")
    from ..data.label_lists import LabelForm
    from ..evaluation.evaluate import evaluate_predictor
    from ..inference.predictor import Predictor

    labels = LabelForm(label_delimiter or "", label_columns or "")
    with several(device) as group, StepBar() as bar:
        predictor = group.in_each(
            lambda: Predictor.load(
                *checkpoints,
                device=device or "auto",
                precision=precision or "auto",
                calibrated=not uncalibrated,
                category_names=category_names,
                mirror=tta,
                looks=looks,
                group=group,
                on_shrink=log_memory,
            )
        )
        log_missing_names(category_names, predictor)
        found = share_out(
            predictor,
            lambda: evaluate_predictor(
                predictor, checkpoints, data, split, exclude, output, log, bar, labels, decisions
            ),
        )
        if found is not None:  # the main process
            echo_json(found.to_dict()) if as_json else print_evaluation(found, all_classes)
