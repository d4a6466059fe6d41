"""Scanning: layouts, odd names, what is left aside, and one sentence for each thing that is wrong."""

import os
import pickle
import re
import shutil

import numpy as np
import pytest

from catdog_cli.data import image_files
from catdog_cli.data.scan import find_leaks, match_classes, read_exclude_list, scan_dataset
from catdog_cli.errors import DataError
from tests.conftest import draw_image, write_images

CASES = [
    ({}, "No pictures under .*one folder per class"),
    ({"": 2}, "2 pictures lie directly in .*one folder per class"),
    ({"train": 2, "val/a": 1}, "lie directly in '.*train'"),
    ({"cats": 2}, "one class only, 'cats': at least two"),
    ({"outer/train": 0, "outer/val": 0, "outer/x": 1}, "Or is '.*outer' the data folder"),
    (
        {"train/a": 1, "train/b": 1, "val/a": 1, "val/b": 1, "val/c": 1},
        "val holds 'c', without pictures in tr",
    ),
    ({"train/a": 1, "train/b": 1, "train/c": 0, "val/c": 1}, "val holds 'c', without pictures in train"),
    ({"train/a": 1, "train/b": 1, "test/c": 1}, "test holds 'c', without pictures in train"),
    ({"train/a": 1, "train/b": 1, "val/a": 1, "valid/a": 1}, "'val', 'valid', two names of one split"),
]


@pytest.mark.parametrize(("counts", "message"), CASES)
def test_what_is_wrong_is_said(tmp_path, counts, message):
    write_images(tmp_path, counts)
    with pytest.raises(DataError, match=message):
        scan_dataset(tmp_path)


@pytest.mark.parametrize("name", ["", "missing"])
def test_a_missing_folder_is_named(tmp_path, name):
    with pytest.raises(DataError, match="does not exist"):
        scan_dataset(tmp_path / name if name else "")


def test_a_path_that_the_system_refuses(tmp_path):
    with pytest.raises(DataError, match=r"Cannot open the data folder .*too long"):
        scan_dataset(tmp_path / ("x" * 300))


def test_a_file_that_is_no_manifest_is_refused(tmp_path):
    (tmp_path / "note.txt").write_text("hello")
    with pytest.raises(DataError, match=r"note.txt' is neither a data folder nor a manifest"):
        scan_dataset(tmp_path / "note.txt")


def test_all_problems_come_at_once(tmp_path):
    write_images(tmp_path, {"train/a": 1, "val/b": 1, "test/c": 1, "valid/b": 1})
    with pytest.raises(DataError) as caught:
        scan_dataset(tmp_path)
    assert len(str(caught.value).split("\n")) == 3


def test_train_and_val_folders(pets):
    dataset = scan_dataset(pets)
    assert dataset.class_names == ["cats", "dogs"]
    assert {name: len(split) for name, split in dataset.splits.items()} == {"train": 24, "val": 12}
    assert dataset.splits["val"].labels.tolist() == [0] * 6 + [1] * 6
    assert dataset.splits["val"].labels.dtype == np.int64
    assert dataset.splits["val"].paths[6] == "val/dogs/0.png"
    assert dataset.source("val", 6) == pets / "val/dogs/0.png"
    assert dataset.warnings == []
    assert dataset.ignored == {}


def test_one_folder_per_class_sorted_naturally(tmp_path):
    write_images(tmp_path, {"10": 1, "2": 2, "b": 1, "A": 1, "2/more/deeper": 1})
    dataset = scan_dataset(tmp_path)
    assert dataset.class_names == ["2", "10", "A", "b"]
    assert dataset.splits["all"].paths == [
        "2/0.png",
        "2/1.png",
        "2/more/deeper/0.png",
        "10/0.png",
        "A/0.png",
        "b/0.png",
    ]
    assert dataset.splits["all"].labels.tolist() == [0, 0, 0, 1, 2, 3]


