"""Conformal p-values, and sets of classes that hold the right one at a stated rate.

Both rest on one fact: among the scores of n images of the same kind, a new image's has each of n + 1 ranks
with the same chance. Source: Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

METHODS = ("lac", "aps")
MOST_SCORES = 20_000  # of validation images that a checkpoint keeps
FEWEST = 1  # images of a class below which nothing can be promised


def rank_p(sorted_scores: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return the p-values (N,) of scores (N,), large ones being strange, among sorted ones of n known images.

    At most a share `a` of images of the known kind has a p-value of `a` or less.
    """
    at_least = len(sorted_scores) - np.searchsorted(sorted_scores, scores, "left")
    return np.asarray((1 + at_least) / (len(sorted_scores) + 1))


def own_p(scores: np.ndarray) -> np.ndarray:
    """Return the p-values (n,) of known images among themselves, each taking a new one for less strange.

    That errs to the safe side by 1 / (n + 1): what is made of these p-values is as strange as it can be.
    """
    ordered = np.sort(scores)
    return np.asarray((len(scores) - np.searchsorted(ordered, scores, "left")) / (len(scores) + 1))


def join_p(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return one score, large ones being strange, of two p-values (N,) that may depend on each other.

    It is 2 divided by their harmonic mean. Source: Wilson, The harmonic mean p-value, PNAS 2019.
    """
    return 1 / first + 1 / second


def least_rate(number: int) -> float:
    """Return the smallest rate at which anything can be called unknown, with scores of `number` images."""
    return 1 / (number + 1)


def lac_scores(probabilities: np.ndarray) -> np.ndarray:
    """Return (N, C): how badly each class conforms, which is 1 minus its probability.

    Source: Sadinle, Lei and Wasserman, Least Ambiguous Set-Valued Classifiers, JASA 2019.
    """
    return 1 - probabilities


def aps_scores(probabilities: np.ndarray) -> np.ndarray:
    """Return (N, C): the probability of each class together with all likelier ones.

    Source: Romano, Sesia and Candes, Classification with Valid and Adaptive Coverage, NeurIPS 2020, without
    their random numbers: the same image always gets the same set.
    """
    order = np.argsort(-probabilities, axis=1, kind="stable")
    sums = np.cumsum(np.take_along_axis(probabilities, order, 1), axis=1)
    found = np.empty_like(sums)
    np.put_along_axis(found, order, np.minimum(sums, 1.0), 1)
    return found


SCORES = {"lac": lac_scores, "aps": aps_scores}


@dataclass(frozen=True, eq=False)
class SetScores:
    """How badly the right class conformed on validation images: what sets are calibrated by.

    `labels` are (n,) class indices; `scores` have (n,) float64 for each of METHODS.
    """

    labels: np.ndarray
    scores: dict[str, np.ndarray]

    @classmethod
    def measure(cls, probabilities: np.ndarray, labels: np.ndarray, seed: int = 0) -> "SetScores":
        """Score validation images by their probabilities (N, C) and labels (N,); of very many, a sample."""
        chosen = np.arange(len(labels))
        if len(labels) > MOST_SCORES:
            chosen = np.sort(np.random.RandomState(seed).permutation(len(labels))[:MOST_SCORES])
        labels = np.asarray(labels)[chosen]
        rows = np.arange(len(labels))
        own = {name: score(probabilities[chosen])[rows, labels] for name, score in SCORES.items()}
        return cls(labels, own)

    def thresholds(self, sure: float, method: str, num_classes: int) -> np.ndarray:
        """Return (C,): up to which score a class is in the set, so that each class is found at that rate.

        By class (Mondrian), so that a rare one is found as often as others. Infinite where a class has too
        few validation images: see `most_sure`.
        """
        found = np.full(num_classes, np.inf)
        for label in range(num_classes):
            own = np.sort(self.scores[method][self.labels == label])
            rank = math.ceil((len(own) + 1) * sure - 1e-9)
            if 1 <= rank <= len(own):
                found[label] = own[rank - 1]
        return found

    def count(self, num_classes: int) -> np.ndarray:
        """Return (C,) how many validation images each class has."""
        return np.bincount(self.labels, minlength=num_classes)

    def most_sure(self, num_classes: int) -> float:
        """Return the largest rate that can be promised for every class; 0 where one has no image."""
        fewest = int(self.count(num_classes).min())
        return fewest / (fewest + 1)

    def to_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps: tensors alone."""
        import torch

        scores = {name: torch.from_numpy(values.astype(np.float32)) for name, values in self.scores.items()}
        return {"labels": torch.from_numpy(self.labels.astype(np.int32)), **scores}

    @classmethod
    def from_dict(cls, kept: Any, num_classes: int) -> "SetScores":
        """Return what `to_dict` made of one.

        Raises:
            ValueError: it is something else.
        """
        import torch

        names = ("labels", *METHODS)
        if not isinstance(kept, dict) or set(kept) != set(names):
            raise ValueError("the scores of sets are not those of catdog")
        for name in names:
            tensor = kept[name]
            wanted = torch.int32 if name == "labels" else torch.float32
            if (
                not isinstance(tensor, torch.Tensor)
                or tensor.dtype != wanted
                or tensor.layout != torch.strided
            ):
                raise ValueError(f"{name} of the scores of sets is no tensor of {wanted}")
            if tensor.shape != (len(kept["labels"]),) or tensor.is_meta:
                raise ValueError(f"{name} of the scores of sets is {tuple(tensor.shape)}")
        scores = {name: kept[name].numpy().astype(np.float64) for name in METHODS}
        return cls(kept["labels"].numpy(), scores).checked(num_classes)

    def checked(self, num_classes: int) -> "SetScores":
        """Return these scores, which a file may have held.

        Raises:
            ValueError: they are not those of such classes.
        """
        number = len(self.labels)
        if not 0 < number <= MOST_SCORES or any(len(each) != number for each in self.scores.values()):
            raise ValueError(f"the scores of sets are of {number} images")
        if any(not np.isfinite(each).all() for each in self.scores.values()):
            raise ValueError("the scores of sets hold numbers that are not finite")
        if self.labels.min() < 0 or self.labels.max() >= num_classes:
            raise ValueError("the scores of sets are of classes that are not there")
        return self


def choose_sets(probabilities: np.ndarray, thresholds: np.ndarray, method: str) -> np.ndarray:
    """Return (N, C) booleans: which classes each image may be, of probabilities (N, C) and limits (C,)."""
    # kept in float32: what is exactly at its limit belongs to the set
    return np.asarray(SCORES[method](probabilities).astype(np.float32) <= thresholds.astype(np.float32))
