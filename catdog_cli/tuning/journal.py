"""The journal of a search: Optuna's, safe for several processes, and whole after a kill at any moment.

The one file that imports optuna. Trials are numbered; what trial N tries follows from the seed, N and the
trials that ended before it, so that a search which was killed and resumed tries the same. A trial whose
process has ended without a result is taken over by the next one that asks.
"""

import contextlib
import logging
import os
import secrets
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..errors import CatdogError, require
from ..runtime.seeds import seed_of
from .space import Dimension, Range

RANDOM_TRIALS = 12  # before the sampler has enough to learn from
FIRST_SCORE = "rung_1"  # of a trial's facts: on the first folds, which all trials have
WORKER = "worker"  # of a trial: which process it is in


@dataclass(frozen=True)
class Trial:
    """A trial that has ended, or is under way: what was tried and what it scored, higher being better."""

    stage: str
    number: int
    params: dict[str, Any]
    score: float | None = None  # None: given up, or not over
    facts: dict[str, Any] = field(default_factory=dict)
    ended: bool = True

    @property
    def key(self) -> str:
        return f"{self.stage}-{self.number}"


def load_optuna() -> Any:
    """Import optuna, and let it be silent.

    Raises:
        CatdogError: it is not installed.
    """
    optuna = require("optuna", "tune")
    optuna.logging.set_verbosity(logging.ERROR)
    return optuna


class Journal:
    """The folder of a search: the journal, its locks, and who is at work in it."""

    def __init__(self, folder: Path, seed: int):
        self.folder, self.seed = folder, seed
        self.optuna = load_optuna()
        self.worker = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._alive = FileLock(self._worker_file(self.worker))
        self._claims = FileLock(folder / "claims.lock")
        path = folder / "journal.log"
        with _explained(path):
            (folder / "workers").mkdir(parents=True, exist_ok=True)
            self._alive.acquire()
            lock = _Lock(folder / "journal.lock")
            lock.acquire()
            try:
                _cut_torn_line(path)
            finally:
                lock.release()
            backend = self.optuna.storages.journal.JournalFileBackend(str(path), lock_obj=lock)
            self.storage = self.optuna.storages.JournalStorage(backend)

    def close(self) -> None:
        """Say that this process works no longer."""
        self._alive.release()
        with contextlib.suppress(OSError):
            self._worker_file(self.worker).unlink()

    def _worker_file(self, worker: str) -> Path:
        return self.folder / "workers" / f"{worker}.lock"

    def is_alive(self, worker: str | None) -> bool:
        """Say whether a process still works here: its lock ends with it, however that ends."""
        if worker is None:
            return False
        if worker == self.worker:
            return True
        path = self._worker_file(worker)
        if not path.exists():
            return False
        try:
            with FileLock(path, timeout=0):
                return False
        except (Timeout, OSError):
            return True

    @contextlib.contextmanager
    def claim(self) -> Iterator[None]:
        """Let no other process ask for a trial meanwhile."""
        with self._claims:
            yield

    @contextlib.contextmanager
    def alone(self, name: str, wait: bool) -> Iterator[bool]:
        """Hold a piece of work, by its name; yield False where another process has it and `wait` is False."""
        lock = FileLock(self.folder / "workers" / f"{name}.work")
        try:
            lock.acquire(timeout=-1 if wait else 0)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()


