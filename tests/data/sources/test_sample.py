"""Drawn pictures: the folder they make, that a seed decides them, and what is refused."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from catdog_cli.data.sources.cartoons import draw_animal
from catdog_cli.data.sources.sample import MARKER, draw_dataset
from catdog_cli.errors import DataError, SettingsError


def read_all(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*.jpg"))}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Return a folder of 3 training and 2 validation pictures per class."""
    return draw_dataset(tmp_path_factory.mktemp("drawn") / "pictures", 3, 2).root


def test_folders_hold_the_pictures_asked_for(tmp_path):
    calls = []
    summary = draw_dataset(tmp_path / "new" / "pictures", 2, 1, report=lambda *call: calls.append(call))
    names = {f"train/{label}/{name}" for label in ("cats", "dogs") for name in ("001.jpg", "002.jpg")}
    assert set(read_all(summary.root)) == names | {"val/cats/001.jpg", "val/dogs/001.jpg"}
    assert (summary.num_train, summary.num_val, summary.num_drawn) == (4, 2, 6)
    assert calls == [(done, 6) for done in range(1, 7)]
    assert not list(summary.root.rglob("*.tmp"))


def test_pictures_are_rgb_of_about_200_by_180_px_in_varying_sizes(drawn):
    sizes = []
    for path in drawn.rglob("*.jpg"):
        with Image.open(path) as image:
            assert image.mode == "RGB"
            sizes.append(image.size)
    assert len(set(sizes)) > 5
    assert all(180 <= width <= 230 and 160 <= height <= 205 for width, height in sizes)


def test_seed_decides_the_pictures(drawn, tmp_path):
    images = read_all(drawn)
    assert read_all(draw_dataset(tmp_path / "same", 3, 2).root) == images
    other = read_all(draw_dataset(tmp_path / "other", 3, 2, seed=1).root)
    assert all(other[name] != content for name, content in images.items())
    assert len(set(images.values())) == len(images)  # no validation picture is a training picture


def test_second_call_draws_only_what_is_missing(drawn):
    before = read_all(drawn)
    assert draw_dataset(drawn, 3, 2).num_drawn == 0
    (drawn / "val" / "dogs" / "002.jpg").unlink()
    assert draw_dataset(drawn, 3, 2).num_drawn == 1
    assert read_all(drawn) == before


def test_summary_is_a_path(drawn):
    summary = draw_dataset(drawn, 3, 2)
    with Path(summary, MARKER).open() as file:
        assert json.load(file)["seed"] == 0


def test_colour_alone_does_not_tell_the_classes_apart():
    means = {
        label: np.array([np.asarray(draw_animal(label, random.Random(n))).mean((0, 1)) for n in range(40)])
        for label in ("cats", "dogs")
    }
    gap = abs(means["cats"].mean(0) - means["dogs"].mean(0))  # 0 to 255, per channel
    assert (gap < means["cats"].std(0)).all()


@pytest.mark.parametrize("content", [b"{}", b"\xff not json", b"[1]"])
def test_folder_drawn_with_other_numbers_is_refused(tmp_path, content):
    (tmp_path / MARKER).write_bytes(content)
    with pytest.raises(DataError, match="holds other drawn pictures"):
        draw_dataset(tmp_path, 1, 1)


def test_foreign_folder_is_refused_and_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="holds something already"):
        draw_dataset(tmp_path, 1, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(DataError, match=r"mine\.txt' is a file"):
        draw_dataset(tmp_path / "mine.txt", 1, 1)


def test_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"Cannot draw pictures in .*sub.*Not a directory"):
        draw_dataset(tmp_path / "file" / "sub", 1, 1)


@pytest.mark.parametrize(
    ("numbers", "match"),
    [
        ({"num_per_class": 0}, "pictures per class is 0"),
        ({"val_per_class": -1}, "validation pictures per class is -1"),
        ({"seed": 1.5}, "seed is 1.5"),
    ],
)
def test_numbers_out_of_range_are_refused(tmp_path, numbers, match):
    with pytest.raises(SettingsError, match=match):
        draw_dataset(tmp_path / "pictures", **numbers)
    assert not (tmp_path / "pictures").exists()
