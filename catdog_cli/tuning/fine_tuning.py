"""Partial fine-tuning in a search: the last blocks of the best network, by successive halving over folds."""

import dataclasses
import time
from typing import Any

import numpy as np

from ..errors import CatdogError, InterruptedRunError
from ..runtime.seeds import seed_of
from ..training.events import Warned
from .budget import CARE
from .events import StageStarted
from .feature_bank import Sight
from .fold_run import FoldTrainer
from .journal import Trial
from .search import Search
from .space import Dimension
from .stages import is_among_best, is_in
from .trials import as_settings

TUNED_PICTURE = 3.0  # forward passes that training the last blocks on an image takes: a guess
FIRST_FINE_TUNING: dict[str, Any] = {
    "blocks": 3,
    "fine_tune_learning_rate": 3e-4,
    "fine_tune_epochs": 5,
    "layer_decay": 1.0,
    "fine_tune_augment": "light",
    "ema": 0.0,
}


def fine_tune_s(search: Search) -> float:
    """Return how long a fine-tuning trial of all folds takes: as the last one did, or guessed."""
    measured = [trial.facts["fold_s"] for trial in search.fine_tuned.trials() if "fold_s" in trial.facts]
    if measured:
        return float(np.median(measured)) * search.request.folds
    standing = search.best
    if standing is None:
        return float("inf")
    pictures = len(search.labels)
    epochs = min(numbers_of(search.request.space.fine_tune["fine_tune_epochs"]))
    passes = count_passes(epochs, search.request.folds)
    return float(pictures * passes * search.bank.picture_s(standing.sight) * search.request.folds)


def count_passes(epochs: float, folds: int) -> float:
    """Return how many forward passes of an image a fold of fine-tuning takes as long as: a guess."""
    return 1 + epochs * TUNED_PICTURE * (1 - 1 / folds)


def numbers_of(dimension: Dimension) -> tuple[float, ...]:
    return dimension if isinstance(dimension, tuple) else (dimension.low, dimension.high)


def search_fine_tuning(search: Search, until_s: float, most: int | None) -> None:
    """Train the last blocks of the best network until so much of the budget is used, or for `most` trials.

    Of a trial one fold is trained; it goes on to the next where it is among the best third of those that came
    so far, and not behind the best of all trials on the same images.
    """
    standing = _note_standing(search)
    if standing is None:
        return
    sight, l2 = standing
    search.fine_tuned.open(search.request.space.fine_tune)
    search.listener(StageStarted("fine-tuning", f"the last blocks of {sight.name}"))
    first = [FIRST_FINE_TUNING] if is_in(FIRST_FINE_TUNING, search.request.space.fine_tune) else []
    trainer = FoldTrainer(search.bank.base(sight), search.groups, _only_warnings(search))
    while search.clock.used_s + CARE * fine_tune_s(search) / search.request.folds < until_s:
        search.check_time()
        if most is not None and sum(trial.ended for trial in search.fine_tuned.trials()) >= most:
            return
        asked = search.fine_tuned.ask(first)
        trial = dataclasses.replace(asked, params={**asked.params, "sight": sight.name, "l2": l2})
        _try_fine_tuning(search, trainer, trial, sight, until_s)


def _note_standing(search: Search) -> tuple[Sight, float] | None:
    """Return the sight and L2 that fine-tuning begins with: the best solved head of one network."""
    ranked = [
        trial
        for trial in search.solved.trials()
        if trial.score is not None and "+" not in str(trial.params["sight"])
    ]
    if not ranked:
        return None
    best = max(ranked, key=lambda trial: (trial.score or 0.0, -trial.number))
    name, l2 = search.fine_tuned.note("begin", [best.params["sight"], best.params["l2"]])
    return search.sights[name], float(l2)


def _only_warnings(search: Search) -> Any:
    def listen(event: Any) -> None:
        if not isinstance(event, Warned):
            search.move("fine-tuning")

    return listen


def _try_fine_tuning(
    search: Search, trainer: FoldTrainer, trial: Trial, sight: Sight, until_s: float
) -> None:
    began = time.monotonic()
    settings = as_settings(trainer.base.settings, sight, trial, trainer.base)
    trainer.base = dataclasses.replace(trainer.base, settings=settings)
    probabilities, given_up, done = search.scope.blank(), False, 0

    def should_stop() -> bool:
        return search.should_stop() or search.left_s() <= 0

    for fold in range(search.request.folds):
        held = search.scope.folds == fold
        if not held.any():
            continue
        try:
            outcome = trainer.run(held, seed_of(search.scope.seed, fold), should_stop)
        except InterruptedRunError:
            search.check_time()  # says which of the two it was
            raise
        except CatdogError as error:  # it fell apart: a rate too high
            search.listener(Warned(f"Fine-tuning trial {trial.number} is given up: {error}"))
            given_up = True
            break
        probabilities[outcome.places] = search.task.probabilities(outcome.logits)
        done += 1
        if done < search.request.folds and not _goes_on(search, trial, probabilities, done, until_s):
            given_up = True
            break
    seconds = time.monotonic() - began
    if done:
        trial.facts["fold_s"] = seconds / done
    _end_fine_tuning(search, trial, sight, probabilities, given_up, seconds)


def _end_fine_tuning(
    search: Search, trial: Trial, sight: Sight, probabilities: np.ndarray, given_up: bool, seconds: float
) -> None:
    study = search.fine_tuned
    facts = dict(trial.facts)
    if np.isfinite(probabilities).all(1).any():
        found, measured = search.judge(probabilities)
        facts |= measured
    else:
        found, given_up = 0.0, True
    facts |= {"seconds": seconds, "at_s": search.clock.used_s, "params": trial.params}
    if not given_up:
        search.keep_answers(trial.key, probabilities)
    ended = study.tell(trial, None if given_up else found, facts)
    search.note(ended, sight, None if given_up else probabilities, seconds)


def _goes_on(search: Search, trial: Trial, probabilities: np.ndarray, done: int, until_s: float) -> bool:
    """Say whether a trial goes on to its next fold: successive halving, each fold being a rung."""
    own = search.judge(probabilities)[0]
    trial.facts[f"rung_{done}"] = own
    if search.clock.used_s > until_s or search.is_hopeless(probabilities):
        return False
    others = [
        other.facts[f"rung_{done}"]
        for other in search.fine_tuned.trials()
        if f"rung_{done}" in other.facts and other.number != trial.number
    ]
    return is_among_best(own, others)
