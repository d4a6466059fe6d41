"""Every format becomes the same RGB; every unreadable picture becomes one sentence."""

import io
import os
import struct
import warnings
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from catdog_cli.errors import SettingsError
from catdog_cli.images.formats import webp
from catdog_cli.images.formats.jpeg import scan_jpeg
from catdog_cli.images.read import ImageError, read_image
from tests.conftest import draw_image


def smooth(width: int = 48, height: int = 32) -> Image.Image:
    """Return a picture that differs at every corner and hardly changes in JPEG."""
    y, x = np.mgrid[0:height, 0:width]
    return Image.fromarray(np.stack([x * 5, y * 7, (x + y) * 3], -1).astype(np.uint8))


def as_bytes(image: Image.Image, format: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def as_array(picture: torch.Tensor) -> np.ndarray:
    return picture.permute(1, 2, 0).numpy()


def gap(picture: torch.Tensor, image: Image.Image) -> float:
    """Return the mean distance in grey levels."""
    return float(np.abs(as_array(picture).astype(int) - np.asarray(image.convert("RGB")).astype(int)).mean())


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "webp", "gif", "jpg"])
def test_formats_read_as_what_was_drawn(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    options = {"webp": {"lossless": True}, "jpg": {"quality": 95}}.get(suffix, {})
    smooth().save(path, **options)
    picture = read_image(path)
    assert picture.dtype == torch.uint8
    assert picture.shape == (3, 32, 48)
    assert gap(picture, smooth()) <= {"gif": 4, "jpg": 2}.get(suffix, 0)
    assert torch.equal(read_image(path.read_bytes()), picture)
    assert torch.equal(read_image(str(path)), picture)


@pytest.mark.parametrize("options", [{"subsampling": n} for n in (0, 1, 2)] + [{"progressive": True}])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_both_jpeg_decoders_give_equal_pixels(options, mode):
    image = draw_image(0, 0, (83, 61)).convert(mode)
    data = as_bytes(image, "JPEG", quality=80, **options)
    assert scan_jpeg(data).plain
    assert np.array_equal(as_array(read_image(data)), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


def test_torchvision_without_its_decoder_changes_nothing(monkeypatch):
    data = as_bytes(smooth(), "JPEG")
    expected = read_image(data)
    monkeypatch.setattr("catdog_cli.images.formats.jpeg_reader._decode_fast", lambda data: None)
    assert torch.equal(read_image(data), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_orientations_give_the_upright_picture(orientation, format):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = as_bytes(smooth(), format, exif=exif, **({"lossless": True} if format == "WEBP" else {}))
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert upright.size == ((48, 32) if orientation < 5 else (32, 48))
    assert gap(read_image(data), upright) == 0
    assert gap(read_image(Image.open(io.BytesIO(data))), upright) == 0


@pytest.mark.parametrize("order", ["<", ">"])
def test_orientation_is_read_in_both_byte_orders_and_ignored_when_damaged(order):
    mark = b"II*\0" if order == "<" else b"MM\0*"
    exif = b"Exif\0\0" + mark + struct.pack(order + "IHHHIHH", 8, 1, 0x0112, 3, 1, 6, 0) + bytes(4)
    assert scan_jpeg(as_bytes(smooth(), "JPEG", exif=exif)).orientation == 6
    assert scan_jpeg(as_bytes(smooth(), "JPEG", exif=exif[:20])).orientation == 1


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(format):
    values = np.array([[0, 128, 129], [257, 32768, 65535]], np.uint16)
    picture = read_image(as_bytes(Image.fromarray(values), format))
    assert picture[0].tolist() == [[0, 0, 1], [1, 128, 255]]
    assert torch.equal(picture[0], picture[2])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0.0, 0.5, 1.0]], np.float32), [0, 128, 255]),
        (np.array([[-3.0, 7.4, 255.0]], np.float32), [0, 10, 255]),
        (np.array([[np.nan, np.inf, 65535.0]], np.float32), [0, 0, 255]),
        (np.array([[0.0, 50000.0, 100000.0]], np.float32), [0, 128, 255]),
        (np.array([[-5, 257, 65535]], np.int32), [0, 1, 255]),
        (np.array([[0, 2**30, 2**31 - 1]], np.int32), [0, 128, 255]),
    ],
)
def test_floats_and_integers_are_scaled_by_their_range(values, expected):
    assert read_image(as_bytes(Image.fromarray(values), "TIFF"))[1, 0].tolist() == expected


