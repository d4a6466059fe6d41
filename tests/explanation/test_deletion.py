"""A fifth of an image is blurred, and nothing else; random fifths have the same shape elsewhere."""

import numpy as np

from catdog_cli.explanation.deletion import NUM_RANDOM, blur_places, important_fifth, random_fifths
from catdog_cli.explanation.placement import Box

WHOLE = Box(0.0, 0.0, 1.0, 1.0)


def test_the_important_fifth_has_the_largest_values():
    heat = np.random.default_rng(0).normal(size=(50, 50))
    mask = important_fifth(heat)
    assert mask.sum() == 500
    assert heat[mask].min() > heat[~mask].max()
    assert important_fifth(np.zeros((10, 10))).sum() == 20  # all are equal


def test_random_fifths_are_as_large_elsewhere_and_the_same_each_time():
    mask = np.zeros((40, 40), bool)
    mask[:16, :20] = True
    found = random_fifths(mask)
    assert len(found) == NUM_RANDOM
    assert {int(each.sum()) for each in found} == {320}
    assert len({each.tobytes() for each in found}) > NUM_RANDOM / 2
    assert all(np.array_equal(*pair) for pair in zip(found, random_fifths(mask), strict=True))


def test_pixels_change_within_the_fifth_alone():
    rng = np.random.default_rng(1)
    views = [rng.integers(0, 256, (size, size, 3)).astype(np.uint8) for size in (60, 40)]
    heat = np.zeros((60, 60), np.float32)
    heat[:, :12] = 1  # the left fifth
    larger, smaller = blur_places(views, [WHOLE, Box(0.25, 0.25, 0.5, 0.5)], heat)
    assert larger.shape == (2 + NUM_RANDOM, 60, 60, 3)
    assert np.array_equal(larger[0], views[0])
    changed = (larger[1] != views[0]).any(2)
    assert changed[:, :12].mean() > 0.95
    assert not changed[:, 12:].any()
    assert np.array_equal(smaller[1], views[1])  # it sees the middle half alone: nothing is important there
    assert all((each != views[0]).any() for each in larger[2:])
