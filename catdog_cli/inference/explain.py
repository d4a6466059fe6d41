"""Explain answers: `catdog_cli.explain`, and what `Predictor.explain` and the commands share."""

import dataclasses
import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from ..errors import SettingsError, quote
from ..explanation.class_maps import ClassMapper, ClassMaps
from ..explanation.deletion import blur_places
from ..explanation.explanation import ClassMap, Explanation
from ..explanation.overlay_folder import OVERLAY_PX, open_overlay_folder
from ..explanation.placement import Box, Piece, enlarge, join_boxes, join_pieces, seen_box
from ..images.looks import ONCE
from ..images.read import ImageError, read_image, read_size
from ..images.transforms import load_looks
from ..runtime.files import expand_home
from ..runtime.parallel import map_in_order, usable_cores
from ..runtime.progress import OnProgress, report_progress
from ..runtime.text import name_some
from ..settings_networks import specs_of
from .answer import Answer
from .batch import read_inputs
from .inputs import describe_error, fetch_input
from .mean import MeanPredictor
from .prediction import Prediction
from .torch_predictor import TorchPredictor as Predictor
from .urls import read_source

if TYPE_CHECKING:
    from torch import nn

__all__ = ["ClassMap", "Explanation", "explain"]

CHECKED_AT_ONCE = 4  # blurred images: a batch size that predicting has, too


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


def _read_again(explanation: Explanation) -> torch.Tensor | None:
    if not explanation.maps:
        return None
    try:
        return read_image(fetch_input(explanation.source), OVERLAY_PX)
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
        SettingsError: there is no such class, or the predictor is the mean of several checkpoints.
    """
    explainer = Explainer(predictor, class_name, check)

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
        SettingsError: as of `iterate_explanations`.
    """
    explainer = Explainer(predictor, class_name)

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


class Seen(NamedTuple):
    """What is seen of one image: by each network, at each look."""

    views: Sequence[torch.Tensor]  # uint8 (1, 3, size, size)
    boxes: Sequence[Box]  # where each lies in `box`
    box: Box  # what is seen of the image altogether
    size: tuple[int, int]  # height and width of the image in px


class Look(NamedTuple):
    """What the networks make of one look at an image, or of its mirror image."""

    activations: list[torch.Tensor]  # of each network, at its cut
    features: torch.Tensor  # (1, D)
    logits: torch.Tensor  # (C,), on the CPU
    mirrored: bool


