"""`catdog_cli.evaluate` and `catdog_cli.compare`: what checkpoints are worth on labelled images."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.label_lists import LabelForm
from ..inference.known import UNKNOWN_RATE
from ..inference.predictor import Predictor
from ..runs.argument_order import refuse_swapped
from ..runs.checkpoint import load_checkpoint
from ..runtime.files import expand_home
from ..runtime.memory import describe_shrink
from ..runtime.progress import OnProgress, report_progress
from ..settings_head import CUSTOM
from .compare import compare_predictors
from .evaluate import evaluate_predictor
from .multilabel.compare import LabelComparison
from .multilabel.result import LabelEvaluation
from .result import Comparison, Evaluation

if TYPE_CHECKING:
    from torch import nn

Log = Callable[[str], None]
Names = str | Path | Mapping[str, Any] | None


def evaluate(
    checkpoint: str | Path,
    data: str | Path,
    *,
    with_: Iterable[str | Path] = (),
    split: str | None = None,
    exclude: str | Path | None = None,
    decisions: str | Path | None = None,
    label_delimiter: str = "",
    label_columns: str = "",
    output: str | Path | None = None,
    calibrated: bool = True,
    tta: bool | None = None,
    looks: str | None = None,
    category_names: Names = None,
    head: "nn.Module | None" = None,
    device: str = "auto",
    precision: str = "auto",
    unknown_rate: float = UNKNOWN_RATE,
    strangers: str | Path | None = None,
    leave_class_out: bool = False,
    log: Log | None = None,
    on_progress: OnProgress | None = None,
    progress: bool | None = None,
) -> Evaluation | LabelEvaluation:
    """Measure a checkpoint on labelled images, as `catdog evaluate` does.

    A folder that the checkpoint was trained on is measured on the images that training kept apart.

    Args:
        checkpoint: a file or a run directory.
        data: what `train` takes.
        with_: more checkpoints of the same classes: measured is the mean of their calibrated probabilities.
        split: "train", "val", "test" or "all"; by default test if there is one, else val, else all.
        exclude: a file of paths to leave out.
        decisions: a file of labels put right and pictures left out, as `catdog data review` writes it.
        label_delimiter, label_columns: how a table holds several labels an image, as for `train`.
        output: a folder to write report.html and its pictures into.
        calibrated: divide the logits by the checkpoint's temperature.
        tta: average each image with its mirror image; None: as the checkpoint was trained to.
        looks: "once", "mirror", which is what `tta` means, or "whole": see `Predictor`.
        category_names: a JSON file of names to show for classes, or such names; None: the checkpoint's.
        head: a module like the one that was trained, where the checkpoint has a custom head.
        device: "auto", "cpu" or "gpu".
        precision: "auto", "fp32" or "bf16".
        unknown_rate: the share of the checkpoint's own kind of image that may be called unknown.
        strangers: images of another kind, as for `predict`: measured is how well they are told.
        leave_class_out: measure how well each class is told as a stranger by the others.
        log: gets a sentence on what is measured, on each warning and each image that cannot be read.
        on_progress: called with (step, done, total).
        progress: show a bar; None: in a notebook alone.

    Raises:
        CatdogError: the checkpoint, the data or an option cannot be used, or the report cannot be written.
    """
    say, data = log or _ignore, expand_home(data)
    refuse_swapped([data], [str(checkpoint)], "evaluate({checkpoint!r}, {data!r})")
    paths = [str(checkpoint), *map(str, with_)]
    predictor = _load(
        paths, device, precision, say, category_names, calibrated, tta, looks, head, unknown_rate
    )
    with report_progress(on_progress, progress) as report:
        return evaluate_predictor(
            predictor,
            paths,
            data,
            split,
            expand_home(exclude),
            expand_home(output),
            say,
            report,
            LabelForm(label_delimiter, label_columns),
            expand_home(decisions),
            None if strangers is None else str(expand_home(strangers)),
            leave_class_out,
        )


def compare(
    first: str | Path,
    second: str | Path,
    data: str | Path,
    *,
    split: str | None = None,
    exclude: str | Path | None = None,
    decisions: str | Path | None = None,
    label_delimiter: str = "",
    label_columns: str = "",
    category_names: Names = None,
    head: "nn.Module | None" = None,
    device: str = "auto",
    precision: str = "auto",
    log: Log | None = None,
    on_progress: OnProgress | None = None,
    progress: bool | None = None,
) -> Comparison | LabelComparison:
    """Measure two checkpoints on the same labelled images and say whether they differ by more than chance.

    Classes are matched by name, and images that either cannot read count for neither; the arguments are
    those of `evaluate`.

    Args:
        head: a module like the one that was trained, for whichever of the two has a custom head.

    Raises:
        CatdogError: as of `evaluate`, or an image shows a class that one of the two does not know.
    """
    say, data = log or _ignore, expand_home(data)
    refuse_swapped([data], [str(first), str(second)], "compare({checkpoint!r}, OTHER, {data!r})")
    predictors = [
        _load([path], device, precision, say, category_names, head=own)
        for path, own in zip((first, second), _share_head(head, first, second), strict=True)
    ]
    with report_progress(on_progress, progress) as report:
        return compare_predictors(
            predictors,
            (str(first), str(second)),
            data,
            split,
            expand_home(exclude),
            say,
            report,
            LabelForm(label_delimiter, label_columns),
            expand_home(decisions),
        )


def _load(
    checkpoints: Sequence[str | Path],
    device: str,
    precision: str,
    log: Log,
    category_names: Names,
    calibrated: bool = True,
    tta: bool | None = None,
    looks: str | None = None,
    head: "nn.Module | None" = None,
    unknown_rate: float = 0,  # comparing needs no strangers
) -> Predictor:
    return Predictor.load(
        *checkpoints,
        head=head,
        device=device,
        precision=precision,
        calibrated=calibrated,
        category_names=category_names,
        mirror=tta,
        looks=looks,
        unknown_rate=unknown_rate,
        on_shrink=lambda size: log(describe_shrink(size)),
    )


def _share_head(head: "nn.Module | None", first: str | Path, second: str | Path) -> "list[nn.Module | None]":
    """Return the module for each of two checkpoints that has a custom head; for both where none has."""
    if head is None:
        return [None, None]
    custom = [load_checkpoint(path).get("head") == CUSTOM for path in (first, second)]
    return [head if own or not any(custom) else None for own in custom]


def _ignore(text: str) -> None:
    pass