@pytest.mark.parametrize(("name", "says"), [("valid", True), ("Validation", True), ("VAL", False)])
def test_other_names_of_val(tmp_path, name, says):
    write_images(tmp_path, {"Train/a": 1, "Train/b": 1, f"{name}/a": 1, f"{name}/b": 1})
    dataset = scan_dataset(tmp_path, leaks=False)
    assert list(dataset.splits) == ["train", "val"]
    assert any("taken as the validation split" in text for text in dataset.warnings) == says


def test_every_suffix_in_any_case_and_the_rest_is_counted(tmp_path):
    names = ["a.jpg", "b.JPEG", "c.Png", "d.webp", "e.gif", "f.BMP", "g.tif", "h.tiff"]
    others = ["notes.txt", "noext", ".hidden.jpg", "Thumbs.db", "desktop.ini"]
    for folder in ("x", "y", "x/__MACOSX", ".git"):
        (tmp_path / folder).mkdir()
    for name in names + others:
        (tmp_path / "x" / name).write_bytes(b"0")
    (tmp_path / "y" / "a.jpg").write_bytes(b"1")
    dataset = scan_dataset(tmp_path)
    assert dataset.splits["all"].paths == [f"x/{name}" for name in names] + ["y/a.jpg"]
    assert dataset.ignored == {"hidden": 5, ".txt": 1, "without suffix": 1}


def test_plots_of_runs_and_reports_are_no_pictures(tmp_path):
    """`cd pets; catdog train .` twice: the second run must not learn the class 'checkpoints'."""
    root = write_images(tmp_path / "pets", {"cats": 2, "dogs": 2, "checkpoints/x-1": 1})
    run, report = root / "checkpoints" / "x-1", root / "checkpoints" / "x-1" / "reports" / "1-head"
    write_images(report.parent, {"1-head": 1})
    for folder, mark, plot in ((run, "history.jsonl", "curves.png"), (report, "report.json", "roc.png")):
        (folder / "0.png").rename(folder / plot)
        (folder / mark).touch()
    shutil.copy(run / "curves.png", root / "cats")  # the user's own picture of that name
    dataset = scan_dataset(root)
    assert dataset.class_names == ["cats", "dogs"]
    assert len(dataset) == 5
    assert dataset.ignored["plots of catdog"] == 2


def test_odd_names_survive(tmp_path):
    names = ["with space.png", "new\nline.png", os.fsdecode(b"latin\xe9.png"), "ünï😀.png", "'quo\"te,.png"]
    for folder in ("a b", os.fsdecode(b"\xff")):
        (tmp_path / folder).mkdir()
        for name in names:
            draw_image(0, len(name)).save(tmp_path / folder / "plain.png")
            (tmp_path / folder / "plain.png").rename(tmp_path / folder / name)
    dataset = scan_dataset(tmp_path)
    assert len(dataset) == 10
    assert all(dataset.source("all", index).is_file() for index in range(10))


def test_links_are_followed_and_loops_end(tmp_path):
    write_images(tmp_path / "data", {"a": 1, "b/sub": 1})
    write_images(tmp_path / "far", {"more": 2})
    (tmp_path / "data/a/loop").symlink_to(tmp_path / "data/a")
    (tmp_path / "data/b/sub/up").symlink_to(tmp_path / "data/b")
    (tmp_path / "data/b/far").symlink_to(tmp_path / "far/more")
    (tmp_path / "data/b/gone.png").symlink_to(tmp_path / "nowhere.png")
    dataset = scan_dataset(tmp_path / "data")
    assert dataset.splits["all"].paths == ["a/0.png", "b/far/0.png", "b/far/1.png", "b/sub/0.png"]
    assert dataset.ignored == {"repeated folders": 2, "broken links": 1}


def test_a_folder_that_cannot_be_opened_is_named(pets, monkeypatch):
    opened = os.scandir

    def refuse(path):
        if str(path).endswith(("train/dogs", "val/cats")):
            raise PermissionError(13, "Permission denied", path)
        return opened(path)

    monkeypatch.setattr(image_files.os, "scandir", refuse)
    with pytest.raises(DataError, match=r"train/dogs' cannot be opened \(Permission denied\)") as caught:
        scan_dataset(pets)
    assert "val/cats' cannot be opened" in str(caught.value)


