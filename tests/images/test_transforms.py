"""One path from file to pixels: close to Pillow's, equal for equal seeds, bounded in memory."""

import io
import pickle
import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from catdog_cli.errors import SettingsError
from catdog_cli.images.read import read_image
from catdog_cli.images.transforms import build_augment, load_image, load_view, normalise
from catdog_cli.settings import AUGMENTS, InputSpec
from tests.conftest import draw_image

SPEC = InputSpec(size=24, resize=28)
MODES = {"bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC}


def load_with_pillow(image: Image.Image, spec: InputSpec) -> np.ndarray:
    """Return the reference: upright RGB, Pillow's antialiased resize, centre crop; (size, size, 3)."""
    image = ImageOps.exif_transpose(image).convert("RGB")
    shorter = min(image.size)
    size = [spec.resize * side // shorter for side in image.size]
    image = image.resize(size, MODES[spec.interpolation])
    left, top = (round((side - spec.size) / 2) for side in image.size)
    return np.asarray(image.crop((left, top, left + spec.size, top + spec.size)))


def gap(view: torch.Tensor, reference: np.ndarray) -> np.ndarray:
    return np.abs(view.permute(1, 2, 0).numpy().astype(int) - reference.astype(int))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(40, 32), (31, 90), (24, 28), (28, 28), (9, 13), (300, 200)])
def test_views_equal_pillows(interpolation, size):
    spec = InputSpec(size=24, resize=28, interpolation=interpolation)
    image = draw_image(1, 2, size)
    view = load_image(image, spec)
    assert view.shape == (3, 24, 24)
    assert view.dtype == torch.uint8
    assert view.permute(1, 2, 0).is_contiguous()
    difference = gap(view, load_with_pillow(image, spec))
    # On a tall picture Pillow resizes columns before rows: rounding and clipping come in another order.
    assert difference.max() <= (1 if interpolation == "bilinear" else 10)
    assert difference.mean() < (0.35 if size == (31, 90) else 0.1)


@pytest.mark.real
def test_views_of_photographs_equal_pillows(shared):
    spec = InputSpec()
    paths = sorted((shared / "data" / "cats_dogs").rglob("*.jpg"))[::25]
    for path in paths:
        with Image.open(path) as image:
            difference = gap(load_image(path, spec), load_with_pillow(image, spec))
        assert difference.mean() < 0.1, path
        assert difference.max() <= 3, path


def test_a_reduced_decode_stays_close_to_the_full_one():
    y, x = np.mgrid[0:3000, 0:4000].astype(np.float32)
    smooth = 127 + 60 * np.sin(x / 90) * np.cos(y / 70)
    texture = 25 * np.sin(x * y / 40000) + np.random.default_rng(0).normal(0, 8, x.shape)
    file = io.BytesIO()
    Image.fromarray((smooth + texture).clip(0, 255).astype(np.uint8)).convert("RGB").save(file, "JPEG")
    difference = gap(
        load_image(file.getvalue(), InputSpec()), load_with_pillow(Image.open(file), InputSpec())
    )
    assert difference.mean() < 1


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (3, 2000), (65500, 2)])
@pytest.mark.parametrize("augment", AUGMENTS)
def test_extreme_shapes_keep_memory_bounded(size, augment):
    image = Image.new("RGB", size, (10, 200, 30))
    view = load_view(image, InputSpec(size=64, resize=72), augment, 3)
    assert view.shape == (3, 64, 64)
    if augment in ("none", "light"):
        assert (view == torch.tensor([10, 200, 30]).view(3, 1, 1)).all()


@pytest.mark.parametrize("size", [(400, 30), (401, 30), (30, 400), (2000, 7), (5, 999)])
def test_trimming_a_long_picture_keeps_its_centre(size):
    long, short = max(size), min(size)
    ramp = np.clip(128 + (np.arange(long) - (long - 1) / 2) * 200 / short, 0, 255).astype(np.uint8)
    pixels = np.tile(ramp, (short, 1)) if size[0] > size[1] else np.tile(ramp[:, None], (1, short))
    view = load_image(pixels, SPEC)
    # One px of the view is 200 / 28 = 7 levels; both ways round to whole px.
    assert gap(view, load_with_pillow(Image.fromarray(pixels), SPEC)).mean() < 8
    assert abs(view.float().mean() - 128) < 8


