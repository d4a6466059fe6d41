"""JPEGs as cameras, programs and broken disks write them."""

import io
import struct

import numpy as np
import pytest
import torch
from PIL import Image

from catdog_cli.images.formats.jpeg import scan_jpeg
from catdog_cli.images.read import ImageError, read_image
from tests.conftest import draw_image


def as_jpeg(image: Image.Image, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()


PHOTO = draw_image(0, 0, (300, 200))
FLAT = Image.new("RGB", (300, 200), (90, 120, 40))
SMOOTH = Image.fromarray(np.add.outer(np.arange(200), np.arange(300)).astype(np.uint8) // 2)
IMAGES = {"noise": PHOTO, "flat": FLAT, "grey": SMOOTH, "CMYK": PHOTO.convert("CMYK")}
KINDS = [{}, {"progressive": True}, {"optimize": True}, {"subsampling": 0, "quality": 95}]


@pytest.mark.parametrize(
    "image", [PHOTO, FLAT, SMOOTH, PHOTO.convert("CMYK")], ids=["noise", "flat", "grey", "CMYK"]
)
@pytest.mark.parametrize("options", KINDS, ids=str)
@pytest.mark.parametrize("cut", [1, 2])
def test_a_missing_end_marker_alone_is_a_remark(cut, options, image):
    whole = as_jpeg(image, **options)
    for hint in (None, 20):  # 20: decoded at a reduced scale
        remarks: list[str] = []
        assert torch.equal(read_image(whole[:-cut], hint, remarks), read_image(whole, hint))
        assert remarks == ["its end marker is missing"]
        assert torch.equal(read_image(whole[:-cut], hint), read_image(whole, hint))


@pytest.mark.parametrize("options", [*KINDS, {"restart_marker_rows": 2}], ids=str)
@pytest.mark.parametrize("cut", [8, 40, 600, 3000])
@pytest.mark.parametrize(
    "filling", [b"", bytes(512), b"SEFT" * 999, b"\xaa" * 9000], ids=["", "0", "text", "bits"]
)
def test_a_jpeg_that_breaks_off_is_truncated_for_both_decoders(cut, options, filling):
    data = as_jpeg(PHOTO, **options)[:-cut] + filling
    for hint in (None, 20):
        with pytest.raises(ImageError, match="it is truncated"):
            read_image(data, hint)


def test_a_progressive_jpeg_without_its_last_scans_is_truncated():
    data = as_jpeg(PHOTO, progressive=True)
    scans = [at for at in range(len(data)) if data[at : at + 2] == b"\xff\xda"]
    for start in scans[1:]:
        tables = data.rfind(b"\xff\xc4", 0, start)  # they belong to the scan
        with pytest.raises(ImageError, match="it is truncated"):
            read_image(data[: tables if tables > scans[0] else start])


@pytest.mark.parametrize("length", [0, 1])
@pytest.mark.parametrize("marker", [0xE3, 0xEC, 0xFE])
def test_empty_segments_with_a_length_that_cannot_be(length, marker):
    whole = as_jpeg(PHOTO)
    data = whole[:20] + struct.pack(">BBH", 0xFF, marker, length) + whole[20:]
    assert torch.equal(read_image(data), read_image(whole))


def frame_at(data: bytes) -> int:
    return data.index(b"\xff\xc0")


@pytest.mark.parametrize(
    ("marker", "precision", "message"),
    [
        (0xC1, 12, "it is a JPEG with 12 bits a channel, which is not read"),
        (0xC3, 8, "it is a lossless JPEG, which is not read"),
        (0xC3, 16, "it is a lossless JPEG with 16 bits a channel, which is not read"),
        (0xC5, 8, "it is a hierarchical JPEG, which is not read"),
        (0xF7, 8, "it is a JPEG-LS, which is not read"),
    ],
)
def test_kinds_that_are_not_read_are_named(marker, precision, message):
    data = bytearray(as_jpeg(PHOTO))
    at = frame_at(data)
    data[at + 1], data[at + 4] = marker, precision
    with pytest.raises(ImageError, match=message) as caught:
        read_image(bytes(data))
    assert "damaged" not in str(caught.value)


@pytest.mark.parametrize("kind", [1, 3, 4, 6, 8, 9])
@pytest.mark.parametrize("order", "<>")
def test_orientation_of_every_number_type(kind, order):
    mark = b"II*\0" if order == "<" else b"MM\0*"
    letter = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}[kind]
    value = struct.pack(order + letter, 6).ljust(4, b"\0")
    exif = b"Exif\0\0" + mark + struct.pack(order + "IHHHI", 8, 1, 0x0112, kind, 1) + value + bytes(4)
    data = as_jpeg(PHOTO, exif=exif)
    assert scan_jpeg(data).orientation == 6
    assert read_image(data).shape == (3, 300, 200)


def test_an_orientation_in_xmp_is_ignored_in_every_format():
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    for kind in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF"):
        file = io.BytesIO()
        options = {"pnginfo": text_with(xmp)} if kind == "PNG" else {"xmp": xmp}
        if kind == "TIFF":
            options = {"tiffinfo": {700: xmp}}
        PHOTO.save(file, kind, **options)
        assert b"tiff:Orientation" in file.getvalue()
        assert read_image(file.getvalue()).shape == (3, 200, 300), kind
        assert read_image(Image.open(file)).shape[1:] == (200, 300) or kind == "TIFF"


def text_with(xmp: bytes):
    from PIL.PngImagePlugin import PngInfo

    texts = PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", xmp.decode())
    return texts


def test_what_a_decoder_prints_is_kept_off_the_screen_and_becomes_a_remark(capfd):
    data = bytearray(as_jpeg(PHOTO))
    cut = bytes(data[: len(data) // 2]) + b"\xff\xd9"  # ends as it should, in the middle
    remarks: list[str] = []
    read_image(cut)
    read_image(cut, None, remarks)
    assert capfd.readouterr().err == ""
    assert len(remarks) == 1
    assert remarks[0].startswith("libjpeg says: ")
    assert "premature end" in remarks[0]
    read_image(bytes(data), None, remarks)
    assert len(remarks) == 1


@pytest.mark.real
def test_a_photograph_turned_by_a_long_number(shared):
    path = shared / "cases" / "files" / "orient_long.jpg"
    if not path.exists():
        pytest.skip("../shared/cases is not here")
    with Image.open(path) as image:
        assert read_image(path).shape[1:] == (image.width, image.height)
