"""Classify images in one call, for Python users."""

import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..runtime.progress import OnProgress, report_progress
from .batch import iterate_predictions, read_inputs
from .known import UNKNOWN_RATE
from .prediction import Prediction, Predictions
from .predictor import Predictor

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Prediction", "Predictions", "predict"]


def predict(
    inputs: str | Path | Iterable[str | Path],
    checkpoint: str | Path,
    *,
    with_: Iterable[str | Path] = (),
    top_k: int = 5,
    calibrated: bool = True,
    tta: bool | None = None,
    looks: str | None = None,
    category_names: str | Path | Mapping[str, Any] | None = None,
    head: "nn.Module | None" = None,
    device: str = "auto",
    precision: str = "auto",
    unknown_rate: float = UNKNOWN_RATE,
    sure: float | None = None,
    sets: str = "lac",
    on_progress: OnProgress | None = None,
    progress: bool | None = None,
) -> Predictions:
    """Classify images with a checkpoint file or a run directory; return one prediction an input, in order.

    Args:
        inputs: one or several of what `catdog predict` takes, except "-": files, folders, patterns, lists.
        with_: more checkpoints of the same classes: the answer is the mean of their calibrated probabilities.
        top_k: how many classes a prediction names, the likeliest first.
        calibrated: divide the logits by the checkpoint's temperature.
        tta: average each image with its mirror image; None: as the checkpoint was trained to.
        looks: "once", "mirror", which is what `tta` means, or "whole": see `Predictor`.
        category_names: a JSON file of names to show for classes, or such names; None: the checkpoint's.
        head: a module like the one that was trained, where the checkpoint has a custom head.
        device: "auto", "cpu" or "gpu".
        precision: "auto", "fp32" or "bf16".
        unknown_rate: at most this share of images of the trained kind is called unknown; 0: never.
        sure: give the classes that hold the right one at this rate, such as 0.95, too.
        sets: how these are chosen: "lac", the smallest, or "aps".
        on_progress: called with (step, done, total).
        progress: show a bar; None: in a notebook alone.

    An image that cannot be read gives a prediction whose `error` says why.

    Raises:
        CatdogError: the checkpoint, a list of paths or an option cannot be used.
    """
    given = [inputs] if isinstance(inputs, (str, Path)) else inputs
    predictor = Predictor.load(
        checkpoint,
        *with_,
        head=head,
        device=device,
        precision=precision,
        calibrated=calibrated,
        category_names=category_names,
        mirror=tta,
        looks=looks,
        unknown_rate=unknown_rate,
        sure=sure,
        sets=sets,
    )
    sources = list(read_inputs(map(str, given), io.BytesIO()))  # "-" would be stdin, which is not read here
    found = Predictions()
    with report_progress(on_progress, progress) as report:
        for prediction in iterate_predictions(predictor, sources, top_k):
            found.append(prediction)
            report("predicting", len(found), len(sources))
    return found