def test_a_view_without_augmentation_is_the_picture(tmp_path):
    path = tmp_path / "a.jpg"
    draw_image(0, 1, (300, 200)).save(path)
    expected = load_image(path, SPEC)
    assert torch.equal(load_view(path, SPEC, "none", 5), expected)
    assert torch.equal(build_augment("none", SPEC)(read_image(path, SPEC.resize)), expected)


@pytest.mark.parametrize("augment", ["light", "standard", "strong"])
def test_views_depend_on_the_seed_alone(augment):
    image = draw_image(2, 1, (60, 50))
    state = torch.get_rng_state()
    views = [load_view(image, SPEC, augment, seed) for seed in range(40)]
    torch.manual_seed(1)
    with ThreadPoolExecutor(4) as pool:
        again = list(pool.map(lambda seed: load_view(image, SPEC, augment, seed), range(40)))
    torch.set_rng_state(state)
    assert all(torch.equal(a, b) for a, b in zip(views, again, strict=True))
    assert len({view.numpy().tobytes() for view in views}) == 40
    plain = load_image(image, SPEC)
    assert all(v.shape == plain.shape and v.dtype == torch.uint8 and not torch.equal(v, plain) for v in views)
    assert all(view.permute(1, 2, 0).is_contiguous() for view in views)


@pytest.mark.parametrize("augment", AUGMENTS)
def test_views_leave_torchs_generator_untouched(augment):
    before = torch.get_rng_state()
    load_view(draw_image(0, 0), SPEC, augment, 11)
    assert torch.equal(torch.get_rng_state(), before)


def test_an_augmentation_without_a_generator_follows_torchs_seed():
    augment = pickle.loads(pickle.dumps(build_augment("standard", SPEC)))
    picture = torch.tensor(np.array(draw_image(0, 0))).permute(2, 0, 1)
    untouched = picture.clone()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        first, second = augment(picture), augment(picture)
        torch.manual_seed(3)
        assert torch.equal(augment(picture), first)
    assert not torch.equal(first, second)
    assert torch.equal(augment(picture, random.Random(4)), augment(picture, random.Random(4)))
    assert torch.equal(picture, untouched)


def test_stronger_augmentation_strays_further():
    image = Image.fromarray(np.linspace(0, 255, 64 * 64 * 3).reshape(64, 64, 3).astype(np.uint8))
    plain = load_image(image, SPEC).permute(1, 2, 0).numpy()

    def stray(augment: str) -> float:
        return float(
            np.mean([gap(load_view(image, SPEC, augment, seed), plain).mean() for seed in range(80)])
        )

    assert 0 == stray("none") < stray("light") < stray("standard") < stray("strong")


def test_an_unknown_augmentation_is_named():
    with pytest.raises(SettingsError, match="augment is 'wild', but must be one of: none, light"):
        load_view(draw_image(0, 0), SPEC, "wild", 0)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_normalise(memory_format):
    batch = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8).contiguous(memory_format=memory_format)
    result = normalise(batch, SPEC)
    mean, std = (torch.tensor(values, dtype=torch.float64).view(3, 1, 1) for values in (SPEC.mean, SPEC.std))
    expected = (batch.double() / 255 - mean) / std
    assert (result - expected).abs().max() < 1e-6
    assert result.is_contiguous(memory_format=torch.channels_last)
    half = normalise(batch, SPEC, torch.bfloat16)
    assert torch.equal(half, result.bfloat16())


def test_normalise_refuses_pixels_of_unknown_scale():
    with pytest.raises(SettingsError, match=r"torch\.float32 pixels was given"):
        normalise(torch.zeros(1, 3, 4, 4), SPEC)
