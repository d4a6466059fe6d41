"""What happens in a search and in a cross-validation, beside the events of the trainings in them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..training.events import Event


@dataclass(frozen=True, eq=False)
class Worked(Event):
    """A step that is no training has come so far: `done` of `total`."""

    kind = "worked"
    step: str
    done: int
    total: int


@dataclass(frozen=True, eq=False)
class FoldEnded(Event):
    """A fold was trained and measured; `row` is its row of the table."""

    kind = "fold"
    row: dict[str, Any]
    done: int
    total: int


@dataclass(frozen=True, eq=False)
class SearchPlanned(Event):
    """What a search is going to do: (stage, what, seconds) rows, before the first of them begins."""

    kind = "plan"
    rows: list[tuple[str, str, float]]
    budget_s: float
    resumed: int  # trials that are there already


@dataclass(frozen=True, eq=False)
class StageStarted(Event):
    """A stage of a search begins."""

    kind = "stage"
    name: str
    what: str


@dataclass(frozen=True, eq=False)
class SearchMoved(Event):
    """How far a search is: trials, the best so far and the time left, for whoever shows it."""

    kind = "moved"
    stage: str
    trials: int
    best: float | None
    used_s: float
    budget_s: float


@dataclass(frozen=True, eq=False)
class TrialEnded(Event):
    """A trial was scored, or given up for being worse than the best on the same images.

    `params` are plain values by their names in the space; `score` is None where the trial was given up.
    """

    kind = "trial"
    run_dir: Path
    stage: str
    number: int
    params: dict[str, Any]
    score: float | None
    loss: float | None
    seconds: float
    is_best: bool
