"""The convex way to train a linear head on kept features: L-BFGS to the optimum, its strength by folds."""

import warnings
from typing import NamedTuple

import numpy as np
import torch

from ..data.stratify import stratify
from ..errors import SettingsError
from ..features.batches import KeptFeatures
from ..models.tasks import Task
from ..runtime.distributed import processes
from .phase_run import EpochSums, PhaseRun

STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0)  # L2 on the weights, per mean loss; tried first
WEAKER, STRONGER = (3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5), (3.0, 10.0, 30.0, 100.0)  # tried while they gain
UNTRIED = 0.1  # where no picture can be held out
FOLDS = 5
MAX_ITERATIONS = 500
TOLERANCE = 1e-5
ROUGH_TOLERANCE = 1e-3  # enough to rank strengths


Parameters = tuple[torch.Tensor, torch.Tensor]  # weight (C, D), bias (C,)


class Strength(NamedTuple):
    """An L2 strength, in words where it comes from, and the share of held-out images that it gets right."""

    l2: float
    how: str
    fold_accuracy: float | None = None  # of one class an image


def solve_in_main(run: PhaseRun, sums: EpochSums) -> dict:
    """Solve the head in the main process; all get its sums here, and its weights at the end of the epoch."""
    facts, found = processes().from_main(lambda: (solve_head(run, sums), dict(vars(sums))))
    vars(sums).update(found)
    if facts["fold_accuracy"] is not None:
        run.folds["fold_accuracy"] = facts["fold_accuracy"]
    return facts


def solve_head(run: PhaseRun, sums: EpochSums) -> dict:
    """Solve the head's regression on standardised features, in place; return what was found.

    It is softmax regression, or a logistic one of each where images have several labels. Minimises mean
    cross-entropy + l2 / 2 * |W|^2 over the weights W of the only Linear, biases free: one optimum, reached by
    L-BFGS with line search (Nocedal and Wright, Numerical Optimization, ch. 7). The strength is
    `weight_decay`, or, where that is 0, the one with the least log loss on held-out folds of the training
    set.

    Raises:
        SettingsError: the head has hidden layers, or a resume with --no-cache keeps no features.
    """
    head = run.classifier.head
    output = head.get_submodule("output") if hasattr(head, "output") else None
    if (
        not isinstance(output, torch.nn.Linear)
        or hasattr(head, "hidden0")
        or run.split_at < len(run.classifier.blocks)
    ):
        raise SettingsError(
            "optimizer lbfgs solves a linear head alone: leave out hidden layers and unfreeze."
        )
    if not isinstance(run.source, KeptFeatures):
        raise SettingsError(
            "--optimizer lbfgs needs the features of all pictures at hand, but --no-cache keeps none: leave "
            "it out, or start a new run with another --optimizer."
        )
    features, labels = _gather(run, run.source)
    with torch.no_grad():
        features = head.norm(features)
    num_classes = output.out_features
    strength = Strength(run.phase.weight_decay, "as given")
    if not run.phase.weight_decay:
        strength = _pick_strength(run, len(run.source.tables), features, labels, num_classes)
    weight, bias = solve_regression(
        run.task, features, labels, num_classes, strength.l2, run.class_weights, run.phase.label_smoothing
    )
    with torch.no_grad():
        output.weight.copy_(weight)
        output.bias.copy_(bias)
        logits = features @ weight.T + bias
    summed = run.task.loss(logits, labels, reduction="sum").item()
    sums.loss += summed * (len(labels) / max(1, run.task.loss_weight(labels, None)))
    sums.correct += int(run.task.num_correct(logits, labels).item())
    sums.seen += len(labels)
    return {**strength._asdict(), "num_features": features.shape[1]}


