"""Splits: drawn by content, stable when pictures come, every class on both sides; manifests round-trip."""

import shutil

import numpy as np
import pytest

from catdog_cli.data.dataset import Dataset, Split
from catdog_cli.data.scan import scan_dataset
from catdog_cli.data.splits import fingerprint, split_dataset
from catdog_cli.errors import DataError
from tests.conftest import draw_image, write_images


def write_bytes(root, counts):
    """Write tiny files of different content: enough where nothing is decoded."""
    for folder, count in counts.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            (root / folder / f"{number}.jpg").write_bytes(f"{folder} {number}".encode())
    return root


def sides(dataset):
    return {path: name for name, split in dataset.splits.items() for path in split.paths}


def counts(dataset):
    return {name: np.bincount(split.labels).tolist() for name, split in dataset.splits.items()}


def test_shares_and_classes(tmp_path):
    dataset = scan_dataset(write_bytes(tmp_path, {"a": 400, "b": 100}))
    drawn = split_dataset(dataset, 0.2, seed=1)
    assert list(drawn.splits) == ["train", "val"]
    val = counts(drawn)["val"]
    assert val == [80, 20]
    assert set(sides(drawn)) == set(dataset.splits["all"].paths)
    labels = dict(zip(dataset.splits["all"].paths, dataset.splits["all"].labels.tolist(), strict=True))
    for split in drawn.splits.values():
        assert [labels[path] for path in split.paths] == split.labels.tolist()


def test_a_seed_repeats_and_another_differs(tmp_path):
    dataset = scan_dataset(write_bytes(tmp_path, {"a": 30, "b": 30}))
    assert sides(split_dataset(dataset, seed=3)) == sides(split_dataset(dataset, seed=3))
    assert sides(split_dataset(dataset, seed=3)) != sides(split_dataset(dataset, seed=4))


def test_renaming_moves_no_picture_and_adding_hardly_any(tmp_path):
    before = sides(split_dataset(scan_dataset(write_bytes(tmp_path, {"a": 60, "b": 60}))))
    (tmp_path / "a/5.jpg").rename(tmp_path / "a/renamed.jpg")
    before["a/renamed.jpg"] = before.pop("a/5.jpg")
    assert sides(split_dataset(scan_dataset(tmp_path))) == before
    write_bytes(tmp_path, {"b": 61, "c": 20})
    after = sides(split_dataset(scan_dataset(tmp_path)))
    moved = [path for path, side in before.items() if after[path] != side]
    assert len(moved) <= 1
    assert all(path.startswith("b/") for path in moved)


@pytest.mark.parametrize("seed", range(5))
def test_shares_are_exact_in_every_class(tmp_path, seed):
    numbers = {"a": 25, "b": 9, "c": 10, "d": 101, "e": 2}
    dataset = scan_dataset(write_bytes(tmp_path, numbers))
    drawn = counts(split_dataset(dataset, 0.2, seed, test_fraction=0.1))
    assert drawn["val"] == [5, 2, 2, 20, 1]
    assert drawn["test"] == [2, 1, 1, 10]
    assert drawn["train"] == [18, 6, 7, 71, 1]


def test_rare_classes_are_named_in_a_sentence_a_kind(tmp_path):
    numbers = {"a": 20, "b": 4, "c": 2, **{f"single{i}": 1 for i in range(30)}}
    warnings = split_dataset(scan_dataset(write_bytes(tmp_path, numbers))).warnings
    assert warnings[0].startswith(
        "30 classes have one picture only, which goes to train, unmeasured: 'single0', "
    )
    assert warnings[0].endswith("'single19' and 10 more.")
    assert warnings[1] == "Of classes with few pictures, what is measured says little: 'b' 4, 'c' 2."


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("val", "test"), [(0.01, 0), (0.9, 0), (0.2, 0.2), (0.1, 0.89)])
def test_small_classes_are_on_both_sides(tmp_path, seed, val, test):
    dataset = scan_dataset(write_bytes(tmp_path, {"a": 2, "b": 3, "c": 5, "d": 1}))
    drawn = split_dataset(dataset, val, seed, test)
    for label in range(3):
        assert label in drawn.splits["train"].labels
        assert label in drawn.splits["val"].labels
    assert 3 in drawn.splits["train"].labels
    assert "'d' has one picture only" in drawn.warnings[0]
    assert len(drawn) == 11


