"""Damage with sense: values of a checkpoint, members of its archive, opcodes of its pickle."""

import copy
import io
import pickletools
import random
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from mutate import damage

OPCODES = bytes(ord(opcode.code) for opcode in pickletools.opcodes)
TEXTS = ("", "x", "x" * 100_000, "../../evil", "\x1b[31mred\x07", "\ud800", "a\nb\0c", "$\\frac{", "<script>")
NUMBERS = (0, 1, -1, 3, 255, 2**31, 2**63, 10**5000, 1.5, -0.0, 1e308, float("nan"), float("inf"), True, None)


def damage_checkpoint(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    """Return a checkpoint with other values, other members, other opcodes, or just other bytes."""
    kind = rng.choice(
        (_change_values, _change_values, _change_values, _change_members, _change_pickle, damage)
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return kind(rng, data, others)
    except (zipfile.BadZipFile, RuntimeError, RecursionError, ValueError, TypeError):  # what cannot be saved
        return damage(rng, data, others)


def hostile_value(rng: random.Random) -> Any:
    """Return a value that no checkpoint holds where it now will stand."""
    return rng.choice(
        (
            lambda: rng.choice(NUMBERS),
            lambda: rng.choice(TEXTS),
            lambda: rng.choice(
                ([], {}, (), [[]], {"a": 1}, {1: 2}, b"bytes", [None] * 1000, OrderedDict(a=[]))
            ),
            lambda: _nested(rng.choice((3, 100, 300))),
            lambda: _hostile_tensor(rng),
        )
    )()


def _nested(depth: int) -> list:
    value: list = []
    for _ in range(depth):
        value = [value]
    return value


def _hostile_tensor(rng: random.Random) -> torch.Tensor:
    makers: tuple[Callable[[], torch.Tensor], ...] = (
        lambda: torch.zeros(rng.choice(((), (0,), (1,), (2, 6), (2,), (3, 3, 3)))),
        lambda: torch.zeros(1).expand(rng.choice((10, 10**6, 10**12))),
        lambda: torch.full((2,), float("nan")),
        lambda: torch.full((2, 6), 3e38),
        lambda: torch.zeros(2, dtype=rng.choice((torch.half, torch.int64, torch.bool, torch.complex64))),
        lambda: torch.zeros(2).to_sparse(),
        lambda: torch.zeros(2, device="meta"),
        lambda: torch.quantize_per_tensor(torch.zeros(2), 1.0, 0, torch.qint8),
        lambda: torch.nn.Parameter(torch.zeros(2)),
    )
    return rng.choice(makers)()


def _change_values(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    """Replace, drop or add one to three values anywhere in the containers."""
    content = copy.deepcopy(torch.load(io.BytesIO(data), weights_only=True))
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        _change_one(rng, content)
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=rng.random() < 0.9)
    return file.getvalue()


def _change_one(rng: random.Random, content: Any) -> None:
    here = content
    while True:
        keys = list(here) if isinstance(here, dict) else list(range(len(here)))
        if not keys:
            return
        key = rng.choice(keys)
        inner = here[key]
        if not isinstance(inner, (dict, list)) or rng.random() < 0.25:
            break
        here = inner
    choice = rng.random()
    if choice < 0.15:
        del here[key]
    elif choice < 0.3 and isinstance(here, dict):
        here[rng.choice((*TEXTS, 5, None, (1, 2)))] = (
            here.pop(key) if rng.random() < 0.5 else hostile_value(rng)
        )
    elif choice < 0.4 and isinstance(inner, torch.Tensor) and inner.is_floating_point() and inner.numel():
        here[key] = rng.choice(
            (inner.half(), inner.t() if inner.ndim == 2 else inner[None], inner * 1e38, inner[:0])
        )
    else:
        here[key] = hostile_value(rng)


def _change_members(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    """Pack the archive anew with a member changed, dropped, renamed, doubled; maybe compressed."""
    members = _unpack(data)
    name = rng.choice([*members, *[each for each in members if each.endswith(".pkl")] * 3])
    choice = rng.random()
    if choice < 0.5:
        members[name] = damage(rng, members[name], [])
    elif choice < 0.7:
        del members[name]
    elif choice < 0.85:
        members[rng.choice(("../../evil", "archive/data/9", name.upper(), "x" * 300))] = members.pop(name)
    else:
        members[name] = members[rng.choice(list(members))]
    return _pack(members, rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))


def _change_pickle(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    """Change opcodes of the pickle: another one, one taken out, one put in, an argument of another."""
    members = _unpack(data)
    name = next(each for each in members if each.endswith("data.pkl"))
    code = bytearray(members[name])
    places = [place for _, _, place in pickletools.genops(bytes(code))]
    for _ in range(rng.choice((1, 1, 2, 4))):
        place = rng.choice(places)
        if rng.random() < 0.5:
            code[place : place + 1] = bytes([rng.choice(OPCODES)])
        elif rng.random() < 0.5:
            code[place:place] = bytes([rng.choice(OPCODES)])
        else:
            code[place + 1 : place + 5] = rng.randbytes(4)
    members[name] = bytes(code)
    return _pack(members, zipfile.ZIP_STORED)


def _unpack(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _pack(members: dict[str, bytes], compression: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()
