"""TIFFs of any kind, written by hand: samples of any depth, in both byte orders, BigTIFF, in planes."""

import struct
import zlib

import numpy as np

TYPES = {1: "B", 3: "H", 4: "I", 16: "Q"}


def pack_samples(samples: np.ndarray, depth: int, order: str = "<") -> bytes:
    """Return (rows, W, samples) as a TIFF stores them: of `depth` bits, each row from a new byte."""
    if samples.dtype.kind == "f" or depth in (8, 16, 32, 64):
        return samples.astype(samples.dtype.newbyteorder(order)).tobytes()
    rows = samples.reshape(len(samples), -1).astype(np.uint32)
    bits = (rows[..., None] >> np.arange(depth - 1, -1, -1)) & 1
    return np.packbits(bits.reshape(len(samples), -1).astype(np.uint8), axis=1).tobytes()


def write_tiff(
    samples: np.ndarray,
    photometric: int | None = 1,
    *,
    depth: int | None = None,
    order: str = "<",
    big: bool = False,
    planar: bool = False,
    rows_per_strip: int | None = None,
    compression: int = 1,
    fill_order: int = 1,
    tile: int = 0,
    cut: int = 0,
    tags: dict[int, tuple[int, tuple[int, ...]]] | None = None,
) -> bytes:
    """Return a TIFF of samples (H, W) or (H, W, samples of a pixel); `tags`: {tag: (type, values)}."""
    samples = samples[..., None] if samples.ndim == 2 else samples
    height, width, count = samples.shape
    depth = depth or samples.dtype.itemsize * 8
    kind = {"u": 1, "i": 2, "f": 3}[samples.dtype.kind]
    planes = [samples[..., i : i + 1] for i in range(count)] if planar else [samples]
    rows = rows_per_strip or height
    parts = []
    for plane in planes:
        if tile:
            padded = np.pad(plane, ((0, -height % tile), (0, -width % tile), (0, 0)), mode="edge")
            parts += [
                padded[top : top + tile, left : left + tile]
                for top in range(0, height, tile)
                for left in range(0, width, tile)
            ]
        else:
            parts += [plane[top : top + rows] for top in range(0, height, rows)]
    pieces = [pack_samples(part, depth, order) for part in parts]
    if compression == 8:
        pieces = [zlib.compress(piece) for piece in pieces]
    pieces = [piece[: len(piece) - cut] for piece in pieces]
    if fill_order == 2:
        pieces = [bytes(int(f"{byte:08b}"[::-1], 2) for byte in piece) for piece in pieces]
    start = 16 if big else 8
    places, at = [], start
    for piece in pieces:
        places.append(at)
        at += len(piece) + len(piece) % 2
    entries = {
        256: (3, (width,)), 257: (3, (height,)), 258: (3, (depth,) * count), 259: (3, (compression,)),
        277: (3, (count,)), 284: (3, (2 if planar else 1,)), 339: (3, (kind,) * count),
    }  # fmt: skip
    if photometric is not None:
        entries[262] = (3, (photometric,))
    if fill_order != 1:
        entries[266] = (3, (fill_order,))
    sizes = tuple(map(len, pieces))
    if tile:
        entries |= {322: (3, (tile,)), 323: (3, (tile,)), 324: (4, tuple(places)), 325: (4, sizes)}
    else:
        entries |= {273: (4, tuple(places)), 278: (4, (rows,)), 279: (4, sizes)}
    entries |= tags or {}
    body = b"".join(piece + b"\0" * (len(piece) % 2) for piece in pieces)
    return _join(order, big, body, {tag: entry for tag, entry in sorted(entries.items()) if entry[1]})


def _join(order: str, big: bool, body: bytes, entries: dict[int, tuple[int, tuple[int, ...]]]) -> bytes:
    mark = b"II" if order == "<" else b"MM"
    number, start, room = ("Q", 16, 8) if big else ("I", 8, 4)
    ifd_at = start + len(body)
    head = struct.pack(order + "HHHQ", 43, 8, 0, ifd_at) if big else struct.pack(order + "HI", 42, ifd_at)
    beyond = ifd_at + (8 if big else 2) + (20 if big else 12) * len(entries) + room
    ifd, values = struct.pack(order + ("Q" if big else "H"), len(entries)), b""
    for tag, (kind, numbers) in entries.items():
        packed = struct.pack(f"{order}{len(numbers)}{TYPES[kind]}", *numbers)
        field = packed.ljust(room, b"\0")
        if len(packed) > room:
            field = struct.pack(order + number, beyond + len(values))
            values += packed + b"\0" * (-len(packed) % 8)
        ifd += struct.pack(order + "HH" + number, tag, kind, len(numbers)) + field
    return mark + head + body + ifd + bytes(room) + values
