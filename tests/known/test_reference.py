"""Distances to what was trained on: right, honest out of the sample, and kept whole."""

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from sklearn.covariance import ledoit_wolf

from catdog_cli.known import reference
from catdog_cli.known.reference import Reference, fit_reference, pool, sample_images, shrink_covariance


def draw_features(number, dim=40, seed=0, shift=0.0):
    """Return features (N, D) of two clouds, as a network makes them: positive, of few directions."""
    rng = np.random.default_rng(seed)
    basis = np.random.default_rng(99).normal(size=(8, dim))
    spread = rng.normal(size=(number, 8)) + 2 * (np.arange(number) % 2)[:, None]
    rows = np.maximum(spread @ basis + 0.5 * rng.normal(size=(number, dim)) + shift, 0)
    return torch.tensor(rows, dtype=torch.float32)


def fit(number=120, dim=40, seed=0):
    return fit_reference(draw_features(number, dim, seed), np.arange(number) % 2)


def measure(found: Reference, features):
    return found.p_values(found.meter(torch.device("cpu"))(features).numpy())


def test_distances_left_out_are_those_of_a_reference_without_the_image():
    features = draw_features(30)
    whole = fit_reference(features, np.zeros(30))
    near, far = [], []
    for i in range(30):
        rest = torch.cat([whole.rows[:i], whole.rows[i + 1 :]])
        squares = (rest - whole.rows[i]).square().sum(1).sort().values
        near.append(float(squares[:10].mean()))
        far.append(_mahalanobis_without(whole.rows.double(), i))
    assert whole.near == pytest.approx(np.sort(near), rel=1e-4)
    assert whole.far == pytest.approx(np.sort(far), rel=1e-6)


def _mahalanobis_without(rows, i):
    """Return the squared distance of a row to the others, whose covariance is shrunk as that of all is."""
    offsets = rows - rows.mean(0)
    _, shrinkage = shrink_covariance(offsets)
    others = torch.cat([rows[:i], rows[i + 1 :]])
    # each of the others counts as in the covariance of all, n - 1 of n
    share = (1 - shrinkage) / len(rows)
    own = others - others.mean(0)
    aim = max(shrinkage, 1e-6) * (offsets.square().sum() / offsets.numel())
    covariance = share * own.T @ own + aim * torch.eye(rows.shape[1], dtype=rows.dtype)
    offset = rows[i] - others.mean(0)
    return float(offset @ torch.linalg.solve(covariance, offset))


@pytest.mark.parametrize(("number", "dim"), [(200, 20), (30, 60)])
def test_covariance_is_that_of_scikit_learn(number, dim):
    rows = draw_features(number, dim).double()
    offsets = rows - rows.mean(0)
    mine, shrinkage = shrink_covariance(offsets)
    theirs, their_shrinkage = ledoit_wolf(offsets.numpy(), assume_centered=True)
    assert shrinkage == pytest.approx(their_shrinkage)
    assert mine.numpy() == pytest.approx(theirs)


@pytest.mark.parametrize("dim", [40, 700])
def test_the_stated_rate_holds_on_folds_and_strangers_are_found(dim):
    """Each fold in turn is new to a reference of the others, where most features are projected, too."""
    features, called, total = draw_features(600, dim), {0.01: 0, 0.05: 0, 0.2: 0}, 0
    for fold in range(5):
        held = np.arange(600) // 2 % 5 == fold
        p_values = measure(fit_reference(features[~held], np.zeros((~held).sum())), features[held])
        for rate in called:
            called[rate] += int((p_values <= rate).sum())
        total += held.sum()
    for rate, count in called.items():
        low, high = binomtest(count, total).proportion_ci(0.999)
        assert low <= rate, (rate, count)  # no more than stated
        assert high >= rate / 3, (rate, count)  # nor nearly never
    strangers = torch.rand(100, dim, generator=torch.Generator().manual_seed(0))
    assert (measure(fit(600, dim), strangers) <= 0.01).mean() > 0.99


