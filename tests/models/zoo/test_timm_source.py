"""timm's networks: blocks equal the network, inputs are those of the weights, files fill them."""

import math

import pytest
import torch

from catdog_cli.errors import CheckpointError, SettingsError
from catdog_cli.models.classifier import build_classifier
from catdog_cli.models.inference_form.inference_form import InferenceForm
from catdog_cli.models.inference_form.onednn import FusedConv, can_fuse
from catdog_cli.models.safe_load import read_state_dict
from catdog_cli.models.weights import load_backbone
from catdog_cli.models.zoo.registry import arch_names, check_arch, default_weights, resolve_arch, source_of
from catdog_cli.models.zoo.timm_source import TimmSource
from catdog_cli.settings import HeadSpec

from ..conftest import make_classifier

timm = pytest.importorskip("timm", reason="timm is not installed: pip install 'catdog[timm]'")
SOURCE = TimmSource()
CPU = torch.device("cpu")


def relative_error(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return ((found.float() - wanted.float()).norm() / wanted.float().norm()).item()


# --- names


@pytest.mark.parametrize(
    "arch", ["tf_efficientnet_lite0", "tf_efficientnet_lite0.in1k", "timm/resnet50.a1_in1k", "timm/resnet18"]
)
def test_a_name_of_timm_is_found(arch):
    assert isinstance(source_of(arch), TimmSource)
    assert resolve_arch(arch) == arch


def test_torchvision_keeps_its_names():
    assert source_of("resnet18").name == "torchvision"


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ("tf_eficientnet_lite0", r"Unknown arch '.+': did you mean tf_efficientnet_lite0"),
        ("timm/resnet5O", r"Unknown arch 'timm/resnet5O': did you mean resnet50"),
        ("timm/resnet50.a9", r"is none of timm's weights for resnet50: there are a1_in1k, a1h_in1k"),
        ("timm/", r"Unknown arch 'timm/'"),
    ],
)
def test_what_timm_does_not_have_is_refused(arch, message):
    with pytest.raises(SettingsError, match=message):
        check_arch(arch)


def test_another_spelling_is_understood():
    assert resolve_arch("TF-EfficientNet-Lite0") == "tf_efficientnet_lite0"


def test_timms_thousands_are_not_in_the_list_of_all_networks():
    assert "tf_efficientnet_lite0" not in arch_names()
    assert len(arch_names()) < 200


def test_default_weights_are_imagenets_where_timm_has_some():
    assert default_weights("tf_efficientnet_lite0") == "imagenet"
    assert default_weights("test_vit") == "imagenet"
    assert default_weights("resnet14t") == "imagenet"


# --- inputs


@pytest.mark.parametrize("arch", ["tf_efficientnet_lite0", "tf_efficientnet_lite2", "timm/resnet50.a1_in1k"])
def test_input_spec_is_that_of_the_weights(arch):
    config = timm.models.get_pretrained_cfg(arch.removeprefix("timm/"))
    spec = SOURCE.input_spec(arch, "imagenet")
    assert spec.size == config.input_size[-1]
    assert spec.resize == math.floor(spec.size / config.crop_pct)
    assert (spec.mean, spec.std, spec.interpolation) == (config.mean, config.std, config.interpolation)


# --- the network


@torch.no_grad()
@pytest.mark.skipif(not can_fuse(), reason="this torch has no fused convolutions of oneDNN")
@pytest.mark.parametrize("size", [64, 65])  # TensorFlow pads an odd size on both sides alike
def test_every_convolution_of_a_lite_network_is_fused(size):
    classifier = make_classifier("tf_efficientnet_lite0")
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    form = InferenceForm(classifier.prefix(len(classifier.blocks)), torch.float32, CPU)
    kinds = [type(module) for module in form.modules()]
    assert kinds.count(FusedConv) == 49
    assert not {torch.nn.Conv2d, torch.nn.BatchNorm2d, torch.nn.ReLU6}.intersection(kinds)
    assert "BatchNormAct2d" not in [kind.__name__ for kind in kinds]
    assert relative_error(form(images), classifier.backbone(images)) < 1e-5


@torch.no_grad()
def test_resnet18_of_both_libraries_says_the_same_with_the_same_weights(resnet_file, images):
    """Also in the fast form, although timm's network is written otherwise."""
    probabilities = []
    for arch in ("resnet18", "timm/resnet18"):
        classifier = build_classifier(arch, 3, HeadSpec(), seed=4).eval()
        load_backbone(classifier, resnet_file)
        form = InferenceForm(classifier.prefix(len(classifier.blocks)), torch.float32, CPU)
        probabilities.append(classifier.head(form(images)).softmax(1))
        torch.testing.assert_close(classifier(images).softmax(1), probabilities[-1])
    torch.testing.assert_close(*probabilities)


# --- weights


@pytest.mark.real
@torch.no_grad()
@pytest.mark.parametrize("arch", ["tf_efficientnet_lite0", "tf_efficientnet_lite2"])
def test_a_file_of_weights_fills_a_lite_network(arch, shared, images):
    path = shared / "weights" / f"{arch}-imagenet.pth"
    classifier = build_classifier(arch, 2, HeadSpec()).eval()
    load_backbone(classifier, str(path))
    model = timm.create_model(arch).eval()
    model.load_state_dict(torch.load(path, weights_only=True))
    wanted = model.forward_head(model.forward_features(images), pre_logits=True)
    assert torch.equal(classifier.backbone(images), wanted)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_weights_by_timms_names_are_loaded_from_both_formats(name, tmp_path):
    model = timm.create_model("test_efficientnet")
    wanted = model.state_dict()
    if name.endswith(".pth"):
        torch.save(wanted, tmp_path / name)
    else:
        pytest.importorskip("safetensors.torch").save_file(wanted, tmp_path / name)
    classifier = build_classifier("test_efficientnet", 2, HeadSpec(), seed=3)
    load_backbone(classifier, str(tmp_path / name))
    assert all(torch.equal(t, wanted[key]) for key, t in classifier.backbone.state_dict().items())


@pytest.mark.parametrize("content", [b"", b"half a file", b"\xff" * 100])
def test_a_damaged_safetensors_file_is_refused(content, tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"w\.safetensors' is"):
        read_state_dict(path)