def test_a_test_split_leaves_val_as_it_was(tmp_path):
    dataset = scan_dataset(write_bytes(tmp_path, {"a": 100, "b": 100}))
    plain, with_test = split_dataset(dataset, 0.2), split_dataset(dataset, 0.2, test_fraction=0.3)
    assert plain.splits["val"].paths == with_test.splits["val"].paths
    assert len(with_test.splits["test"]) == 60


def test_equal_files_stay_together(tmp_path):
    write_bytes(tmp_path, {"a": 20, "b": 20})
    for number in range(20):
        shutil.copy(tmp_path / f"a/{number}.jpg", tmp_path / f"a/copy{number}.jpg")
    found = sides(split_dataset(scan_dataset(tmp_path), 0.5))
    assert all(found[f"a/{number}.jpg"] == found[f"a/copy{number}.jpg"] for number in range(20))
    assert set(found.values()) == {"train", "val"}


def test_groups_stay_together(tmp_path):
    dataset = scan_dataset(write_bytes(tmp_path, {"a": 40, "b": 40}))
    groups = [path[:3] for path in dataset.splits["all"].paths]  # a/1, a/10 ... a/19 together
    found = sides(split_dataset(dataset, 0.5, groups=groups))
    for group in set(groups):
        assert len({side for path, side in found.items() if path[:3] == group}) == 1


def test_val_is_taken_from_train(tmp_path):
    write_bytes(tmp_path, {"train/a": 30, "train/b": 30, "test/a": 2})
    drawn = split_dataset(scan_dataset(tmp_path))
    assert set(drawn.splits) == {"train", "val", "test"}
    assert len(drawn) == 62
    assert len(drawn.splits["test"]) == 2
    assert any("no val/: 20% of train" in text for text in drawn.warnings)


def test_what_is_split_stays(pets):
    dataset = scan_dataset(pets)
    assert split_dataset(dataset) is dataset


@pytest.mark.parametrize(
    ("counts", "message"),
    [({"val/a": 1, "val/b": 1}, "only val, no train/"), ({"a": 1, "b": 1}, "too few different pictures")],
)
def test_what_cannot_be_split(tmp_path, counts, message):
    dataset = scan_dataset(write_bytes(tmp_path, counts))
    with pytest.raises(DataError, match=message):
        split_dataset(dataset)


def test_the_fingerprint_follows_content_label_name_and_split(pets):
    first = fingerprint(scan_dataset(pets))
    assert first["num_files"] == 36
    assert fingerprint(scan_dataset(pets)) == first
    digests = {first["digest"]}
    draw_image(1, 77).save(pets / "val/cats/0.png")
    digests.add(fingerprint(scan_dataset(pets))["digest"])
    (pets / "val/cats/0.png").rename(pets / "val/cats/x.png")
    digests.add(fingerprint(scan_dataset(pets))["digest"])
    (pets / "val/cats/x.png").rename(pets / "val/dogs/x.png")
    digests.add(fingerprint(scan_dataset(pets))["digest"])
    (pets / "val").rename(pets / "test")
    digests.add(fingerprint(scan_dataset(pets))["digest"])
    assert len(digests) == 5


def test_a_file_that_vanished_does_not_stop_split_or_fingerprint(tmp_path):
    write_images(tmp_path, {"a": 4, "b": 4})
    dataset = scan_dataset(tmp_path)
    (tmp_path / "a/0.png").unlink()
    assert len(split_dataset(dataset)) == 8
    assert fingerprint(dataset)["num_files"] == 8


def test_a_hundred_thousand_pictures_are_drawn_in_a_second():
    labels = np.arange(100_000) % 2
    keys = [f"{number:032x}" for number in range(100_000)]
    dataset = Dataset(None, ["a", "b"], {"all": Split(keys, labels, np.arange(100_000), keys)})
    drawn = split_dataset(dataset, 0.2)
    assert abs(len(drawn.splits["val"]) - 20_000) < 500
