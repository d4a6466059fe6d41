"""Whole inputs that the damage starts from: pictures of every format and mode, real checkpoints, lists."""

import importlib
import io
import json
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from catdog_cli.data.prepare import prepare_dataset
from catdog_cli.data.scan import scan_dataset
from catdog_cli.models.classifier import build_classifier
from catdog_cli.runs.checkpoint import describe_model, save_checkpoint
from catdog_cli.settings import HeadSpec, InputSpec, Phase, TrainSettings
from catdog_cli.settings_networks import InputSpecs
from catdog_cli.training import run

HEAD, SPEC = HeadSpec((6,), 0.1), InputSpec(32, 36)
TIFF_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I", "F", "I;16")
JPEG_MODES = ("L", "RGB", "CMYK", "YCbCr")
COMPRESSIONS = (None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "group4")


def draw(number: int, size: tuple[int, int] = (23, 17)) -> Image.Image:
    """Return a smooth RGB picture with some noise."""
    rng = np.random.default_rng(number)
    y, x = np.mgrid[0 : size[1], 0 : size[0]]
    values = np.stack([x * 5, y * 7, (x + y) * 3], -1) + rng.integers(0, 30, (size[1], size[0], 3))
    return Image.fromarray((values % 256).astype(np.uint8))


def _saved(image: Image.Image, kind: str, **options: object) -> bytes | None:
    file = io.BytesIO()
    try:
        image.save(file, kind, **options)
    except (OSError, ValueError, KeyError, TypeError):  # Pillow does not write every mode in every format
        return None
    return file.getvalue()


def _converted(mode: str) -> Image.Image:
    if mode == "I;16":
        return Image.fromarray(np.arange(391, dtype=np.uint16).reshape(17, 23) * 167)
    return draw(1).convert("RGBA").convert("LA") if mode == "LA" else draw(1).convert(mode)


def _variants() -> Iterator[tuple[Image.Image, str, dict[str, object]]]:
    exif, frames = Image.Exif(), [draw(2), draw(3)]
    exif[0x0112], exif[0x010E] = 6, "a description"
    several = {"save_all": True, "append_images": frames}
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I"):
        yield _converted(mode), "PNG", {"exif": exif} if mode == "RGB" else {}
    yield _converted("P"), "PNG", {"transparency": b"\x00\x80\xff"}
    yield draw(1), "PNG", several
    for options in (
        {},
        {"progressive": True},
        {"subsampling": 0, "exif": exif},
        {"restart_marker_blocks": 1},
    ):
        yield draw(1, (40, 31)), "JPEG", {"quality": 60, **options}
    yield draw(1, (300, 200)), "JPEG", {"quality": 20}  # large enough to be decoded at a reduced scale
    yield _converted("L"), "JPEG", {}
    yield _converted("CMYK"), "JPEG", {}
    yield draw(1), "MPO", several
    for mode in ("1", "L", "P"):
        yield _converted(mode), "GIF", {"transparency": 1} if mode == "P" else {}
    yield draw(1), "GIF", several
    for options in ({}, {"lossless": True, "exif": exif}, several):
        yield draw(1), "WEBP", options
        yield _converted("RGBA"), "WEBP", options
    for mode in ("1", "L", "P", "RGB", "RGBA"):
        yield _converted(mode), "BMP", {}
    for mode in TIFF_MODES:
        for compression in COMPRESSIONS:
            if (compression == "group4" and mode != "1") or (
                compression == "jpeg" and mode not in JPEG_MODES
            ):
                continue  # libtiff would complain on the screen
            yield _converted(mode), "TIFF", {"compression": compression} if compression else {"exif": exif}
    for mode in ("L", "RGB", "RGBA"):
        yield _converted(mode), "AVIF", {"exif": exif}
        yield _converted(mode), "JPEG2000", {}
        yield _converted(mode), "TGA", {"compression": "tga_rle"} if mode == "RGB" else {}
    for mode in ("1", "L", "RGB", "I"):
        yield _converted(mode), "PPM", {}
    yield draw(1), "TIFF", several
    yield draw(1), "TIFF", {"big_tiff": True}


def write_images(folder: Path) -> None:
    """Write small pictures, called .jpg whatever they hold, as in the wild."""
    for number, (image, kind, options) in enumerate(_variants()):
        data = _saved(image, kind, **options)
        if data is not None:
            (folder / f"{number}-{kind}-{image.mode.replace(';', '')}.jpg").write_bytes(data)
    for number, data in enumerate((*_write_bmps(), *_write_tiffs())):
        (folder / f"odd-{number}.jpg").write_bytes(data)


