"""Heads on kept features, fold by fold: solved over a grid of L2, or trained as the training loop would.

A trial is a tenth of a second to a few: nothing is decoded, nothing passes a network, nothing is written. The
steps are those of `training.loop`: same first weights, losses, optimizer and schedule; only the order of
images differs from that of a run.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import cast

import numpy as np
import torch
from torch import nn

from ..models.classifier import Classifier
from ..models.heads import Dropout, Standardise, build_head
from ..models.tasks import Task
from ..runtime.parallel import map_in_order, usable_cores
from ..runtime.seeds import generator_of, seed_of
from ..settings import HeadSpec, Phase
from ..training.lbfgs_head import Parameters, solve_regression
from ..training.optimizers import build_optimizer
from ..training.schedule import rate_factor, set_rates
from ..training.setup import NORM_PICTURES

FIRST_FOLDS = 2  # after which a trial that is behind is given up
Cut = tuple[int, torch.Tensor, torch.Tensor]  # a fold, the rows inside, those held out
ROUGH_TOLERANCE = 3e-4  # of the gradient, for a trial; the last training goes on to 1e-5


@dataclass(eq=False)
class FeatureSet:
    """What a network makes of the readable training images.

    `train` (V, N, D) are the views to learn from, `looks` (L, N, D) those whose answers are averaged;
    `places` (N,) are the images among all.
    """

    train: torch.Tensor
    looks: torch.Tensor
    labels: torch.Tensor
    places: torch.Tensor
    widths: tuple[int, ...]  # columns of each of several networks

    @property
    def num_features(self) -> int:
        return self.train.shape[2]


@dataclass(frozen=True)
class Scope:
    """What all trials of a search have in common."""

    task: Task
    num_classes: int
    folds: np.ndarray  # int64 (N of all images,)
    seed: int

    def cuts(self, features: FeatureSet) -> Iterator[Cut]:
        """Yield each fold with the rows of the images inside and of those held out."""
        own = self.folds[features.places.numpy()]
        for fold in range(int(self.folds.max()) + 1):
            held = own == fold
            if held.any() and not held.all():
                yield fold, torch.from_numpy(np.flatnonzero(~held)), torch.from_numpy(np.flatnonzero(held))

    def blank(self) -> np.ndarray:
        """Return probabilities (N, C) that are not known yet."""
        return np.full((len(self.folds), self.num_classes), np.nan, dtype=np.float32)


def solve_grid(
    scope: Scope,
    features: FeatureSet,
    strengths: tuple[float, ...],
    class_weights: str,
    check: Callable[[], None] = lambda: None,
) -> dict[float, np.ndarray]:
    """Return the held-out probabilities (N, C) of solved heads by their L2 strength.

    `check` may raise between two strengths.
    """

    def solve(cut: Cut) -> dict[float, np.ndarray]:
        _, inside, held = cut
        norm = _fit_norm(features, inside, scope.seed)
        rows = norm(features.train[:, inside]).flatten(0, 1)
        labels = torch.cat([features.labels[inside]] * len(features.train))
        answers = norm(features.looks[:, held].mean(0))  # of a linear head the mean of answers
        weights = _class_weights(scope, features.labels[inside], class_weights)
        start: Parameters | None = None
        own = {}
        for strength in sorted(strengths, reverse=True):  # the stronger, the sooner; each starts the next
            check()
            tolerance = ROUGH_TOLERANCE * min(1.0, strength / 0.01)
            start = weight, bias = solve_regression(
                scope.task, rows, labels, scope.num_classes, strength, weights, 0.0, start, tolerance
            )
            own[strength] = scope.task.activate(answers @ weight.T + bias).float().numpy()
        return own

    found = {strength: scope.blank() for strength in strengths}
    cuts = list(scope.cuts(features))
    for (_, _, held), own in zip(cuts, map_in_order(solve, cuts, _threads(cuts)), strict=True):
        for strength, answers in own.items():
            found[strength][features.places[held].numpy()] = answers
    return found


def train_folds(
    scope: Scope,
    features: FeatureSet,
    head: HeadSpec,
    phase: Phase,
    should_end: Callable[[np.ndarray], bool],
    check: Callable[[], None] = lambda: None,
) -> np.ndarray:
    """Return the held-out probabilities (N, C) of a head that is trained on each fold's rest.

    A core trains a fold; the result does not depend on how many there are.

    Args:
        should_end: gets the probabilities of the first FIRST_FOLDS folds, NaN elsewhere; True ends the trial.
        check: may raise between two epochs.
    """

    def train(cut: Cut) -> np.ndarray:
        fold, inside, held = cut
        norm = _fit_norm(features, inside, scope.seed)
        values, labels = norm(features.train[:, inside]), features.labels[inside]
        layers = _train(scope, copy.deepcopy(fresh), values, labels, phase, fold, check)
        with torch.no_grad():
            logits = torch.stack([layers(norm(look)) for look in features.looks[:, held]]).mean(0)
            answers: np.ndarray = scope.task.activate(logits).float().numpy()
        return answers

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(scope.seed, "weights") + 1)  # the first weights of the run to come
        fresh = nn.Sequential(*list(build_head(features.num_features, scope.num_classes, head))[1:])
    found, cuts = scope.blank(), list(scope.cuts(features))
    for part in (cuts[:FIRST_FOLDS], cuts[FIRST_FOLDS:]):
        for (_, _, held), answers in zip(part, map_in_order(train, part, _threads(part)), strict=True):
            found[features.places[held].numpy()] = answers
        if part and len(cuts) > FIRST_FOLDS and part[0] is cuts[0] and should_end(found):
            break
    return found


def _threads(cuts: list[Cut]) -> int:
    return min(usable_cores(), len(cuts))


def _train(
    scope: Scope,
    layers: nn.Module,
    values: torch.Tensor,
    labels: torch.Tensor,
    phase: Phase,
    fold: int,
    check: Callable[[], None],
) -> nn.Module:
    """Return the head without its normalisation, trained on values (V, n, D) that have passed it."""
    layers.train()
    optimizer = build_optimizer(cast(Classifier, SimpleNamespace(blocks=(), head=layers)), phase)
    weights = _class_weights(scope, labels, phase.class_weights)
    parameters = list(layers.parameters())
    drops = [module for module in layers.modules() if isinstance(module, Dropout)]
    per_epoch = len(_batches(len(labels), phase.batch_size, generator_of(0)))
    for epoch in range(phase.epochs):
        check()
        for number, drop in enumerate(drops):  # numbers of their own: folds are trained at the same time
            drop.generator = generator_of(scope.seed, fold, epoch, number, "dropout")
        rows = values[epoch % len(values)]
        order = generator_of(scope.seed, fold, epoch, "order")
        for step, batch in enumerate(_batches(len(labels), phase.batch_size, order)):
            set_rates(optimizer, rate_factor(phase, epoch * per_epoch + step, per_epoch))
            for parameter in parameters:
                parameter.grad = None
            logits = layers(rows.index_select(0, batch))
            scope.task.loss(logits, labels[batch], weights, phase.label_smoothing).backward()
            optimizer.step()
    return layers.eval()


def _batches(count: int, size: int, generator: torch.Generator) -> list[torch.Tensor]:
    batches = list(torch.randperm(count, generator=generator).split(size))
    if len(batches) > 1 and len(batches[-1]) == 1:  # BatchNorm needs two
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


def _fit_norm(features: FeatureSet, inside: torch.Tensor, seed: int) -> Standardise:
    norm = Standardise(features.num_features)
    order = torch.randperm(len(inside), generator=generator_of(seed, "norm"))[:NORM_PICTURES].sort().values
    norm.fit(features.train[0][inside[order]], features.widths)
    return norm


def _class_weights(scope: Scope, labels: torch.Tensor, kind: str) -> torch.Tensor | None:
    if kind == "none":
        return None
    return torch.from_numpy(scope.task.balanced_weights(labels.numpy(), scope.num_classes))
