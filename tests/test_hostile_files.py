"""Files made to do harm: bombs, absurd sizes, wrong shapes; each is one sentence, soon, in little memory."""

import contextlib
import io
import json
import re
import struct
import tarfile
import time
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from catdog_cli.cli import run
from catdog_cli.commands.options import read_config
from catdog_cli.data.prepare import prepare_dataset
from catdog_cli.data.prepared import open_prepared
from catdog_cli.data.scan import scan_dataset
from catdog_cli.data.sources.archives import unpack_archive
from catdog_cli.errors import CatdogError, CheckpointError, DataError, quote
from catdog_cli.evaluation.eval_split import _trained_path
from catdog_cli.images.formats import color_modes as rgb
from catdog_cli.images.read import ImageError, read_image
from catdog_cli.inference.outputs.row_files import JsonForm, RowFile
from catdog_cli.recipes import load_recipe
from catdog_cli.recipes.build import build_settings
from catdog_cli.runs.category_names import load_category_names
from catdog_cli.runs.checkpoint import build_from_checkpoint, load_checkpoint

from .inference.checkpoints import write_checkpoint

MB = 2**20


@contextlib.contextmanager
def held(max_bytes: int, max_s: float = 10):
    """Fail where the block needs more memory (at its peak, beyond what was held) or processor time."""
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    except OSError:
        pytest.skip("this system does not measure a peak")
    before, started = peak_bytes(), time.process_time()
    yield
    assert peak_bytes() - before < max_bytes
    assert time.process_time() - started < max_s


def peak_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


# --- pictures


def make_chunk(kind: bytes, content: bytes) -> bytes:
    crc = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + crc


