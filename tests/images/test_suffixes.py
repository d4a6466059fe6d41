"""Which files are images is told by one list of suffixes, and by first bytes where there is none."""

import io

import pytest
from PIL import Image

from catdog_cli.images import suffixes
from catdog_cli.images.decode import find_format

SAVED = {"JPEG": "JPEG", "PNG": "PNG", "GIF": "GIF", "BMP": "BMP", "WEBP": "WEBP", "TIFF": "TIFF"}
SAVED |= {"AVIF": "AVIF", "JPEG2000": "JPEG2000", "PPM": "PPM", "TGA": "TGA"}


def save(kind: str, **options) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (20, 10), "red").save(file, SAVED[kind], **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", SAVED)
def test_content_tells_the_format(kind):
    data = save(kind)
    assert suffixes.sniff_image(data[: suffixes.SNIFF_BYTES]) == (None if kind == "TGA" else kind)
    assert find_format(data, "") == kind
    assert kind in suffixes.IMAGE_FORMATS.values()


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1heic", "HEIF"),
        (b"\0\0\0\x18ftypheix\0\0\0\0mif1miaf", "HEIF"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avif", "AVIF"),
        (b"\0\0\0\x1cftypisom\0\0\x02\0isomiso2mp41", None),  # a film
        (b"MM\0+\0\x08\0\0", "TIFF"),
        (b"\xff\x4f\xff\x51\0\x2f", "JPEG2000"),
        (b"P5 16 16 255\n", "PPM"),
        (b"P5. The fifth page", None),
        (b"BMW is a maker of cars", None),
        (b"RIFF\x24\0\0\0WAVEfmt ", None),
        (b"hello", None),
        (b"", None),
    ],
)
def test_first_bytes(start, kind):
    assert suffixes.sniff_image(start) == kind


def test_a_suffix_is_read_or_needs_an_extra_or_is_known_as_a_picture(monkeypatch):
    assert suffixes.image_suffix("a.b/Photo.JPeG") == ".jpeg"
    assert suffixes.image_suffix("photo") == suffixes.image_suffix(".jpg") == ""
    for suffix in (".jfif", ".jpe", ".jif", ".mpo", ".avif", ".jp2", ".ppm", ".pgm", ".pnm", ".tga"):
        assert suffixes.is_readable(suffix)
        assert suffix in suffixes.IMAGE_SUFFIXES
    monkeypatch.setattr(suffixes, "_is_installed", lambda package: package != "pillow_heif")
    assert suffixes.missing_extra(".heic") == "heic"
    assert not suffixes.is_readable(".heic")
    monkeypatch.setattr(suffixes, "_is_installed", lambda package: True)
    assert suffixes.missing_extra(".heic") is None
    assert suffixes.is_readable(".heic")
    assert suffixes.is_picture(".heic")
    assert suffixes.is_picture(".psd")
    assert not suffixes.is_readable(".psd")
    assert not suffixes.is_picture(".txt")
    assert not suffixes.UNREAD_SUFFIXES & set(suffixes.IMAGE_FORMATS)