def test_alpha_lies_over_white():
    pixels = np.zeros((1, 3, 4), np.uint8)
    pixels[0, :, 3] = [0, 128, 255]  # black, ever less transparent
    expected = [255, 127, 0]
    assert read_image(as_bytes(Image.fromarray(pixels), "PNG"))[0, 0].tolist() == expected
    assert read_image(pixels)[0, 0].tolist() == expected
    assert read_image(as_bytes(Image.fromarray(pixels).convert("LA"), "PNG"))[0, 0].tolist() == expected


@pytest.mark.parametrize("format", ["PNG", "GIF"])
@pytest.mark.parametrize("transparency", [1, b"\xff\x00\xff"])
def test_palette_with_transparency(format, transparency):
    if format == "GIF" and isinstance(transparency, bytes):
        transparency = 1
    image = Image.new("P", (3, 1))
    image.putpalette([255, 0, 0, 9, 9, 9, 0, 0, 255])
    image.putdata([0, 1, 2])
    picture = read_image(as_bytes(image, format, transparency=transparency))
    assert as_array(picture)[0].tolist() == [[255, 0, 0], [255, 255, 255], [0, 0, 255]]


def test_cmyk_jpeg_goes_through_pillow():
    data = as_bytes(smooth().convert("CMYK"), "JPEG", quality=95)
    assert not scan_jpeg(data).plain
    assert gap(read_image(data), smooth()) < 3


def test_first_frame_of_an_animation():
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    for format in ("GIF", "WEBP", "TIFF"):
        options = {"lossless": True} if format == "WEBP" else {}
        data = as_bytes(frames[0], format, save_all=True, append_images=frames[1:], **options)
        assert as_array(read_image(data))[4, 4].tolist() == [255, 0, 0]


@pytest.mark.parametrize("mode", ["1", "L", "P", "YCbCr", "CMYK", "HSV", "LAB", "RGBA", "LA"])
def test_pillow_images_of_any_mode(mode):
    white = Image.new("RGBA", (5, 4), "white")
    image = white.convert("L").convert("LA") if mode == "LA" else white.convert("RGB").convert(mode)
    assert read_image(image).min() >= 254


def test_arrays_and_tensors_are_taken_as_they_are():
    array = np.asarray(smooth())
    assert np.array_equal(as_array(read_image(array)), array)
    assert np.array_equal(as_array(read_image(array[:, ::-1])), array[:, ::-1])
    assert torch.equal(read_image(array[..., 0])[2], torch.tensor(array[..., 0]))
    tensor = torch.tensor(array).permute(2, 0, 1)
    assert torch.equal(read_image(tensor), tensor)


@pytest.mark.parametrize(
    ("source", "error", "match"),
    [
        (np.zeros((4, 4, 3), np.float32), ImageError, r"float32 \(4, 4, 3\), but must be uint8"),
        (np.zeros((4, 4, 2), np.uint8), ImageError, r"uint8 \(4, 4, 2\), but must be"),
        (np.zeros((0, 4, 3), np.uint8), ImageError, r"\(0, 4, 3\), but must be"),
        (torch.zeros(3, 4, 4), ImageError, r"torch.float32 \(3, 4, 4\), but must be torch.uint8"),
        (torch.zeros(4, 4, 3, dtype=torch.uint8), ImageError, r"\(4, 4, 3\), but must be"),
        (7, SettingsError, "given as 'int', but must be a path"),
        (None, SettingsError, "given as 'NoneType'"),
        (b"", ImageError, r"given as bytes: it is empty \(0 bytes\)"),
        ("no\0name", ImageError, "null"),
    ],
)
def test_wrong_sources(source, error, match):
    with pytest.raises(error, match=match):
        read_image(source)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
def test_truncated_pictures_are_errors(tmp_path, format, share):
    data = as_bytes(draw_image(0, 0, (200, 150)), format)
    path = tmp_path / "cut.jpg"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ImageError, match=r"Cannot read the picture '.*cut\.jpg': (it|its) .*; replace it"):
        read_image(path)


@pytest.mark.parametrize("count", [2, 3, 10, 30, 300])
def test_headers_that_break_off_are_errors(count):
    for format in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"):
        with pytest.raises(ImageError, match="Cannot read the picture given as bytes"):
            read_image(as_bytes(draw_image(0, 0), format)[:count])