def _write_bmps() -> Iterator[bytes]:
    """Yield BMPs that Pillow does not write: run lengths, bit masks."""
    palette = bytes(range(64))
    for depth, method, body in (
        (8, 1, bytes([4, 1, 0, 3, 1, 2, 3, 0, 0, 2, 1, 1, 2, 5, 0, 1])),
        (4, 2, bytes([4, 0x12, 0, 5, 0x12, 0x34, 0x50, 0, 0, 2, 1, 1, 2, 0x56, 0, 1])),
        (16, 3, bytes(range(128))),
    ):
        masks = bytes([0, 15, 0, 0, 240, 0, 0, 0, 15, 0, 0, 0])
        extra = masks if method == 3 else palette
        info = struct.pack("<IiiHHIIiiII", 40, 8, 8, 1, depth, method, 0, 0, 0, 16 if method < 3 else 0, 0)
        start = 14 + len(info) + len(extra)
        yield b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + info + extra + body


def _write_tiffs() -> Iterator[bytes]:
    """Yield TIFFs that Pillow does not read, where the package that reads them is installed."""
    try:
        tifffile = importlib.import_module("tifffile")
    except ImportError:
        return
    values = np.asarray(draw(1))
    for samples, options in (
        (values.astype(np.float32) / 255, {"photometric": "rgb"}),
        (values.astype(np.uint16) * 257, {"photometric": "rgb", "planarconfig": "separate"}),
        (values[..., 0].astype(np.int32) * 999, {"compression": "zlib", "predictor": True}),
        (values[..., 0].astype(np.float16), {"tile": (16, 16), "compression": "lzw"}),
    ):
        file = io.BytesIO()
        planes = np.moveaxis(samples, -1, 0) if "planarconfig" in options else samples
        tifffile.imwrite(file, planes, **options)
        yield file.getvalue()


def write_checkpoints(folder: Path) -> None:
    """Write checkpoints of a tiny network, in both of torch's formats."""
    classifier = build_classifier("simple_cnn", 2, HEAD, seed=5)
    content = describe_model(classifier, HEAD, ["cats", "dogs"], SPEC)
    save_checkpoint(content, folder / "best.pt")
    save_checkpoint({**content, "temperature": 1.5, "best": {"epoch": 1}}, folder / "second.pt")
    rich = HeadSpec((6, 5), (0.1, 0.2), "gelu", "batch", "cosine")
    classifier = build_classifier("simple_cnn+shufflenet_v2_x0_5", 2, rich, seed=5)
    both = InputSpecs((SPEC, InputSpec(40, 44)))
    save_checkpoint(describe_model(classifier, rich, ["cats", "dogs"], both), folder / "side-by-side.pt")


def write_weights(folder: Path) -> None:
    """Write state_dicts as people have them, in both of torch's formats."""
    backbone = build_classifier("simple_cnn", 2, HEAD, seed=5).backbone.state_dict()
    torch.save(backbone, folder / "plain.pth")
    torch.save({"state_dict": dict(backbone), "epoch": 3}, folder / "nested.pth")
    torch.save(backbone, folder / "legacy.pth", _use_new_zipfile_serialization=False)


def write_data(folder: Path) -> Path:
    """Write a data folder of 8 + 4 small pictures and return it."""
    for split, count in (("train", 4), ("val", 2)):
        for label, name in enumerate(("cats", "dogs")):
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                draw(100 * label + 10 * count + number).save(folder / split / name / f"{number}.png")
    return folder


def write_run(folder: Path) -> None:
    """Train for an epoch on `folder`/data and leave that, last.pt and split.csv."""
    phases = Phase("head", 2, 1e-2, batch_size=3, ema=0.5), Phase("all", 1, unfreeze="all", batch_size=3)
    settings = TrainSettings(
        str(write_data(folder / "data")), "simple_cnn", "none", HEAD, phases, image_size=32, device="cpu",
        precision="fp32", workers=0, cache=False,
    )  # fmt: skip
    run.train(settings, folder / "run", lambda event: None)
    for name in ("last.pt", "split.csv", "settings.json"):
        (folder / "run" / name).rename(folder / name)


def write_prepared(folder: Path) -> None:
    """Write a prepared folder."""
    prepare_dataset(scan_dataset(write_data(folder / "data")), folder / "prepared", 16, False, None)
    for path in (folder / "prepared").iterdir():
        if path.is_file():
            path.rename(folder / path.name)


def write_archives(folder: Path) -> None:
    """Write a .zip and a .tar.gz of three files."""
    files = {"cats/0.jpg": b"cat" * 99, "dogs/0.jpg": b"dog" * 99, "licence.docx": b""}
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    for name, mode in (("a.tar.gz", "w:gz"), ("plain.tar", "w")):
        with tarfile.open(folder / name, mode) as archive:
            for member, content in files.items():
                info = tarfile.TarInfo(member)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))


