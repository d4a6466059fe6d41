"""WebP, GIF, AVIF, HEIC, JPEG 2000, PPM and TGA; and files told by their content, whatever their name."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from catdog_cli import read_image
from catdog_cli.errors import CatdogError
from catdog_cli.images.formats import heif
from catdog_cli.images.read import ImageError

W, H = 40, 24
RAMP = np.zeros((H, W, 3), np.uint8)
RAMP[..., 0] = np.linspace(0, 255, W)
RAMP[..., 1] = np.linspace(255, 0, H)[:, None]
IMAGE = Image.fromarray(RAMP)
BROKEN = r"it is truncated|its data are damaged"
TURNED = Image.Exif()
TURNED[0x0112] = 6


def save(kind: str, image: Image.Image = IMAGE, **options) -> bytes:
    if kind == "HEIF":
        pytest.importorskip("pillow_heif", reason="pillow-heif is not here").register_heif_opener()
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def gap(data, wanted: np.ndarray | Image.Image = IMAGE) -> float:
    found, wanted = read_image(data).astype(float), np.asarray(wanted)
    assert found.shape[:2] == wanted.shape[:2]
    return float(np.abs(found - (wanted if wanted.ndim == 3 else wanted[..., None])).mean())


@pytest.mark.parametrize("name", ["photo", "photo.jpg", "photo.1000", "photo.tga"])
@pytest.mark.parametrize(
    "kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "AVIF", "HEIF", "JPEG2000", "PPM"]
)
def test_the_content_decides_and_not_the_name(tmp_path, kind, name):
    (tmp_path / name).write_bytes(save(kind))
    assert gap(tmp_path / name) < 8


@pytest.mark.parametrize("suffix", [".jfif", ".jpe", ".jif", ".mpo"])
def test_other_names_of_a_jpeg(tmp_path, suffix):
    path = tmp_path / f"photo{suffix}"
    path.write_bytes(save("MPO" if suffix == ".mpo" else "JPEG", quality=95))
    assert gap(path) < 2


@pytest.mark.parametrize("kind", ["AVIF", "HEIF", "WEBP"])
def test_telephones_turn_their_pictures(kind):
    assert gap(save(kind, exif=TURNED.tobytes()), IMAGE.transpose(Image.Transpose.ROTATE_270)) < 6


@pytest.mark.parametrize("kind", ["AVIF", "HEIF", "WEBP", "JPEG2000", "TGA"])
def test_alpha_lies_over_white(kind):
    image = IMAGE.convert("RGBA")
    image.putalpha(Image.new("L", IMAGE.size, 128))
    data = save(kind, image, **({"lossless": True} if kind == "WEBP" else {}))
    assert gap(data, RAMP * (128 / 255) + 255 * (127 / 255)) < 6


def test_heic_without_its_extra_is_named(monkeypatch):
    data = save("HEIF")

    def require(package, extra):
        raise CatdogError(f"This needs the package {package!r}")

    monkeypatch.setattr(heif, "require", require)
    with pytest.raises(ImageError, match=r"it is of a kind \(HEIC\) that needs catdog\[heic\]"):
        read_image(data)


def write_tiny_webp(width: int, height: int) -> bytes:
    """Return a lossless WebP of 28 bytes: five codes of one symbol each, which is 1 for red and 0 else."""
    bits = [(0, 1), (0, 1), (0, 1)]  # no transform, no colour cache, one set of codes
    for symbol in (0, 1, 0, 0, 0):  # green, red, blue, alpha, distance
        bits += [(1, 1), (0, 1), (0, 1), (symbol, 1)]  # a simple code, of one symbol, of one bit
    fields = [(0x2F, 8), (width - 1, 14), (height - 1, 14), (0, 1), (0, 3), *bits]
    packed, at = 0, 0
    for value, size in fields:
        packed, at = packed | value << at, at + size
    body = packed.to_bytes((at + 7) // 8, "little")
    return b"RIFF" + struct.pack("<I", 12 + len(body)) + b"WEBPVP8L" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize(("width", "height"), [(1, 1), (16, 9), (300, 200)])
def test_a_webp_of_28_bytes(width, height):
    data = write_tiny_webp(width, height)
    assert len(data) == 28
    assert gap(data, np.full((height, width, 3), (1, 0, 0))) == 0


@pytest.mark.parametrize("place", [(0, 0), (5, 4), (10, 8)])
@pytest.mark.parametrize("transparent", [False, True])
def test_what_the_first_frame_of_a_gif_leaves_free_is_white(place, transparent):
    frame = Image.new("P", (10, 8), 1)
    frame.putpalette([255, 0, 0, 0, 0, 255, 9, 9, 9])
    data = bytearray(save("GIF", frame, **({"transparency": 2} if transparent else {})))
    data[6:10] = struct.pack("<HH", 20, 16)
    at = data.rindex(b",\0\0\0\0\x0a\0\x08\0")
    data[at + 1 : at + 5] = struct.pack("<HH", *place)
    wanted = np.full((16, 20, 3), 255)
    left, top = place
    wanted[top : top + 8, left : left + 10] = (0, 0, 255)
    assert (read_image(bytes(data)) == wanted).all()


@pytest.mark.parametrize("most", [1, 15, 100, 255, 256, 1000, 4095, 65535])
@pytest.mark.parametrize("kind", [b"P2", b"P3", b"P5", b"P6"])
def test_portable_maps_are_scaled_by_their_largest_value(kind, most):
    channels = 3 if kind in (b"P3", b"P6") else 1
    values = np.round(RAMP[..., :channels] / 255.0 * most).astype(int) // 2  # half as light as it can be
    if kind in (b"P2", b"P3"):
        body = " ".join(map(str, values.ravel().tolist())).encode()
    else:
        body = values.astype(">u2" if most > 255 else np.uint8).tobytes()
    data = b"%s\n# made by hand\n%d %d\n%d\n" % (kind, W, H, most) + body
    assert gap(data, values * (255 / most)) < 1
    with pytest.raises(ImageError, match=BROKEN):
        read_image(data[: len(data) * 2 // 3])


def test_portable_bit_maps():
    bits = RAMP[..., 0] > 99
    plain = b"P1 %d %d\n" % (W, H) + b"".join(b"01"[bit : bit + 1] for bit in bits.ravel().tolist())
    raw = b"P4 %d %d\n" % (W, H) + np.packbits(bits, axis=1).tobytes()
    assert gap(plain, ~bits * 255) == gap(raw, ~bits * 255) == 0


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("no_jp2", [False, True], ids=["jp2", "codestream"])
def test_jpeg_2000(mode, no_jp2):
    grey = RAMP[..., 0].astype(np.uint16) * 257
    image = Image.fromarray(grey) if mode == "I;16" else IMAGE.convert(mode)
    wanted = RAMP[..., 0] if mode == "I;16" else IMAGE.convert(mode).convert("RGB")
    assert gap(save("JPEG2000", image, no_jp2=no_jp2), wanted) < 1


@pytest.mark.parametrize("compression", [None, "tga_rle"])
@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA"])
@pytest.mark.parametrize("orientation", [-1, 1])
def test_targa(mode, compression, orientation, tmp_path):
    data = save("TGA", IMAGE.convert(mode), compression=compression, orientation=orientation)
    path = tmp_path / "a.tga"
    path.write_bytes(data)
    wanted = IMAGE.convert(mode).convert("RGB")
    assert gap(path, wanted) == gap(data, wanted) == 0
    path.write_bytes(data[:-26])  # without its footer, as before version 2
    assert gap(path, wanted) == 0
    for cut in (30, 200):
        path.write_bytes(data[: len(data) - 26 - cut])
        with pytest.raises(ImageError, match=BROKEN):
            read_image(path)


@pytest.mark.parametrize("alpha_bits", [0, 1])
def test_targa_whose_alpha_nobody_meant(alpha_bits):
    image = IMAGE.convert("RGBA")
    image.putalpha(0)
    assert gap(save("TGA", image)) == 0
    header = TGA.pack(0, 0, 2, 0, 0, 0, 0, 0, 2, 1, 16, 0x20 | alpha_bits)
    red, blue = struct.pack("<H", 0x7C00), struct.pack("<H", 0x801F)
    assert read_image(header + red + blue)[0].tolist() == [[255, 0, 0], [0, 0, 255]]


@pytest.mark.parametrize(
    "start", [b"hello, this is a text", bytes(200), b"\1" * 200, b"\0\0\2" + b"abc" * 50]
)
def test_other_files_are_not_taken_for_targa(start, tmp_path):
    with pytest.raises(ImageError, match="it is not a picture"):
        read_image(start)
    (tmp_path / "a.tga").write_bytes(start[:18])
    with pytest.raises(ImageError, match="it is not a picture"):
        read_image(tmp_path / "a.tga")


def swap(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data
    return data.replace(old, new)


TGA = struct.Struct("<BBBHHBHHHHBB")
SIDES = struct.pack(">II", W, H)
BOMBS = {
    "AVIF, which libavif refuses": (
        lambda: swap(save("AVIF"), SIDES, struct.pack(">II", 60000, 60000)),
        "its data are damaged",
    ),
    "AVIF of 100 megapixels": (
        lambda: swap(save("AVIF"), SIDES, struct.pack(">II", 10000, 10000)),
        "more than the 55 megapixels for AVIF",
    ),
    "JPEG 2000": (
        lambda: swap(save("JPEG2000"), struct.pack(">II", H, W), struct.pack(">II", 60000, 60000)),
        "declares 60,000 x 60,000 px",
    ),
    "PPM": (lambda: b"P6 60000 60000 255\n" + bytes(99), "declares 60,000 x 60,000 px"),
    "TGA": (
        lambda: (
            struct.pack("<BBBHHBHHHHBB", 0, 0, 10, 0, 0, 0, 0, 0, 60000, 60000, 24, 0)
            + b"TRUEVISION-XFILE.\0"
        ),
        "declares 60,000 x 60,000 px",
    ),
}


@pytest.mark.parametrize(("make", "message"), BOMBS.values(), ids=BOMBS)
def test_sizes_are_looked_at_before_memory_is_taken(make, message):
    with pytest.raises(ImageError, match=message):
        read_image(make())


@pytest.mark.parametrize("kind", ["AVIF", "HEIF", "JPEG2000", "WEBP", "GIF", "PPM"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_what_breaks_off_is_refused_in_a_sentence_without_numbers(kind, share, tmp_path):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8))
    data = save(kind, noise)
    path = tmp_path / "cut.jpg"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(
        ImageError, match=r"picture '.*cut\.jpg': (it|its) [a-z ]+(\(.*\))?; replace it"
    ) as caught:
        read_image(path)
    said = str(caught.value).replace(repr(str(path)), "")  # a folder of the path may be called pytest-29
    assert not any(odd in said for odd in ("b'", "-2", "KeyError", "Error"))
