"""Explain answers: `catdog_cli.explain`, and what `Predictor.explain` and the commands share."""

import dataclasses
import io
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..explanation.explanation import ClassMap, Explanation
from ..explanation.overlay_folder import OVERLAY_PX, open_overlay_folder
from ..images.formats.scaling import Pixels
from ..images.read import ImageError, read_pixels
from ..runtime.files import expand_home
from ..runtime.parallel import map_in_order, usable_cores
from ..runtime.progress import OnProgress, report_progress
from .batch import read_inputs
from .inputs import describe_error, fetch_input
from .prediction import Prediction
from .predictor import Predictor
from .urls import read_source

if TYPE_CHECKING:
    from torch import nn

__all__ = ["ClassMap", "Explanation", "explain"]


def explain(
    inputs: str | Path | Iterable[str | Path],
    checkpoint: str | Path,
    *,
    class_name: str | None = None,
    check: bool = True,
    output: str | Path | None = None,
    calibrated: bool = True,
    tta: bool | None = None,
    looks: str | None = None,
    head: "nn.Module | None" = None,
    device: str = "auto",
    precision: str = "auto",
    on_progress: OnProgress | None = None,
    progress: bool | None = None,
) -> list[Explanation]:
    """Explain what a checkpoint says of images: return maps of what speaks for a class, one an input.

    Args:
        inputs: one or several of what `catdog predict` takes, except "-": files, folders, patterns, lists.
        class_name: the class to explain; None: the likeliest of each image, or each label that it has.
        check: measure by how much the probability falls when the most important fifth is blurred.
        output: a folder to write each image beside its maps into, and explanations.csv.
        calibrated: divide the logits by the checkpoint's temperature.
        tta: average each image with its mirror image; None: as the checkpoint was trained to.
        looks: "once", "mirror", which is what `tta` means, or "whole": see `Predictor`.
        head: a module like the one that was trained, where the checkpoint has a custom head.
        device: "auto", "cpu" or "gpu".
        precision: "auto", "fp32" or "bf16".
        on_progress: called with (step, done, total).
        progress: show a bar; None: in a notebook alone.

    `explain(...)[0].map` is the map over the image, float32 (H, W), in logits. An image that cannot be read
    gives an explanation whose `error` says why.

    Raises:
        CatdogError: the checkpoint, a list of paths or an option cannot be used, or there is no such class.
    """
    given = [inputs] if isinstance(inputs, (str, Path)) else inputs
    predictor = Predictor.load(
        checkpoint,
        head=head,
        device=device,
        precision=precision,
        calibrated=calibrated,
        mirror=tta,
        looks=looks,
        unknown_rate=0,
    )
    sources = list(read_inputs(map(str, given), io.BytesIO()))
    found: list[Explanation] = []
    with report_progress(on_progress, progress) as report:
        explanations = iterate_explanations(predictor, sources, class_name, check, fetch_input)
        for explanation in (
            explanations if output is None else write_maps(explanations, Path(expand_home(output)))
        ):
            found.append(explanation)
            report("explaining", len(found), len(sources))
    return found


def write_maps(explanations: Iterable[Explanation], folder: Path) -> Iterator[Explanation]:
    """Yield explanations, each once its image stands beside its maps in a PNG in `folder`.

    Raises:
        CatdogError: the folder cannot be written.
    """
    with open_overlay_folder(folder) as overlays:
        for explanation in explanations:
            yield overlays.add(explanation, _read_again(explanation))


def _read_again(explanation: Explanation) -> Pixels | None:
    if not explanation.maps:
        return None
    try:
        return read_pixels(fetch_input(explanation.source), OVERLAY_PX)
    except ImageError:  # it has gone meanwhile
        return None


def iterate_explanations(
    predictor: Predictor,
    sources: Iterable[Any],
    class_name: str | None = None,
    check: bool = True,
    fetch: Callable[[Any], Any] | None = None,
    raise_errors: bool = False,
) -> Iterator[Explanation]:
    """Return an iterator over one explanation for every source, in order; memory does not grow.

    Args:
        fetch: turns a source into what can be read, in the threads that also decode.
        raise_errors: raise ImageError instead of yielding an explanation with `error`.

    Raises:
        SettingsError: as of `Predictor.explainer`.
    """
    explainer = predictor.explainer(class_name, check)

    def explain_one(source: Any) -> Explanation:
        path = _name(source)
        try:
            image = (fetch or read_source)(source)
            return Explanation(path, None, explainer.explain(image), source)
        except ImageError as error:
            named = isinstance(source, str) or hasattr(source, "path")
            reason = describe_error(source, str(error)) if named else str(error)
            if raise_errors:
                raise ImageError(reason) from error
            return Explanation(path, reason, source=source)

    return map_in_order(explain_one, sources, max(2, usable_cores()))


def explain_predictions(
    predictor: Predictor, predictions: Iterable[Prediction], class_name: str | None = None
) -> Iterator[Prediction]:
    """Return an iterator over predictions with their maps; those of unreadable images are as they were.

    Raises:
        SettingsError: as of `Predictor.explainer`.
    """
    explainer = predictor.explainer(class_name)

    def explain_one(prediction: Prediction) -> Prediction:
        if prediction.error is not None:
            return prediction
        source = prediction.path if prediction.source is None else prediction.source
        try:
            return dataclasses.replace(prediction, maps=explainer.explain(fetch_input(source)))
        except ImageError as error:  # it has gone meanwhile
            return Prediction(prediction.path, describe_error(source, str(error)), source=source)

    return map_in_order(explain_one, predictions, max(2, usable_cores()))


def _name(source: Any) -> str:
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    path = getattr(source, "path", None)
    return path if isinstance(path, str) else f"<{type(source).__name__}>"