def make_png(width: int, height: int, colour: int = 2, channels: int = 3, extra: bytes = b"") -> bytes:
    """Return a black PNG of a few kilobytes, whatever its size."""
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    packer = zlib.compressobj(1)
    rows = b"".join(packer.compress(bytes(1 + width * channels)) for _ in range(height)) + packer.flush()
    chunks = make_chunk(b"IHDR", header) + extra + make_chunk(b"IDAT", rows) + make_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def as_bytes(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def make_webp(side: int, kind: str) -> bytes:
    """Return a WebP of 8 x 8 px that says it has `side` x `side`: lossy, lossless or with alpha."""
    image = Image.new("RGBA" if kind == "VP8X" else "RGB", (8, 8), (9, 9, 9, 9)[: 4 if kind == "VP8X" else 3])
    data = bytearray(as_bytes(image, "WEBP", lossless=kind == "VP8L"))
    assert data[12:16] == kind.encode()
    at, packed = {
        "VP8 ": (26, struct.pack("<HH", side, side)),
        "VP8L": (21, struct.pack("<I", (side - 1) | (side - 1) << 14)),
        "VP8X": (24, 2 * (side - 1).to_bytes(3, "little")),
    }[kind]
    data[at : at + len(packed)] = packed
    return bytes(data)


HUGE = (9000, 5000)  # 45 megapixels
LARGE = {  # what a megabyte or less unpacks to, and what it may take
    "RGB": (lambda: make_png(*HUGE), 300),
    "alpha": (lambda: make_png(*HUGE, 6, 4), 330),
    "50,000 px wide": (lambda: make_png(50_000, 900), 420),
    "WebP": (lambda: as_bytes(Image.new("RGB", HUGE), "WEBP", lossless=True, method=0, quality=0), 720),
    "floats": (lambda: as_bytes(Image.new("F", HUGE), "TIFF", compression="tiff_lzw"), 330),
}


@pytest.mark.parametrize(("make", "mb"), LARGE.values(), ids=LARGE)
def test_large_pictures_are_read_in_little_more_than_their_own_memory(make, mb):
    data = make()
    with held(mb * MB):
        assert min(read_image(data, 256).shape[1:]) >= 512  # twice what is wanted, or all there is


def test_bands_give_the_pixels_of_the_whole(monkeypatch):
    rng = np.random.default_rng(0)
    alpha = Image.fromarray(rng.integers(0, 256, (50, 40, 4), dtype=np.uint8))
    images = [alpha, alpha.convert("RGB"), alpha.convert("RGB").quantize(9), alpha.convert("CMYK")]
    images += [Image.fromarray(rng.normal(90, 50, (50, 40)).astype(np.float32))]
    images += [Image.fromarray(rng.integers(0, 65536, (50, 40), dtype=np.uint16)), alpha.convert("1")]
    whole = [rgb.to_rgb(image) for image in images]
    reduced = [rgb.to_rgb(image, 3) for image in images]
    monkeypatch.setattr(rgb, "BAND_PIXELS", 40 * 7)
    for image, wanted, smaller in zip(images, whole, reduced, strict=True):
        assert np.array_equal(rgb.to_rgb(image), wanted), image.mode
        assert np.array_equal(rgb.to_rgb(image, 3), smaller), image.mode
        assert smaller.shape == (17, 14, 3)


def make_tiff(count: int) -> bytes:
    """Return a TIFF of 16 x 16 px that says it is in so many strips."""
    tags = [(256, 3, 1, 16), (257, 3, 1, 16), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    tags += [(273, 4, count, 8 + 2 + 8 * 12 + 4), (277, 3, 1, 1), (278, 3, 1, 1)]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + bytes(4 * count)


def make_scans(count: int) -> bytes:
    """Return a progressive JPEG with its last scan, 30 bytes, so many times more."""
    data = as_bytes(Image.new("RGB", (4000, 4000)), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * count + data[-2:]


def make_texts(kind: bytes, start: bytes) -> bytes:
    """Return a small PNG with a compressed text, or colour profile, of 200 MB."""
    return make_png(8, 8, extra=make_chunk(kind, start + zlib.compress(bytes(200 * MB), 1)))


REFUSED = {
    "65,000 x 65,000 JPEG": (
        lambda: as_bytes(Image.new("L", (8, 8)), "JPEG").replace(b"\0\x08\0\x08", b"\xfd\xe8" * 2),
        r"declares 65,000 x 65,000 px, more than 300 megapixels",
    ),
    "65,000 x 65,000 BMP": (
        lambda: as_bytes(Image.new("L", (8, 8)), "BMP").replace(
            struct.pack("<II", 8, 8), struct.pack("<II", 65000, 65000)
        ),
        "declares 65,000 x 65,000 px",
    ),
    "65,535 x 65,535 GIF": (
        lambda: as_bytes(Image.new("L", (8, 8)), "GIF").replace(b"\x08\0\x08\0", b"\xff" * 4),
        "declares 65,535 x 65,535 px",
    ),
    **{
        f"16,383 x 16,383 WebP, {kind}": (
            lambda kind=kind: make_webp(16383, kind),
            "declares 16,383 x 16,383 px, more than the 55 megapixels for WebP",
        )
        for kind in ("VP8 ", "VP8L", "VP8X")
    },
    "a WebP without a picture": (
        lambda: b"RIFF\x24\0\0\0WEBPANIM\6\0\0\0" + bytes(24),
        r"its data are damaged \(it declares no size\)",
    ),
    "a JPEG of 5,010 scans": (lambda: make_scans(5000), "it has more than 64 scans"),
    "a JPEG of endless segments": (
        lambda: b"\xff\xd8" + b"\xff\xfe\0\x02" * 10**6 + as_bytes(Image.new("L", (8, 8)), "JPEG")[2:],
        "more than 70,000 segments",
    ),
    "a TIFF of 2,000,000 strips": (lambda: make_tiff(2_000_000), "it declares 2,000,000 strips or tiles"),
    "a page": (lambda: b"<html><body>cat</body></html>", "is not a picture"),
    "an archive": (lambda: b"PK\3\4" + bytes(99), "is not a picture"),
    "PostScript": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not a picture"),
}


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_bombs_are_refused_in_one_sentence(make, message):
    data = make()
    with held(150 * MB, 3), pytest.raises(ImageError, match=message):
        read_image(data, 256)


@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP"])
@pytest.mark.parametrize("keyword", [b"a\0\0", b"Raw profile type exif\0\0"])
def test_texts_and_profiles_of_200_mb_are_never_unpacked(kind, keyword):
    data = make_texts(kind, keyword)
    with held(30 * MB, 3):
        assert read_image(data, 256).shape == (3, 8, 8)


def test_honest_counts_pass():
    assert read_image(make_tiff(16)).shape == (3, 16, 16)
    assert read_image(make_scans(20), 100).shape == (3, 500, 500)


@pytest.mark.parametrize("value", [0, 9, 2**16 - 1])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_absurd_orientations_leave_the_picture_as_it_is(kind, value):
    exif = Image.Exif()
    exif[0x0112] = value
    assert read_image(as_bytes(Image.new("RGB", (9, 5)), kind, exif=exif)).shape == (3, 5, 9)


# --- texts: names, options, recipes, manifests


def names(path):
    return load_category_names(path, ["cats", "dogs"])


def options(path):
    return build_settings(
        "pets", read_config(str(path), {"epochs", "arch", "hidden_layers", "learning_rate"})
    )


def recipe(path):
    return load_recipe(str(path))


def rows(path):
    file = RowFile(str(path), JsonForm(1), "r+b")
    with contextlib.closing(file):
        return list(file.read())


PHASE = b'[[phase]]\nname = "x"\nepochs = '
TEXTS = {
    "names: a list": (names, b"[1, 2]", "holds a list, no names"),
    "names: nested": (names, b'{"cats": {"en": "Cat"}}', "which is not a text"),
    "names: a number": (names, b'{"cats": 1}', "gives 'cats' the name 1, which is not a text"),
    "names: no number": (names, b'{"cats": NaN}', "the name nan, which is not a text"),
    "names: half a letter": (names, b'{"cats": "\\ud800"}', r"the name '\\ud800', which is not a text"),
    "names: twice": (names, b'{"cats": "a", "cats": "b"}', "it gives 'cats' two names"),
    "names: 100,000 deep": (names, b'{"a":' * 10**5, "Cannot read the names in .*recursion"),
    "names: 100 MB": (names, b" " * 10**8, "it has more than 16 MB"),
    "names: 5,000 digits": (names, b'{"a": ' + b"9" * 5000 + b"}", "Exceeds the limit"),
    "names: UTF-16": (names, '{"cats": "Cat"}'.encode("utf-16"), "can't decode"),
    "options: a list": (options, b"epochs = [1]", r"epochs is \[1\], but must be a whole number"),
    "options: a table": (options, b"[epochs]\na = 1", "epochs is .* but must be a whole number"),
    "options: no number": (options, b"learning-rate = nan", "learning rate is nan"),
    "options: 20 digits": (options, b"epochs = 99999999999999999999", r"from 1 to 1e\+15"),
    "options: 5,000 digits": (options, b"epochs = " + b"9" * 5000, "Exceeds the limit"),
    "options: hexadecimal": (options, b"epochs = 0x" + b"f" * 9000, "type int, too long to show"),
    "options: 10,000 deep": (options, b"epochs = " + b"[" * 10**4, "Cannot read the option file .*recursion"),
    "options: a long name": (options, b"a" * 10**5 + b" = 1", r"unknown option 'a{99}\.\.\.:"),
    "options: twice": (options, b"epochs = 1\nepochs = 2", "Cannot overwrite"),
    "options: 20 MB": (options, b"#" * 2 * 10**7, "it has more than 16 MB"),
    "options: UTF-16": (options, "epochs = 1".encode("utf-16"), "can't decode"),
    "recipe: 10,000 deep": (recipe, b"a = " + b"[" * 10**4, "Cannot read the recipe .*recursion"),
    "recipe: 5,000 digits": (recipe, PHASE + b"9" * 5000, "Exceeds the limit"),
    "recipe: no tables": (recipe, b"phase = [1]", "has no phases"),
    "manifest: three columns, two cells": (
        scan_dataset,
        b"path,class,split\na,cats\nb,cats,val\n",
        "lacks",
    ),
    "manifest: a null": (scan_dataset, b"path,class\na\0.png,cats\n", "do not exist under"),
    "manifest: a field of 200 kB": (scan_dataset, b"path,class\n" + b"x" * 200_000, "field larger"),
    "manifest: a quote without end": (scan_dataset, b'path,class\n"a.png,cats\n', "not a readable manifest"),
    "manifest: a long split": (
        scan_dataset,
        b"path,class,split\na.png,cats," + b"x" * 9000,
        r"the split 'x{99}\.\.\.:",
    ),
    "manifest: only a header": (scan_dataset, b"path,class,split\n", "lists no pictures"),
    "rows: 100,000 deep": (rows, b"[" * 10**5 + b"\n", "record 1 is none of this run's: .*recursion"),
    "rows: no predictions": (
        rows,
        b'{"path": "a", "status": "ok", "error": null, "predictions": [{}]}\n',
        "no predictions",
    ),
    "rows: a number": (
        rows,
        b'{"path": "a", "status": "ok", "error": 1, "predictions": 5}\n',
        "record 1 is none",
    ),
}


@pytest.mark.parametrize(("read", "content", "message"), TEXTS.values(), ids=TEXTS)
def test_texts_of_a_wrong_shape_are_one_sentence(tmp_path, read, content, message):
    path = tmp_path / "given"
    path.write_bytes(content)
    with held(300 * MB, 5), pytest.raises(CatdogError, match=message) as caught:
        read(path)
    assert len(str(caught.value)) < 1000 + 2 * len(str(path))


@pytest.mark.parametrize(("read", "content"), [(options, "epochs = 3"), (names, '{"cats": "Cat"}')])
def test_a_byte_order_mark_is_no_part_of_a_text(tmp_path, read, content):
    (tmp_path / "given").write_text(content, "utf-8-sig")
    assert read(tmp_path / "given")


def test_settings_beside_a_checkpoint_may_be_anything(tmp_path):
    for content in (b"[" * 10**5, b"{}", b'{"data": 5}', b"\xff", b"[]"):
        (tmp_path / "settings.json").write_bytes(content)
        assert _trained_path(tmp_path) is None


def test_quote_shows_what_it_can():
    nested: list = []
    for _ in range(10**5):
        nested = [nested]
    assert quote("a'b") == '"a\'b"'
    assert quote("x" * 300) == f"'{'x' * 99}..."
    assert quote(10**5000) == "a value of the type int, too long to show"
    assert quote(nested) == "a value of the type list, too long to show"


# --- prepared folders


@pytest.fixture
def prepared(pets, tmp_path):
    prepare_dataset(scan_dataset(pets), tmp_path / "prepared", 16, False, None)
    return tmp_path / "prepared"


def declare(shape: str, kind: str = "<i8") -> bytes:
    """Return the header of an .npy file, with no numbers behind it."""
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text


def changed(**values):
    return lambda content: json.dumps({**json.loads(content), **values}).encode()


PREPARED = {
    "labels of 7 PB": (
        "labels.npy",
        lambda _: declare("(10**15,)".replace("10**15", "1" + "0" * 15)),
        "labels",
    ),
    "an unfinished header": ("labels.npy", lambda _: declare("(36,"), "labels"),
    "labels that are objects": ("labels.npy", lambda _: declare("(36,)", "|O"), "labels"),
    "labels with two dimensions": ("labels.npy", lambda _: declare("(36, 1)") + bytes(288), "1, 0 or -1"),
    "a label too large": (
        "labels.npy",
        lambda data: data[:-8] + b"\x09" + bytes(7),
        "a label that is not a class",
    ),
    "a label below 0": ("labels.npy", lambda data: data[:-8] + b"\xff" * 8, "a label that is not a class"),
    "an archive": ("labels.npy", lambda _: b"PK\x05\x06" + bytes(18), "damaged"),
    "pictures of four colours in a row": (
        "images.npy",
        lambda _: declare("(36, 4)", "|u1") + bytes(144),
        "someth",
    ),
    "names in a dict": ("classes.json", changed(class_names={"a": 0}), "holds no list of class names"),
    "numbers for names": ("classes.json", changed(class_names=[1, 2]), "holds no list of class names"),
    "a name twice": ("classes.json", changed(class_names=["a", "a"]), "names a class twice"),
    "nothing in it": ("classes.json", lambda _: b"{}", "format_version"),
    "100,000 deep": ("classes.json", lambda _: b"[" * 10**5, "recursion"),
    "a later format": ("classes.json", changed(format_version=2), "written by a later catdog"),
    "a format that is none": ("classes.json", changed(format_version="x"), "not supported"),
    "rows without cells": ("files.csv", lambda _: b"path,class,split,key\na\n", "lacks a value"),
}


@pytest.mark.parametrize(("name", "change", "message"), PREPARED.values(), ids=PREPARED)
def test_prepared_folders_that_do_not_fit_are_one_sentence(prepared, name, change, message):
    (prepared / name).write_bytes(change((prepared / name).read_bytes()))
    with held(100 * MB, 3), pytest.raises(DataError, match=rf"The prepared folder .*{message}"):
        open_prepared(prepared)


# --- checkpoints


def two_ends(path: Path, num_values: int) -> Path:
    """Write an archive that Python's reader finds small, and torch's full of `num_values` zeros."""
    whole = io.BytesIO()
    torch.save({"a": torch.zeros(num_values)}, whole)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    decoy = io.BytesIO()
    with zipfile.ZipFile(decoy, "w") as archive:
        archive.writestr("x", "y")
    body, places = b"", []
    for data in (path.read_bytes(), decoy.getvalue()):
        end = data.rindex(b"PK\5\6")
        count, size, start = struct.unpack_from("<HII", data, end + 10)
        start += len(body) if not body else len(body) - start
        body += data[:end] if not body else data[struct.unpack_from("<I", data, end + 16)[0] : end]
        places.append(len(body))
        body += struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, start)
    body += struct.pack("<4sIQI", b"PK\6\7", 0, places[0], 1)
    path.write_bytes(body + struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 65535, 65535, 2**32 - 1, 2**32 - 1, 0))
    return path


def test_an_archive_with_two_ends_is_not_opened(tmp_path):
    path = two_ends(tmp_path / "best.pt", 4 * 10**7)
    with zipfile.ZipFile(path) as archive:
        assert [entry.file_size for entry in archive.infolist()] == [1]
    assert len(torch._C.PyTorchFileReader(str(path)).get_all_records()) > 3  # torch sees the 160 MB
    with held(100 * MB, 3), pytest.raises(CheckpointError, match="can be loaded safely"):
        load_checkpoint(path)


@pytest.mark.parametrize("tail", [b"junk", b"PK\5\6" + bytes(18)], ids=["junk", "another end"])
def test_an_archive_with_something_behind_it_is_refused(tmp_path, tail):
    path = write_checkpoint(tmp_path / "best.pt")
    path.write_bytes(path.read_bytes() + tail)
    with pytest.raises(CheckpointError, match="is not a checkpoint that can be loaded safely"):
        load_checkpoint(path)


CHECKPOINTS = {
    "half a letter": ({"class_to_idx": {"\ud800": 0, "b": 1, "c": 2}}, "surrogates not allowed"),
    "a version of 5,000 digits": ({"format_version": 10**5000}, "can be loaded safely"),
    "a version in a list": (
        {"format_version": [[]] * 10**5},
        r"checkpoint format \[\[\], .*\.\.\., this catdog",
    ),
    "a newer version": (
        {"format_version": 2},
        "has checkpoint format 2, this catdog reads up to 1: update catdog",
    ),
    "pictures of 10^9 px": ({"input_spec": {"size": 10**9}}, "image size is 1000000000"),
    "pictures of 10^600 px": ({"input_spec": {"size": 10**600}}, r"image size is 10{99}\.\.\., but"),
    "a mean that is none": ({"input_spec": {"mean": [float("nan")] * 3}}, "mean is nan"),
    "dropout in a tensor": ({"dropout": torch.zeros(5)}, "dropout is tensor"),
    "temperature in a text": ({"temperature": "warm"}, "could not convert"),
    "keys that are numbers": ({"state_dict": {1: torch.zeros(1)}}, "do not fit together"),
}


@pytest.mark.parametrize(("changes", "message"), CHECKPOINTS.values(), ids=CHECKPOINTS)
def test_checkpoints_of_wrong_parts_are_one_sentence(tmp_path, capsys, changes, message):
    path = write_checkpoint(tmp_path / "best.pt", **changes)
    with held(200 * MB), pytest.raises(CheckpointError, match=message):
        build_from_checkpoint(load_checkpoint(path), path)
    assert run(["info", str(path)]) == 1
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.parametrize("as_json", [[], ["--json"]], ids=["text", "json"])
def test_info_shows_no_fact_raw(tmp_path, capsys, as_json):
    best = {5: 1, "val_loss": float("nan"), "epoch": torch.zeros(2), "phase_name": "\x1b[2J", "deep": [[]]}
    versions = {"torch\x1b[2J": "\x1b]0;x\x07\n", "x": {"y": 1}}
    path = write_checkpoint(tmp_path / "best.pt", best=best, versions=versions, data_fingerprint=[1])
    assert run(["info", str(path), *as_json]) == 0
    out = capsys.readouterr().out
    assert not {"\x1b", "\x07"} & set(out)
    assert not as_json or json.loads(out)["best"] == {
        "val_loss": None,
        "epoch": None,
        "phase_name": "\x1b[2J",
        "deep": None,
    }


@pytest.mark.parametrize("name", ["../../evil", "..", "a/b", "/etc/passwd"])
def test_classes_that_are_paths_make_no_folder(tmp_path, capsys, name):
    path = write_checkpoint(tmp_path / "run" / "best.pt", (name, "dogs"))
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    sort = ["--sort-into", str(tmp_path / "sorted" / "deep")]
    assert run(["predict", str(tmp_path / "a.png"), str(path), "--cpu", *sort]) == 1
    assert f"The class {name!r} cannot be a folder's name" in capsys.readouterr().err
    assert not (tmp_path / "sorted").exists()


# --- archives


def write_tar(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> None:
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def test_a_tar_with_an_endless_name_is_refused(tmp_path):
    info = tarfile.TarInfo("x")
    info.type = tarfile.GNUTYPE_LONGNAME
    write_tar(tmp_path / "a.tar.gz", (info, bytes(300 * MB)))
    with held(100 * MB), pytest.raises(DataError, match="header is too large"):
        unpack_archive(tmp_path / "a.tar.gz", tmp_path / "out")


def test_an_encrypted_archive_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.jpg", "secret")
    data = bytearray((tmp_path / "a.zip").read_bytes())
    for place in (6, data.index(b"PK\1\2") + 8):
        data[place] |= 1
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(DataError, match=r"is damaged \(File .*a\.jpg.* is encrypted"):
        unpack_archive(tmp_path / "a.zip", tmp_path / "out")


def test_a_member_without_a_name_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x", "y")
    data = (tmp_path / "a.zip").read_bytes().replace(b"\1\0\0\0x", b"\0\0\1\0x")  # the name is an extra field
    place = data.index(b"PK\1\2") + 28
    (tmp_path / "a.zip").write_bytes(data[:place] + b"\0\0\1\0" + data[place + 4 :])
    with pytest.raises(DataError, match="holds '', which leads out of the folder"):
        unpack_archive(tmp_path / "a.zip", tmp_path / "out")


def test_a_member_outside_of_the_archive_is_damage(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x", "y")
    data = bytearray((tmp_path / "a.zip").read_bytes())
    struct.pack_into("<I", data, data.index(b"PK\5\6") + 16, data.index(b"PK\1\2") + 99)
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(DataError, match=r"is damaged \(a member lies outside of it"):
        unpack_archive(tmp_path / "a.zip", tmp_path / "out")


def test_a_tar_of_folders_alone_ends(tmp_path):
    folder = tarfile.TarInfo("x")
    folder.type = tarfile.DIRTYPE
    write_tar(tmp_path / "a.tar.gz", *[(folder, b"")] * 30)
    with pytest.raises(DataError, match="is one of too many"):
        unpack_archive(tmp_path / "a.tar.gz", tmp_path / "out", max_files=10)
