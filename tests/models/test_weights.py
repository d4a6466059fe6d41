"""Weights from files and from torchvision: what fits is loaded, all else is one sentence, no code runs."""

import urllib.error
from pathlib import Path

import pytest
import torch
import torchvision

from catdog_cli.errors import CatdogError, CheckpointError
from catdog_cli.models import weights
from catdog_cli.models.classifier import build_classifier
from catdog_cli.models.meta import meta_networks
from catdog_cli.models.weights import Origin, load_backbone, origin_of
from catdog_cli.models.zoo.registry import first_class_archs, source_of
from catdog_cli.runs.checkpoint import describe_model, save_checkpoint
from catdog_cli.settings import HeadSpec, InputSpec

from .conftest import fill, make_classifier

SMALL = "shufflenet_v2_x0_5"


def make_model(arch: str) -> torch.nn.Module:
    with meta_networks():
        model = source_of(arch).build(arch)
    fill(model)
    return model


def backbone_equals(classifier, state_dict: dict) -> bool:
    return all(
        torch.equal(tensor, state_dict[name]) for name, tensor in classifier.backbone.state_dict().items()
    )


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
    monkeypatch.setattr(weights, "arch_names", first_class_archs)  # all 79 take seconds
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
        wanted = source_of("vit_b_32").build("vit_b_32").state_dict()
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
        rf"Cannot download the ImageNet weights of {arch} \(no network here\): connect to the internet, or "
        rf"put {name} from another machine at '{hub / name}', or give --weights FILE, or --weights "
        rf"none to train from scratch"
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


@pytest.mark.real
def test_real_imagenet_weights_fit(shared):
    classifier = build_classifier("mobilenet_v2", 2, HeadSpec())
    load_backbone(classifier, str(shared / "weights" / "mobilenet_v2-imagenet.pth"))
    assert classifier.backbone.features[0][1].running_var.min() < 0.99  # learnt, not the ones of the start


def test_networks_side_by_side_have_an_origin_each():
    assert origin_of("resnet18", "imagenet") == Origin("torchvision", "IMAGENET1K_V1", "BSD-3-Clause")
    assert origin_of("resnet18+simple_cnn", ("imagenet", "none")) == Origin(
        "torchvision+catdog", "IMAGENET1K_V1+unknown", "BSD-3-Clause+unknown"
    )
    assert origin_of("resnet18+simple_cnn", "none") == Origin("torchvision+catdog")
