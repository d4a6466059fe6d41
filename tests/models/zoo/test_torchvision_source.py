"""torchvision's networks: blocks and features are those of its own models, inputs those of its presets."""

import re

import pytest
import torch
import torchvision

from catdog_cli.models.inference_form.inference_form import InferenceForm
from catdog_cli.models.meta import meta_networks
from catdog_cli.models.zoo.torchvision_source import TorchvisionSource

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


@pytest.mark.parametrize("arch", ["efficientnet_b0", "mnasnet0_5", "regnet_x_400mf", "shufflenet_v2_x0_5"])
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
