"""What an exported file's answers rest on: the class maps that its graph gives beside them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ..errors import SettingsError
from ..explanation.deletion import blur_places
from ..explanation.explanation import EXACT, ClassMap
from ..explanation.placement import Box, Piece, enlarge, join_boxes, join_pieces, seen_box
from ..images.formats.scaling import Pixels
from ..images.read import read_size
from ..settings_networks import specs_of
from .answer import Answer
from .onnx_metadata import LOGITS
from .onnx_predictor import OnnxPredictor

WHOLE_BOX = Box(0, 0, 1, 1)


class Seen(NamedTuple):
    """One image: its pixels as they were read, what is seen of it, and its height and width in px."""

    pixels: Pixels
    boxes: Sequence[Box]  # of each look, in `box`
    box: Box  # what is seen of the image altogether
    size: tuple[int, int]


class OnnxExplainer:
    """Explains what an exported file says of images: of the class that is asked for, or of what it says."""

    def __init__(self, predictor: OnnxPredictor, class_name: str | None = None, check: bool = True):
        """Find the class.

        Raises:
            SettingsError: there is no such class, or the file has no maps.
        """
        maps = predictor.metadata.maps
        if maps is None:
            raise SettingsError(
                f"{predictor.file.path!r} has no maps: a file carries them where they are exact, which those "
                f"of {predictor.arch} with its head are not; explain the checkpoint that it was made from."
            )
        self.predictor, self.check, self.maps = predictor, check, maps
        self.label = None if class_name is None else predictor.find_class(class_name)
        self.side = max(spec.size for spec in specs_of(predictor.input_spec))

    def explain(self, source: Any) -> tuple[ClassMap, ...]:
        """Return the maps of what can be read: of one class, or of each label that it has.

        Raises:
            ImageError: it cannot be read.
        """
        predictor, seen = self.predictor, self.see(source)
        names = [LOGITS, *(each.name for each in self.maps.outputs)]
        logits, *grids = (found[0] for found in predictor.run(seen.pixels[None], names))
        chances = predictor._probabilities(logits[None])[0]
        shown = predictor.class_names, predictor.names
        answer = Answer(source, logits, chances, None, *shown, predictor.thresholds)
        return tuple(self._describe(answer, label, grids, seen) for label in self._choose(answer))

    def see(self, source: Any) -> Seen:
        """Return what is seen of what can be read.

        Raises:
            ImageError: it cannot be read.
        """
        pixels, size = self.predictor.read(source), read_size(source)
        boxes = [seen_box(*size, spec, kind) for spec, kind in self.predictor.loaded]
        whole = join_boxes(boxes)
        return Seen(pixels, [box.relative_to(whole) for box in boxes], whole, size)

    def _choose(self, answer: Answer) -> list[int]:
        """Return the class to explain, or each label that the image has, by index."""
        if self.label is not None:
            return [self.label]
        found = answer.top_k(1) if answer.labels is None else answer.labels
        return [self.predictor.class_names.index(each.class_name) for each in found]

    def _describe(self, answer: Answer, label: int, maps: Sequence[np.ndarray], seen: Seen) -> ClassMap:
        """Return the map of a class that its maps (C, rows, columns) at each look amount to."""
        predictor, own = self.predictor, len(specs_of(self.predictor.input_spec))
        grids = [each[label] / (len(maps) // own) for each in maps]
        grid = join_pieces([Piece(*pair) for pair in zip(grids, seen.boxes, strict=True)], self.side)
        fall, fall_random = self.measure_falls(seen, grid, label) if self.check else (None, None)
        return ClassMap(
            class_name=predictor.class_names[label],
            name=predictor.names[label],
            probability=float(answer.probabilities[label]),
            logit=float(answer.logits[label]),
            bias=self.maps.bias[label],
            method=EXACT,
            exact=True,
            grid=grid,
            parts=tuple(float(sum(each.mean() for each in grids[place::own])) for place in range(own)),
            box=seen.box,
            size=seen.size,
            fall=fall,
            fall_random=fall_random,
        )

    def measure_falls(self, seen: Seen, grid: np.ndarray, label: int) -> tuple[float, float]:
        """Return by how much a probability falls with the important fifth blurred, and with random ones.

        Blurred is the image at the size to which the graph resizes it anyway: what a network sees of it then
        differs from what `torch_explainer` blurs by rounding.
        """
        predictor = self.predictor
        image = _resize(seen.pixels, predictor)
        rows, columns = seen.box.in_pixels(*image.shape[:2])
        heat = enlarge(grid, self.side, self.side)
        (blurred,) = blur_places([np.ascontiguousarray(image[rows, columns])], [WHOLE_BOX], heat)
        changed = np.repeat(image[None], len(blurred), 0)
        changed[:, rows, columns] = blurred
        (logits,) = predictor.run(changed, [LOGITS])
        chances = predictor._probabilities(logits)[:, label]
        falls = chances[0] - chances[1:]
        return float(falls[0]), float(falls[1:].mean())


def _resize(pixels: Pixels, predictor: OnnxPredictor) -> Pixels:
    """Return an image, its shorter side as long as the network wants it with the largest input."""
    spec = max(specs_of(predictor.input_spec), key=lambda each: each.resize)
    height, width = pixels.shape[:2]
    shorter = min(height, width)
    size = width * spec.resize // shorter, height * spec.resize // shorter
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling[spec.interpolation.upper()]))
