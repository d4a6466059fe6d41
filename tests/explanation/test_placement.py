"""Where a place of a map lies in the image: through the crop and the resizing, upright."""

import numpy as np
import pytest
import torch
from PIL import Image

from catdog_cli.explanation.placement import Box, Piece, join_boxes, join_pieces, seen_box, spread
from catdog_cli.images.augment import WHOLE, build_augment
from catdog_cli.images.read import read_image, read_size
from catdog_cli.settings import InputSpec


@pytest.mark.parametrize(("height", "width"), [(300, 400), (500, 240), (333, 333), (60, 900), (2000, 90)])
@pytest.mark.parametrize("spec", [InputSpec(224, 256), InputSpec(64, 64), InputSpec(96, 128)], ids=str)
@pytest.mark.parametrize("kind", ["none", WHOLE])
def test_the_box_is_what_a_network_sees(height, width, spec, kind):
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    shares = torch.stack([255 * rows / height, 255 * columns / width, torch.zeros(height, width)])
    view = build_augment(kind, spec)(shares.round().to(torch.uint8)).float() / 255
    box = seen_box(height, width, spec, kind)
    middle = spec.size // 2
    found = [view[0, 0, middle], view[0, -1, middle], view[1, middle, 0], view[1, middle, -1]]
    half = [box.height / spec.size / 2, box.width / spec.size / 2]  # of a pixel
    wanted = [
        box.top + half[0],
        box.top + box.height - half[0],
        box.left + half[1],
        box.left + box.width - half[1],
    ]
    assert [float(each) for each in found] == pytest.approx(wanted, abs=0.015)


def test_a_map_is_spread_over_its_box_alone():
    grid = np.array([[1.0, 0], [0, 0]], np.float32)
    found = spread(grid, Box(0.25, 0.0, 0.5, 1.0), 80, 40)
    assert found.shape == (80, 40)
    assert found.dtype == np.float32
    assert not found[:20].any()
    assert not found[60:].any()
    assert np.unravel_index(found.argmax(), found.shape) == (20, 0)
    assert found[20:60].mean() == pytest.approx(grid.mean(), rel=1e-5)
    assert spread(grid, Box(0.5, 0.5, 0.001, 0.001), 3, 3).any()  # a box of less than a pixel


def test_the_sum_of_several_maps_has_the_sum_of_their_means():
    grids = [np.random.default_rng(i).normal(size=(3 + i, 3 + i)).astype(np.float32) for i in range(2)]
    whole, part = Box(0, 0, 1, 1), Box(0.05, 0.1, 0.9, 0.8)
    assert join_pieces([Piece(grids[0], part)], 64) is grids[0]
    for box in (whole, part):
        joined = join_pieces([Piece(grids[0], whole), Piece(grids[1], box)], 224)
        assert joined.shape == (224, 224)
        assert joined.mean() == pytest.approx(sum(grid.mean() for grid in grids), abs=0.02)


def test_boxes_are_joined_and_told_as_shares_of_the_joined_one():
    small, wide = Box(0.25, 0.4, 0.5, 0.2), Box(0.3, 0.0, 0.4, 1.0)
    joined = join_boxes([small, wide])
    assert joined == Box(0.25, 0.0, 0.5, 1.0)
    assert wide.relative_to(joined) == pytest.approx((0.1, 0.0, 0.8, 1.0))


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("kind", ["path", "bytes", "array", "png"])
def test_the_size_is_that_of_the_image_upright(tmp_path, orientation, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / ("a.png" if kind == "png" else "a.jpg")
    Image.new("RGB", (60, 40)).save(path, exif=exif)
    source = {"bytes": path.read_bytes(), "array": np.zeros((40, 60, 3), np.uint8)}.get(kind, path)
    assert read_size(source) == tuple(read_image(source).shape[1:])
