"""What is fuzzed: catdog's own readers, each with its corpus, its damage, and what calls it."""

import contextlib
import io
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import corpus
import numpy as np
import torch
from mutate import damage
from structure import damage_checkpoint

from catdog_cli.commands import info_checkpoint as checkpoint_facts
from catdog_cli.commands import options
from catdog_cli.commands.output import info_text
from catdog_cli.data.decision_log import DecisionLog
from catdog_cli.data.decisions import Decision, read_decisions
from catdog_cli.data.prepared import open_prepared
from catdog_cli.data.scan import read_exclude_list, scan_dataset
from catdog_cli.data.sources.archives import unpack_archive
from catdog_cli.errors import DataError
from catdog_cli.evaluation import eval_split as selection
from catdog_cli.export.web.onnxruntime_web import load_runtime
from catdog_cli.images.read import read_image
from catdog_cli.images.transforms import load_image, load_view
from catdog_cli.inference.inputs import expand_inputs
from catdog_cli.inference.outputs.row_files import CsvForm, JsonForm, RowFile
from catdog_cli.inference.predictor import Predictor
from catdog_cli.models import weights
from catdog_cli.models.classifier import build_classifier
from catdog_cli.models.zoo.registry import first_class_archs
from catdog_cli.recipes import load_recipe
from catdog_cli.recipes.build import build_settings
from catdog_cli.runs.category_names import load_category_names
from catdog_cli.runs.checkpoint import build_from_checkpoint, load_checkpoint
from catdog_cli.serving.limits import RefusedError
from catdog_cli.serving.multipart import read_form
from catdog_cli.settings import HeadSpec
from catdog_cli.settings_networks import memory_side, specs_of
from catdog_cli.training import run

KNOWN = {
    "arch",
    "weights",
    "hidden_layers",
    "dropout",
    "activation",
    "head_norm",
    "head",
    "epochs",
    "learning_rate",
    "fine_tune_epochs",
    "unfreeze",
}
KNOWN |= {
    "device",
    "cache",
    "seed",
    "augment",
    "image_size",
    "batch_size",
    "workers",
    "val_fraction",
    "recipe",
}
LARGEST_PX = 64  # a network for larger pictures is built, but not asked


@dataclass(frozen=True)
class Target:
    """A reader: `write` makes its corpus, `read` calls it with a file, `change` damages an input.

    `beside` names files of the corpus that lie beside the damaged one when it is read.
    """

    write: Callable[[Path], None]
    read: Callable[[Path], Any]
    change: Callable = damage
    tokens: tuple[bytes, ...] = ()
    beside: tuple[str, ...] = ()
    damaged: str = "*"  # which files of the corpus are damaged


def _picture(path: Path) -> None:
    """Read a picture as training does, at full size, and once more: the pixels must be the same."""
    first = load_image(path, corpus.SPEC)
    if first.shape != (3, 32, 32) or first.dtype != torch.uint8:
        raise AssertionError(f"a view is {tuple(first.shape)} {first.dtype}")
    whole = read_image(path)
    if not torch.equal(whole, read_image(path.read_bytes())):
        raise AssertionError("two readings of one file differ")
    load_view(path, corpus.SPEC, "strong", 3)


def _checkpoint(path: Path) -> None:
    """Load a checkpoint, say what it holds, and ask it about a picture."""
    model = build_from_checkpoint(load_checkpoint(path), path)
    list(info_text.format_checkpoint(checkpoint_facts.describe_checkpoint(str(path))))
    if max(part.size for part in specs_of(model.input_spec)) <= LARGEST_PX:
        Predictor(model, device="cpu", precision="fp32")(np.zeros((40, 30, 3), np.uint8))


def _resume(path: Path) -> None:
    """Go on with a run, which is asked to stop at once."""
    changes = run.Changes(data=str(path.parent / "data"), device="cpu", workers=0, cache=False)
    content = load_checkpoint(path, resume=True)
    model = build_from_checkpoint(content, path)
    if memory_side(model.input_spec) <= LARGEST_PX and model.classifier.arch == "simple_cnn":
        run.resume(path, changes, lambda event: None, lambda: True)


