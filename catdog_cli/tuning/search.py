"""A search under way: its time, its trials, the best so far. What it tries is in `stages`."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CatdogError, InterruptedRunError
from ..models.tasks import Task
from ..runtime.files import replacing
from ..training.events import Listener
from .budget import CARE, FINISH_S, Clock
from .events import SearchMoved, TrialEnded
from .feature_bank import FeatureBank, Sight
from .head_trials import Scope
from .journal import Journal, Study, Trial
from .request import Request
from .scores import MOST_COMPARED, check_metric, is_hopeless, score

MOST_SLOWNESS = 5.0
NOTED_EVERY_S = 3.0  # how much time is used, for whoever resumes
MOST_ANSWERS_BYTES = 4e8  # of answers that are kept


class OutOfTimeError(Exception):
    """The time of a stage is over; what is done is kept."""


@dataclass(eq=False)
class Standing:
    """The best trial so far, with its answers (N, C)."""

    trial: Trial
    sight: Sight
    answers: np.ndarray


@dataclass(eq=False)
class Search:
    """A search under way: the request, its images and folds, the journal, and the best so far."""

    request: Request
    folder: Path
    run_dir: Path
    bank: FeatureBank
    scope: Scope
    labels: np.ndarray
    clock: Clock
    journal: Journal
    listener: Listener
    should_stop: Callable[[], bool]
    groups: list[str]
    sights: dict[str, Sight]  # all that the request allows, by name
    best: Standing | None = None
    ended: int = 0  # trials
    _noted_s: float = 0.0
    _kept: dict[str, float] = field(
        default_factory=dict
    )  # scores of trials whose answers are on disk, by key

    def __post_init__(self) -> None:
        self.metric = check_metric(self.request.metric, self.task)
        self.solved = Study(self.journal, "solved", {})
        self.heads = Study(self.journal, "heads", {})
        self.fine_tuned = Study(self.journal, "fine-tune", {})

    @property
    def task(self) -> Task:
        return self.scope.task

    @property
    def studies(self) -> list[Study]:
        return [self.solved, self.heads, self.fine_tuned]

    def trials(self) -> list[Trial]:
        """Return all trials of all stages."""
        return [trial for study in self.studies for trial in study.trials()]

    # --- time ---

    def reserve_s(self, standing: Standing | None) -> float:
        """Return the time that the last training, its report and the page take once the search is over."""
        found = FINISH_S * self.slowness()
        if standing is None:
            return found
        found += CARE * self.bank.val_cost_s(standing.sight)
        if standing.trial.stage != "solved":
            share = 1 / (self.request.folds - 1)  # of the trial, whose folds each lack one
            share *= 1 if standing.trial.stage == "fine-tune" else 2  # heads had a core a fold
            found += CARE * share * float(standing.trial.facts.get("seconds", 0.0))
        return found

    def slowness(self) -> float:
        """Return how many times longer than alone this process takes, where others have the cores."""
        return min(MOST_SLOWNESS, max(1.0, self.clock.slowness()))

    def left_s(self) -> float:
        """Return the time that is left to search in."""
        return self.clock.left_s - self.reserve_s(self.best)

    def check_time(self) -> None:
        """Raise OutOfTimeError where the time is over, InterruptedRunError where the user asks to stop."""
        if self.should_stop():
            raise InterruptedRunError(
                f"Stopped; all trials are kept. To resume: catdog tune --resume {self.run_dir}"
            )
        if self.left_s() <= 0:
            raise OutOfTimeError

    # --- results ---

    def answers_path(self, key: str) -> Path:
        return self.folder / "answers" / f"{key}.npy"

    def keep_answers(self, key: str, probabilities: np.ndarray) -> None:
        """Write the held-out answers of a trial, whole, before the journal says that it is over."""
        path = self.answers_path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path, sync=False) as unfinished, unfinished.open("wb") as file:
                np.save(file, probabilities.astype(np.float32))
        except OSError as error:
            raise CatdogError(
                f"Cannot write {str(path)!r} ({error.strerror}): free space, then `catdog tune --resume "
                f"{self.run_dir}`."
            ) from error

    def load_answers(self, key: str) -> np.ndarray | None:
        """Return a trial's held-out answers, None where they are not kept."""
        try:
            found: np.ndarray = np.load(self.answers_path(key), allow_pickle=False)
        except (OSError, ValueError):
            return None
        return found if found.shape == (len(self.labels), self.scope.num_classes) else None

    def best_answers(self) -> list[np.ndarray]:
        """Return the answers of the best trials, as many as are kept and memory should hold."""
        ended = sorted(
            (trial for trial in self.trials() if trial.score is not None),
            key=lambda trial: -(trial.score or 0.0),
        )
        found: list[np.ndarray] = []
        for trial in ended[:MOST_COMPARED]:
            answers = self.load_answers(trial.key)
            if answers is not None and (len(found) + 1) * answers.nbytes <= MOST_ANSWERS_BYTES:
                found.append(answers)
        return found

    def _forget_worst(self) -> None:
        """Delete the answers of trials that are far behind, where all of them take much room."""
        size = 4 * len(self.labels) * self.scope.num_classes
        most = max(2, min(4 * MOST_COMPARED, int(MOST_ANSWERS_BYTES // size)))
        for key in sorted(self._kept, key=lambda key: -self._kept[key])[most:]:
            self.answers_path(key).unlink(missing_ok=True)
            del self._kept[key]

    def note(self, trial: Trial, sight: Sight, probabilities: np.ndarray | None, seconds: float) -> None:
        """Take a trial that has ended: is it the best, and tell whoever listens."""
        is_best = False
        self.ended += 1
        if trial.score is not None and probabilities is not None:
            is_best = self.best is None or _ranks_above(trial, self.best.trial)
            if is_best:
                self.best = Standing(trial, sight, probabilities)
            self._kept[trial.key] = trial.score
            self._forget_worst()
        self.listener(self.describe(trial, seconds, is_best))
        self.move(trial.stage)

    def describe(self, trial: Trial, seconds: float, is_best: bool) -> TrialEnded:
        """Return the event that tells of a trial; its score is the metric's own value."""
        score = None if trial.score is None else trial.facts.get(self.metric)
        loss = trial.facts.get("loss")
        return TrialEnded(
            self.run_dir, trial.stage, trial.number, trial.params, score, loss, seconds, is_best
        )

    def move(self, stage: str) -> None:
        """Say how far the search is."""
        best = self.best.trial.facts.get(self.metric) if self.best is not None else None
        used_s = self.clock.used_s
        self.listener(SearchMoved(stage, self.ended, best, used_s, self.clock.budget_s))
        if abs(used_s - self._noted_s) > NOTED_EVERY_S:
            self._noted_s = used_s
            self.solved.renote("used_s", used_s)

    def recall(self) -> int:
        """Take what earlier sessions have found; return how many trials there are."""
        found = [trial for trial in self.trials() if trial.ended]
        for trial in found:
            sight = self.sight_of(trial)
            if trial.score is None or sight is None:
                continue
            probabilities = self.load_answers(trial.key)
            if probabilities is not None and (self.best is None or _ranks_above(trial, self.best.trial)):
                self.best = Standing(trial, sight, probabilities)
            self._kept[trial.key] = trial.score
        self.ended = len(found)
        return len(found)

    def judge(self, probabilities: np.ndarray) -> tuple[float, dict[str, Any]]:
        """Return the score of held-out answers (N, C), and what they measure."""
        found, facts = score(self.metric, self.task, probabilities, self.labels)
        return found, {**facts, "answered": int(np.isfinite(probabilities).all(1).sum())}

    def is_hopeless(self, probabilities: np.ndarray) -> bool:
        """Say whether a trial is worse than the best on the images of the folds that are done."""
        best = None if self.best is None else self.best.answers
        return is_hopeless(self.metric, self.task, probabilities, best, self.labels)

    def sight_of(self, trial: Trial) -> Sight | None:
        """Return the network and the looks that a trial names."""
        return self.sights.get(str(trial.params.get("sight")))


def _ranks_above(trial: Trial, other: Trial) -> bool:
    """Say whether a trial is better; of equals the one of an earlier stage, then of a lower number."""
    order = ("solved", "heads", "fine-tune")
    mine, theirs = trial.score or float("-inf"), other.score or float("-inf")
    if mine != theirs:
        return mine > theirs
    return (order.index(trial.stage), trial.number) < (order.index(other.stage), other.number)
