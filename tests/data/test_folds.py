"""Folds: every class in each, groups on one side, the same for the same content."""

import numpy as np
import pytest

from catdog_cli.data.dataset import Dataset, Split
from catdog_cli.data.folds import NEVER, draw_folds
from catdog_cli.data.grouping import group_images
from catdog_cli.errors import DataError

from ..conftest import draw_image


def test_every_class_is_spread_evenly():
    labels = np.array([0] * 50 + [1] * 25)
    folds = draw_folds(labels, [str(number) for number in range(75)], 5)
    for label, share in ((0, 10), (1, 5)):
        assert np.bincount(folds[labels == label]).tolist() == [share] * 5


def test_a_group_is_in_one_fold_and_counts_by_its_size():
    groups = ["large"] * 12 + [str(number) for number in range(28)]
    folds = draw_folds(np.zeros(40, dtype=np.int64), groups, 4)
    assert len(set(folds[:12])) == 1
    assert sorted(np.bincount(folds)) == [9, 9, 10, 12]


def test_names_and_seed_decide_not_the_order():
    labels, groups = np.arange(30) % 3, [f"g{number}" for number in range(30)]
    folds = draw_folds(labels, groups, 3, seed=4)
    order = np.random.default_rng(0).permutation(30)
    again = draw_folds(labels[order], [groups[place] for place in order], 3, seed=4)
    assert again.tolist() == folds[order].tolist()
    assert draw_folds(labels, groups, 3, seed=5).tolist() != folds.tolist()


def test_a_class_of_one_group_is_never_held_out():
    folds = draw_folds(np.array([0, 0, 0, 1, 1]), ["a", "b", "c", "d", "d"], 3)
    assert folds[3:].tolist() == [NEVER, NEVER]
    assert sorted(folds[:3]) == [0, 1, 2]


def test_several_labels_are_spread_and_a_rare_one_stays():
    labels = np.zeros((40, 3), dtype=np.int8)
    labels[:20, 0], labels[::2, 1], labels[7, 2] = 1, 1, 1
    folds = draw_folds(labels, [str(number) for number in range(40)], 4)
    assert folds[7] == NEVER
    counts = [labels[folds == fold].sum(0)[:2].tolist() for fold in range(4)]
    assert all(4 <= count <= 6 for row in counts for count in row)


def test_fewer_pictures_than_folds_are_refused():
    with pytest.raises(DataError, match=r"3 different pictures cannot be divided into 4 folds"):
        draw_folds(np.zeros(4, dtype=np.int64), ["a", "b", "c", "c"], 4)


def test_quick_groups_join_look_alikes_and_skip_what_cannot_be_read(tmp_path):
    image = draw_image(0, 1, (300, 260)).resize((30, 26)).resize((300, 260))
    image.save(tmp_path / "a.png")
    image.resize((200, 173)).save(tmp_path / "b.jpg", quality=90)
    draw_image(1, 2, (300, 260)).resize((30, 26)).resize((300, 260)).save(tmp_path / "c.png")
    image.save(tmp_path / "d.png")
    (tmp_path / "e.jpg").write_bytes(b"no picture")
    paths = ["a.png", "b.jpg", "c.png", "d.png", "e.jpg"]
    dataset = Dataset(tmp_path, ["x"], {"train": Split(paths, np.zeros(5, dtype=np.int64))})
    seen = []
    groups = group_images(dataset, "train", report=lambda done, total: seen.append((done, total)), quick=True)
    assert groups[0] == groups[1] == groups[3]
    assert len(set(groups)) == 3
    assert seen[-1] == (5, 5)
