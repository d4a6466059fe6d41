"""Every kind of TIFF is read right, by whichever reader, or refused in a sentence that says what it is."""

import contextlib
import io
import itertools

import numpy as np
import pytest
from PIL import Image

import catdog_cli.images.read
from catdog_cli import read_image
from catdog_cli.images.formats import tiff_samples
from catdog_cli.images.formats.tiff import read_header
from catdog_cli.images.formats.tiff_reader import pillow_reads
from catdog_cli.images.read import ImageError
from tests.images.tiff_files import write_tiff

W, H = 37, 21  # no multiple of 8: rows of packed samples end within a byte


def ramp(high: float, low: float = 0, channels: int = 0) -> np.ndarray:
    """Return floats from `low` to `high`: (H, W), each row the same; with channels each runs another way."""
    row = np.linspace(low, high, W)
    grey = np.tile(row, (H, 1)) * np.linspace(1, 0.5, H)[:, None] + low * (
        1 - np.linspace(1, 0.5, H)[:, None]
    )
    if not channels:
        return grey
    return np.stack([grey, grey[::-1], grey[:, ::-1], grey[::-1, ::-1], grey][:channels], -1)


def gap(data: bytes, wanted: np.ndarray) -> float:
    """Return the mean distance of what is read from wanted grey (H, W) or RGB (H, W, 3), in levels."""
    found = read_image(data).astype(float)
    assert found.shape == (*wanted.shape[:2], 3)
    return float(np.abs(found - (wanted[..., None] if wanted.ndim == 2 else wanted)).mean())


SHAPES = {
    "II": {},
    "MM": {"order": ">"},
    "BigTIFF II": {"big": True},
    "BigTIFF MM": {"big": True, "order": ">"},
    "strips": {"rows_per_strip": 4},
    "tiles": {"tile": 16},
    "deflate": {"compression": 8},
    "deflate MM": {"compression": 8, "order": ">", "rows_per_strip": 5},
    "bits turned": {"fill_order": 2},
    "deflate, bits turned": {"fill_order": 2, "compression": 8},
}


@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize("depth", range(1, 17))
def test_grey_of_every_depth_is_scaled_by_it(depth, photometric):
    top = 2**depth - 1
    values = np.round(ramp(top)).astype(np.uint8 if depth <= 8 else np.uint16)
    stored = (top - values if photometric == 0 else values).astype(values.dtype)
    for name, shape in SHAPES.items():
        data = write_tiff(stored, photometric, depth=depth, **shape)
        assert gap(data, values * (255 / top)) < 0.5, name


LONG = {
    "int8": (np.int8, -128, 127),
    "int16": (np.int16, -32768, 32767),
    "int16 from 0 to 4095": (np.int16, 0, 4095),
    "uint32": (np.uint32, 0, 2**32 - 1),
    "uint32 from 0 to 255": (np.uint32, 0, 255),
    "uint32 from 0 to 65536": (np.uint32, 0, 65536),
    "int32": (np.int32, -(2**31), 2**31 - 1),
    "int32 from -1000 to 3000": (np.int32, -1000, 3000),
    "int64": (np.int64, -(2**40), 2**40),
    "uint64": (np.uint64, 0, 2**52),
    "half": (np.float16, 0, 1.0),
    "half to 60000": (np.float16, 0, 60000),
    "float": (np.float32, 0, 1.0),
    "float to 1.001": (np.float32, 0, 1.001),
    "float to 256": (np.float32, 0, 256),
    "float of temperatures": (np.float32, 280, 310),
    "float about 0": (np.float32, -1, 1),
    "double": (np.float64, -5e300, 5e300),
}


@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize(("kind", "low", "high"), LONG.values(), ids=LONG)
def test_signed_long_and_floating_samples_are_scaled_by_the_range_they_have(kind, low, high, photometric):
    shares = ramp(1)
    values = (low + shares * (high - low)).clip(low, high)
    values = (
        values.clip(np.iinfo(kind).min, np.nextafter(np.iinfo(kind).max, 0))
        if kind(0).dtype.kind != "f"
        else values
    )
    wanted = 255 - shares * 255 if photometric == 0 else shares * 255
    for name, shape in SHAPES.items():
        assert gap(write_tiff(values.astype(kind), photometric, **shape), wanted) < 0.6, name


