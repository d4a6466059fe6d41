"""PNG: transparent colours in every depth, and damage in chunks that no pixel needs."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from catdog_cli import read_image
from catdog_cli.images.read import ImageError
from catdog_cli.images.read import read_image as read_tensor

W, H = 23, 11


def make_chunk(kind: bytes, content: bytes, *, crc: int | None = None, length: int | None = None) -> bytes:
    crc = zlib.crc32(kind + content) if crc is None else crc
    return (
        struct.pack(">I", len(content) if length is None else length)
        + kind
        + content
        + struct.pack(">I", crc)
    )


def write_png(values: np.ndarray, depth: int, color: int, before: bytes = b"", after: bytes = b"") -> bytes:
    """Return a PNG of (H, W, channels); `before` and `after` its pixels come these chunks."""
    height, width, _ = values.shape
    if depth == 16:
        rows = values.astype(">u2").tobytes()
    else:
        bits = (values.reshape(height, -1, 1) >> np.arange(depth - 1, -1, -1)) & 1
        rows = np.packbits(bits.reshape(height, -1).astype(np.uint8), axis=1).tobytes()
    size = len(rows) // height
    lines = b"".join(b"\0" + rows[at : at + size] for at in range(0, len(rows), size))
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    parts = [make_chunk(b"IHDR", header), before, make_chunk(b"IDAT", zlib.compress(lines)), after]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + make_chunk(b"IEND", b"")


def ramp(depth: int, channels: int) -> np.ndarray:
    one = np.add.outer(np.arange(H) * 3, np.arange(W)) * 977 % 2**depth
    return np.stack([one, one[::-1], one[:, ::-1]][:channels], -1)


@pytest.mark.parametrize(("color", "depth"), [(0, 1), (0, 2), (0, 4), (0, 8), (0, 16), (2, 8), (2, 16)])
@pytest.mark.parametrize("dirty", [False, True], ids=["clean", "with bits beyond the depth"])
def test_a_transparent_colour_is_exactly_one(color, depth, dirty):
    channels = 3 if color == 2 else 1
    values = ramp(depth, channels)
    chosen = values[4, 7]
    if depth == 16:
        values[0, 0] = chosen ^ 1  # the same in its upper 8 bits
    stray = 2**depth if dirty and depth < 16 else 0
    tag = make_chunk(b"tRNS", struct.pack(f">{channels}H", *(int(value) | stray for value in chosen)))
    wanted = np.where((values == chosen).all(-1)[..., None], 255, values * (255 / (2**depth - 1)))
    found = read_image(write_png(values, depth, color, tag)).astype(float)
    assert np.abs(found - wanted).max() <= 1
    assert (found[4, 7] == 255).all()


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_transparent_palette_entries(depth):
    count = 2**depth
    palette = np.random.default_rng(0).integers(0, 200, (count, 3))
    alpha = np.where(np.arange(count) % 3 == 1, 0, 255)
    values = ramp(depth, 1)
    chunks = make_chunk(b"PLTE", bytes(palette.ravel().tolist())) + make_chunk(b"tRNS", bytes(alpha.tolist()))
    wanted = np.where(alpha[:, None] == 0, 255, palette)[values[..., 0]]
    assert (read_image(write_png(values, depth, 3, chunks)) == wanted).all()


PLAIN = write_png(ramp(8, 3), 8, 2)
GAMMA = struct.pack(">I", 45455)
ODD = {
    "checksum of gAMA": (make_chunk(b"gAMA", GAMMA, crc=1), "its chunk gAMA has a wrong checksum"),
    "checksum of tEXt": (make_chunk(b"tEXt", b"a\0b", crc=1), "its chunk tEXt has a wrong checksum"),
    "checksum of tRNS": (make_chunk(b"tRNS", bytes(6), crc=1), "its chunk tRNS has a wrong checksum"),
    "checksum of iCCP": (make_chunk(b"iCCP", b"a\0\0x", crc=1), "its chunk iCCP has a wrong checksum"),
    "short gAMA": (make_chunk(b"gAMA", GAMMA[:3]), "its chunk gAMA has a wrong length"),
    "short cHRM": (make_chunk(b"cHRM", bytes(8)), "its chunk cHRM has a wrong length"),
    "short pHYs": (make_chunk(b"pHYs", bytes(4)), "its chunk pHYs has a wrong length"),
    "empty sRGB": (make_chunk(b"sRGB", b""), "its chunk sRGB has a wrong length"),
    "short tRNS": (make_chunk(b"tRNS", b""), "its chunk tRNS has a wrong length"),
    "short acTL": (make_chunk(b"acTL", b"\0"), "its chunk acTL has a wrong length"),
    "length that is too large": (make_chunk(b"tEXt", b"a\0bcdef", length=9), "tEXt has a wrong"),
    "length that is too small": (make_chunk(b"tEXt", b"a\0bcdef", length=5), "tEXt has a wrong"),
    "length beyond the end": (make_chunk(b"tEXt", b"a\0bcdef", length=2**31), "has a wrong length"),
    "profile of no known method": (make_chunk(b"iCCP", b"a\0\7xyz"), None),
    "text of no known method": (make_chunk(b"zTXt", b"a\0\7xyz"), None),
    "large text": (make_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(3 * 2**20))), None),
    "large international text": (make_chunk(b"iTXt", b"a\0\1\0\0\0" + zlib.compress(bytes(3 * 2**20))), None),
    "very large plain text": (make_chunk(b"tEXt", b"a\0" + b"b" * (70 * 2**20)), None),
    "animation out of order": (make_chunk(b"acTL", bytes(8)) + make_chunk(b"fcTL", bytes([9] * 26)), None),
    "nobody's chunk": (make_chunk(b"caTd", b"hello"), None),
}


@pytest.mark.parametrize(("chunk", "remark"), ODD.values(), ids=ODD)
def test_a_flaw_in_an_ancillary_chunk_is_a_remark(chunk, remark):
    for at in ({"before": chunk}, {"after": chunk}):
        data = write_png(ramp(8, 3), 8, 2, **at)
        remarks: list[str] = []
        assert (read_tensor(data, None, remarks) == read_tensor(PLAIN)).all()
        assert (read_image(data) == read_image(PLAIN)).all()
        if remark is None:
            assert remarks == []
        else:
            assert any(remark in found for found in remarks), remarks


def test_a_missing_end_mark_is_a_remark():
    remarks: list[str] = []
    assert (read_tensor(PLAIN[:-12], None, remarks) == read_tensor(PLAIN)).all()
    assert remarks == ["its end mark is missing"]


def test_a_wrong_checksum_of_pixels_that_unpack_is_a_remark():
    data = bytearray(PLAIN)
    data[-13] ^= 1
    remarks: list[str] = []
    assert (read_tensor(bytes(data), None, remarks) == read_tensor(PLAIN)).all()
    assert remarks == ["its chunk IDAT has a wrong checksum"]


@pytest.mark.parametrize("kind", [b"eXIf", b"tEXt", b"zTXt"])
def test_orientation_in_each_place_that_programs_write_it_to(kind):
    exif = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    content = exif
    if kind != b"eXIf":
        text = f"\nexif\n{len(exif) + 6:8}\n{(b'Exif' + bytes(2) + exif).hex()}\n".encode()
        content = b"Raw profile type exif\0" + (b"\0" + zlib.compress(text) if kind == b"zTXt" else text)
    for at in ({"before": make_chunk(kind, content)}, {"after": make_chunk(kind, content)}):
        assert read_image(write_png(ramp(8, 3), 8, 2, **at)).shape == (W, H, 3)


REFUSED = {
    "no palette": (write_png(ramp(8, 1), 8, 3), "its palette is missing"),
    "three bits": (PLAIN[:24] + b"\3" + PLAIN[25:], "3 bits of the colour type 2"),
    "Apple's own": (PLAIN[:8] + make_chunk(b"CgBI", bytes(4)) + PLAIN[8:], "only Apple's programs read"),
    "a chunk that it needs": (write_png(ramp(8, 3), 8, 2, make_chunk(b"CATD", b"")), "the chunk CATD, which"),
    "no header": (PLAIN[:8] + PLAIN[33:], "does not begin with its header"),
    "half of its pixels": (PLAIN[: len(PLAIN) // 2], "it is truncated"),
    "a palette with a wrong checksum": (
        write_png(ramp(8, 1), 8, 3, make_chunk(b"PLTE", bytes(768), crc=1)), "its data are damaged"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("data", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_right_is_refused(data, message):
    with pytest.raises(ImageError, match=message):
        read_image(data)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "I;16"])
def test_ordinary_ones_are_what_pillow_reads(mode, tmp_path):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (H, W, 4), np.uint8))
    image = image.convert(mode) if mode != "I;16" else Image.fromarray(ramp(16, 1)[..., 0].astype(np.uint16))
    image.save(tmp_path / "a.png", dpi=(72, 72))
    with Image.open(tmp_path / "a.png") as opened:
        wanted = (
            opened.convert("RGBA")
            if mode != "I;16"
            else opened.point(lambda v: v / 257).convert("L").convert("RGBA")
        )
    wanted = Image.alpha_composite(Image.new("RGBA", wanted.size, "white"), wanted).convert("RGB")
    assert np.abs(read_image(tmp_path / "a.png").astype(int) - np.asarray(wanted)).max() <= (mode == "I;16")