def test_an_image_is_known_by_its_direction_alone():
    found, features = fit(), draw_features(20, seed=5)
    assert np.array_equal(measure(found, features), measure(found, 4 * features))


def test_features_without_any_variance_tell_only_others():
    same = fit_reference(torch.ones(10, 6), np.zeros(10))
    assert measure(same, torch.ones(2, 6)).tolist() == [1.0, 1.0]
    assert measure(same, torch.eye(6)[:2]).tolist() == pytest.approx([1 / 11, 1 / 11])


def test_of_three_images_something_is_kept_and_of_two_nothing():
    assert len(fit(3)) == 3
    assert fit(3).least_rate == 0.25
    assert fit(2) is None


def test_a_class_can_be_left_out():
    others = fit().without(1)
    assert len(others) == 60
    assert set(others.labels.tolist()) == {0}
    assert np.array_equal(others.near, fit_reference(draw_features(120)[::2], np.zeros(60)).near)


@pytest.mark.parametrize("dim", [40, 700])
def test_a_reference_comes_back_with_the_same_bits_and_is_small(dim):
    found = fit(dim=dim)
    again = Reference.from_dict(found.to_dict(), ["stem", "pool"], dim)
    new = draw_features(30, dim, seed=7)
    assert np.array_equal(measure(found, new), measure(again, new))
    assert all(torch.equal(one, two) for one, two in zip(tensors(found), tensors(again), strict=True))
    kept = sum(tensor.nbytes for tensor in found.to_dict().values() if isinstance(tensor, torch.Tensor))
    assert kept < 120 * 2 * 512 + 4 * 512 * 513 + 40 * 120


def tensors(found):
    return [value for value in found.to_dict().values() if isinstance(value, torch.Tensor)]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"format": 2}, "not of this catdog"),
        ({"feature_dim": 41}, "told by 41 features, the network has 40"),
        ({"border": 2, "block": "stem"}, "a block that the network does not have"),
        ({"border": 9}, "a block that the network does not have"),
        ({"block": "stem"}, "has a name, but no place"),
        ({"neighbours": 500}, "too few images"),
        ({"num_images": -1}, "num_images of what tells strangers is no number"),
        ({"split": 3}, "does not say whose images"),
        ({"rows": torch.ones(120, 40)}, "rows of what tells strangers is no tensor of torch.float16"),
        ({"mean": torch.ones(4)}, r"mean of what tells strangers is \(4,\) instead of \(40,\)"),
        ({"precision": torch.full((40, 40), torch.inf)}, "not finite"),
        ({"near": torch.arange(120.0, 0, -1, dtype=torch.float64)}, "not in order"),
        ({"labels": torch.ones(7, dtype=torch.int32)}, "labels of what tells strangers"),
    ],
)
def test_a_damaged_reference_is_refused(change, match):
    with pytest.raises(ValueError, match=match):
        Reference.from_dict({**fit().to_dict(), **change}, ["stem", "pool"], 40)


def test_a_sample_has_each_class_with_its_share_and_the_same_every_time():
    labels = np.array([0] * 800 + [1] * 195 + [2] * 5)
    places = sample_images(labels, 100, seed=3)
    assert np.bincount(labels[places]).tolist() == pytest.approx([80, 19, 1], abs=1)
    assert np.array_equal(places, sample_images(labels, 100, seed=3))
    assert not np.array_equal(places, sample_images(labels, 100, seed=4))
    assert len(sample_images(np.zeros((1000, 4)), 100, seed=3)) == 100
    assert sample_images(labels[:50], 100, seed=3).tolist() == list(range(50))


@pytest.mark.parametrize("shape", [(2, 5, 3, 3), (2, 3, 3, 5), (2, 7, 5), (2, 5)])
def test_outputs_of_blocks_are_pooled_over_places(shape):
    assert pool(torch.rand(shape)).shape == (2, 5)


def test_signs_are_the_same_for_ever():
    signs = reference.random_signs(600)
    assert signs.shape == (600, reference.DIM)
    assert (signs[0, :8] > 0).tolist() == [False, True, True, False, True, True, True, True]
    assert reference.random_signs(reference.DIM) is None
