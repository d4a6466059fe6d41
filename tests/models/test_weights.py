"""Weights from files and from torchvision: what fits is loaded, all else is one sentence, no code runs."""

import pickle
import urllib.error
import zipfile
from pathlib import Path

import pytest
import torch
import torchvision

from catdog_cli.errors import CatdogError, CheckpointError
from catdog_cli.models import weights
from catdog_cli.models.classifier import build_classifier
from catdog_cli.models.meta import meta_networks
from catdog_cli.models.weights import load_backbone, load_plain, read_state_dict
from catdog_cli.models.zoo.registry import FIRST_CLASS, build_model
from catdog_cli.runs.checkpoint import describe_model, save_checkpoint
from catdog_cli.settings import HeadSpec, InputSpec

from .conftest import fill, make_classifier

SMALL = "shufflenet_v2_x0_5"


def make_model(arch: str) -> torch.nn.Module:
    with meta_networks():
        model = build_model(arch)
    fill(model)
    return model


def backbone_equals(classifier, state_dict: dict) -> bool:
    return all(
        torch.equal(tensor, state_dict[name]) for name, tensor in classifier.backbone.state_dict().items()
    )


class RunsCode:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("arch", ["simple_cnn", "resnet18", "mnasnet0_5"])  # mnasnet asks for a version
@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": dict(state), "epoch": 3},
        lambda state: {"model": {f"module.{name}": tensor for name, tensor in state.items()}},
        lambda state: {name: t for name, t in state.items() if not name.endswith("num_batches_tracked")},
    ],
    ids=["plain", "nested", "data-parallel", "without-counters"],
)
def test_a_state_dict_is_loaded(tmp_path, arch, wrap):
    state = make_model(arch).state_dict()
    torch.save(wrap(state), tmp_path / "w.pth")
    classifier = build_classifier(arch, 2, HeadSpec())
    head = classifier.head.output.weight.clone()
    load_backbone(classifier, str(tmp_path / "w.pth"))
    assert backbone_equals(classifier, state)
    assert torch.equal(classifier.head.output.weight, head)


def test_a_catdog_checkpoint_gives_its_backbone(tmp_path):
    donor = make_classifier("simple_cnn", 5, HeadSpec((7,)))
    content = describe_model(donor, HeadSpec((7,)), list("abcde"), InputSpec())
    save_checkpoint(content, tmp_path / "best.pt")
    classifier = build_classifier("simple_cnn", 2, HeadSpec())
    load_backbone(classifier, str(tmp_path / "best.pt"))
    assert backbone_equals(classifier, donor.backbone.state_dict())


def test_none_leaves_the_random_weights():
    classifier = build_classifier("simple_cnn", 2, HeadSpec(), seed=3)
    before = {name: tensor.clone() for name, tensor in classifier.backbone.state_dict().items()}
    load_backbone(classifier, "none")
    assert backbone_equals(classifier, before)


def test_weights_of_another_arch_are_refused_with_both_names(tmp_path):
    torch.save(make_model("resnet18").state_dict(), tmp_path / "w.pth")
    message = r"w\.pth' belongs to resnet18, not to simple_cnn: give --arch resnet18, or other weights"
    with pytest.raises(CheckpointError, match=message):
        load_backbone(build_classifier("simple_cnn", 2, HeadSpec()), str(tmp_path / "w.pth"))


def test_weights_of_no_arch_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "arch_names", lambda: list(FIRST_CLASS))  # all 79 take seconds
    torch.save({"a": torch.zeros(2), "b": torch.zeros(3)}, tmp_path / "w.pth")
    message = (
        r"fits no known arch \(features\.0\.0\.weight is missing\), not to simple_cnn: give other weights"
    )
    with pytest.raises(CheckpointError, match=message):
        load_backbone(build_classifier("simple_cnn", 2, HeadSpec()), str(tmp_path / "w.pth"))


