"""How many pixels a header declares: told without decoding, and never an error."""

import io

import pytest
from PIL import Image

from catdog_cli.images.facts import read_area


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF", "PPM", "JPEG2000"])
def test_the_area_is_that_of_the_pixels(kind):
    kept = io.BytesIO()
    Image.new("RGB", (70, 31)).save(kept, kind)
    data = kept.getvalue()
    assert read_area(data) == 70 * 31
    assert read_area(data[: len(data) // 2]) in (0, 70 * 31)


@pytest.mark.parametrize(
    "data", [b"", b"text", b"\x89PNG\r\n\x1a\n", b"II*\0\xff\xff\xff\xff", b"\xff\xd8\xff\xe0"]
)
def test_what_is_damaged_has_none(data):
    assert read_area(data) == 0