def _weights(path: Path) -> None:
    weights.load_backbone(build_classifier("simple_cnn", 2, HeadSpec()), str(path))


def _form(path: Path) -> None:
    """Read what a client of the service sends as a form."""
    kind, _, body = path.read_bytes().partition(b"\n")
    try:
        read_form(kind.decode("latin-1"), body, 4)
    except RefusedError as refused:
        raise DataError(refused.sentence) from refused


def _decisions(path: Path) -> None:
    """Read decisions, apply them, and write one more behind them."""
    manifest = path.parent / "all-pictures.csv"
    for name in "abcd":
        (path.parent / f"{name}.png").touch()
    manifest.write_text("path,class\na.png,cats\nb.png,dogs\nc.png,cats\nd.png,dogs\n")
    scan_dataset(manifest, leaks=False, decisions=path)
    DecisionLog(path).append(Decision("a.png", "cats", "right"))
    if read_decisions(path)[-1].path != "a.png":
        raise AssertionError("a decision that was written is not there")


def _manifest(path: Path) -> None:
    for name in "abcd":
        (path.parent / f"{name}.png").touch()
    scan_dataset(path, leaks=False)
    list(expand_inputs([str(path)], io.BytesIO()))


def _labels(path: Path) -> None:
    """Read a folder of images beside a table of their labels."""
    (path.parent / "train").mkdir()
    for name in "abcd":
        (path.parent / "train" / f"{name}.png").touch()
    scan_dataset(path.parent, leaks=False)


def _run(path: Path) -> None:
    """Read what a run says of its images as DATA."""
    (path.parent / "pets").mkdir()
    for name in "abcd":
        (path.parent / "pets" / f"{name}.png").touch()
    scan_dataset(path.parent / "split.csv", leaks=False)


def _data_archive(path: Path) -> None:
    """Read an archive as DATA; nothing may be written but into the cache."""
    before = os.environ.get("CATDOG_CACHE")
    os.environ["CATDOG_CACHE"] = str(path.parent / "cache")
    try:
        scan_dataset(path, leaks=False)
    finally:
        if before is None:
            del os.environ["CATDOG_CACHE"]
        else:
            os.environ["CATDOG_CACHE"] = before
    if not {each.name for each in path.parent.iterdir()} <= {path.name, "cache"}:
        raise AssertionError("something was written outside of the cache")


def _options(path: Path) -> None:
    given = options.read_config(str(path), KNOWN)
    build_settings("pets", given, given.pop("recipe", None))


def _sides(path: Path) -> None:
    selection.read_sides(path.parent)
    selection._trained_path(path.parent)


def _prepared(path: Path) -> None:
    dataset = open_prepared(path.parent)
    for name, split in dataset.splits.items():
        for index in range(len(split)):
            load_image(dataset.source(name, index), corpus.SPEC)
            dataset.class_names[split.labels[index]].encode(errors="replace")


def _archive(path: Path) -> None:
    with contextlib.suppress(OSError):  # documented: a name too long, a file where a folder should be
        unpack_archive(path, path.parent / "out", max_bytes=10**7, max_files=1000)
    shutil.rmtree(path.parent / "out", ignore_errors=True)
    if sorted(each.name for each in path.parent.iterdir()) != [path.name]:
        raise AssertionError("something was written outside of the folder")


def _rows(path: Path) -> None:
    form = CsvForm(["cats", "dogs"], 1, False) if path.suffix == ".csv" else JsonForm(1)
    file = RowFile(str(path), form, "r+b")
    try:
        for row in file.read():
            str(row["path"]), row["status"] == "ok" and row["predictions"][0]["class"]
    finally:
        file.close()


