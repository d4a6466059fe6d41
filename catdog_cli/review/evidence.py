"""What a checkpoint makes of every picture of a data set: features and probabilities.

The features come from the feature cache where it has them: after training on a frozen network it has all.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..data.dataset import Dataset
from ..data.digests import content_keys, file_digest
from ..data.label_lists import LabelForm
from ..data.loaders import Images
from ..features.cache_fill import build_feature_table
from ..features.extractor import AnyPrefix, ImageSet, View, frozen_prefix, image_set, run_prefix
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
        unreadable: why, by place.
        contents: a digest of each picture's content.
    """

    features: np.ndarray
    probabilities: np.ndarray
    unreadable: dict[int, str]
    contents: list[str]

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
        rows: list[np.ndarray] = []
        contents: list[str] = []
        unreadable: dict[int, str] = {}
        for side in dataset.splits:
            keys = content_keys(dataset, side)
            chosen = image_set(Images(dataset, side, self.model.input_spec), keys)
            rows.append(_features(prefix, chosen, report))
            unreadable |= {len(contents) + place: found.reason for place, found in chosen.bad.items()}
            contents += keys
        features = np.concatenate(rows)
        return Evidence(features, self._judge(features), unreadable, contents)

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


def _features(prefix: AnyPrefix, chosen: ImageSet, report: Report) -> np.ndarray:
    """Return what the network makes of a split's pictures: float32 (N, D), NaN where one cannot be read."""
    try:
        table = build_feature_table(prefix, chosen, View(), report)
        good = chosen.good_indices()
        values = table.take(good).float().numpy()
    except OSError:  # no permission, or the disk is full
        parts, places, done = [], [], 0
        for indices, outputs, bad in run_prefix(prefix, chosen, list(range(len(chosen))), View()):
            chosen.note_bad(bad)
            if len(indices):
                parts.append(outputs.float())
                places.append(indices)
            done += len(indices) + len(bad)
            report(done, len(chosen))
        good = torch.cat([torch.empty(0, dtype=torch.int64), *places])
        values = torch.cat(parts).numpy() if parts else np.empty((0, *prefix.output_shape), np.float32)
    rows = np.full((len(chosen), *values.shape[1:]), np.nan, np.float32)
    rows[good.numpy()] = values
    return rows
