"""torchvision's networks: blocks and features are those of its own models, inputs those of its presets."""

import re

import pytest
import torch
import torchvision

from catdog_cli.models.classifier import build_classifier
from catdog_cli.models.inference_form.inference_form import InferenceForm
from catdog_cli.models.meta import meta_networks
from catdog_cli.models.weights import load_backbone
from catdog_cli.models.zoo.torchvision_source import TorchvisionSource
from catdog_cli.settings import HeadSpec

from ..conftest import fill, make_classifier

CPU = torch.device("cpu")
SOURCE = TorchvisionSource()


def relative_error(given: torch.Tensor, wanted: torch.Tensor) -> float:
    return ((given.float() - wanted).abs().max() / wanted.abs().max()).item()


def test_resnet18_blocks_have_names_that_people_use():
    names = [name for name, _ in make_classifier("resnet18").blocks]
    assert names == [
        "stem",
        *(f"layer{stage}.{index}" for stage in range(1, 5) for index in range(2)),
        "pool",
    ]


@pytest.mark.parametrize("arch", ["resnet18", "vgg11", "mobilenet_v2", "googlenet", "densenet121"])
@torch.no_grad()
def test_backbone_and_last_linear_are_torchvisions_network(arch, images):
    """The features, put through the Linear that was taken away, are what torchvision's own network says."""
    with meta_networks():
        model = SOURCE.build(arch)
    fill(model)
    model.eval()
    wanted = model(images)
    linear = [module for module in model.modules() if isinstance(module, torch.nn.Linear)][-1]
    assert SOURCE.split_head(model, arch) == linear.in_features
    torch.testing.assert_close(linear(model(images)), wanted)


FAMILIES = {  # the smallest of each, with its number of blocks
    "convnext_tiny": 28,
    "densenet121": 13,
    "efficientnet_b0": 19,
    "mnasnet0_5": 28,
    "mobilenet_v3_small": 16,
    "regnet_y_400mf": 18,
    "resnet34": 18,
    "squeezenet1_1": 14,
    "swin_t": 19,
    "swin_v2_t": 19,
    "vgg11_bn": 35,
    "vit_b_32": 14,
}


@pytest.mark.parametrize(("arch", "num_blocks"), FAMILIES.items())
@torch.no_grad()
def test_blocks_in_turn_are_the_network_bit_for_bit(arch, num_blocks):
    classifier = make_classifier(arch)
    size = 224 if arch == "vit_b_32" else 64
    outputs = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(1))
    wanted = classifier.backbone(outputs)
    for _, block in classifier.blocks:
        outputs = block(outputs)
    assert torch.equal(outputs, wanted)
    assert outputs.shape == (1, classifier.feature_dim)
    assert len(classifier.blocks) == len(dict(classifier.blocks)) == num_blocks
    held = {id(p) for _, block in classifier.blocks for p in block.parameters()}
    assert held == {id(p) for p in classifier.backbone.parameters()}


@torch.no_grad()
def test_a_network_that_ends_in_a_convolution_gives_the_mean_of_what_that_takes(images):
    with meta_networks():
        model = SOURCE.build("squeezenet1_1")
    fill(model)
    model.eval()
    convolution = model.classifier[1]
    wanted = model.features(images).mean((2, 3))
    assert SOURCE.split_head(model, "squeezenet1_1") == convolution.in_channels == 512
    torch.testing.assert_close(model(images), wanted)


@pytest.mark.parametrize("arch", ["shufflenet_v2_x0_5"])
@torch.no_grad()
def test_other_archs_are_one_block(arch, images):
    classifier = make_classifier(arch)
    assert [name for name, _ in classifier.blocks] == ["backbone"]
    wanted = classifier.backbone(images)
    assert wanted.shape == (2, classifier.feature_dim)
    assert relative_error(InferenceForm(classifier.prefix(1), torch.float32, CPU)(images), wanted) < 1e-4


def test_input_spec_is_torchvisions_own_preset():
    for arch in SOURCE.archs():
        preset = torchvision.models.get_model_weights(arch).DEFAULT.transforms()
        spec = SOURCE.input_spec(arch, "imagenet")
        assert (spec.size, spec.resize) == (preset.crop_size[0], preset.resize_size[0]), arch
        assert (list(spec.mean), list(spec.std)) == (preset.mean, preset.std)
        assert spec.interpolation == preset.interpolation.value


@pytest.mark.parametrize("arch", ["googlenet", "inception_v3"])
def test_inceptions_change_the_mean_as_their_weights_expect(arch):
    """torchvision's builders do it only when they load weights themselves."""
    with meta_networks():
        assert SOURCE.build(arch).transform_input


@pytest.mark.parametrize(
    ("arch", "licence"), [("resnet18", "BSD-3-Clause"), ("vit_h_14", r"https://github\.com/\S+/SWAG/\S+")]
)
def test_licence_is_that_of_the_weights(arch, licence):
    """A few of torchvision's weights come under terms of their own, which forbid commercial use."""
    assert re.fullmatch(licence, SOURCE.licence(arch))


@pytest.mark.real
@torch.no_grad()
def test_a_file_of_weights_fills_squeezenet(shared, images):
    path = shared / "weights" / "squeezenet1_1-imagenet.pth"
    classifier = build_classifier("squeezenet1_1", 2, HeadSpec()).eval()
    load_backbone(classifier, str(path))
    model = torchvision.models.squeezenet1_1().eval()
    model.load_state_dict(torch.load(path, weights_only=True))
    torch.testing.assert_close(classifier.backbone(images), model.features(images).mean((2, 3)))