JSON = (
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b":",
    b",",
    b"null",
    b"NaN",
    b"1e999",
    b"\\ud800",
    b"\xff",
    b"\xef\xbb\xbf",
)
JSON += (b"[" * 5000, b'{"a":' * 5000, b"9" * 5000, b"-", b"\0", b"\\u001b[31m", b'"cats": "again",')
TOML = (
    b"[",
    b"]",
    b"[[phase]]",
    b"=",
    b'"',
    b"'''",
    b"{",
    b"}",
    b".",
    b"#",
    b"\n",
    b"nan",
    b"inf",
    b"-1",
    b"0x",
)
TOML += (
    b"9" * 5000,
    b"[" * 5000,
    b"{a=" * 2000,
    b"a." * 5000,
    b"1979-99-99",
    b"true",
    b'"all"',
    b"[]",
    b"\0",
    b"\xff",
)
CSV = (
    b",",
    b'"',
    b"\r",
    b"\n",
    b"\0",
    b"path",
    b"class",
    b"split",
    b"train",
    b"\xff",
    b"\xef\xbb\xbf",
    b"../",
    b"key",
)
CSV += (b"x" * 140_000, b"=cmd()", b"\x1b[31m", b'""', b";", b"\t", b"sep=;", b"label", b"\xff\xfe", b"\0\n")
CSV += (b"x" * 300, b"x/" * 3000, b" ", b"~", b"id")

FORM = (
    b"--x\r\n",
    b"--x",
    b"--x--",
    b"\r\n\r\n",
    b"\r",
    b"\n",
    b"filename=",
    b'"',
    b";",
    b"\\",
    b"*=UTF-8''",
    b":",
)
FORM += (b"--x\r\n\r\n" * 9, b"x" * 3000, b"\0", b"\xff", b"boundary=", b"multipart/form-data")
TARGETS: dict[str, Target] = {
    "picture": Target(corpus.write_images, _picture),
    "checkpoint": Target(corpus.write_checkpoints, _checkpoint, damage_checkpoint),
    "resume": Target(
        corpus.write_run, _resume, damage_checkpoint, beside=("data", "split.csv"), damaged="*.pt"
    ),
    "weights": Target(corpus.write_weights, _weights, damage_checkpoint),
    "manifest": Target(corpus.write_texts("manifest"), _manifest, tokens=CSV + JSON),
    "labels": Target(corpus.write_texts("labels"), _labels, tokens=CSV),
    "run": Target(corpus.write_texts("run"), _run, tokens=CSV + JSON, beside=("split.csv", "settings.json")),
    "data": Target(corpus.write_archives, _data_archive),
    "names": Target(
        corpus.write_texts("names"), lambda path: load_category_names(path, ["cats", "dogs"]), tokens=JSON
    ),
    "options": Target(corpus.write_texts("options"), _options, tokens=TOML),
    "recipe": Target(corpus.write_texts("recipe"), lambda path: load_recipe(str(path)), tokens=TOML),
    "sides": Target(
        corpus.write_texts("sides"), _sides, tokens=CSV + JSON, beside=("split.csv", "settings.json")
    ),
    "list": Target(
        corpus.write_texts("list"), lambda path: list(expand_inputs([str(path)], None)), tokens=CSV
    ),
    "form": Target(corpus.write_texts("form"), _form, tokens=FORM),
    "exclude": Target(corpus.write_texts("exclude"), lambda path: read_exclude_list(path), tokens=JSON),
    "decisions": Target(corpus.write_texts("decisions"), _decisions, tokens=CSV),
    "prepared": Target(
        corpus.write_prepared,
        _prepared,
        tokens=JSON + CSV,
        beside=("images.npy", "labels.npy", "files.csv", "classes.json"),
    ),
    "archive": Target(corpus.write_archives, _archive),
    "package": Target(corpus.write_archives, load_runtime),
    "rows": Target(corpus.write_texts("rows"), _rows, tokens=CSV + JSON),
}


def write_corpus(target: str, folder: Path) -> None:
    """Write the whole inputs of a target into a folder, made if missing."""
    if not folder.exists():
        folder.mkdir(parents=True)
        TARGETS[target].write(folder)


def ease(seed_free: Callable[[], list[str]] = first_class_archs) -> None:
    """Let strange weights be compared with the first-class networks alone: with all 79 it takes seconds."""
    weights.arch_names = seed_free