TEXTS: dict[str, dict[str, str | bytes]] = {
    "manifest": {
        "split.csv": "path,class,split\r\na.png,cats,train\r\nb.png,dogs,train\r\nc.png,cats,val\r\n"
        "d.png,dogs,val\r\n",
        "other.csv": 'class,path\ncats,"a.png"\ndogs,b.png\n',
        "excel.csv": 'sep=;\nimage_id;label;subset\na;cats;Training\n"b ";dogs ;train\nc;cats;dev\n;;\n',
        "joined.csv": "path,labels,unknown,split\na.png,cat;dog,,train\nb.png,,cat,train\n"
        "c.png,cat|dog,,val\nd.png,dog,,val\n",
        "columns.csv": "filename, cat, dog,is_valid\na.png, 1, 0,False\nb, 0,,True\nc.png, 1.0, nan,False\n"
        "d, -1, 1,True\n",
        "coco.json": json.dumps(
            {
                "images": [{"id": number, "file_name": f"{name}.png"} for number, name in enumerate("abcd")],
                "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
                "annotations": [{"image_id": 0, "category_id": 1}, {"image_id": 1, "category_id": 2}],
            }
        ),
        "wide.csv": "File\tSpecies\r\na.png\tcats\r\nb\td\u00f6gs\r\n".encode("utf-16"),
    },
    "labels": {"labels.csv": "id,breed\na,cats\nb,dogs\nc,cats\n"},
    "run": {
        "split.csv": "path,class,split,key\na.png,cats,train,00\nb.png,dogs,train,11\nc.png,cats,val,22\n",
        "settings.json": '{"data": "pets", "data_from_run": "../pets"}',
    },
    "names": {"names.json": json.dumps({"cats": "Cat", "dogs": "Hund \u00e9", "1": "one"})},
    "options": {
        "options.toml": 'arch = "resnet18"\nepochs = 3\nlearning-rate = 1e-3\nhidden-layers = [512, 256]\n'
        'cache = true\nseed = 5\nfine-tune-epochs = 2\nunfreeze = "all"\ngpu = false\naugment = "light"\n',
    },
    "recipe": {
        "recipe.toml": 'description = "two"\nweights = "none"\n[head]\nhidden-layers = [8, 4]\n'
        'dropout = [0.3, 0.1]\nactivation = "gelu"\n[[phase]]\nname = "head"\nepochs = 3\n'
        'learning-rate = 1e-3\n[[phase]]\nname = "rest"\nepochs = 1\nunfreeze = 4\noptimizer = "sgd"\n',
    },
    "sides": {
        "split.csv": "path,class,split\na.png,cats,train\nb.png,dogs,val\n",
        "settings.json": '{"data": "pets"}',
    },
    "list": {
        "list.csv": 'id,path\n1,a.png\n2,"b\n.png"\n',
        "list.txt": "a.png\r\n\nb c.png\n",
        "list.tsv": "filename\tlabel\na\tcats\n",
        "wide.txt": "a.png\r\nb.png\r\n".encode("utf-16"),
    },
    "form": {  # the Content-Type, then the body
        "two.form": b"multipart/form-data; boundary=x\n--x\r\nContent-Disposition: form-data; "
        b'name="a"; filename="a.png"\r\nContent-Type: image/png\r\n\r\nabc\r\n--x\r\n'
        b'Content-Disposition: form-data; filename="b\xc3\xa9.png"\r\n\r\nde\r\n-f\r\n--x--\r\n',
    },
    "exclude": {"exclude.txt": 'a.png\r\n"b\\n.png"\n'},
    "decisions": {
        "ours.csv": "path,label,decision,new_label,when,checkpoint,key\r\n"
        f"a.png,cats,wrong,dogs,2026-11-29T02:10:00Z,{'0' * 32},{'1' * 32}\r\n"
        '"b,""c"".png",dogs,undo,,,,\r\n',
        "by-hand.csv": "decision;path;new_label\nwrong; b.png ;dogs\nexclude;d.png;\n",
    },
    "rows": {
        "rows.csv": "path,status,error,class,name,probability\na.png,ok,,cats,Cat,0.75\nb.png,error,bad,,,\n",
        "rows.jsonl": '{"path": "a.png", "status": "ok", "error": null, "predictions": '
        '[{"class": "cats", "name": "Cat", "probability": 0.75}]}\n',
    },
}  # fmt: skip


def write_texts(target: str) -> Callable[[Path], None]:
    """Return a function that writes the texts of a target."""

    def write(folder: Path) -> None:
        for name, text in TEXTS[target].items():
            (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())

    return write
