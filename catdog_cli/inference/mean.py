"""Several checkpoints as one: the mean of their calibrated probabilities.

Each looks at an image as it was trained to, and has its own temperature; the image is decoded once for all.
"""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ..errors import SettingsError, quote
from ..runtime.text import name_some
from ..settings import LOOKS
from ..settings_networks import InputSpecs, specs_of
from .predictor import Explains, Predictor
from .torch_predictor import TorchPredictor


def mean_of(members: Sequence[Predictor], paths: Sequence[str | Path]) -> "MeanPredictor":
    """Return the mean of checkpoints; see `MeanPredictor`."""
    return MeanPredictor([each for each in members if isinstance(each, TorchPredictor)], paths)


class MeanPredictor(TorchPredictor):
    """The mean of what several checkpoints of the same classes say: it answers as one `Predictor` does.

    Its `logits` are those of the mean probabilities, so that they need no temperature.
    """

    def __init__(self, members: Sequence[TorchPredictor], paths: Sequence[str | Path]):
        """Make one of several predictors, which share device, precision and all other options.

        Raises:
            SettingsError: they do not know the same classes, or do not answer the same question.
        """
        first = members[0]
        for member, path in zip(members[1:], paths[1:], strict=True):
            _refuse_other_classes(first, paths[0], member, path)
        vars(self).update(vars(first))  # names, device, task, options: what they all share
        self.members = list(members)
        self.temperature = 1.0
        self.arch = f"the mean of {len(members)} checkpoints ({', '.join(each.arch for each in members)})"
        self.input_spec = InputSpecs(tuple(spec for each in members for spec in specs_of(each.input_spec)))
        self.looks = max((each.looks for each in members), key=LOOKS.index)
        self.loaded = tuple(look for each in members for look in each.loaded)
        self.columns = [
            torch.tensor([member.class_names.index(name) for name in self.class_names], device=self.device)
            for member in members
        ]
        self.thresholds = self._mean_thresholds()

    def _mean_thresholds(self) -> list[float] | None:
        """Return the mean of the members' thresholds, from which the mean probability is said."""
        kept = [member.thresholds for member in self.members]
        if any(each is None for each in kept):
            return None
        found = [
            [each[column] for column in columns.tolist()]
            for each, columns in zip(kept, self.columns, strict=True)
            if each is not None
        ]
        return [sum(values) / len(values) for values in zip(*found, strict=True)]

    def _embed(self, pictures: Sequence[torch.Tensor], mirrored: bool = False) -> torch.Tensor:
        """Return the features of all members in a row."""
        parts = self._share_out(pictures)
        found = [member._embed(part, mirrored) for member, part in zip(self.members, parts, strict=True)]
        return torch.cat(found, 1)

    def _judge(self, pictures: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the logits (B, C) of the mean of the members' probabilities, and all their distances."""
        found, distances, parts = [], [], self._share_out(pictures)
        for member, part, columns in zip(self.members, parts, self.columns, strict=True):
            judged = member._judge(part).float()
            logits, measured = judged[:, : len(columns)], judged[:, len(columns) :]
            found.append(self.task.activate(logits / member.temperature)[:, columns])
            distances.append(measured)
        return torch.cat([self.task.logits_of(torch.stack(found).mean(0)), *distances], 1)

    def explainer(self, class_name: str | None = None, check: bool = True) -> Explains:
        """Refuse: there is no map.

        Raises:
            SettingsError: always.
        """
        raise SettingsError(
            "The mean of several checkpoints has no map, for what is averaged are probabilities: explain "
            "each checkpoint by itself."
        )

    @property
    def tells_unknown(self) -> bool:
        """Whether one of the members at least tells strangers."""
        return any(member.tells_unknown for member in self.members)

    def _p_values(self, distances: np.ndarray) -> np.ndarray:
        """Return the least p-value (N,) of the members that have any, times their number.

        So an image is unknown where it is far from what one of them was trained on, and the rate holds
        however their p-values depend on each other (Bonferroni).
        """
        measuring = [member for member in self.members if member.tells_unknown]
        pairs = np.split(distances, len(measuring), 1)
        found = [member._p_values(pair) for member, pair in zip(measuring, pairs, strict=True)]
        return np.minimum(1, len(measuring) * np.min(found, 0))

    def _share_out(self, pictures: Sequence[torch.Tensor]) -> list[Sequence[torch.Tensor]]:
        """Return the pictures of each member's own networks."""
        rest = iter(pictures)
        return [list(itertools.islice(rest, len(each.loaded))) for each in self.members]


def _refuse_other_classes(
    first: TorchPredictor, path: str | Path, other: TorchPredictor, its_path: str | Path
) -> None:
    lacking = [name for name in first.class_names if name not in set(other.class_names)]
    more = [name for name in other.class_names if name not in set(first.class_names)]
    if first.task.name != other.task.name:
        raise SettingsError(
            f"{quote(str(path))} is {first.task.name} and {quote(str(its_path))} {other.task.name}: a mean "
            f"needs checkpoints that answer the same question."
        )
    if lacking or more:
        said = [f"does not know {name_some(lacking)}"] if lacking else []
        said += [f"knows {name_some(more)} besides"] if more else []
        raise SettingsError(
            f"{quote(str(its_path))} {' and '.join(said)}, other than {quote(str(path))}: a mean needs "
            f"checkpoints of the same classes."
        )


def describe_mean(paths: Sequence[str]) -> str:
    """Return several checkpoints as one name: mean of 2 checkpoints, a.pt and b.pt; a single one as it is."""
    if len(paths) == 1:
        return paths[0]
    return f"mean of {len(paths)} checkpoints, {', '.join(paths[:-1])} and {paths[-1]}"
