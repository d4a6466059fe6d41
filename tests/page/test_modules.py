"""The modules of the page one by one in a real browser: what files say, pixels, answers, maps."""

import base64
import io
import json
import struct
import zlib

import matplotlib
import numpy as np
import pytest
from PIL import Image

from catdog_cli.explanation.placement import Piece, join_boxes, join_pieces, seen_box, spread
from catdog_cli.images.read import read_pixels
from catdog_cli.page import FILES
from catdog_cli.plots.overlays import AGAINST, GLOW, GLOW_RANGE, OPAQUE
from catdog_cli.settings import InputSpec
from tests.conftest import draw_image

from .folder_server import serving

READ = """(async () => {
  const { readPicture } = await import("./pixels.js");
  const bytes = Uint8Array.from(atob(%s), (each) => each.charCodeAt(0));
  try {
    const { pixels, ...sides } = await readPicture(new Blob([bytes]), %d);
    let text = "";
    for (let at = 0; at < pixels.length; at += 4096) {
      text += String.fromCharCode(...pixels.subarray(at, at + 4096));
    }
    return { ...sides, pixels: btoa(text) };
  } catch (error) {
    return { error: error.message };
  }
})()"""


@pytest.fixture(scope="module")
def page(browser):
    with serving(FILES) as server:
        browser.open(server.url + "licences.txt")
        browser.wait("document.body?.innerText.includes('licence')")
        yield browser


