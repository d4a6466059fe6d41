"""Heads on kept features: solved and trained by folds, on any number of cores alike."""

import numpy as np
import pytest
import torch

from catdog_cli.models.tasks import MULTI_LABEL, SINGLE_LABEL
from catdog_cli.settings import HeadSpec, Phase
from catdog_cli.tuning import head_trials
from catdog_cli.tuning.head_trials import FeatureSet, Scope, solve_grid, train_folds

NUMBER, DIM = 90, 12
PHASE = Phase("head", 12, 0.01, batch_size=16, scheduler="cosine")


def features(several=False, views=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(NUMBER) % 3
    centres = torch.randn(3, DIM, generator=generator)
    plain = 1.5 * centres[labels] + torch.randn(NUMBER, DIM, generator=generator)
    train = torch.stack([plain + 0.1 * view for view in range(views)])
    if several:
        labels = torch.nn.functional.one_hot(labels, 3).to(torch.int8)
    return FeatureSet(train, plain[None], labels, torch.arange(NUMBER), (DIM,))


def scope(several=False, folds=3):
    return Scope(MULTI_LABEL if several else SINGLE_LABEL, 3, np.arange(NUMBER) // 3 % folds, 0)


def accuracy(probabilities):
    return (probabilities.argmax(1) == np.arange(NUMBER) % 3).mean()


def test_every_picture_is_answered_by_a_head_that_did_not_see_it():
    from sklearn.linear_model import LogisticRegression

    own, cut = features(), scope()
    found = solve_grid(cut, own, (0.1, 0.01), "none")
    assert set(found) == {0.1, 0.01}
    held = cut.folds == 1
    norm = head_trials._fit_norm(own, torch.from_numpy(np.flatnonzero(~held)), 0)
    rows = norm(own.train[0]).numpy().astype(np.float64)
    model = LogisticRegression(C=1 / (0.1 * (~held).sum()), tol=1e-9, max_iter=5000)
    model.fit(rows[~held], own.labels.numpy()[~held])
    np.testing.assert_allclose(found[0.1][held], model.predict_proba(rows[held]), atol=0.01)


def test_pictures_of_no_fold_are_always_trained_on_and_never_measured():
    cut = scope()
    cut.folds[:6] = -1
    found = solve_grid(cut, features(), (0.1,), "balanced")[0.1]
    assert np.isnan(found[:6]).all()
    assert np.isfinite(found[6:]).all()


@pytest.mark.parametrize(
    ("head", "phase"),
    [
        (HeadSpec((8,), 0.3), PHASE),
        (
            HeadSpec((8, 4), (0.2, 0.1), "gelu", "batch"),
            Phase("head", 8, 0.01, batch_size=7, optimizer="adamw"),
        ),
        (HeadSpec((8,), 0.0, "tanh", "layer"), Phase("head", 8, 0.1, batch_size=30, optimizer="sgd")),
    ],
)
def test_trained_heads_learn_and_do_not_depend_on_the_cores(head, phase, monkeypatch):
    found = []
    for cores in (1, 3):
        monkeypatch.setattr(head_trials, "usable_cores", lambda cores=cores: cores)
        torch.manual_seed(cores)  # dropout and first weights have numbers of their own
        found.append(train_folds(scope(), features(), head, phase, lambda probabilities: False))
    assert (found[0] == found[1]).all()
    assert accuracy(found[0]) > 0.55  # chance: 0.33


def test_a_trial_ends_after_the_first_folds():
    seen = []

    def should_end(probabilities):
        seen.append(np.isfinite(probabilities).all(1))
        return True

    found = train_folds(scope(), features(), HeadSpec((4,)), PHASE, should_end)
    assert (np.isfinite(found).all(1) == (scope().folds < head_trials.FIRST_FOLDS)).all()
    assert len(seen) == 1


def test_time_over_ends_a_trial_between_epochs():
    class OverError(Exception):
        pass

    def check():
        raise OverError

    with pytest.raises(OverError):
        train_folds(scope(), features(), HeadSpec((4,)), PHASE, lambda probabilities: False, check)
    with pytest.raises(OverError):
        solve_grid(scope(), features(), (0.1,), "none", check)


def test_several_labels_and_views():
    own = features(several=True, views=2)
    for found in (
        solve_grid(scope(True), own, (0.01,), "none")[0.01],
        train_folds(scope(True), own, HeadSpec((8,)), PHASE, lambda probabilities: False),
    ):
        assert found.shape == (NUMBER, 3)
        assert accuracy(found) > 0.55
