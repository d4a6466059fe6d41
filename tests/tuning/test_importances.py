"""Which settings mattered."""

import numpy as np
import pytest

from catdog_cli.tuning.importances import rank_settings
from catdog_cli.tuning.journal import Trial


def make_trials(count=60):
    rng = np.random.default_rng(0)
    trials = [
        Trial(
            "heads",
            number,
            {"rate": float(rng.random()), "norm": str(rng.choice(["a", "b", "c"])), "same": 1},
        )
        for number in range(count)
    ]
    scores = [trial.params["rate"] + 3 * (trial.params["norm"] == "b") for trial in trials]
    return trials, scores


def test_what_scores_follow_is_found():
    shares = rank_settings(*make_trials())
    assert set(shares) == {"rate", "norm"}
    assert shares["norm"] > 0.8
    assert 0.01 < shares["rate"] < 0.2
    assert sum(shares.values()) == pytest.approx(1)


def test_few_trials_or_equal_ones_say_nothing():
    trials, scores = make_trials(3)
    assert rank_settings(trials, scores) == {}
    trials, _ = make_trials()
    assert rank_settings(trials, [1.0] * 60) == {}
    assert rank_settings([Trial("heads", n, {"same": 1}) for n in range(9)], list(range(9))) == {}