@pytest.mark.parametrize("planar", [False, True], ids=["together", "planes"])
@pytest.mark.parametrize("depth", [*range(1, 17), 32, np.int16, np.float16, np.float32, np.float64], ids=str)
def test_rgb_of_every_depth(depth, planar):
    shares = ramp(1, channels=3)
    if isinstance(depth, int):
        kind = np.uint8 if depth <= 8 else np.uint16 if depth <= 16 else np.uint32
        values = np.round(shares * (2**depth - 1)).astype(kind)
        options, wanted = {"depth": depth}, values / (2**depth - 1) * 255
    else:
        values = (shares * (1000 if depth is np.int16 else 1)).astype(depth)
        options, wanted = {}, values.astype(float) / values.max() * 255
    for name, shape in SHAPES.items():
        assert gap(write_tiff(values, 2, planar=planar, **options, **shape), wanted) < 0.6, name


@pytest.mark.parametrize("wide", [False, True], ids=["map to 255", "map to 65535"])
@pytest.mark.parametrize("depth", [1, 2, 3, 4, 7, 8, 12, 16])
def test_colour_maps(depth, wide):
    count = 2**depth
    places = np.arange(count)
    colors = np.stack([places * 255 // max(1, count - 1), 255 - places % 256, places * 7 % 256], -1)
    values = np.round(ramp(count - 1)).astype(np.uint8 if depth <= 8 else np.uint16)
    tags = {320: (3, tuple((colors * (257 if wide else 1)).T.ravel().tolist()))}
    for name, shape in SHAPES.items():
        assert gap(write_tiff(values, 3, depth=depth, tags=tags, **shape), colors[values]) == 0, name


def over_white(colors: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return colors * alpha[..., None] + 255 * (1 - alpha[..., None])


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(
    ("channels", "extras"),
    [(1, (1,)), (1, (2,)), *((3, extras) for extras in [(1,), (2,), (0, 1), (2, 0), (0, 2), (1, 0, 0)])],
    ids=str,
)
@pytest.mark.parametrize("planar", [False, True], ids=["together", "planes"])
def test_alpha_lies_over_white_wherever_it_is(kind, extras, planar, channels):
    top = 1 if kind is np.float32 else np.iinfo(kind).max
    colors, alpha = ramp(1, channels=3)[..., :channels], ramp(1)[::-1] ** 0.5
    colors[0, 0], colors[-1, -1] = 0, 1  # the whole range, which floats are scaled by
    shown = (
        over_white(colors * 255, alpha)
        if 1 not in extras
        else colors * alpha[..., None] * 255 + 255 * (1 - alpha[..., None])
    )
    stored = colors * alpha[..., None] if 1 in extras else colors
    stored[0, 0], stored[-1, -1] = 0, 1
    others = [alpha if extra in (1, 2) else np.full((H, W), 0.3) for extra in extras]
    values = (
        (np.concatenate([stored, np.stack(others, -1)], -1) * top).round(0 if top > 1 else 9).astype(kind)
    )
    data = write_tiff(values, 2 if channels == 3 else 1, planar=planar, tags={338: (3, extras)})
    assert gap(data, shown) < 1.5


@pytest.mark.parametrize("kind", [np.uint8, np.uint16], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("extras", [(), (0,), (0, 0), (2,)], ids=str)
@pytest.mark.parametrize("planar", [False, True], ids=["together", "planes"])
@pytest.mark.parametrize("order", "<>")
def test_cmyk_with_other_channels(kind, extras, planar, order):
    shares = ramp(1, channels=4)
    alpha = ramp(1)[::-1]
    others = [alpha if extra else np.full((H, W), 0.3) for extra in extras]
    values = np.round(
        np.concatenate([shares, *(other[..., None] for other in others)], -1) * np.iinfo(kind).max
    )
    wanted = 255 * (1 - shares[..., :3]) * (1 - shares[..., 3:])
    if 2 in extras:
        wanted = over_white(wanted, alpha)
    tags = {338: (3, extras)} if extras else {}
    assert gap(write_tiff(values.astype(kind), 5, planar=planar, order=order, tags=tags), wanted) < 1.5


@pytest.mark.parametrize("kind", [np.uint8, np.uint16], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("extras", [(), (0,), (0, 0), (2,)], ids=str)
@pytest.mark.parametrize("planar", [False, True], ids=["together", "planes"])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("photometric", [8, 9], ids=["CIELab", "ICCLab"])
def test_lab_with_other_channels(photometric, kind, extras, planar, order):
    lab = np.zeros((H, W, 3))
    lab[..., 0] = ramp(255)
    lab[..., 1] = 30 if photometric == 8 else 158  # reddish
    lab[..., 2] = -20 if photometric == 8 else 108
    signed = np.round(lab).astype(int)
    pillow = np.stack([signed[..., 0], signed[..., 1] % 256, signed[..., 2] % 256], -1).astype(np.uint8)
    if photometric == 9:
        pillow[..., 1:] ^= 128
    wanted = np.asarray(Image.frombytes("LAB", (W, H), pillow.tobytes()).convert("RGB")).astype(float)
    assert wanted[..., 0].mean() > wanted[..., 1].mean() + 10
    bits = np.dtype(kind).itemsize * 8
    stored = signed * (1 if bits == 8 else 256) % 2**bits
    if 2 in extras:
        wanted = over_white(wanted, np.full((H, W), 0.5))
    others = [np.full((H, W), 2**bits * (0.5 if extra else 0.3)) for extra in extras]
    values = np.concatenate([stored, *(other[..., None] for other in others)], -1).astype(kind)
    tags = {338: (3, extras)} if extras else {}
    assert gap(write_tiff(values, photometric, planar=planar, order=order, tags=tags), wanted) < 1.5


@pytest.mark.parametrize("kind", [1, 3, 4, 16])
@pytest.mark.parametrize("depth", [8, 10])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_every_number_type(kind, depth, orientation):
    values = np.round(ramp(2**depth - 1)).astype(np.uint8 if depth == 8 else np.uint16)
    flat = Image.fromarray(np.round(values * (255 / (2**depth - 1))).astype(np.uint8))
    turned = {2: [0], 3: [3], 4: [1], 5: [5], 6: [4], 7: [6], 8: [2]}.get(orientation, [])
    for method in turned:
        flat = flat.transpose(method)
    for order, big in itertools.product("<>", (False, True)):
        data = write_tiff(values, depth=depth, order=order, big=big, tags={274: (kind, (orientation,))})
        assert gap(data, np.asarray(flat).astype(float)) < 0.5


def test_an_orientation_in_xmp_alone_turns_nothing():
    xmp = b'<rdf:Description tiff:Orientation="6"/>'
    values = np.round(ramp(255)).astype(np.uint8)
    assert gap(write_tiff(values, tags={700: (1, tuple(xmp))}), values) == 0


def test_subsampled_ycbcr_that_is_not_compressed():
    luma = np.round(ramp(220, 40)).astype(np.uint8)[:20, :36]
    units = np.zeros((10, 18, 6), np.uint8)
    for place, (y, x) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        units[..., place] = luma[y::2, x::2]
    units[..., 4:] = (100, 160)
    tags = {256: (3, (36,)), 257: (3, (20,)), 258: (3, (8, 8, 8)), 277: (3, (3,)), 530: (3, (2, 2))}
    tags |= {278: (4, (20,)), 339: (3, (1, 1, 1))}
    chroma = np.full((20, 36), 100, np.uint8), np.full((20, 36), 160, np.uint8)
    wanted = Image.merge("YCbCr", [Image.fromarray(plane) for plane in (luma, *chroma)]).convert("RGB")
    assert gap(write_tiff(units.reshape(10, -1), 6, tags=tags), np.asarray(wanted).astype(float)) < 1.5


def test_full_ycbcr():
    image = Image.fromarray(np.round(ramp(255, channels=3)).astype(np.uint8)).convert("YCbCr")
    data = write_tiff(np.asarray(image), 6, tags={530: (3, (1, 1))})
    assert gap(data, np.asarray(image.convert("RGB")).astype(float)) < 1.5


@pytest.mark.parametrize(("samples", "photometric"), [(1, 1), (3, 2)])
def test_a_missing_photometric_interpretation_is_what_libtiff_takes_it_for(samples, photometric):
    values = np.round(ramp(255, channels=samples)).astype(np.uint8)
    wanted = values[..., 0] if samples == 1 else values
    assert gap(write_tiff(values, None), wanted.astype(float)) == 0


def ordinary(mode: str) -> Image.Image:
    return Image.fromarray(np.round(ramp(255, channels=4)).astype(np.uint8), "RGBA").convert(mode)


WHOLE = ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits")
ORDINARY = [(mode, kind) for mode in ("1", "L", "P", "RGB", "RGBA", "CMYK") for kind in WHOLE]
ORDINARY += [(mode, "jpeg") for mode in ("L", "RGB", "CMYK")]


@pytest.mark.parametrize(("mode", "compression"), ORDINARY)
def test_ordinary_tiffs_are_read_by_pillow_to_the_bit(mode, compression, monkeypatch):
    monkeypatch.setattr(tiff_samples, "require", None)
    file = io.BytesIO()
    ordinary(mode).save(file, "TIFF", compression=compression)
    assert pillow_reads(read_header(file.getvalue()))
    with Image.open(file) as image:
        if mode == "RGBA":
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        assert gap(file.getvalue(), np.asarray(image.convert("RGB")).astype(float)) == 0


def test_fax_where_white_is_zero():
    file = io.BytesIO()
    ordinary("1").save(file, "TIFF", compression="group4")
    assert gap(file.getvalue(), np.asarray(ordinary("1").convert("L")).astype(float)) == 0


ODD = np.round(ramp(1023)).astype(np.uint16)
REFUSED = {
    "complex": (
        {"tags": {339: (3, (6,))}},
        r"a TIFF with samples that are complex numbers, which is not read",
    ),
    "void": ({"tags": {339: (3, (4,))}}, "with samples of no stated kind"),
    "mask": ({"photometric": 4}, "a TIFF of a transparency mask, which is not read"),
    "camera": ({"photometric": 32803}, "raw data of a camera"),
    "LogLuv": ({"photometric": 32845}, "LogLuv colours"),
    "nobody knows": ({"photometric": 777}, "photometric interpretation 777"),
    "volume": ({"tags": {32997: (3, (4,))}}, "of a volume"),
    "JPEG of 10 bits": (
        {"tags": {259: (3, (7,))}},
        "10-bit unsigned samples compressed by JPEG, which is not read",
    ),
    "WebP": ({"tags": {259: (3, (50001,))}}, "compressed by WebP, which is not read"),
    "large tiles": (
        {"tile": 16, "tags": {322: (4, (60000,)), 323: (4, (60000,))}},
        "its samples take 7,200,000,000 bytes, more than 2,147,483,648",
    ),
    "many numbers": ({"tags": {65000: (4, (7,) * (2**23 + 1))}}, "its tags hold 33,554,4.* bytes of numbers"),
    "unknown method": ({"tags": {259: (3, (4711,))}}, "compressed by method 4711, which is not read"),
    "no samples": ({"tags": {273: (4, ())}}, "does not say where its pixels are"),
    "beyond the end": ({"tags": {273: (4, (10**6,))}}, r"truncated \(its pixels lie beyond its end"),
    "too few bytes": ({"tags": {279: (4, (40,))}}, "damaged"),
    "too few strips": ({"rows_per_strip": 4, "tags": {278: (4, (2,))}}, "a strip or tile does not hold"),
    "no rows in a strip": ({"tags": {278: (4, (0,))}}, "a strip or tile does not hold"),
    "no bytes": ({"tags": {279: (4, (0,))}}, "strips or tiles are missing"),
    "no map": ({"photometric": 3}, "its colour map is missing"),
    "large": ({"tags": {256: (4, (60000,)), 257: (4, (60000,))}}, "declares 60,000 x 60,000 px"),
    "inks": ({"photometric": 5}, "with 1 channels where its colours need 4"),
}


@pytest.mark.parametrize(("options", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_understood_is_refused(options, message):
    with pytest.raises(ImageError, match=message):
        read_image(write_tiff(ODD, **{"photometric": 1, "depth": 10} | options))


def test_grey_with_channels_that_nothing_explains_is_refused():
    with pytest.raises(ImageError, match="with 3 channels that it does not explain"):
        read_image(write_tiff(ramp(1, channels=3).astype(np.float32), 1, tags={338: (3, (0, 0))}))


@pytest.mark.parametrize("package", ["tifffile", "imagecodecs"])
def test_without_the_extra_it_is_named_and_the_picture_not_called_damaged(package, monkeypatch):
    def require(name, extra):
        if name == package:
            raise CatdogError(f"This needs {name}")
        return original(name, extra)

    from catdog_cli.errors import CatdogError

    original = tiff_samples.require
    monkeypatch.setattr(tiff_samples, "require", require)
    with pytest.raises(ImageError, match=r"it is a TIFF of a kind that needs catdog\[tiff\]") as caught:
        read_image(write_tiff(ODD, depth=10))
    assert "damaged" not in str(caught.value)
    assert gap(write_tiff(np.round(ramp(255)).astype(np.uint8)), np.round(ramp(255))) == 0


@pytest.mark.parametrize("cut", [30, 200])
@pytest.mark.parametrize("tile", [0, 16], ids=["strip", "tiles"])
@pytest.mark.parametrize("depth", [8, 10, 16])
def test_compressed_samples_that_break_off_are_never_filled_in(depth, tile, cut):
    kind = np.uint8 if depth == 8 else np.uint16
    noise = np.random.default_rng(0).integers(0, 2**depth, (H, W)).astype(kind)
    with pytest.raises(ImageError, match="its data are damaged"):
        read_image(write_tiff(noise, depth=depth, cut=cut, compression=8, tile=tile))


@pytest.mark.parametrize("cut", [1, 30, 200])
@pytest.mark.parametrize("depth", [8, 10, 16])
def test_plain_samples_that_reach_beyond_the_end_are_never_filled_in(depth, cut):
    noise = np.random.default_rng(0).integers(0, 200, (H, W)).astype(np.uint8 if depth == 8 else np.uint16)
    data = write_tiff(noise, depth=depth)
    place = len(data) - read_header(data).segments[0] + cut
    with pytest.raises(ImageError, match="it is truncated"):
        read_image(write_tiff(noise, depth=depth, tags={273: (4, (place,))}))


@pytest.mark.parametrize("compression", ["lzw", "zlib", "packbits", "lzma", "zstd"])
@pytest.mark.parametrize("tile", [None, (16, 16)], ids=["strips", "tiles"])
def test_compressions_of_deep_samples_whole_and_damaged(compression, tile):
    tifffile = pytest.importorskip("tifffile", reason="tifffile is not here")
    noise = np.random.default_rng(0).integers(0, 2**16, (H, W, 3)).astype(np.uint16)
    file = io.BytesIO()
    options = {"compression": compression, "tile": tile, "metadata": None, "byteorder": ">"}
    tifffile.imwrite(file, np.moveaxis(noise, -1, 0), photometric="rgb", planarconfig="separate", **options)
    data = file.getvalue()
    assert gap(data, noise / 257) < 0.5
    rng = np.random.default_rng(1)
    for _ in range(40):
        damaged = bytearray(data)
        for at in rng.integers(300, len(data), 5):
            damaged[at] = rng.integers(256)
        with contextlib.suppress(ImageError):
            assert read_image(bytes(damaged)).shape == (H, W, 3)


def test_a_tiff_between_pillows_limit_and_ours_is_read_in_silence(recwarn):
    file = io.BytesIO()
    Image.new("1", (14000, 14000), 1).save(file, "TIFF", compression="group4")
    assert catdog_cli.images.read.read_image(file.getvalue(), 20).min() > 250
    assert not recwarn.list
