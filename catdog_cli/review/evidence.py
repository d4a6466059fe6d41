"""What a checkpoint makes of every picture of a data set: features and probabilities.

The features come from the feature cache where it has them: after training on a frozen network it has all.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import torch

from ..data.dataset import Dataset
from ..data.digests import content_keys, file_digest
from ..data.label_lists import LabelForm
from ..data.loaders import Images
from ..features.cache_fill import build_feature_table
from ..features.extractor import AnyPrefix, ImageSet, View, frozen_prefix, image_set, run_prefix
from ..known.reference import pool
from ..models.tasks import Task
from ..runs.checkpoint import LoadedModel, build_from_checkpoint, load_checkpoint
from ..runs.directory import find_checkpoint
from ..runtime.devices import pick_device, pick_precision

Report = Callable[[int, int], None]  # (done, total)
AT_ONCE = 1024  # rows through the head


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a checkpoint says of N pictures, those of all splits in a row.

    Attributes:
        features: float32 (N, D); NaN where a picture cannot be read.
        probabilities: float64 (N, C), calibrated; NaN where a picture cannot be read.
        contents: a digest of each picture's content.
        strangeness: p-values (N,), small ones being of strangers; None where the checkpoint cannot tell them.
    """

    features: np.ndarray
    probabilities: np.ndarray
    contents: list[str]
    strangeness: np.ndarray | None = None

    def readable(self) -> np.ndarray:
        """Return the places of the pictures that can be read: int64."""
        return np.flatnonzero(~np.isnan(self.probabilities[:, 0]))


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A checkpoint that is asked: its network, where that computes, and the digest of its file."""

    path: Path
    model: LoadedModel
    device: torch.device
    dtype: torch.dtype
    digest: str

    @classmethod
    def load(cls, path: str | Path, device: str = "auto", precision: str = "auto") -> "Checkpoint":
        """Load a checkpoint file or the best of a run directory.

        Raises:
            CatdogError: it cannot be used, or the device is not there.
        """
        file = find_checkpoint(path)
        model = build_from_checkpoint(load_checkpoint(file), file)
        place = pick_device(device)
        model.classifier.to(place)
        return cls(file, model, place, pick_precision(precision, place), file_digest(file) or "")

    @property
    def task(self) -> Task:
        """What its outputs mean."""
        return self.model.task

    def label_form(self, labels: LabelForm) -> LabelForm:
        """Return how a table is read: as said, else as the one that the checkpoint was trained on."""
        if not self.task.several:
            return labels
        return dataclasses.replace(labels, several=True, usual=self.model.label_delimiter)

    def collect(self, dataset: Dataset, report: Report) -> Evidence:
        """Return what the network makes of every picture; `report(done, total)` counts those computed.

        What it makes of pictures whose content is in the feature cache is taken from there; a cache that
        cannot be written is done without.
        """
        classifier = self.model.classifier
        border = len(classifier.blocks)
        prefix = frozen_prefix(classifier, border, self.model.input_spec, self.dtype, self.device)
        contents = {side: content_keys(dataset, side) for side in dataset.splits}
        sets = [
            image_set(Images(dataset, side, self.model.input_spec), keys) for side, keys in contents.items()
        ]
        features = np.concatenate([_kept_features(prefix, chosen, report) for chosen in sets])
        strangeness = self._measure(sets, features, report)
        return Evidence(features, self._judge(features), list(chain(*contents.values())), strangeness)

    def _measure(self, sets: list[ImageSet], features: np.ndarray, report: Report) -> np.ndarray | None:
        """Return the p-values (N,) of strangers, 1 of what cannot be read; None where nothing tells them.

        They come from the features (N, D), or from those of an inner block, which the cache does not hold.
        """
        reference = self.model.reference
        if reference is None:
            return None
        seen = features
        if reference.border:
            classifier, spec = self.model.classifier, self.model.input_spec
            inner = frozen_prefix(classifier, reference.border, spec, self.dtype, self.device)
            seen = np.concatenate([_fresh_features(inner, chosen, report, pool) for chosen in sets])
        p_values, readable = np.ones(len(seen)), ~np.isnan(seen).any(1)
        if readable.any():
            distances = reference.meter(self.device)(torch.from_numpy(seen[readable]).to(self.device))
            p_values[readable] = reference.p_values(distances.cpu().numpy())
        return p_values

    @torch.no_grad()
    def _judge(self, features: np.ndarray) -> np.ndarray:
        """Return the probabilities (N, C) of features (N, D)."""
        head = self.model.classifier.head.eval()
        parts = [torch.empty(0, len(self.model.class_names))]
        for start in range(0, len(features), AT_ONCE):
            part = torch.from_numpy(features[start : start + AT_ONCE]).to(self.device)
            parts.append(head(part).float().cpu())
        logits = torch.cat(parts).double().numpy()
        return self.task.probabilities(logits, self.model.temperature)


def _kept_features(prefix: AnyPrefix, chosen: ImageSet, report: Report) -> np.ndarray:
    """Return what the network makes of a split's pictures: float32 (N, D), NaN where one cannot be read."""
    try:
        table = build_feature_table(prefix, chosen, View(), report)
    except OSError:  # no permission, or the disk is full
        return _fresh_features(prefix, chosen, report)
    good = chosen.good_indices()
    return _spread(table.take(good).float(), good, len(chosen))


def _fresh_features(
    prefix: AnyPrefix,
    chosen: ImageSet,
    report: Report,
    after: Callable[[torch.Tensor], torch.Tensor] = torch.Tensor.float,
) -> np.ndarray:
    """As `_kept_features`, computed from the pictures, without the cache; `after` makes rows of outputs."""
    parts, places, done = [], [torch.empty(0, dtype=torch.int64)], 0
    for indices, outputs, bad in run_prefix(prefix, chosen, list(range(len(chosen))), View(), after):
        chosen.note_bad(bad)
        if len(indices):
            parts.append(outputs)
            places.append(indices)
        done += len(indices) + len(bad)
        report(done, len(chosen))
    width = after(torch.empty(1, *prefix.output_shape)).shape[1]
    return _spread(torch.cat([torch.empty(0, width), *parts]), torch.cat(places), len(chosen))


def _spread(values: torch.Tensor, places: torch.Tensor, number: int) -> np.ndarray:
    """Return (number, D) with the values (G, D) at their places (G,), and NaN elsewhere."""
    rows = np.full((number, values.shape[1]), np.nan, np.float32)
    rows[places.numpy()] = values.numpy()
    return rows
