"""Models of other programs are named by what is in them, whatever their suffix, and no code in them runs."""

import json
import pickle
import struct
import sys
import types
import zipfile
from collections import OrderedDict

import pytest
import torch
from torch import nn

from catdog_cli.errors import CheckpointError
from catdog_cli.models.file_kinds import describe_file
from catdog_cli.models.safe_load import read_state_dict
from catdog_cli.runs.checkpoint import load_checkpoint


class Tripwire:
    """Fails the test where it is unpickled."""

    def __reduce__(self):
        return pytest.fail, ("code ran",)


def write_safetensors(path):
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))


def write_onnx(path):
    path.write_bytes(b"\x08\x08\x12\x07pytorch\x1a\x062.11.0:\x12\n\x10\n\x01x\x12\x01y" + bytes(40))


def write_torchscript(path):
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), path)


def write_zip(*names, content=b"{}"):
    def write(path):
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, content)

    return write


def write_object_of(module):
    """Return what writes a pickled object whose class lies in `module`, as torch.save does."""

    def write(path):
        made = types.ModuleType(module)
        kind = type("Model", (), {"__module__": module})
        made.Model = kind
        parents = [".".join(module.split(".")[:depth]) for depth in range(1, module.count(".") + 1)]
        fake = {name: types.ModuleType(name) for name in parents} | {module: made}
        before = {name: sys.modules.get(name) for name in fake}
        sys.modules.update(fake)
        try:
            torch.save({"model": kind()}, path)
        finally:
            for name, old in before.items():
                sys.modules.pop(name) if old is None else sys.modules.update({name: old})

    return write


FILES = {
    "keras.h5": (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(90)), "is a Keras model"),
    "model.keras": (write_zip("metadata.json", "config.json", "model.weights.h5"), "is a Keras model"),
    "model.onnx": (write_onnx, "is an ONNX model"),
    "script.pt": (write_torchscript, "is a TorchScript model and holds code, which catdog never runs: save"),
    "yolo.pt": (write_object_of("ultralytics.nn.tasks"), "is a YOLO model of Ultralytics and holds code"),
    "yolov5.pt": (write_object_of("models.yolo"), "is a YOLO model of Ultralytics and holds code"),
    "export.pkl": (write_object_of("fastai.learner"), "is an exported fastai learner and holds code"),
    "whole.pth": (
        lambda path: torch.save(nn.Linear(2, 2), path),
        "is a whole pickled PyTorch model",
    ),
    "timm.pth": (write_object_of("argparse_like"), "holds objects of argparse_like and holds code"),
    "net.xml": (
        lambda path: path.write_text('<?xml version="1.0"?>\n<net name="x">'),
        "is an OpenVINO",
    ),
    "net.mlmodel": (write_onnx, "is a Core ML model"),
    "saved.zip": (write_zip("m/saved_model.pb", "m/variables/x"), "is a TensorFlow model"),
    "model.tflite": (lambda path: path.write_bytes(b"\x1c\0\0\0TFL3" + bytes(40)), "is a TensorFlow Lite"),
    "frozen.pb": (
        lambda path: path.write_bytes(b"\n\x15\n\x05input\x12\x0bPlaceholder" + bytes(9)),
        "TensorFlow",
    ),
    "forest.pkl": (
        lambda path: path.write_bytes(pickle.dumps({"a": Tripwire()})),
        "is a Python pickle",
    ),
    "arrays.npz": (write_zip("a.npy", "b.npy"), "is an archive of NumPy arrays"),
    "array.npy": (lambda path: path.write_bytes(b"\x93NUMPY\1\0" + bytes(90)), "is an array of NumPy"),
    "photos.zip": (write_zip("a.jpg", "b.jpg"), "is an archive, not a model: unpack it"),
    "model.tar.gz": (
        lambda path: path.write_bytes(b"\x1f\x8b\x08" + bytes(90)),
        "is an archive",
    ),
    "lfs.pt": (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"), "git lfs pull"),
    "page.pt": (
        lambda path: path.write_text("<!DOCTYPE html><html>404</html>"),
        "is a web page",
    ),
    "photo.pt": (lambda path: path.write_bytes(b"\xff\xd8\xff\xe0" + bytes(90)), "is a picture, not a model"),
    "notes.pt": (
        lambda path: path.write_text("hello, these are no weights ä\n" * 400),
        "is a text",
    ),
    "nothing.pt": (lambda path: path.touch(), "is empty"),
}


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
@pytest.mark.parametrize("read", [load_checkpoint, read_state_dict])
@pytest.mark.parametrize("name", FILES)
def test_models_of_others_are_named(tmp_path, name, read):
    write, match = FILES[name]
    write(tmp_path / name)
    with pytest.raises(CheckpointError, match=rf"{name}' .*{match}") as error:
        read(tmp_path / name)
    assert str(error.value).count("\n") == 0
    assert str(error.value).endswith(".")


CONTENTS = {
    "a state_dict": (OrderedDict(a=torch.zeros(2)), "holds weights alone .a state_dict.*--weights FILE"),
    "timm": ({"state_dict": {"a": torch.zeros(2)}, "epoch": 3}, "is a checkpoint of another program"),
    "torchvision": ({"model": {"a": torch.zeros(2)}, "lr": 3}, "is a checkpoint of another program"),
    "Lightning": ({"pytorch-lightning_version": "2.1", "state_dict": {}}, "is a checkpoint of Lightning"),
    "a list": ([1, 2], "is not a catdog checkpoint"),
    "nothing": ({}, "is not a catdog checkpoint"),
}


def test_safetensors_are_named_where_torch_does_not_read_them(tmp_path):
    write_safetensors(tmp_path / "w.pt")
    assert "is a safetensors file, weights without classes: turn it into" in describe_file(tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=r"is a safetensors file|holds weights alone .a state_dict"):
        load_checkpoint(tmp_path / "w.pt")


@pytest.mark.parametrize(("content", "match"), CONTENTS.values(), ids=CONTENTS)
def test_weights_of_others_are_no_checkpoint(tmp_path, content, match):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=rf"w\.pth' {match}"):
        load_checkpoint(tmp_path / "w.pth")


@pytest.mark.parametrize(
    ("names", "match"),
    [
        (["saved_model.pb", "variables"], "is a TensorFlow model"),
        (["config.json", "model.safetensors"], "is a model of Hugging Face"),
        (["MLmodel"], "is a model of MLflow: give the best.pt in it"),
        (["config.json"], "No best.pt in"),
    ],
)
def test_folders_of_others_are_named(tmp_path, names, match):
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(CheckpointError, match=match):
        load_checkpoint(tmp_path)
