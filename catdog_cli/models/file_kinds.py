"""What a file or folder is that is no checkpoint of catdog: told by its first bytes, never by running it."""

import re
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HEAD_BYTES = 4096
PICKLE_BYTES = 1 << 20  # of an archive's pickle, in which the names of classes are looked for
OTHER = "give a checkpoint of `catdog train`, or to --weights a state_dict that torch.save wrote"
AS_WEIGHTS = "train with it: `catdog train DATA --arch ARCH --weights FILE`"
NEVER = "holds code, which catdog never runs"

KERAS = f"is a Keras model, not a PyTorch one: {OTHER}"
CORE_ML = f"is a Core ML model, not a PyTorch one: {OTHER}"
ONNX = f"is an ONNX model, not a PyTorch one: {OTHER}"
TENSORFLOW = f"is a TensorFlow model, not a PyTorch one: {OTHER}"
TFLITE = f"is a TensorFlow Lite model, not a PyTorch one: {OTHER}"
SAFETENSORS = (
    "is a safetensors file, weights without classes: turn it into a state_dict with "
    "`torch.save(safetensors.torch.load_file(FILE), 'weights.pth')`, and train with --weights weights.pth"
)
TORCHSCRIPT = (
    f"is a TorchScript model and {NEVER}: save its weights with "
    "`torch.save(torch.jit.load(FILE).state_dict(), 'weights.pth')`, and train with --weights weights.pth"
)
EXPORTED = (
    f"is a program of torch.export and {NEVER}: save the state_dict of the network that it was made from"
)
YOLO = (
    f"is a YOLO model of Ultralytics and {NEVER}: use `yolo predict`, or train a network with `catdog train`"
)
FASTAI = (
    f"is an exported fastai learner and {NEVER}: save `learn.model.state_dict()` where it was made, or train "
    "with `catdog train`"
)
WHOLE_MODEL = (
    f"is a whole pickled PyTorch model and {NEVER}: save `model.state_dict()` with torch.save where it was "
    "made, and train with --weights"
)
ARCHIVE = "is an archive, not a model: unpack it, and give the .pt file in it"
WEB_PAGE = "is a web page, not a model: the download went wrong, get it again"
PICKLE = f"is a Python pickle and {NEVER}: save a state_dict with torch.save instead"

FIRST_BYTES: tuple[tuple[bytes, str], ...] = (  # a pattern of the beginning, and what follows from it
    (rb"\x89HDF\r\n\x1a\n", KERAS),
    (rb".{4}TFL3", TFLITE),
    (rb"GGUF", f"is a GGUF language model: {OTHER}"),
    (rb"version https://git-lfs", "is a pointer of Git LFS, not the file itself: run `git lfs pull` first"),
    (rb"\s*<\?xml.{0,300}<net\b", f"is an OpenVINO model, not a PyTorch one: {OTHER}"),
    (rb"\s*<(?:!doctype html|html)", WEB_PAGE),
    (rb"\xff\xd8\xff|\x89PNG\r\n|GIF8|RIFF.{4}WEBP", f"is a picture, not a model: {OTHER}"),
    (
        rb"\x1f\x8b|BZh|\xfd7zXZ|7z\xbc\xaf|Rar!|.{257}ustar",
        ARCHIVE,
    ),
    (rb"\x93NUMPY", f"is an array of NumPy, not a model: {OTHER}"),
)
# ONNX and TensorFlow's graphs are Protocol Buffers: a version of a byte, then the producer's name or a graph
ONNX_START = re.compile(rb"\x08[\x01-\x1f](?:\x12.[\w./ -]|\x1a|\x22|\x3a|\x42)", re.DOTALL)
GRAPH_START = re.compile(rb"\x0a.{1,3}\x0a.{1,2}[\w./-]+", re.DOTALL)
PICKLE_START = re.compile(rb"\x80[\x02-\x05]|\([dl]p\d")
# of which a state_dict is made
PLAIN_MODULES = ("torch", "collections", "numpy", "_codecs", "__builtin__", "builtins")
TORCH_LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19"  # before torch 1.6


def describe_file(path: Path) -> str | None:
    """Return what a file is that torch.load cannot read safely, and what to do; None where that is not known.

    The clause follows the file's name: "is a Keras model, not a PyTorch one: ...".
    """
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
        if not head:
            return "is empty: the copy or the download went wrong, get it again"
        if head[:4] == b"PK\3\4":
            return _describe_archive(path)
        return _describe_bytes(head, path)
    except (OSError, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile):
        return None  # damaged, which the caller says


