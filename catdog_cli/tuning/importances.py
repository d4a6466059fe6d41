"""Which settings mattered: the share of each in how much the scores of a stage's trials differ."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .journal import Trial

LEAST_TRIALS = 4  # that say anything
TREES = 64


def rank_settings(trials: Sequence[Trial], scores: Sequence[float], seed: int = 0) -> dict[str, float]:
    """Return the share of each setting, by name, that trials vary in; {} where there are few, or all equal.

    A forest of regression trees learns the scores from the settings; counted is by how much the splits on
    each of them lower the variance (Breiman 2001, "Random forests").
    """
    from sklearn.ensemble import RandomForestRegressor  # half a second, which a search without heads saves

    if len(trials) < LEAST_TRIALS or np.ptp(scores) == 0:
        return {}
    columns: list[np.ndarray] = []
    owners: list[str] = []
    for name in dict.fromkeys(name for trial in trials for name in trial.params):
        for column in _encode([trial.params.get(name) for trial in trials]):
            columns.append(column)
            owners.append(name)
    if not columns:
        return {}
    forest = RandomForestRegressor(TREES, max_features=0.5, random_state=seed, n_jobs=1)
    forest.fit(np.stack(columns, 1), np.asarray(scores, dtype=np.float64))
    found = dict.fromkeys(owners, 0.0)
    for name, share in zip(owners, forest.feature_importances_, strict=True):
        found[name] += float(share)
    return found


def _encode(values: list[Any]) -> list[np.ndarray]:
    """Return the columns that a setting is for a tree: one of numbers, or one for each of its choices."""
    texts = [str(value) for value in values]
    if len(set(texts)) < 2:
        return []
    if all(isinstance(value, (int, float)) for value in values):
        return [np.array(values, dtype=np.float64)]
    return [np.array([text == choice for text in texts], dtype=np.float64) for choice in sorted(set(texts))]