class Study:
    """The trials of one stage."""

    def __init__(self, journal: Journal, stage: str, dimensions: Mapping[str, Dimension]):
        self.journal, self.stage, self.dimensions = journal, stage, dict(dimensions)
        self.optuna = journal.optuna
        with journal.claim():
            self.study = self.optuna.create_study(
                study_name=stage, storage=journal.storage, direction="maximize", load_if_exists=True
            )

    def open(self, dimensions: Mapping[str, Dimension]) -> None:
        """Say what the stage's trials try."""
        self.dimensions = dict(dimensions)

    def note(self, name: str, value: Any) -> Any:
        """Keep something about the stage; return what was kept first, by whoever came first."""
        with self.journal.claim():
            found = self.study.user_attrs
            if name not in found:
                self.study.set_user_attr(name, value)
                return value
            return found[name]

    def noted(self, name: str) -> Any:
        """Return what was kept about the stage; None where nothing was."""
        return self.study.user_attrs.get(name)

    def renote(self, name: str, value: Any) -> None:
        """Keep something about the stage, whatever was kept before."""
        self.study.set_user_attr(name, value)

    def trials(self) -> list[Trial]:
        """Return all trials by their numbers."""
        return [self._read(trial) for trial in self.study.get_trials(deepcopy=False)]

    def _read(self, trial: Any) -> Trial:
        states = self.optuna.trial.TrialState
        score = trial.value if trial.state == states.COMPLETE else None
        facts = {name: value for name, value in trial.user_attrs.items() if name not in (WORKER, "params")}
        params = dict(trial.user_attrs.get("params") or trial.params)
        return Trial(self.stage, trial.number, params, score, facts, trial.state.is_finished())

    def add(self, params: dict[str, Any], score: float, facts: dict[str, Any]) -> Trial:
        """Add a trial that was scored as one of many at once."""
        trial = self.optuna.trial.create_trial(value=score, user_attrs={**facts, "params": params})
        with self.journal.claim():
            number = len(self.study.get_trials(deepcopy=False))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.study.add_trial(trial)
        return Trial(self.stage, number, params, score, facts)

    def ask(self, first: list[dict[str, Any]]) -> Trial:
        """Return the next trial to make: one that a process has left, or a new one.

        `first` are what the first trials try, by their numbers.
        """
        states = self.optuna.trial.TrialState
        with self.journal.claim(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            there = self.study.get_trials(deepcopy=False)
            left = [
                trial
                for trial in there
                if trial.state == states.RUNNING and not self.journal.is_alive(trial.user_attrs.get(WORKER))
            ]
            waiting = any(trial.state == states.WAITING for trial in there)
            number = left[0].number if left else len(there) - waiting
            self._seed(number)
            if left:
                trial = self.optuna.trial.Trial(self.study, left[0]._trial_id)
            else:
                if number < len(first) and not waiting:
                    self.study.enqueue_trial({name: _name(value) for name, value in first[number].items()})
                trial = self.study.ask()
            trial.set_user_attr(WORKER, self.journal.worker)
            _ = trial.relative_params  # drawn together, now: later they would have another seed
            params = {}
            for name in self.dimensions:
                self._seed(
                    number, name
                )  # what was drawn before a kill is not drawn again, and moves no other
                params[name] = self._suggest(trial, name)
            trial.set_user_attr("params", params)
        return Trial(self.stage, trial.number, params, ended=False)

    def _seed(self, *parts: int | str) -> None:
        """Give the study a sampler whose numbers depend on the search's seed and on `parts` alone."""
        self.study.sampler = self.optuna.samplers.TPESampler(
            seed=seed_of(self.journal.seed, self.stage, *parts) % 2**32,
            n_startup_trials=RANDOM_TRIALS,
            multivariate=True,
            constant_liar=True,
        )

    def _suggest(self, trial: Any, name: str) -> Any:
        dimension = self.dimensions[name]
        if isinstance(dimension, Range):
            if dimension.whole:
                return trial.suggest_int(name, int(dimension.low), int(dimension.high), log=dimension.log)
            return trial.suggest_float(name, dimension.low, dimension.high, log=dimension.log)
        names = {_name(value): value for value in dimension}
        return names[trial.suggest_categorical(name, list(names))]

    def tell(self, trial: Trial, score: float | None, facts: dict[str, Any]) -> Trial:
        """End a trial: with its score, or None where it was given up."""
        state = self.optuna.trial.TrialState
        stored = self.study.get_trials(deepcopy=False)[trial.number]
        for name, value in facts.items():
            self.journal.storage.set_trial_user_attr(stored._trial_id, name, value)
        if FIRST_SCORE in facts:  # of what was given up the sampler learns, too
            self.journal.storage.set_trial_intermediate_value(stored._trial_id, 1, facts[FIRST_SCORE])
        ended = state.PRUNED if score is None else state.COMPLETE
        self.study.tell(trial.number, score, state=ended)
        return Trial(self.stage, trial.number, trial.params, score, facts)


class _Lock:
    """What Optuna holds while it appends: the system's lock, which ends with its process."""

    def __init__(self, path: Path):
        self._lock = FileLock(path)

    def acquire(self) -> bool:
        self._lock.acquire()
        return True

    def release(self) -> None:
        self._lock.release()


def _cut_torn_line(path: Path) -> None:
    """Cut off what a killed process wrote of a line; whoever calls this holds the journal's lock."""
    try:
        with path.open("r+b") as file:
            data = file.read()
            if data and not data.endswith(b"\n"):
                file.truncate(data.rfind(b"\n") + 1)
    except FileNotFoundError:
        return


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except CatdogError:
        raise
    except (OSError, ValueError, KeyError) as error:
        reason = getattr(error, "strerror", None) or str(error)[:200]
        raise CatdogError(
            f"Cannot use the journal {str(path)!r} ({reason}): restore it from a copy, or start another "
            f"search with another --output."
        ) from error


def _name(value: Any) -> Any:
    """Return a value as Optuna keeps it: lists as text."""
    return ",".join(map(str, value)) if isinstance(value, (tuple, list)) else value
