"""Small JPEGs for pages and notebooks."""

import base64
import io

import pytest
from PIL import Image

from catdog_cli.images.preview import make_preview


@pytest.mark.parametrize(
    ("size", "shown"), [((400, 100), (80, 20)), ((40, 30), (40, 30)), ((100, 400), (20, 80))]
)
def test_the_longer_side_is_bounded(tmp_path, size, shown):
    Image.new("RGB", size, (200, 30, 60)).save(tmp_path / "photo.png")
    preview = make_preview(tmp_path / "photo.png", 80)
    assert (preview.width, preview.height) == shown
    kind, _, data = preview.uri.partition(",")
    assert kind == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        assert image.size == shown


def test_what_cannot_be_read_has_none(tmp_path):
    assert make_preview(tmp_path / "gone.png", 80) is None