def save(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def read(page, content, side=1000):
    found = page.value(READ % (json.dumps(base64.b64encode(content).decode()), side))
    if "error" in found:
        return found["error"]
    pixels = np.frombuffer(base64.b64decode(found["pixels"]), np.uint8)
    return pixels.reshape(found["height"], found["width"], 3).astype(int)


def own(content, side=1000):
    return read_pixels(content, side).astype(int)


def with_alpha():
    image = draw_image(1, 2).convert("RGBA")
    image.putalpha(Image.fromarray(np.tile(np.linspace(0, 255, 40).astype(np.uint8), (32, 1))))
    return image


def turned(orientation):
    exif = Image.Exif()
    exif[0x112] = orientation
    return save(draw_image(0, 1), "JPEG", exif=exif, quality=95)


PICTURES = {
    **{f"orientation {number}": (turned(number), 0) for number in range(1, 9)},
    "png": (save(draw_image(2, 1)), 0),
    "palette": (save(draw_image(2, 1).quantize(16)), 0),
    "grey": (save(draw_image(2, 1).convert("L"), "JPEG"), 0),
    "gif": (save(draw_image(2, 1), "GIF"), 0),
    "bmp": (save(draw_image(2, 1), "BMP"), 0),
    "webp": (save(draw_image(2, 1), "WEBP", lossless=True), 0),
    "transparent": (save(with_alpha()), 1),
    "transparent webp": (save(with_alpha(), "WEBP", lossless=True), 1),
}


@pytest.mark.parametrize("name", PICTURES)
def test_pixels_are_those_of_catdog(page, name):
    content, bound = PICTURES[name]
    assert np.abs(read(page, content) - own(content)).max() <= bound


def test_a_picture_higher_than_a_band_is_put_together(page):
    content = save(draw_image(0, 3, (3000, 800)))
    np.testing.assert_array_equal(read(page, content), own(content))


@pytest.mark.parametrize("size", [(640, 480), (643, 481), (1301, 2007)])
def test_a_large_jpeg_is_reduced_to_the_size_that_catdog_reduces_it_to(page, size):
    smooth = draw_image(0, 4, (20, 16)).resize(size, Image.Resampling.BICUBIC)
    content = save(smooth, "JPEG", quality=95)
    found, wanted = read(page, content, 60), own(content, 60)
    assert found.shape == wanted.shape
    assert found.shape[0] < size[1]
    assert np.abs(found - wanted).mean() < 1  # a mean of pixels here, of frequencies there


@pytest.mark.parametrize(
    ("width", "height", "is_jpeg", "reduction"),
    [
        (1023, 5000, True, 1),
        (1024, 1024, True, 2),
        (4032, 3024, True, 4),
        (9000, 12000, True, 8),
        (3000, 1999, False, 1),
        (3000, 2000, False, 2),
        (4032, 3024, False, 4),
        (39999, 300, False, 1),
    ],
)
def test_large_pictures_are_reduced(page, width, height, is_jpeg, reduction):
    arguments = f"{width}, {height}, 256, {str(is_jpeg).lower()}"
    assert page.value(f"import('./pixels.js').then((m) => m.chooseReduction({arguments}))") == reduction


def png_of(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


JPEG, PNG, WEBP = save(draw_image(0, 1), "JPEG"), save(draw_image(0, 1)), save(draw_image(0, 1), "WEBP")
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 500
REFUSED = {
    "empty": (b"", "This file is empty"),
    "half a JPEG": (JPEG[: len(JPEG) // 2], "This JPEG breaks off"),
    "its header alone": (JPEG[:100], "This JPEG breaks off"),
    "half a PNG": (PNG[: len(PNG) // 2], "This PNG breaks off"),
    "half a WebP": (WEBP[: len(WEBP) // 2], "This WebP breaks off"),
    "damaged": (PNG[:60] + b"\0" * 40 + PNG[100:], "This PNG is damaged"),
    "no pixels": (png_of(0, 5), "This PNG is damaged"),
    "a bomb": (png_of(60000, 60000), "This picture has 3600 megapixels, more than the 120"),
    "text": (b"no picture at all", "This is not a picture that a browser reads: choose a JPEG"),
    "an SVG": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "This is not a picture that a browser reads"),
    "HEIC": (HEIC, "This browser cannot read HEIC, in which iPhones keep photos"),
    "TIFF": (save(draw_image(0, 1), "TIFF"), "This browser cannot read TIFF files: save it as JPEG or PNG"),
    "JPEG 2000": (save(draw_image(0, 1), "JPEG2000"), "This browser cannot read JPEG 2000 files"),
    "PDF": (b"%PDF-1.7 and so on", "This browser cannot read PDF files"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_gets_one_sentence(page, name):
    content, sentence = REFUSED[name]
    found = read(page, content)
    assert isinstance(found, str)
    assert found.startswith(sentence)
    assert found.endswith(".")
    assert ". " not in found


def test_sizes_are_read_before_anything_is_decoded(page):
    sizes = {}
    written = {kind: save(draw_image(0, 1), kind) for kind in ("JPEG", "PNG", "GIF", "BMP", "WEBP", "AVIF")}
    written["lossless"] = save(draw_image(0, 1), "WEBP", lossless=True)
    written["with alpha"] = save(with_alpha(), "WEBP")
    for kind, content in written.items():
        encoded = json.dumps(base64.b64encode(content).decode())
        sizes[kind] = page.value(
            "import('./sniff.js').then((m) => { const { width, height } = m.inspect("
            f"Uint8Array.from(atob({encoded}), (each) => each.charCodeAt(0))); return [width, height] }})"
        )
    assert sizes == {kind: [40, 32] for kind in written}


def row_of(page, outputs, about, height=60, width=100):
    script = f"""import("./answer.js").then((m) => {{
      const found = Object.fromEntries(Object.entries({json.dumps(outputs)}).map(
        ([name, {{ data, dims }}]) => [name, {{ dims, data: Float32Array.from(data) }}]));
      const row = m.rowOf(found, {json.dumps(about)}, {{ fullHeight: {height}, fullWidth: {width} }});
      return {{ ...row, maps: row.maps?.map((map) => ({{ ...map, values: [...map.values] }})) }};
    }})"""
    return page.value(script)


CLASSES = [{"class": name, "name": name.upper(), "threshold": 0.5} for name in "abc"]
ABOUT = {"classes": CLASSES, "unknown": None, "several_labels": False, "maps": None, "longest_sides": 8}


def outputs(probabilities, p=None):
    found = {"probabilities": {"data": probabilities, "dims": [1, 3]}}
    return found if p is None else found | {"known_p": {"data": [p], "dims": [1]}}


def test_classes_are_ranked_as_predict_ranks_them(page):
    row = row_of(page, outputs([0.25, 0.5, 0.25]), ABOUT)
    assert [each["class"] for each in row["predictions"]] == ["b", "a", "c"]
    assert row["predictions"][0] == {"class": "b", "name": "B", "probability": 0.5}
    assert "known" not in row
    assert "labels" not in row


@pytest.mark.parametrize(("p", "is_known"), [(0.005, False), (0.0078125, False), (0.5, True)])
def test_unknown_is_at_most_the_rate(page, p, is_known):
    row = row_of(page, outputs([1, 0, 0], p), ABOUT | {"unknown": {"rate": 0.0078125}})
    assert row["known"]["is_known"] is is_known


def test_labels_are_those_at_or_above_their_thresholds(page):
    row = row_of(page, outputs([0.5, 0.9, 0.25]), ABOUT | {"several_labels": True})
    assert [each["class"] for each in row["labels"]] == ["b", "a"]


SPECS = [InputSpec(size=24, resize=32), InputSpec(size=32, resize=32)]


@pytest.mark.parametrize("kinds", [["none"], ["whole"], ["none", "whole"]])
@pytest.mark.parametrize(("height", "width"), [(60, 100), (100, 60), (50, 50)])
def test_maps_lie_where_catdog_lays_them(page, kinds, height, width):
    rng = np.random.default_rng(0)
    grids = [rng.normal(size=(3, 4, 5)).astype(np.float32) for _ in kinds]
    maps = [
        {"name": f"map_{place}", "kind": kind, "size": SPECS[place].size, "resize": SPECS[place].resize}
        for place, kind in enumerate(kinds)
    ]
    found = outputs([1, 0, 0]) | {
        f"map_{place}": {"data": grid.ravel().tolist(), "dims": [1, *grid.shape]}
        for place, grid in enumerate(grids)
    }
    row = row_of(page, found, ABOUT | {"maps": maps}, height, width)
    heat = page.value(
        f"""import("./heat.js").then((m) => [...m.joinMaps({json.dumps(row["maps"])}.map(
          (map) => ({{ ...map, values: Float32Array.from(map.values) }})), 1, {width}, {height})])"""
    )
    boxes = [seen_box(height, width, spec, kind) for spec, kind in zip(SPECS, kinds, strict=False)]
    if len(kinds) == 1:
        wanted = spread(grids[0][1], boxes[0], height, width) / (boxes[0].height * boxes[0].width)
    else:
        outer = join_boxes(boxes)
        pieces = [Piece(grid[1], box) for grid, box in zip(grids, boxes, strict=True)]
        assert outer.height == outer.width == 1  # the whole of it
        parts = [spread(grid / (box.height * box.width), box, height, width) for grid, box in pieces]
        wanted = np.sum(parts, 0)
        assert join_pieces(pieces, 7).shape == (7, 7)
    np.testing.assert_allclose(np.array(heat).reshape(height, width), wanted, atol=1e-4)


def test_maps_have_the_colours_of_plots(page):
    text = (FILES / "heat.js").read_text(encoding="utf-8")
    glow = matplotlib.colormaps[GLOW](np.linspace(*GLOW_RANGE, 16))[:, :3] * 255
    written = text.split("const GLOW = [")[1].split("];")[0].split("\n", 1)[1]
    assert json.loads(f"[{written.strip().rstrip(',')}]") == np.round(glow).astype(int).tolist()
    assert f"const AGAINST = {[round(255 * each) for each in AGAINST]};" in text
    assert f"const OPAQUE = {OPAQUE};" in text
