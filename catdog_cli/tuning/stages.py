"""The stages of a search: cheap things first, each within its share of the time, each trial kept at once.

Solved heads over a grid of L2 for every network and way to look; then heads with hidden layers on the best of
these; then partial fine-tuning of the best network, where of three trials one goes on to the next fold. All
of them are scored on the same folds of the training images.
"""

import dataclasses
import hashlib
import time
from typing import Any

import numpy as np

from .budget import CARE
from .events import StageStarted
from .feature_bank import Sight
from .head_trials import solve_grid, train_folds
from .journal import FIRST_SCORE, Trial
from .request import Request
from .search import Search
from .space import Dimension
from .trials import head_phases, largest_batch

FEATURES_SHARE = 0.6  # of the time, that computing features may take
HEADS_SHARE = 0.4  # of what is left then, for heads, where there is time for fine-tuning as well
SIGHTS = 3  # ways to look, on which heads with hidden layers are tried
REDUCTION = 3  # of so many fine-tuning trials one goes on to the next fold
FEW_LEFT_S = 1.0  # in which no trial is begun
FIRST_HEADS: dict[str, Any] = {
    "hidden_layers": (128,),
    "dropout": 0.3,
    "activation": "relu",
    "head_norm": "none",
    "optimizer": "adam",
    "learning_rate": 2e-3,
    "weight_decay": 1e-4,
    "label_smoothing": 0.0,
    "scheduler": "cosine",
    "batch_size": 64,
    "epochs": 8,
}


def list_sights(request: Request) -> dict[str, Sight]:
    """Return all that the request allows, by name: the networks, each with each way to look."""
    space = request.space
    found = [
        Sight(arch, weights, size, looks, augment, 0 if augment == "none" else views)
        for arch, weights in request.networks
        for size in space.choices("image_size")
        for looks in space.choices("looks")
        for augment in space.choices("augment")
        for views in (space.choices("views") if augment != "none" else (0,))
    ]
    return {sight.name: sight for sight in found}


# --- solved heads ---


def search_solved(search: Search) -> None:
    """Solve heads for every network, then for the best two in all ways to look; the best last, augmented."""
    search.listener(StageStarted("solved heads", f"{len(search.request.networks)} networks"))
    space = search.request.space
    looks, sizes = space.choices("looks"), space.choices("image_size")
    plain = "none" if "none" in space.choices("augment") else space.choices("augment")[0]
    views = 0 if plain == "none" else space.choices("views")[0]
    first = [
        Sight(arch, weights, sizes[0], looks[0], plain, views) for arch, weights in search.request.networks
    ]
    _solve_all(search, sorted(first, key=search.bank.cost_s), must=True)
    for standing in _best_sights(search, 2):
        _solve_all(search, [dataclasses.replace(standing, looks=each) for each in looks[1:]])
    for standing in _best_sights(search, 1):
        augmented = [
            dataclasses.replace(standing, augment=augment, views=number)
            for augment in space.choices("augment")
            if augment != "none"
            for number in space.choices("views")
        ]
        _solve_all(search, augmented)
        _solve_all(search, [dataclasses.replace(standing, image_size=size) for size in sizes[1:]])


def _solve_all(search: Search, sights: list[Sight], must: bool = False) -> None:
    """Solve heads on each of the sights that there is time for; what another process works on comes last."""
    waiting = list(sights)
    for wait in (False, True):
        left = []
        for sight in waiting:
            name = hashlib.blake2b(sight.name.encode(), digest_size=8).hexdigest()
            with search.journal.alone(name, wait) as mine:
                if not mine:
                    left.append(sight)
                elif _lacks_trials(search, sight):
                    _solve(search, sight, must and search.best is None)
        waiting = left


def _grid(search: Search) -> list[dict[str, Any]]:
    space = search.request.space
    return [
        {"l2": l2, "class_weights": kind}
        for kind in space.choices("class_weights")
        for l2 in space.choices("l2")
    ]


def _lacks_trials(search: Search, sight: Sight) -> bool:
    there = [trial for trial in search.solved.trials() if trial.params.get("sight") == sight.name]
    return len(there) < len(_grid(search))


def _solve(search: Search, sight: Sight, must: bool) -> None:
    """Solve the grid on one sight, and add its trials; leave it where its features take too long."""
    cost_s, left_s = search.bank.cost_s(sight), search.left_s()
    if not must and left_s < FEW_LEFT_S:
        return
    if cost_s and not must:
        room_s = min(left_s, FEATURES_SHARE * search.clock.budget_s - search.clock.used_s)
        if CARE * cost_s > room_s:
            return
    began = time.monotonic()
    search.move("solved heads")
    features = search.bank.take(sight, search.check_time)
    there = [trial.params for trial in search.solved.trials()]
    for kind in search.request.space.choices("class_weights"):
        search.check_time()
        strengths = search.request.space.choices("l2")
        solved = solve_grid(search.scope, features, strengths, kind, search.check_time)
        seconds = (time.monotonic() - began) / len(solved)
        for l2, probabilities in solved.items():
            params = {"sight": sight.name, "l2": l2, "class_weights": kind}
            if params in there:
                continue
            found, facts = search.judge(probabilities)
            key = f"solved-{len(search.solved.trials())}"
            search.keep_answers(key, probabilities)
            trial = search.solved.add(
                params, found, {**facts, "seconds": seconds, "at_s": search.clock.used_s}
            )
            search.note(trial, sight, probabilities, seconds)