def test_oddities_of_real_jpegs_are_read():
    data = as_bytes(smooth(), "JPEG")
    expected = read_image(data)
    jfif = data.index(b"JFIF\0")
    odd = {
        "junk after the end": data + b"\0junk\xff\xd8\xff" * 50,
        "fill bytes before a marker": data[:2] + b"\xff" * 3 + data[2:],
        "unknown JFIF version": data[: jfif + 5] + b"\0" + data[jfif + 6 :],
        "two pictures in one file": data + as_bytes(Image.new("RGB", (9, 9)), "JPEG"),
    }
    for name, given in odd.items():
        assert torch.equal(read_image(given), expected), name


def png_header(width: int, height: int) -> bytes:
    content = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + content + struct.pack(">I", zlib.crc32(content))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT" + bytes(4)


def jpeg_header(width: int, height: int) -> bytes:
    data = bytearray(as_bytes(smooth(), "JPEG"))
    struct.pack_into(">HH", data, data.index(b"\xff\xc0") + 5, height, width)
    return bytes(data)


@pytest.mark.parametrize("header", [png_header, jpeg_header])
@pytest.mark.parametrize(("width", "height"), [(20000, 20000), (65501, 2), (2, 65535)])
def test_bombs_are_refused_before_decoding(header, width, height):
    with pytest.raises(ImageError, match=rf"declares {width:,} x {height:,} px, more than 300 megapixels"):
        read_image(header(width, height), 256)


def test_pictures_between_pillows_limits_and_ours_stay_silent():
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with pytest.raises(ImageError, match="truncated"):  # 196 megapixels: decoded, and found empty
            read_image(png_header(14000, 14000))
        read_image(as_bytes(Image.new("L", (12000, 8000)), "PNG"))
    assert not seen


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("lossless", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (300, 7), (5, 9000)])
def test_the_size_that_a_webp_declares_is_that_which_it_has(mode, lossless, size):
    image = Image.new(mode, size, (200, 30, 30, 99)[: len(mode)])
    data = as_bytes(image, "WEBP", lossless=lossless)
    assert webp._read_size(data[: webp.FIRST_BYTES]) == size
    animation = as_bytes(image, "WEBP", lossless=lossless, save_all=True, append_images=[image.rotate(180)])
    assert webp._read_size(animation[: webp.FIRST_BYTES]) == size


def test_files_that_are_no_pictures(tmp_path):
    (tmp_path / "text.jpg").write_text("not a picture at all")
    (tmp_path / "empty.png").touch()
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    cases = {
        "text.jpg": "not a picture",
        "empty.png": r"empty \(0 bytes\)",
        "folder.jpg": "a folder",
        "pipe.jpg": "not a regular file",
        "missing.jpg": "No such file",
    }
    for name, match in cases.items():
        with pytest.raises(ImageError, match=rf"'.*{name}': .*{match}"):
            read_image(tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path):
    path = tmp_path / "a.png"
    smooth().save(path)
    path.chmod(0)
    with pytest.raises(ImageError, match="Permission denied"):
        read_image(path)


def test_a_huge_file_is_refused_unread(tmp_path):
    path = tmp_path / "huge.png"
    with path.open("wb") as file:
        file.truncate(2**30 + 1)  # sparse: takes no room
    with pytest.raises(ImageError, match="1,073,741,825 bytes, more than"):
        read_image(path)


def test_large_jpegs_are_decoded_at_a_reduced_scale():
    data = as_bytes(smooth(50, 40).resize((1000, 800)), "JPEG")
    assert read_image(data).shape == (3, 800, 1000)
    assert read_image(data, 100).shape == (3, 200, 250)  # 1/4: at least twice the hint
    assert read_image(data, 201).shape == (3, 800, 1000)
    assert gap(read_image(data, 100), smooth(50, 40).resize((250, 200))) < 2


@pytest.mark.real
def test_every_real_photograph_reads(shared):
    paths = sorted((shared / "data" / "cats_dogs").rglob("*.jpg"))
    assert len(paths) == 2500
    for path in paths[::5]:
        data = path.read_bytes()
        assert scan_jpeg(data).plain
        with Image.open(path) as image:
            assert gap(read_image(data), image) == 0
