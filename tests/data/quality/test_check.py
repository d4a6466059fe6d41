"""Checking: every kind of damage and oddity is found, duplicates are grouped, labels are doubted rightly."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from catdog_cli.data.grouping import group_images
from catdog_cli.data.prepare import prepare_dataset
from catdog_cli.data.quality import check
from catdog_cli.data.quality.check import check_dataset, find_label_errors
from catdog_cli.data.quality.check_html import build_page, write_exclude_list, write_page
from catdog_cli.data.quality.near_duplicates import find_similar
from catdog_cli.data.scan import scan_dataset
from catdog_cli.data.splits import split_dataset
from catdog_cli.errors import CatdogError, DataError
from tests.conftest import draw_image, write_images


def draw_shapes(number: int, size: tuple[int, int] = (120, 100)) -> Image.Image:
    """Return a smooth picture, as photographs are: it keeps its look when it is resized."""
    rng = np.random.default_rng(number)
    small = Image.fromarray(rng.integers(0, 255, (6, 6, 3), dtype=np.uint8))
    return small.resize(size, Image.Resampling.BICUBIC)


def spoil(pets):
    """Put one picture of each kind into train/cats; return {file name: kind}."""
    folder = pets / "train/cats"
    picture = draw_image(0, 5, (64, 48))
    picture.save(folder / "whole.jpg")
    data = (folder / "whole.jpg").read_bytes()
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "cut.jpg").write_bytes(data[: len(data) // 2])
    (folder / "text.jpg").write_text("hello")
    draw_image(0, 6, (64, 48)).save(folder / "png.jpg", "PNG")
    draw_image(0, 7, (64, 48)).convert("CMYK").save(folder / "cmyk.jpg")
    Image.fromarray(np.arange(0, 48 * 64 * 20, 20, dtype=np.uint16).reshape(48, 64)).save(folder / "deep.png")
    Image.fromarray(np.arange(9, 48 * 64 * 9 + 9, 9, dtype=np.uint16).reshape(48, 64)).save(
        folder / "deep.tif"
    )
    frames = [draw_image(0, number, (64, 48)) for number in (8, 9)]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    exif = Image.Exif()
    exif[0x0112] = 6
    draw_image(0, 10, (64, 48)).save(folder / "turned.jpg", exif=exif)
    draw_image(0, 12, (64, 48)).save(folder / "no_end.jpg")
    (folder / "no_end.jpg").write_bytes((folder / "no_end.jpg").read_bytes()[:-2])
    Image.new("RGB", (64, 48), (90, 10, 200)).save(folder / "blank.jpg")
    data = bytearray(data)
    data[data.index(b"\xff\xc0") + 1] = 0xC3
    (folder / "lossless.jpg").write_bytes(data)
    draw_image(0, 11, (30, 48)).save(folder / "tiny.png")
    return {
        "empty.jpg": "empty", "cut.jpg": "truncated", "text.jpg": "damaged", "png.jpg": "misnamed",
        "cmyk.jpg": "cmyk", "deep.png": "16-bit", "deep.tif": "16-bit", "moving.gif": "animated",
        "turned.jpg": "rotated", "tiny.png": "tiny", "no_end.jpg": "flawed", "blank.jpg": "blank",
        "lossless.jpg": "unsupported",
    }  # fmt: skip


def test_each_kind_is_found(pets):
    wanted = {f"train/cats/{name}": kind for name, kind in spoil(pets).items()}
    before = {path: path.read_bytes() for path in pets.rglob("*.*")}
    report = check_dataset(scan_dataset(pets))
    assert {finding.path: finding.kind for finding in report.findings} == wanted
    assert len(report.findings) == len(wanted)
    assert list(report.count_kinds())[:3] == ["empty", "truncated", "damaged"]
    assert report.count_kinds()["16-bit"] == 2
    excluded = ("cut.jpg", "empty.jpg", "lossless.jpg", "text.jpg")
    assert report.list_excluded() == [f"train/cats/{name}" for name in excluded]
    details = {finding.kind: finding.detail for finding in report.findings}
    assert details["flawed"] == "its end marker is missing; read all the same"
    assert "is a lossless JPEG, which is not read" in details["unsupported"]
    assert {path: path.read_bytes() for path in pets.rglob("*.*")} == before


def test_a_huge_picture_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(check, "HUGE_FROM_PIXELS", 10_000)
    write_images(tmp_path, {"a": 1, "b": 1})
    draw_image(0, 1, (200, 51)).save(tmp_path / "a" / "wide.png")
    report = check_dataset(scan_dataset(tmp_path))
    assert [(finding.path, finding.kind) for finding in report.findings] == [("a/wide.png", "huge")]


def test_counts_imbalance_and_progress(tmp_path):
    write_images(tmp_path, {"train/a": 8, "train/b": 2, "val/a": 1, "val/b": 1})
    seen = []
    report = check_dataset(scan_dataset(tmp_path), lambda done, total: seen.append((done, total)))
    assert report.counts == {"train": {"a": 8, "b": 2}, "val": {"a": 1, "b": 1}}
    assert report.imbalance == 3
    assert report.findings == []
    assert seen == [(12, 12)]


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image.resize((60, 50)),
        lambda image: ImageEnhance.Brightness(image).enhance(1.1),
        lambda image: image.crop((1, 1, 118, 98)),
        lambda image: image.convert("P"),
    ],
    ids=["half the size", "brighter", "cropped", "fewer colours"],
)
def test_near_duplicates(tmp_path, change):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    for number in range(12):
        draw_shapes(number).save(tmp_path / ("a" if number < 6 else "b") / f"{number}.png")
    change(draw_shapes(3)).save(tmp_path / "a" / "again.png")
    report = check_dataset(scan_dataset(tmp_path))
    assert [(group.kind, group.paths) for group in report.duplicates] == [
        ("near", ["a/3.png", "a/again.png"])
    ]
    assert not report.duplicates[0].conflict
    assert report.list_excluded() == []


def test_duplicates_by_class_and_split(pets):
    shutil.copy(pets / "train/cats/0.png", pets / "train/cats/twin.png")
    shutil.copy(pets / "train/cats/1.png", pets / "val/cats/leaked.png")
    shutil.copy(pets / "train/cats/2.png", pets / "train/dogs/wrong.png")
    report = check_dataset(scan_dataset(pets))
    found = [(group.kind, group.conflict, group.leak, group.paths) for group in report.duplicates]
    assert found == [
        ("exact", True, False, ["train/cats/2.png", "train/dogs/wrong.png"]),
        ("exact", False, True, ["train/cats/1.png", "val/cats/leaked.png"]),
        ("exact", False, False, ["train/cats/0.png", "train/cats/twin.png"]),
    ]
    wanted = ["train/cats/1.png", "train/cats/2.png", "train/cats/twin.png", "train/dogs/wrong.png"]
    assert report.list_excluded() == wanted


def test_a_thousand_equal_pictures_are_one_group(tmp_path):
    for name, colour in (("a", 0), ("b", 200)):
        (tmp_path / name).mkdir()
        Image.new("RGB", (40, 40), (colour,) * 3).save(tmp_path / name / "0.png")
        for number in range(1, 300):
            (tmp_path / name / f"{number}.png").hardlink_to(tmp_path / name / "0.png")
    report = check_dataset(scan_dataset(tmp_path))
    assert sorted(len(group.paths) for group in report.duplicates) == [300, 300]


def test_similar_pictures_among_many():
    rng = np.random.default_rng(0)
    thumbnails = rng.integers(0, 255, (1500, 16, 16, 3), dtype=np.uint8)
    thumbnails[1400] = np.clip(thumbnails[20].astype(int) + rng.integers(-5, 6, (16, 16, 3)), 0, 255)
    assert find_similar(thumbnails) == [(20, 1400)]


def test_an_exclude_list_is_read_back(pets, tmp_path):
    names = ["plain.png", '"quoted.png', "new\nline.png", os.fsdecode(b"\xff.png")]
    for name in names:
        (pets / "train/cats" / name).write_bytes(b"damaged")
    (pets / '"').mkdir()  # a folder beside the splits, left aside
    report = check_dataset(scan_dataset(pets))
    write_exclude_list(report, tmp_path / "list.txt")
    dataset = scan_dataset(pets, exclude=tmp_path / "list.txt")
    assert dataset.ignored["excluded"] == 4
    assert len(dataset) == 36


def test_the_page_holds_everything_and_escapes_it(pets, tmp_path):
    spoil(pets)
    (pets / "train/cats/<b>&.png").write_bytes(b"damaged")
    (pets / "train/cats" / os.fsdecode(b"\xff.png")).write_bytes(b"damaged too")
    shutil.copy(pets / "train/cats/2.png", pets / "val/dogs/wrong.png")
    report = check_dataset(scan_dataset(pets))
    write_page(report, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;&amp;.png" in text
    assert "<b>&" not in text
    assert "labelled differently" in text
    assert "in several splits" in text
    assert text.count('src="data:image/jpeg;base64,') == 10  # all but the turned one
    assert text.count("unreadable") == 6
    assert "http" not in text


def test_a_page_of_nothing(tmp_path):
    write_images(tmp_path, {"a": 1, "b": 1})
    assert "No duplicates" in build_page(check_dataset(scan_dataset(tmp_path)))


def test_a_report_is_plain(pets):
    spoil(pets)
    report = check_dataset(scan_dataset(pets)).to_dict()
    assert report["num_pictures"] == 50
    assert report["kinds"]["rotated"] == 1
    assert {"path", "split", "class_name", "kind", "detail"} == set(report["findings"][0])


def test_a_prepared_folder_cannot_be_checked(pets, tmp_path):
    prepare_dataset(scan_dataset(pets), tmp_path / "made", size=16)
    with pytest.raises(DataError, match="is a prepared folder"):
        check_dataset(scan_dataset(tmp_path / "made"))


def test_groups_of_a_split(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    for number in range(20):
        draw_shapes(number).save(tmp_path / "ab"[number % 2] / f"{number // 4}_{number}.png")
    draw_shapes(4).resize((60, 50)).save(tmp_path / "a" / "9_99.png")
    dataset = scan_dataset(tmp_path)
    paths = dataset.splits["all"].paths
    alike = dict(zip(paths, group_images(dataset, "all"), strict=True))
    assert alike["a/1_4.png"] == alike["a/9_99.png"]
    assert len(set(alike.values())) == 20
    named = dict(zip(paths, group_images(dataset, "all", r"/(\d+)_"), strict=True))
    assert len(set(named.values())) == 5
    assert named["a/1_4.png"] == named["b/1_5.png"] == named["a/9_99.png"]
    drawn = split_dataset(dataset, 0.5, groups=list(named.values()))
    val = {named[path] for path in drawn.splits["val"].paths}
    assert not val & {named[path] for path in drawn.splits["train"].paths}


@pytest.mark.parametrize(("pattern", "message"), [("(", "not a regular expression"), ("xyz", "matches none")])
def test_bad_patterns(pets, pattern, message):
    with pytest.raises(CatdogError, match=message):
        group_images(scan_dataset(pets), "train", pattern)


def test_wrong_labels_are_found():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 60)
    features = rng.normal(size=(180, 8)) + 9 * np.eye(3, 8)[labels]
    given = labels.copy()
    wrong = [5, 70, 130, 140]
    given[wrong] = [1, 2, 0, 1]
    suspects, probabilities = find_label_errors(features, given)
    assert set(suspects.tolist()) <= set(wrong)
    assert len(suspects) >= 3
    assert probabilities.shape == (180, 3)
    assert np.allclose(probabilities.sum(axis=1), 1)


def test_a_class_of_one_is_not_judged():
    rng = np.random.default_rng(0)
    labels = np.array([0] * 10 + [2] + [1] * 10)
    suspects, probabilities = find_label_errors(rng.normal(size=(21, 4)), labels)
    assert 10 not in suspects
    assert np.isnan(probabilities[10]).all()
    assert probabilities[0, 2] == 0


@pytest.mark.parametrize(
    ("rows", "labels", "message"),
    [(3, [0, 1], "3 feature rows for 2"), (3, [0, 0, 1], "two pictures in each")],
)
def test_labels_that_cannot_be_judged(rows, labels, message):
    with pytest.raises(DataError, match=message):
        find_label_errors(np.zeros((rows, 2)), np.array(labels))


@pytest.mark.real
def test_real_photographs(shared):
    dataset = scan_dataset(shared / "data/cats_dogs", leaks=False)
    keep = np.flatnonzero(["dog.180." in path or "dog.7" in path for path in dataset.splits["train"].paths])
    dataset.splits = {"train": dataset.splits["train"].take(keep)}
    report = check_dataset(dataset)
    assert report.findings == []
    assert [group.paths for group in report.duplicates] == [
        ["train/dogs/dog.180.jpg", "train/dogs/dog.74.jpg"]
    ]