class Explainer:
    """Explains what a predictor says of images: of the class that is asked for, or of what it says itself."""

    def __init__(self, predictor: Predictor, class_name: str | None = None, check: bool = True):
        """Cut the predictor's networks.

        Raises:
            SettingsError: there is no such class, or the predictor is the mean of several checkpoints.
        """
        if isinstance(predictor, MeanPredictor):
            raise SettingsError(
                "The mean of several checkpoints has no map, for what is averaged are probabilities: explain "
                "each checkpoint by itself."
            )
        self.predictor, self.check = predictor, check
        self.label = None if class_name is None else find_class(predictor, class_name)
        self.side = max(spec.size for spec, _ in predictor.loaded)
        if predictor.mapper is None:
            predictor.mapper = _make_mapper(predictor)
        self.mapper = predictor.mapper

    def explain(self, source: Any) -> tuple[ClassMap, ...]:
        """Return the maps of what can be read: of one class, or of each label that it has.

        Raises:
            ImageError: it cannot be read.
        """
        predictor, seen = self.predictor, self.see(source)
        own = len(specs_of(predictor.input_spec))
        turns = (False,) if predictor.looks == ONCE else (False, True)
        groups = [
            [self._look(seen.views[start : start + own], mirrored) for mirrored in turns]
            for start in range(0, len(seen.views), own)
        ]
        looks = [look for group in groups for look in group]
        logits = sum((look.logits for look in looks[1:]), looks[0].logits) / len(looks)
        chances = predictor._probabilities(logits[None])[0]
        names = predictor.class_names, predictor.names
        answer = Answer(source, logits, chances, None, *names, predictor.thresholds)
        labels = self._choose(answer)
        found = [self._map(group, labels) for group in groups]
        method = self.mapper.describe(looks[0].features)
        return tuple(
            self._describe(answer, label, maps, seen, method)
            for label, maps in zip(labels, zip(*found, strict=True), strict=True)
        )

    def see(self, source: Any) -> Seen:
        """Return what is seen of what can be read.

        Raises:
            ImageError: it cannot be read.
        """
        predictor = self.predictor
        image, size = load_looks(source, predictor.loaded), read_size(source)
        views = predictor._unpack(predictor._stack([image])[:1].to(predictor.device))
        boxes = [seen_box(*size, spec, kind) for spec, kind in predictor.loaded]
        whole = join_boxes(boxes)
        return Seen(views, [box.relative_to(whole) for box in boxes], whole, size)

    def _look(self, views: Sequence[torch.Tensor], mirrored: bool) -> Look:
        activations = self.mapper.activate(self.predictor._normalise(views, mirrored))
        features = self.mapper.embed(activations)
        with torch.no_grad():
            logits = self.predictor._score(features)[0].cpu()
        return Look(activations, features, logits, mirrored)

    def _choose(self, answer: Answer) -> list[int]:
        """Return the class to explain, or each label that the image has, by index."""
        if self.label is not None:
            return [self.label]
        if answer.labels is None:
            return [self.predictor.class_names.index(answer.top_k(1)[0].class_name)]
        return [self.predictor.class_names.index(each.class_name) for each in answer.labels]

    def _map(self, looks: Sequence[Look], labels: Sequence[int]) -> list[ClassMaps]:
        """Return the maps of some classes, each the mean over a look and its mirror image."""
        found = []
        for look in looks:
            maps = self.mapper.map_classes(look.activations, look.features, labels)
            found.append([_turn_back(each) if look.mirrored else each for each in maps])
        return [_mean(each) for each in zip(*found, strict=True)]

    def _describe(
        self, answer: Answer, label: int, maps: Sequence[ClassMaps], seen: Seen, method: tuple[str, bool]
    ) -> ClassMap:
        """Return the map of a class that its maps at each look amount to."""
        assert answer.logits is not None
        assert answer.probabilities is not None
        grids = [grid.numpy() / len(maps) for each in maps for grid in each.grids]
        grid = join_pieces([Piece(*pair) for pair in zip(grids, seen.boxes, strict=True)], self.side)
        own = len(maps[0].grids)
        fall, fall_random = self.measure_falls(seen, grid, label) if self.check else (None, None)
        return ClassMap(
            class_name=self.predictor.class_names[label],
            name=self.predictor.names[label],
            probability=float(answer.probabilities[label]),
            logit=float(answer.logits[label]),
            bias=maps[0].bias,
            method=method[0],
            exact=method[1],
            grid=grid,
            parts=tuple(float(sum(each.mean() for each in grids[place::own])) for place in range(own)),
            box=seen.box,
            size=seen.size,
            fall=fall,
            fall_random=fall_random,
        )

    def measure_falls(self, seen: Seen, grid: np.ndarray, label: int) -> tuple[float, float]:
        """Return by how much a probability falls with the important fifth blurred, and with random ones.

        Args:
            seen: what `see` returned of an image.
            grid: the map whose largest fifth is important.
            label: the class, by index.
        """
        predictor, heat = self.predictor, enlarge(grid, self.side, self.side)
        changed = blur_places([view[0] for view in seen.views], seen.boxes, heat)
        logits = []
        with torch.no_grad():
            for part in zip(*(each.split(CHECKED_AT_ONCE) for each in changed), strict=True):
                pictures = [each.to(predictor.device) for each in part]
                logits.append(predictor._split(predictor._judge(pictures).cpu())[0])
        chances = predictor._probabilities(torch.cat(logits))[:, label].numpy()
        falls = chances[0] - chances[1:]
        return float(falls[0]), float(falls[1:].mean())


def _make_mapper(predictor: Predictor) -> ClassMapper:
    """Cut a predictor's networks."""
    sizes = [spec.size for spec in specs_of(predictor.input_spec)]
    chains = [[form] for form in predictor.backbones]
    if predictor.front is not None:  # of one network
        chains[0].insert(0, predictor.front)
    return ClassMapper(chains, predictor.num_prefix_tokens, sizes, predictor.head)


def _turn_back(maps: ClassMaps) -> ClassMaps:
    return maps._replace(grids=[grid.flip(1) for grid in maps.grids])


def _mean(maps: Sequence[ClassMaps]) -> ClassMaps:
    grids = [torch.stack(each).mean(0) for each in zip(*(part.grids for part in maps), strict=True)]
    return ClassMaps(grids, maps[0].bias)


def find_class(predictor: Predictor, name: str) -> int:
    """Return the index of the class with a folder or display name.

    Raises:
        SettingsError: there is none, or several are shown by that name.
    """
    if name in predictor.class_names:
        return predictor.class_names.index(name)
    found = [index for index, each in enumerate(predictor.names) if each == name]
    if len(found) != 1:
        problem = "several are shown by that name" if found else "the checkpoint does not know it"
        raise SettingsError(
            f"Cannot explain the class {quote(name)}: {problem}; give one of "
            f"{name_some(predictor.class_names)}."
        )
    return found[0]
