"""Damage bytes as disks, networks and attackers do; every choice comes from the `random.Random` given."""

import random
import struct
import zlib

LENGTHS = (0, 1, 2, 4, 8, 127, 128, 255, 256, 32767, 32768, 65500, 65535, 2**20, 2**31 - 1, 2**31, 2**32 - 1)
BLOCK = 64  # bytes that one change moves at most
PNG = b"\x89PNG\r\n\x1a\n"


def damage(rng: random.Random, data: bytes, others: list[bytes], tokens: tuple[bytes, ...] = ()) -> bytes:
    """Return `data` with one to eight changes; `others` are for splices, `tokens` what the format knows."""
    changed = bytearray(data)
    steps = [_flip, _set, _length, _insert, _remove, _repeat, _swap]
    steps += [_token] * 3 if tokens else []
    for _ in range(rng.choice((1, 1, 2, 3, 5, 8))):
        kind = rng.choice(steps)
        kind(rng, changed, tokens) if kind is _token else kind(rng, changed)
    if rng.random() < 0.1:
        del changed[rng.randrange(len(changed) + 1) :]
    if rng.random() < 0.1 and others:
        other = rng.choice(others)
        changed[rng.randrange(len(changed) + 1) :] = other[rng.randrange(len(other) + 1) :]
    if changed.startswith(PNG) and rng.random() < 0.7:
        return mend_png(bytes(changed))
    return bytes(changed)


def _place(rng: random.Random, data: bytearray) -> int:
    """Return a place, in half of the cases near the start, where headers are."""
    return rng.randrange(min(len(data), 400) if rng.random() < 0.5 else len(data)) if data else 0


def _flip(rng: random.Random, data: bytearray) -> None:
    if data:
        data[_place(rng, data)] ^= 1 << rng.randrange(8)


def _set(rng: random.Random, data: bytearray) -> None:
    if data:
        data[_place(rng, data)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))


def _length(rng: random.Random, data: bytearray) -> None:
    """Write a number that breaks sums and buffers where a length may stand."""
    form = rng.choice((">H", "<H", ">I", "<I", "<Q", ">Q"))
    size = struct.calcsize(form)
    place = _place(rng, data)
    if place + size <= len(data):
        struct.pack_into(form, data, place, rng.choice(LENGTHS) % 256**size)


def _insert(rng: random.Random, data: bytearray) -> None:
    place = _place(rng, data)
    data[place:place] = rng.randbytes(rng.randrange(1, BLOCK))


def _remove(rng: random.Random, data: bytearray) -> None:
    place = _place(rng, data)
    del data[place : place + rng.randrange(1, BLOCK)]


def _repeat(rng: random.Random, data: bytearray) -> None:
    place = _place(rng, data)
    part = data[place : place + rng.randrange(1, BLOCK)]
    data[place:place] = part * rng.choice((1, 2, 50))


def _swap(rng: random.Random, data: bytearray) -> None:
    one, two, size = _place(rng, data), _place(rng, data), rng.randrange(1, BLOCK)
    data[one : one + size], data[two : two + size] = data[two : two + size], data[one : one + size]


def _token(rng: random.Random, data: bytearray, tokens: tuple[bytes, ...]) -> None:
    place = _place(rng, data)
    data[place : place + rng.choice((0, 0, 4, 20))] = rng.choice(tokens)


def mend_png(data: bytes) -> bytes:
    """Return a PNG with right check sums, or its reader would look at none of what was changed."""
    parts, place = [data[:8]], 8
    while place + 12 <= len(data):
        (size,) = struct.unpack_from(">I", data, place)
        body = data[place + 4 : place + 8 + size]
        if len(body) < 4 + size:
            break
        parts.append(struct.pack(">I", size) + body + struct.pack(">I", zlib.crc32(body)))
        place += 12 + size
    return b"".join([*parts, data[place:]])