def test_warnings(tmp_path):
    counts = {"train/a": 1, "train/b": 1, "train/c": 1, "train/none": 0, "val/a": 1, "val/b": 1, "other/x": 1}
    write_images(tmp_path, counts)
    draw_image(0, 0).save(tmp_path / "train" / "loose.png")
    dataset = scan_dataset(tmp_path)
    assert dataset.class_names == ["a", "b", "c"]
    wanted = [
        "Beside the splits, .*'other'",
        "1 pictures lie directly",
        "'none' holds no pictures",
        "'c' has no pi",
    ]
    for pattern, text in zip(wanted, dataset.warnings, strict=True):
        assert re.search(pattern, text)


def test_the_same_picture_in_two_splits(pets):
    shutil.copy(pets / "train/dogs/3.png", pets / "val/dogs/other.png")
    dataset = scan_dataset(pets)
    assert find_leaks(dataset) == [("train/dogs/3.png", "val/dogs/other.png")]
    assert "1 pictures are in two splits" in dataset.warnings[0]
    assert "'train/dogs/3.png'" in dataset.warnings[0]
    assert scan_dataset(pets, leaks=False).warnings == []


def test_files_of_one_size_are_told_apart_by_content(tmp_path):
    for split, byte in (("train", b"1"), ("val", b"2")):
        for name in ("a", "b"):
            (tmp_path / split / name).mkdir(parents=True)
            (tmp_path / split / name / "x.png").write_bytes(byte)
    assert find_leaks(scan_dataset(tmp_path)) == []


def test_classes_are_matched_by_name(tmp_path):
    write_images(tmp_path, {"dogs": 2, "cats": 1})
    names = ["zebras", "dogs", "cats"]
    dataset = scan_dataset(tmp_path, names)
    assert dataset.class_names == names
    assert dataset.splits["all"].labels.tolist() == [2, 1, 1]
    assert "no pictures of 'zebras'" in dataset.warnings[0]
    assert match_classes(scan_dataset(tmp_path), names).splits["all"].labels.tolist() == [2, 1, 1]


def test_one_known_class_can_be_evaluated(tmp_path):
    write_images(tmp_path, {"test/dogs": 2})
    dataset = scan_dataset(tmp_path, ["cats", "dogs"])
    assert dataset.splits["test"].labels.tolist() == [1, 1]


def test_a_class_unknown_to_the_checkpoint_is_refused(tmp_path):
    write_images(tmp_path, {"Dogs": 1, "cats": 1})
    with pytest.raises(
        DataError, match=r"holds 'Dogs', which the checkpoint does not know .*did you mean 'dogs'"
    ):
        scan_dataset(tmp_path, ["cats", "dogs"])


def test_excluded_pictures_are_ignored(pets, tmp_path):
    absolute = str(pets / "val/cats/0.png")
    dataset = scan_dataset(pets, exclude=["train/cats/0.png", absolute, "train/cats/none.png"])
    assert {name: len(split) for name, split in dataset.splits.items()} == {"train": 23, "val": 11}
    assert dataset.ignored == {"excluded": 2}
    (warning,) = dataset.warnings
    assert warning.startswith("1 of 3 excluded pictures are not in the data: give paths from '")
    (tmp_path / "list.txt").write_text('train/cats/0.png\r\n"val/cats/0.png"\n\n')
    assert scan_dataset(pets, exclude=tmp_path / "list.txt").ignored == {"excluded": 2}


@pytest.mark.parametrize(("content", "message"), [(None, "Cannot read"), ('"x', "damaged quoted line")])
def test_a_bad_exclude_list(tmp_path, content, message):
    if content is not None:
        (tmp_path / "list.txt").write_text(content)
    with pytest.raises(DataError, match=message):
        read_exclude_list(tmp_path / "list.txt")


def test_a_dataset_can_be_sent_to_a_worker(pets):
    dataset = pickle.loads(pickle.dumps(scan_dataset(pets)))
    assert dataset.source("train", 0) == pets / "train/cats/0.png"
