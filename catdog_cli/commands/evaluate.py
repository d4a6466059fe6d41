"""`catdog evaluate`: parse, call `evaluation`, print tables."""

import click

from ..evaluation.eval_split import SPLITS
from . import options
from .distributed import log_memory, several, share_out
from .grouped_help import GroupedCommand
from .output.eval_tables import StepBar, print_evaluation
from .output.terminal import echo_json, log
from .predict import log_missing_names, log_never_unknown, pick_unknown_rate

FIRST = (
    "--split",
    "--output",
    "--with",
    "--exclude",
    "--decisions",
    "--strangers",
    "--leave-class-out",
    "--unknown-rate",
    "--all-classes",
    "--json",
)


@click.command(cls=GroupedCommand, first=FIRST)
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
@click.option(
    "--strangers", type=options.PATH, metavar="DIR", help="Measure how well pictures of other kinds are told."
)
@click.option("--leave-class-out", is_flag=True, help="Measure how well each class is told by the others.")
@options.unknown_rate_option
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
    strangers: str | None,
    leave_class_out: bool,
    unknown_rate: float | None,
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
      catdog evaluate pets best.pt --strangers holiday/ --output report
    """
    from ..runs.argument_order import refuse_swapped

    if unknown_rate is not None and not (strangers or leave_class_out):
        raise click.UsageError("--unknown-rate belongs to --strangers DIR or --leave-class-out.")
    if leave_class_out and with_:
        raise click.UsageError("--leave-class-out measures one checkpoint: leave out --with.")
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
                unknown_rate=pick_unknown_rate(unknown_rate),
                group=group,
                on_shrink=log_memory,
            )
        )
        log_missing_names(category_names, predictor)
        log_never_unknown(unknown_rate, predictor)
        found = share_out(
            predictor,
            lambda: evaluate_predictor(
                predictor,
                checkpoints,
                data,
                split,
                exclude,
                output,
                log,
                bar,
                labels,
                decisions,
                strangers,
                leave_class_out,
            ),
        )
        if found is not None:  # the main process
            echo_json(found.to_dict()) if as_json else print_evaluation(found, all_classes)
