"""Iterative stratification: every label has its share in every part, as near as one can come."""

import itertools

import numpy as np
import pytest

from catdog_cli.data.scan import scan_dataset
from catdog_cli.data.splits import split_dataset
from catdog_cli.data.stratify import stratify

from ..label_files import write_csv, write_labelled, write_wide


def distance(labels, parts, shares):
    """Return how far the parts are from their shares of each label: the largest miss, in images."""
    return max(
        abs(labels[parts == number].sum(0) - share * labels.sum(0)).max()
        for number, share in enumerate(shares)
    )


def draw(labels, shares, seed=0):
    numbers = np.random.default_rng(seed).random(len(labels))
    return stratify(labels, np.ones(len(labels), dtype=np.int64), shares, numbers)


@pytest.mark.parametrize("seed", range(8))
def test_of_ten_images_no_other_division_is_much_nearer(seed):
    """Compared with all divisions of ten images into two parts of the same sizes."""
    rng = np.random.default_rng(seed)
    labels, shares = (rng.random((10, 3)) < [0.3, 0.5, 0.7]).astype(np.int64), (0.7, 0.3)
    found = draw(labels, shares, seed)
    best = min(
        distance(labels, np.isin(np.arange(10), chosen).astype(int), shares)
        for size in (2, 3, 4)
        for chosen in itertools.combinations(range(10), size)
    )
    assert distance(labels, found, shares) <= best + 1.0
    assert 2 <= (found == 1).sum() <= 4


@pytest.mark.parametrize("seed", range(3))
def test_shares_of_rare_labels_and_of_images_are_kept(seed):
    rng = np.random.default_rng(seed)
    rates = [0.01, 0.03, 0.1, 0.3, 0.6]
    labels = (rng.random((2000, 5)) < rates).astype(np.int64)
    found = draw(labels, (0.6, 0.2, 0.2), seed)
    assert distance(labels, found, (0.6, 0.2, 0.2)) < 12
    assert np.abs(np.bincount(found) - [1200, 400, 400]).max() <= 12
    by_chance = rng.choice(3, 2000, p=(0.6, 0.2, 0.2))
    rare = labels[:, :2]
    assert distance(rare, found, (0.6, 0.2, 0.2)) < distance(rare, by_chance, (0.6, 0.2, 0.2)) + 1


def test_it_follows_the_numbers_alone():
    labels = (np.random.default_rng(0).random((50, 4)) < 0.3).astype(np.int64)
    order = np.random.default_rng(1).permutation(50)
    numbers, ones = np.random.default_rng(2).random(50), np.ones(50, dtype=np.int64)
    first = stratify(labels, ones, (0.8, 0.2), numbers)
    assert (stratify(labels[order], ones, (0.8, 0.2), numbers[order]) == first[order]).all()
    assert (first != stratify(labels, ones, (0.8, 0.2), 1 - numbers)).any()


def test_large_groups_find_their_place_first():
    sizes = np.array([1, 2, 2, 5, 2])
    parts = stratify(sizes[:, None], sizes, (0.5, 0.5), np.linspace(0, 1, 5))
    assert sizes[parts == 0].sum() == sizes[parts == 1].sum() == 6


def test_a_split_is_stratified_and_the_same_again(tmp_path):
    path = write_wide(tmp_path, 64, unknown=9)
    first = split_dataset(scan_dataset(path), 0.25, seed=3)
    again = split_dataset(scan_dataset(path), 0.25, seed=3)
    assert {name: split.paths for name, split in first.splits.items()} == {
        name: split.paths for name, split in again.splits.items()
    }
    assert len(first.splits["val"]) == 16
    for name, share in (("train", 0.75), ("val", 0.25)):
        labels = first.splits[name].labels
        whole = np.concatenate([part.labels for part in first.splits.values()])
        assert np.abs((labels == 1).sum(0) - share * (whole == 1).sum(0)).max() <= 2
    other = split_dataset(scan_dataset(path), 0.25, seed=4)
    assert set(other.splits["val"].paths) != set(first.splits["val"].paths)


def test_copies_stay_on_one_side_and_the_only_image_of_a_label_is_trained_on(tmp_path):
    rows = [(path, ";".join(sorted(labels))) for path, labels in write_labelled(tmp_path, 16)]
    for number in range(4):
        target = tmp_path / "images" / f"copy{number}.png"
        target.write_bytes((tmp_path / "images" / "3.png").read_bytes())
        rows.append((f"images/{target.name}", "blue;green"))
    rows[5] = (rows[5][0], rows[5][1] + ";once")
    path = write_csv(tmp_path / "labels.csv", [("path", "labels"), *rows])
    for seed in range(5):
        dataset = split_dataset(scan_dataset(path), 0.5, seed)
        copies = {"images/3.png", *(f"images/copy{number}.png" for number in range(4))}
        assert len(copies & set(dataset.splits["val"].paths)) in (0, 5)
        assert "images/5.png" in dataset.splits["train"].paths
