"""One image for several networks: decoded once where that gives the same pixels, to the bit."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from catdog_cli.errors import CatdogError
from catdog_cli.images import read
from catdog_cli.images.read import read_image, read_image_for
from catdog_cli.images.transforms import load_image, load_view, normalise, split_images
from catdog_cli.settings import InputSpec
from catdog_cli.settings_networks import InputSpecs

SIDES = (32, 48)


def encode(shorter, kind="JPEG"):
    """Return the bytes of a smooth picture whose sides are 1.25 * shorter and shorter px."""
    rng = np.random.default_rng(shorter)
    small = Image.fromarray(rng.integers(0, 255, (5, 7, 3)).astype(np.uint8))
    file = io.BytesIO()
    small.resize((round(shorter * 1.25), shorter), Image.Resampling.BICUBIC).save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("sides", [SIDES, SIDES[::-1], (32, 33, 48), (40, 40)])
@pytest.mark.parametrize("shorter", [20, 63, 95, 100, 127, 128, 150, 191, 192, 200, 255, 300, 383, 400, 770])
def test_pixels_are_those_of_reading_alone(shorter, sides, kind):
    data = encode(shorter, kind)
    found = read_image_for(data, sides)
    assert all(torch.equal(image, read_image(data, side)) for image, side in zip(found, sides, strict=True))


@pytest.mark.parametrize(
    ("shorter", "kind", "times"),
    [(90, "JPEG", 1), (120, "JPEG", 1), (150, "JPEG", 2), (250, "JPEG", 1), (90, "PNG", 1), (800, "JPEG", 1)],
)
def test_it_is_decoded_as_often_as_scales_differ(tmp_path, monkeypatch, shorter, kind, times):
    path = tmp_path / f"photo.{kind.lower()}"
    path.write_bytes(encode(shorter, kind))
    decoded = []
    original = read.decode
    monkeypatch.setattr(read, "decode", lambda *args: decoded.append(args) or original(*args))
    read_image_for(path, SIDES)
    assert len(decoded) == times


def test_a_huge_picture_is_reduced_for_each(monkeypatch):
    """What is no JPEG is reduced by a whole number, from a number of pixels on."""
    from catdog_cli.images.formats import turns

    monkeypatch.setattr(turns, "HUGE_PIXELS", 10_000)
    for shorter in (90, 130, 190, 200, 260, 390, 500):
        data = encode(shorter, "PNG")
        found = read_image_for(data, SIDES)
        assert all(
            torch.equal(image, read_image(data, side)) for image, side in zip(found, SIDES, strict=True)
        )


def test_arrays_and_images_in_memory_are_never_reduced():
    pixels = np.random.default_rng(0).integers(0, 255, (500, 400, 3)).astype(np.uint8)
    for source in (pixels, Image.fromarray(pixels), torch.from_numpy(pixels).permute(2, 0, 1)):
        first, second = read_image_for(source, SIDES)
        assert first is second
        assert first.shape == (3, 500, 400)


@pytest.mark.parametrize("augment", ["none", "light", "standard", "strong"])
def test_each_network_gets_what_it_would_get_alone(augment):
    data, parts = encode(300), (InputSpec(24, 32), InputSpec(40, 48, interpolation="bicubic"))
    spec = InputSpecs(parts)
    rows = torch.stack([load_view(data, spec, augment, seed) for seed in (1, 2)])
    for images, part in zip(split_images(rows, spec), parts, strict=True):
        wanted = torch.stack([load_view(data, part, augment, seed) for seed in (1, 2)])
        assert torch.equal(images, wanted)
        assert torch.equal(normalise(images, part), normalise(wanted, part))
    if augment == "none":
        assert torch.equal(rows[0], load_image(data, spec))


def test_what_cannot_be_read_is_said_once():
    with pytest.raises(CatdogError, match="Cannot read the picture given as bytes: it is empty"):
        read_image_for(b"", SIDES)
