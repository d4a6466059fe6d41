"""Files from strangers: what is a state_dict is read, all else is one sentence, no code runs."""

import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from catdog_cli.errors import CheckpointError
from catdog_cli.models import safe_load
from catdog_cli.models.classifier import build_classifier
from catdog_cli.models.meta import meta_networks
from catdog_cli.models.safe_load import load_plain, read_state_dict
from catdog_cli.models.weights import load_backbone
from catdog_cli.models.zoo.registry import source_of
from catdog_cli.settings import HeadSpec


class RunsCode:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def write_whole(path: Path) -> bytes:
    torch.save({"a": torch.arange(1000.0)}, path)
    return path.read_bytes()


NOT_LOADABLE = (
    "is not a checkpoint that can be loaded safely: it is damaged, truncated, of another format, or"
)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.6, 0.9, 0.99])
def test_a_truncated_file_is_refused(tmp_path, share):
    path = tmp_path / "w.pth"
    whole = write_whole(path)
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(CheckpointError, match=NOT_LOADABLE):
        load_plain(path)


@pytest.mark.parametrize(
    "content",
    [b"\x00", b"\xf7\x02 of no known kind", b"PK\x03\x04" + bytes(50)],
    ids=["null", "unknown", "zip-start"],
)
def test_a_foreign_file_is_refused(tmp_path, content):
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=NOT_LOADABLE):
        load_plain(tmp_path / "w.pth")


@pytest.mark.parametrize("how", ["torch", "legacy", "pickle"])
def test_code_in_a_file_does_not_run(tmp_path, how):
    evil, path = {"state_dict": RunsCode(tmp_path / "ran")}, tmp_path / "w.pth"
    if how == "pickle":
        path.write_bytes(pickle.dumps(evil))
    else:
        torch.save(evil, path, _use_new_zipfile_serialization=how == "torch")
    with pytest.raises(CheckpointError, match=r"holds code, which catdog never runs"):
        load_backbone(build_classifier("simple_cnn", 2, HeadSpec()), str(path))
    assert not (tmp_path / "ran").exists()
    torch.load(path, weights_only=False) if how != "pickle" else pickle.loads(path.read_bytes())
    assert (tmp_path / "ran").exists()  # the file would have run it


@pytest.mark.parametrize(
    "content", [[1, 2], {}, {"a": 3}, {1: torch.zeros(1)}, torch.zeros(3), "text"], ids=repr
)
def test_a_file_without_a_state_dict_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"w\.pth' holds no state_dict: expected names and tensors"):
        read_state_dict(tmp_path / "w.pth")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.pth", r"No file '.*missing\.pth': check the path"),
        (".", r"is not a file: give the file with the weights"),
        ("x" * 300, r"is not a checkpoint that can be loaded|No file"),
    ],
)
def test_a_path_that_is_no_file_is_refused(tmp_path, name, message):
    with pytest.raises(CheckpointError, match=message):
        load_plain(tmp_path / name)


def test_a_file_that_may_not_be_read_is_refused(tmp_path, monkeypatch):
    write_whole(tmp_path / "w.pth")

    def refuse(*args, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(torch, "load", refuse)
    with pytest.raises(CheckpointError, match=r"No permission to read '.*w\.pth': change it, or give a copy"):
        load_plain(tmp_path / "w.pth")


def test_an_archive_that_would_fill_the_memory_is_not_opened(tmp_path, monkeypatch):
    path = tmp_path / "w.pth"
    write_whole(path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w/data/9", bytes(safe_load.SMALL_BYTES + 1))
    monkeypatch.setattr(torch, "load", lambda *args, **options: pytest.fail("was opened"))
    with pytest.raises(CheckpointError, match=r"has [\d,]+ bytes but would unpack to 67,\d+,\d+"):
        load_plain(path)


def test_old_names_of_densenet_are_understood(tmp_path):
    """torchvision's DenseNet files still have them; its builder renames them when it loads."""
    with meta_networks():
        names = list(source_of("densenet121").build("densenet121").state_dict())
    old = {
        name.replace("norm1", "norm.1")
        .replace("norm2", "norm.2")
        .replace("conv1", "conv.1")
        .replace("conv2", "conv.2")
        if "denselayer" in name
        else name: torch.zeros(1)
        for name in names
    }
    assert any("denselayer1.norm.1.weight" in name for name in old)
    torch.save(old, tmp_path / "w.pth")
    assert list(read_state_dict(tmp_path / "w.pth")) == names


def test_a_tensor_with_hooks_is_refused(tmp_path):
    """The hooks are made a class, which loads, and fails only when the tensor is saved again."""
    write_whole(tmp_path / "whole.pt")
    with zipfile.ZipFile(tmp_path / "whole.pt") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = next(name for name in members if name.endswith("data.pkl"))
    call = members[name].index(b")R", members[name].index(b"OrderedDict"))
    members[name] = members[name][:call] + members[name][call + 2 :]
    with zipfile.ZipFile(tmp_path / "hooked.pt", "w") as archive:
        for member, data in members.items():
            archive.writestr(member, data)
    assert callable(torch.load(tmp_path / "hooked.pt", weights_only=True)["a"]._backward_hooks)
    with pytest.raises(CheckpointError, match=NOT_LOADABLE):
        load_plain(tmp_path / "hooked.pt")
