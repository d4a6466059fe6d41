"""The convex way to train a linear head on kept features: L-BFGS to the optimum, its strength by folds."""

import torch

from ..errors import SettingsError
from ..features.batches import KeptFeatures
from ..models.tasks import Task
from ..runtime.distributed import processes
from .phase_run import EpochSums, PhaseRun

STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0)  # L2 on the weights, per mean loss
FOLDS = 5
MAX_ITERATIONS = 500
TOLERANCE = 1e-5
ROUGH_TOLERANCE = 1e-3  # enough to rank strengths


def solve_in_main(run: PhaseRun, sums: EpochSums) -> dict:
    """Solve the head in the main process; all get its sums here, and its weights at the end of the epoch."""
    facts, found = processes().from_main(lambda: (solve_head(run, sums), dict(vars(sums))))
    vars(sums).update(found)
    return facts


def solve_head(run: PhaseRun, sums: EpochSums) -> dict:
    """Solve the head's softmax regression on standardised features, in place; return what was found.

    Minimises mean cross-entropy + l2 / 2 * |W|^2 over the weights W of the only Linear, biases free: one
    optimum, reached by L-BFGS with line search (Nocedal and Wright, Numerical Optimization, ch. 7). The
    strength is `weight_decay`, or, where that is 0, the one of STRENGTHS with the least log loss on
    held-out folds of the training set.

    Raises:
        SettingsError: the head has hidden layers, or a resume with --no-cache keeps no features.
    """
    head = run.classifier.head
    if hasattr(head, "hidden0") or run.split_at < len(run.classifier.blocks):
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
    num_classes = head.output.out_features
    strength = run.phase.weight_decay or _pick_strength(
        run, len(run.source.tables), features, labels, num_classes
    )
    weight, bias = _solve(
        run.task, features, labels, num_classes, strength, run.class_weights, run.phase.label_smoothing
    )
    with torch.no_grad():
        head.output.weight.copy_(weight)
        head.output.bias.copy_(bias)
        logits = features @ weight.T + bias
    sums.loss += run.task.loss(logits, labels, reduction="sum").item()
    sums.correct += int(run.task.num_correct(logits, labels).item())
    sums.seen += len(labels)
    return {"l2": strength, "picked": not run.phase.weight_decay, "num_features": features.shape[1]}


def _gather(run: PhaseRun, source: KeptFeatures) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the features (V * N, D) of all views and their labels."""
    good = source.chosen.good_indices()
    features = torch.cat([table.take(good).float().to(source.device) for table in source.tables])
    return features, source.chosen.labels[good].repeat(len(source.tables)).to(features.device)


def _pick_strength(
    run: PhaseRun, views: int, features: torch.Tensor, labels: torch.Tensor, num_classes: int
) -> float:
    """Return the strength whose held-out log loss, over stratified folds, is least. Views stay together."""
    from sklearn.model_selection import StratifiedKFold

    count = len(labels) // views
    smallest = torch.bincount(labels[:count]).clamp_min(1).min().item()
    if smallest < 2:
        return STRENGTHS[2]
    folds = StratifiedKFold(min(FOLDS, smallest), shuffle=True, random_state=run.seed % 2**32)
    losses = dict.fromkeys(STRENGTHS, 0.0)
    for _, held in folds.split(torch.zeros(count), labels[:count].cpu()):
        out = torch.zeros(count, dtype=torch.bool)
        out[torch.from_numpy(held)] = True
        out = out.repeat(views).to(labels.device)
        train, start = (run.task, features[~out], labels[~out], num_classes), None
        for strength in sorted(STRENGTHS, reverse=True):  # the stronger, the sooner; each starts the next
            start = _solve(*train, strength, run.class_weights, start=start, tolerance=ROUGH_TOLERANCE)
            logits = features[out] @ start[0].T + start[1]
            losses[strength] += run.task.loss(logits, labels[out], reduction="sum").item()
    return min(losses, key=losses.__getitem__)


def _solve(
    task: Task,
    features: torch.Tensor,
    labels: torch.Tensor,
    num_classes: int,
    strength: float,
    class_weights: torch.Tensor | None = None,
    label_smoothing: float = 0.0,
    start: tuple[torch.Tensor, torch.Tensor] | None = None,
    tolerance: float = TOLERANCE,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the optimum's weight (C, D) and bias (C,), to a largest gradient of `tolerance`."""
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
        loss = loss + strength / 2 * weight.square().sum()
        loss.backward()
        return loss

    solver.step(closure)
    return weight.detach(), bias.detach()