def _describe_bytes(head: bytes, path: Path) -> str | None:
    for pattern, clause in FIRST_BYTES:
        if re.match(pattern, head, re.DOTALL | re.IGNORECASE):
            return clause
    if _is_safetensors(head, path.stat().st_size):
        return SAFETENSORS
    if PICKLE_START.match(head):
        with path.open("rb") as file:
            return _describe_pickle(file.read(PICKLE_BYTES), head.startswith(TORCH_LEGACY))
    if ONNX_START.match(head):
        return CORE_ML if path.suffix == ".mlmodel" else ONNX
    if path.suffix == ".pb" and GRAPH_START.match(head):
        return TENSORFLOW
    return f"is a text, not a model: {OTHER}" if _is_text(head) else None


def _is_text(head: bytes) -> bool:
    text = head.decode("utf-8", "ignore" if len(head) == HEAD_BYTES else "strict")  # the end may be cut
    return len(text.encode()) > len(head) - 4 and all(each.isprintable() or each in "\t\r\n" for each in text)


def _is_safetensors(head: bytes, size: int) -> bool:
    """A length of eight bytes, then so many of JSON."""
    if len(head) < 10 or head[8:9] != b"{":
        return False
    length: int = struct.unpack("<Q", head[:8])[0]
    return 2 <= length <= size - 8 and re.match(rb'\{\s*["}]', head[8:]) is not None


def _describe_archive(path: Path) -> str | None:
    """Return what a zip file is, by the names of its members."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if not names:
            return None
        inner = {name.partition("/")[2] or name for name in names}
        if "model.weights.h5" in names or {"metadata.json", "config.json"} <= set(names):
            return KERAS
        if any(name.endswith("saved_model.pb") for name in names):
            return TENSORFLOW
        if "constants.pkl" in inner or any(name.startswith("code/") for name in inner):
            return TORCHSCRIPT
        if "serialized_exported_program.json" in inner | set(names) or "archive_format" in inner:
            return EXPORTED
        if names and all(name.endswith(".npy") for name in names):
            return f"is an archive of NumPy arrays, not a model: {OTHER}"
        pickled = next((name for name in names if name.endswith("/data.pkl") or name == "data.pkl"), None)
        if pickled is None:
            return ARCHIVE
        with archive.open(pickled) as file:
            return _describe_pickle(file.read(PICKLE_BYTES), of_torch=True)


def _describe_pickle(content: bytes, of_torch: bool) -> str | None:
    """Return whose objects a pickle holds, by the modules that it names; None: as torch writes them."""
    if re.search(rb"ultralytics|models\.yolo|models\.common\b", content):
        return YOLO
    if b"fastai" in content or b"fastcore" in content:
        return FASTAI
    if not of_torch:
        return PICKLE
    modules = {each.decode() for each in re.findall(rb"c([A-Za-z_][\w.]*)\n\w+\n", content)}
    if any(re.match(r"torch\.nn\b|torchvision|timm\b|__main__|models?\b", each) for each in modules):
        return WHOLE_MODEL
    foreign = sorted(each for each in modules if each.partition(".")[0] not in PLAIN_MODULES)
    if not foreign:  # a truncated or damaged one
        return None
    named = ", ".join(each[:40] for each in foreign[:3])
    return f"holds objects of {named} and {NEVER}: give another file, or save its state_dict alone"


def describe_content(content: Any) -> str | None:
    """Return what was read from a file that catdog did not write, and what to do; None: unknown."""
    if not isinstance(content, Mapping):
        return None
    if "pytorch-lightning_version" in content:
        return f"is a checkpoint of Lightning, not of catdog: {AS_WEIGHTS}"
    inner = next(
        (content[key] for key in ("state_dict", "model", "model_state_dict") if key in content), None
    )
    if isinstance(inner, Mapping):
        return f"is a checkpoint of another program, without catdog's classes: {AS_WEIGHTS}"
    if content and all(hasattr(value, "shape") for value in content.values()):
        return f"holds weights alone (a state_dict), not which classes they tell apart: {AS_WEIGHTS}"
    return None


def describe_folder(path: Path) -> str | None:
    """Return what a folder without a run is, as other programs save models; None where that is not known."""
    names = {each.name for each in path.iterdir()}
    if "saved_model.pb" in names:
        return TENSORFLOW
    if "MLmodel" in names:
        return "is a model of MLflow: give the best.pt in it"
    if "config.json" in names and names & {"model.safetensors", "pytorch_model.bin", "tf_model.h5"}:
        return f"is a model of Hugging Face: {OTHER}"
    return (
        f"is a Core ML model: {OTHER}" if "Manifest.json" in names and path.suffix == ".mlpackage" else None
    )
