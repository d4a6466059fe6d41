"""What a checkpoint's answers rest on: its networks cut in two, and the maps of what lies between."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from ..explanation.class_maps import ClassMapper, ClassMaps
from ..explanation.deletion import blur_places
from ..explanation.explanation import ClassMap
from ..explanation.placement import Box, Piece, enlarge, join_boxes, join_pieces, seen_box
from ..images.looks import ONCE
from ..images.read import read_size
from ..images.transforms import load_looks
from ..settings_networks import specs_of
from .answer import Answer
from .torch_predictor import TorchPredictor

CHECKED_AT_ONCE = 4  # blurred images: a batch size that predicting has, too


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

    def __init__(self, predictor: TorchPredictor, class_name: str | None = None, check: bool = True):
        """Cut the predictor's networks.

        Raises:
            SettingsError: there is no such class.
        """
        self.predictor, self.check = predictor, check
        self.label = None if class_name is None else predictor.find_class(class_name)
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
        views = [view[0].permute(1, 2, 0).contiguous().cpu().numpy() for view in seen.views]
        changed = [torch.from_numpy(each) for each in blur_places(views, seen.boxes, heat)]
        tensors = [each.permute(0, 3, 1, 2) for each in changed]
        logits = []
        with torch.no_grad():
            for part in zip(*(each.split(CHECKED_AT_ONCE) for each in tensors), strict=True):
                pictures = [each.to(predictor.device) for each in part]
                logits.append(predictor._split(predictor._judge(pictures).cpu())[0])
        chances = predictor._probabilities(torch.cat(logits))[:, label].numpy()
        falls = chances[0] - chances[1:]
        return float(falls[0]), float(falls[1:].mean())


def _make_mapper(predictor: TorchPredictor) -> ClassMapper:
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