@pytest.mark.slow
def test_weights_are_told_among_all_archs(tmp_path):
    """RegNet, which comes late in the list, counts its layers with tensors and broke this search."""
    with meta_networks():
        wanted = build_model("vit_b_32").state_dict()
    assert weights._find_arch(wanted) == "vit_b_32"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(tmp_path, value):
    state = make_model("simple_cnn").state_dict()
    state["features.0.0.weight"][0, 0, 0, 0] = value
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(
        CheckpointError, match=r"cannot be used \(features\.0\.0\.weight holds numbers that are"
    ):
        load_backbone(build_classifier("simple_cnn", 2, HeadSpec()), str(tmp_path / "w.pth"))


def test_a_sparse_tensor_is_refused(tmp_path):
    state = make_model("simple_cnn").state_dict()
    state["features.0.0.weight"] = state["features.0.0.weight"].to_sparse()
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"The state_dict in .* cannot be used"):
        load_backbone(build_classifier("simple_cnn", 2, HeadSpec()), str(tmp_path / "w.pth"))


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
    [
        b"",
        b"\x00",
        b"hello, these are no weights\n",
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        b"PK\x03\x04" + bytes(50),
    ],
    ids=["empty", "null", "text", "png", "zip-start"],
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
    with pytest.raises(CheckpointError, match=r"or holds code, which catdog never runs"):
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
        archive.writestr("w/data/9", bytes(weights.SMALL_BYTES + 1))
    monkeypatch.setattr(torch, "load", lambda *args, **options: pytest.fail("was opened"))
    with pytest.raises(CheckpointError, match=r"has [\d,]+ bytes but would unpack to 67,\d+,\d+"):
        load_plain(path)


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Path:
    """Return torchvision's folder of downloads, empty; a download fails."""

    def fail(*args, **options):
        raise urllib.error.URLError("no network here")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def file_name(arch: str) -> str:
    return torchvision.models.get_model_weights(arch).DEFAULT.url.rpartition("/")[2]


@pytest.mark.parametrize("arch", [SMALL, "resnet18"])
def test_without_a_network_the_error_says_every_way_out(hub, arch):
    name = file_name(arch)
    message = (
        rf"Cannot download the ImageNet weights of {arch} \(no network here\): get on line, or put {name} "
        rf"from another machine at '{hub / name}', or give --weights FILE, or --weights none to train"
    )
    with pytest.raises(CatdogError, match=message):
        load_backbone(make_classifier(arch), "imagenet")


@pytest.mark.parametrize("arch", [SMALL, "mnasnet0_5"])
def test_a_file_in_torch_home_is_used(hub, arch):
    state = make_model(arch).state_dict()
    torch.save(state, hub / file_name(arch))
    classifier = build_classifier(arch, 2, HeadSpec())
    load_backbone(classifier, "imagenet")
    assert backbone_equals(classifier, state)


def test_a_download_is_used(hub, monkeypatch):
    state = make_model(SMALL).state_dict()
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda url, to, *a, **k: torch.save(state, to))
    classifier = build_classifier(SMALL, 2, HeadSpec())
    load_backbone(classifier, "imagenet")
    assert backbone_equals(classifier, state)


def test_a_damaged_download_is_named(hub):
    (hub / file_name(SMALL)).write_bytes(b"half a file")
    message = rf"The downloaded weights '.*{file_name(SMALL)}' are damaged: delete that file"
    with pytest.raises(CheckpointError, match=message):
        load_backbone(build_classifier(SMALL, 2, HeadSpec()), "imagenet")


def test_simple_cnn_has_no_imagenet_weights(hub):
    with pytest.raises(CatdogError, match=r"simple_cnn has no ImageNet weights: add --weights none"):
        load_backbone(build_classifier("simple_cnn", 2, HeadSpec()), "imagenet")


def test_old_names_of_densenet_are_understood(tmp_path):
    """torchvision's DenseNet files still have them; its builder renames them when it loads."""
    with meta_networks():
        names = list(build_model("densenet121").state_dict())
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


@pytest.mark.real
def test_real_imagenet_weights_fit(shared):
    classifier = build_classifier("mobilenet_v2", 2, HeadSpec())
    load_backbone(classifier, str(shared / "weights" / "mobilenet_v2-imagenet.pth"))
    assert classifier.backbone.features[0][1].running_var.min() < 0.99  # learnt, not the ones of the start