def _best_sights(search: Search, count: int) -> list[Sight]:
    """Return the best sights of solved heads, one a network."""
    ranked = sorted(
        (trial for trial in search.solved.trials() if trial.score is not None),
        key=lambda trial: (-(trial.score or 0.0), trial.number),
    )
    found: dict[tuple[str, int], Sight] = {}
    for trial in ranked:
        sight = search.sight_of(trial)
        if sight is not None:
            found.setdefault(sight.network, sight)
    return list(found.values())[:count]


# --- heads with hidden layers ---


def search_heads(search: Search, until_s: float, most: int | None) -> None:
    """Try heads with hidden layers until so much of the budget is used, or there are `most` trials."""
    sights = _note_sights(search)
    dimensions: dict[str, Dimension] = {"sight": tuple(sights), **search.request.space.heads}
    search.heads.open(dimensions)
    search.listener(StageStarted("heads", f"hidden layers, on {', '.join(sights)}"))
    first = [{"sight": name, **FIRST_HEADS} for name in sights[:2]]
    first = [params for params in first if is_in(params, dimensions)]
    while search.clock.used_s < until_s and search.left_s() > FEW_LEFT_S:
        search.check_time()
        if most is not None and _count_ended(search) >= most:
            return
        _try_head(search, search.heads.ask(first))


def _count_ended(search: Search) -> int:
    return sum(trial.ended for trial in search.heads.trials())


def _note_sights(search: Search) -> list[str]:
    """Return the sights for heads; once chosen they stay, for every process and after a kill."""
    best = [sight.name for sight in _best_sights(search, SIGHTS)]
    return list(search.heads.note("sights", best))


def is_in(params: dict[str, Any], dimensions: dict[str, Dimension]) -> bool:
    """Say whether a trial lies in the space that is asked for."""
    for name, dimension in dimensions.items():
        if isinstance(dimension, tuple):
            if params[name] not in dimension:
                return False
        elif not dimension.low <= params[name] <= dimension.high:
            return False
    return True


def _try_head(search: Search, trial: Trial) -> None:
    began = time.monotonic()
    sight = search.sights[trial.params["sight"]]
    features = search.bank.take(sight, search.check_time)
    inside = len(features.places) * (search.request.folds - 1) // search.request.folds
    params = largest_batch(trial.params, inside)
    (phase,), head = head_phases(sight, params)
    given_up = False

    def should_end(probabilities: np.ndarray) -> bool:
        nonlocal given_up
        given_up = search.is_hopeless(probabilities) or _is_behind(search, trial, probabilities)
        return given_up

    probabilities = train_folds(search.scope, features, head, phase, should_end, search.check_time)
    _end(search, search.heads, trial, sight, probabilities, given_up, time.monotonic() - began)


def _is_behind(search: Search, trial: Trial, probabilities: np.ndarray) -> bool:
    """Say whether a trial is not among the best third of those so far, on the first folds."""
    own = search.judge(probabilities)[0]
    trial.facts[FIRST_SCORE] = own
    others = [
        other.facts[FIRST_SCORE]
        for other in search.heads.trials()
        if FIRST_SCORE in other.facts and other.ended
    ]
    return len(others) >= REDUCTION and not is_among_best(own, others)


def is_among_best(own: float, others: list[float]) -> bool:
    ranked = sorted([*others, own], reverse=True)
    return own >= ranked[max(0, -(-len(ranked) // REDUCTION) - 1)]


def _end(
    search: Search,
    study: Any,
    trial: Trial,
    sight: Sight,
    probabilities: np.ndarray,
    given_up: bool,
    seconds: float,
) -> None:
    """Keep what a trial has answered, and say that it is over."""
    found: float | None = None
    if np.isfinite(probabilities).all(1).any():
        found, facts = search.judge(probabilities)
    else:  # the network fell apart: not one finite answer
        facts, given_up = {}, True
    facts |= {**trial.facts, "seconds": seconds, "at_s": search.clock.used_s}
    if not given_up:
        search.keep_answers(trial.key, probabilities)
    ended = study.tell(trial, None if given_up else found, facts)
    search.note(ended, sight, None if given_up else probabilities, seconds)
