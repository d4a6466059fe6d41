"""BMP of every header, depth, set of masks and run-length coding."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from catdog_cli import read_image
from catdog_cli.images.read import ImageError

W, H = 31, 9
RAMP = np.tile(np.linspace(0, 1, W), (H, 1)) * np.linspace(0.3, 1, H)[:, None]
SHARES = np.stack([RAMP, RAMP[:, ::-1], RAMP[::-1], np.clip(RAMP + 0.2, 0, 1)], -1)


def write_bmp(
    rows: list[bytes] | bytes,
    depth: int,
    *,
    header: int = 40,
    method: int = 0,
    masks: tuple[int, ...] = (),
    palette: np.ndarray | None = None,
    used: int = 0,
    height: int = H,
    width: int = W,
) -> bytes:
    """Return a BMP; `rows` from top to bottom, or the packed body as it is."""
    if isinstance(rows, list):
        padded = [row + bytes(-len(row) % 4) for row in rows]
        rows = b"".join(padded if height < 0 else padded[::-1])
    entry = 3 if header == 12 else 4
    colors = b"" if palette is None else b"".join(bytes(color[::-1]).ljust(entry, b"\0") for color in palette)
    if header == 12:
        info = struct.pack("<IHHHH", 12, width, height, 1, depth)
    else:
        info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, depth, method, 0, 2835, 2835, used, 0)
        packed = b"".join(struct.pack("<I", mask) for mask in masks)
        if header == 40:
            info += packed
        info = struct.pack("<I", header) + info[4:]
        if header > 40:
            info = (info + packed).ljust(header, b"\0")
        info = info[: max(header, 40 + len(packed) * (header == 40))] if header >= 40 else info[:header]
    start = 14 + len(info) + len(colors)
    return b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start) + info + colors + rows


def quantise(shares: np.ndarray, bits: int) -> np.ndarray:
    return np.round(shares * (2**bits - 1)).astype(np.uint64)


MASK_SETS = {
    "4444": (16, (0xF00, 0xF0, 0xF, 0xF000)),
    "565": (16, (0xF800, 0x7E0, 0x1F)),
    "555": (16, (0x7C00, 0x3E0, 0x1F)),
    "1555": (16, (0x7C00, 0x3E0, 0x1F, 0x8000)),
    "231": (16, (0x30, 0xE, 0x1)),
    "24": (24, (0xFF0000, 0xFF00, 0xFF)),
    "24, BGR": (24, (0xFF, 0xFF00, 0xFF0000)),
    "8888": (32, (0xFF0000, 0xFF00, 0xFF, 0xFF000000)),
    "8888, ABGR": (32, (0xFF000000, 0xFF0000, 0xFF00, 0xFF)),
    "888, RGB": (32, (0xFF, 0xFF00, 0xFF0000)),
    "1010102": (32, (0x3FF00000, 0xFFC00, 0x3FF, 0xC0000000)),
    "111110": (32, (0xFFE00000, 0x1FFC00, 0x3FF)),
}


@pytest.mark.parametrize(
    ("name", "header"),
    [
        (name, header)
        for name in MASK_SETS
        for header in (40, 52, 56, 108, 124)
        if len(MASK_SETS[name][1]) == 3 or header != 52  # which has no room for alpha
    ],
)
@pytest.mark.parametrize("height", [H, -H], ids=["bottom up", "top down"])
def test_bit_masks(name, header, height):
    depth, masks = MASK_SETS[name]
    stored, shown = np.zeros((H, W), np.uint64), []
    for place, mask in enumerate(masks):
        bits = mask.bit_count()
        values = quantise(SHARES[..., place], bits)
        stored |= values << np.uint64((mask & -mask).bit_length() - 1)
        shown.append(values / (2**bits - 1))
    rows = [b"".join(int(v).to_bytes(depth // 8, "little") for v in row) for row in stored]
    wanted = np.stack(shown[:3], -1) * 255
    method = 6 if len(masks) == 4 and header == 40 else 3
    if len(masks) == 4:
        wanted = wanted * shown[3][..., None] + 255 * (1 - shown[3][..., None])
    data = write_bmp(rows, depth, header=header, method=method, masks=masks, height=height)
    assert np.abs(read_image(data) - wanted).max() <= 1


@pytest.mark.parametrize("header", [40, 56, 108, 124])
def test_alpha_that_is_zero_everywhere_was_left_out(header):
    colors = np.round(SHARES[..., :3] * 255).astype(np.uint8)
    rows = [b"".join(bytes([*color[::-1], 0]) for color in row) for row in colors.tolist()]
    masks = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    method = 6 if header == 40 else 3
    assert (read_image(write_bmp(rows, 32, header=header, method=method, masks=masks)) == colors).all()
    assert (read_image(write_bmp(rows, 32, header=header)) == colors).all()


@pytest.mark.parametrize(
    ("header", "height"),
    [(12, H), *((header, height) for header in (16, 40, 52, 56, 64, 108, 124) for height in (H, -H))],
)
@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_palettes_even_grey_ones(depth, header, height):
    count = 2**depth
    values = np.round(RAMP * (count - 1)).astype(np.uint8)
    bits = (values[..., None] >> np.arange(depth - 1, -1, -1)) & 1
    rows = [bytes(row) for row in np.packbits(bits.reshape(H, -1), axis=1)]
    steps = np.arange(count)
    for palette in (
        np.stack([steps * 255 // (count - 1), 255 - steps, steps], -1),
        np.repeat(steps[:, None], 3, 1),  # taken for grey of 8 bits by Pillow
        np.repeat(255 - steps[:, None] * 255 // (count - 1), 3, 1),
    ):
        data = write_bmp(rows, depth, header=header, palette=palette.astype(np.uint8), height=height)
        assert (read_image(data) == palette[values]).all()


def test_a_short_palette_of_two_colours_in_eight_bits():
    values = (RAMP > 0.5).astype(np.uint8)
    palette = np.array([[0, 0, 0], [255, 255, 255]], np.uint8)
    data = write_bmp([bytes(row) for row in values], 8, palette=palette, used=2)
    assert (read_image(data) == palette[values]).all()


def encode_rle(values: np.ndarray, half: bool, width: int) -> bytes:
    """Return rows (from the bottom) in runs of every kind: encoded, absolute, longer than the row."""
    body = b""
    for number, row in enumerate(values[::-1].tolist()):
        if (
            number % 3 == 0 and len(row) > 2
        ):  # one absolute run, of an even length even where the width is odd
            padded = row + [0] * (len(row) % 2)
            packed = bytes(padded)
            if half:
                packed = bytes(padded[at] << 4 | padded[at + 1] for at in range(0, len(padded), 2))
            body += bytes([0, len(padded)]) + packed + bytes(len(packed) % 2)
        elif number % 3 == 1:  # a run for each pixel
            body += b"".join(bytes([1, value << 4 if half else value]) for value in row)
        else:  # pairs, the last one reaching beyond the row
            for left in range(0, len(row), 2):
                pair = (row[left : left + 2] * 2)[:2]
                body += bytes([2, pair[0] << 4 | pair[1]]) if half else bytes([1, pair[0], 1, pair[1]])
        body += b"\0\0"
    return body + b"\0\1"


@pytest.mark.parametrize("width", [1, 2, 5, 30, 31])
@pytest.mark.parametrize(("method", "depth"), [(1, 8), (2, 4)], ids=["RLE8", "RLE4"])
def test_run_lengths_of_odd_widths(method, depth, width):
    count = 2**depth
    values = np.random.default_rng(0).integers(0, count, (H, width)).astype(np.uint8)
    palette = np.random.default_rng(1).integers(0, 256, (count, 3)).astype(np.uint8)
    body = encode_rle(values, method == 2, width)
    for header in (40, 64, 124):
        data = write_bmp(body, depth, method=method, palette=palette, width=width, header=header)
        assert (read_image(data) == palette[values]).all()
    with pytest.raises(ImageError, match="it is truncated"):
        read_image(write_bmp(body[: len(body) // 2], depth, method=method, palette=palette, width=width))
    unmarked = write_bmp(body[:-4], depth, method=method, palette=palette, width=width)
    assert (read_image(unmarked) == palette[values]).all()


def test_what_run_lengths_skip_is_the_first_colour():
    palette = np.array([[9, 9, 9], [255, 0, 0]], np.uint8)
    body = bytes([2, 1, 0, 2, 3, 1, 2, 1, 0, 1])  # two px; 3 to the right and 1 up; two px; the end
    wanted = np.zeros((H, W), int)
    wanted[H - 1, :2] = wanted[H - 2, 5:7] = 1
    assert (read_image(write_bmp(body, 8, method=1, palette=palette, used=2)) == palette[wanted]).all()


def test_run_lengths_of_24_bits():
    colors = np.random.default_rng(0).integers(0, 256, (H, W, 3)).astype(np.uint8)
    body = b""
    for row in colors[::-1]:
        body += bytes([2]) + bytes(row[0, ::-1]) + bytes([0, W - 2]) + row[2:, ::-1].tobytes()
        body += bytes((W - 2) * 3 % 2) + b"\0\0"
    colors[:, 1] = colors[:, 0]
    assert (read_image(write_bmp(body + b"\0\1", 24, method=4, header=64)) == colors).all()


@pytest.mark.parametrize(("method", "kind"), [(4, "JPEG"), (5, "PNG")])
def test_a_picture_within(method, kind):
    file = io.BytesIO()
    image = Image.fromarray(np.round(SHARES[..., :3] * 255).astype(np.uint8))
    image.save(file, kind, **({"quality": 95} if kind == "JPEG" else {}))
    assert (read_image(write_bmp(file.getvalue(), 0, method=method)) == read_image(file.getvalue())).all()
    with pytest.raises(ImageError, match=f"says that it holds a {kind}"):
        read_image(write_bmp(b"BM" + file.getvalue(), 0, method=method))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA"])
def test_what_pillow_writes_and_reads_has_the_same_pixels(mode):
    file = io.BytesIO()
    image = Image.fromarray(np.round(SHARES * 255).astype(np.uint8), "RGBA").convert(mode)
    image.save(file, "BMP")
    with Image.open(file) as opened:
        opened.load()
        wanted = (
            opened.convert("RGB")
            if mode != "RGBA"
            else Image.alpha_composite(
                Image.new("RGBA", image.size, "white"), opened.convert("RGBA")
            ).convert("RGB")
        )
    assert np.abs(read_image(file.getvalue()).astype(int) - np.asarray(wanted)).max() <= (mode == "RGBA")


PLAIN = write_bmp([bytes(3 * W)] * H, 24)
REFUSED = {
    "cut off": (PLAIN[:-9], "it is truncated"),
    "cut off in its header": (PLAIN[:30], "it is truncated"),
    "64 bits": (write_bmp([bytes(8 * W)] * H, 64), "a BMP with 64 bits a pixel, which is not read"),
    "CMYK": (write_bmp([bytes(4 * W)] * H, 32, method=11), "compression method 11, which is not read"),
    "Huffman": (write_bmp(bytes(99), 1, method=3, header=64), "Huffman codes of OS/2, which is not read"),
    "masks that overlap": (
        write_bmp([bytes(2 * W)] * H, 16, method=3, masks=(0xFF00, 0x0FF0, 0xF)), "masks that make no sense"
    ),
    "masks with holes": (
        write_bmp([bytes(2 * W)] * H, 16, method=3, masks=(0xF100, 0xF0, 0xF)), "masks that make no sense"
    ),
    "runs of another depth": (write_bmp(bytes(99), 8, method=2), "its header makes no sense"),
    "nothing": (write_bmp(b"", 24, width=0), "declares 0 x 9 px"),
    "huge": (write_bmp(b"", 24, width=60000, height=60000), "declares 60,000 x 60,000 px"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_understood_is_refused(data, message):
    with pytest.raises(ImageError, match=message):
        read_image(data)


def test_a_missing_filling_of_the_last_row_is_no_damage():
    assert read_image(PLAIN[:-3]).shape == (H, W, 3)