def _gather(run: PhaseRun, source: KeptFeatures) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the features (V * N, D) of all views and their labels, (V * N,) or (V * N, C)."""
    good = source.chosen.good_indices()
    features = torch.cat([table.take(good).float().to(source.device) for table in source.tables])
    labels = source.chosen.labels[good]
    return features, torch.cat([labels] * len(source.tables)).to(features.device)


def _pick_strength(
    run: PhaseRun, views: int, features: torch.Tensor, labels: torch.Tensor, num_classes: int
) -> Strength:
    """Return the strength whose held-out log loss, over stratified folds, is least. Views stay together.

    STRENGTHS are tried, and while the last one at an end is the best, the next one beyond it.
    """
    held = _held_out(labels[: len(labels) // views], run.seed)
    if not held:
        return Strength(UNTRIED, "a guess: no class has two pictures, so none could be held out")
    starts: list[Parameters | None] = [None] * len(held)
    losses: dict[float, float] = {}
    accuracies: dict[float, float] = {}

    def measure(strength: float) -> None:
        loss, correct = 0.0, 0.0
        for number, fold in enumerate(held):
            out = fold.repeat(views).to(labels.device)  # (V * N,)
            tolerance = ROUGH_TOLERANCE * min(1, strength / STRENGTHS[0])  # the weaker, the flatter
            starts[number] = weight, bias = solve_regression(
                run.task, features[~out], labels[~out], num_classes, strength, run.class_weights,
                start=starts[number], tolerance=tolerance,
            )  # fmt: skip
            logits = features[out] @ weight.T + bias
            loss += run.task.loss(logits, labels[out], reduction="sum").item()
            correct += run.task.num_correct(logits, labels[out]).item()
        losses[strength], accuracies[strength] = loss, correct / (views * int(sum(map(torch.sum, held))))

    for strength in sorted(STRENGTHS, reverse=True):  # the stronger, the sooner; each starts the next
        measure(strength)
    for further in (WEAKER, STRONGER):
        last = min(STRENGTHS) if further is WEAKER else max(STRENGTHS)
        for strength in further:
            if min(losses, key=losses.__getitem__) != last:
                break
            measure(strength)
            last = strength
    best = min(losses, key=losses.__getitem__)
    how = f"of {len(losses)} the best on {len(held)} held-out folds"
    if best in (WEAKER[-1], STRONGER[-1]):
        end = "weakest" if best == WEAKER[-1] else "strongest"
        how += f"; it is the {end} that is tried: compare others with --weight-decay"
    return Strength(best, how, None if run.task.several else accuracies[best])


def _held_out(labels: torch.Tensor, seed: int) -> list[torch.Tensor]:
    """Return which images (N,) each fold holds out; a class's only image is never held out.

    No fold where no class has two images.
    """
    if labels.ndim == 2:
        return _held_out_labels(labels, seed)
    from sklearn.model_selection import StratifiedKFold

    counts = torch.bincount(labels.cpu())
    folds = min(FOLDS, int(counts.max()))
    if folds < 2:
        return []
    known = counts[labels.cpu()] > 1
    with warnings.catch_warnings():  # a class with fewer images than there are folds is held out less often
        warnings.simplefilter("ignore", UserWarning)
        splitter = StratifiedKFold(folds, shuffle=True, random_state=seed % 2**32)
        held = [rows for _, rows in splitter.split(torch.zeros(len(labels)), labels.cpu())]
    found = []
    for rows in held:
        out = torch.zeros(len(labels), dtype=torch.bool)
        out[torch.from_numpy(rows)] = True
        found.append(out & known)
    return [out for out in found if out.any()]


def _held_out_labels(labels: torch.Tensor, seed: int) -> list[torch.Tensor]:
    """Return which images (N,) each fold holds out where labels (N, C) are several; no fold of one image."""
    there = (labels.cpu() == 1).long().numpy()
    folds = min(FOLDS, len(labels))
    if folds < 2:
        return []
    numbers = torch.rand(len(labels), generator=torch.Generator().manual_seed(seed)).numpy()
    parts = stratify(there, np.ones(len(labels), dtype=np.int64), [1 / folds] * folds, numbers)
    found = [torch.from_numpy(parts == number) for number in range(folds)]
    return [out for out in found if out.any() and not out.all()]


def solve_regression(
    task: Task,
    features: torch.Tensor,
    labels: torch.Tensor,
    num_classes: int,
    strength: float,
    class_weights: torch.Tensor | None = None,
    label_smoothing: float = 0.0,
    start: Parameters | None = None,
    tolerance: float = TOLERANCE,
) -> Parameters:
    """Return the optimum's weight (C, D) and bias (C,), to a largest gradient of `tolerance`."""
    share = strength / 2 / task.terms_per_image(num_classes)  # each output is regressed as if it were alone
    zeros = torch.zeros(num_classes, features.shape[1]), torch.zeros(num_classes)
    weight, bias = (part.clone().to(features.device).requires_grad_() for part in start or zeros)
    solver = torch.optim.LBFGS(
        [weight, bias],
        max_iter=MAX_ITERATIONS,
        history_size=10,
        tolerance_grad=tolerance,
        tolerance_change=1e-9,
        line_search_fn="strong_wolfe",
    )

    def closure() -> torch.Tensor:
        solver.zero_grad()
        loss = task.loss(features @ weight.T + bias, labels, class_weights, label_smoothing)
        loss = loss + share * weight.square().sum()
        loss.backward()
        return loss

    solver.step(closure)
    return weight.detach(), bias.detach()
