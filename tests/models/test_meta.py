"""Empty networks cost no memory, and say which picture sizes an arch takes."""

import pytest
import torch

from catdog_cli.errors import SettingsError
from catdog_cli.models.classifier import build_classifier
from catdog_cli.models.meta import check_image_size, meta_networks
from catdog_cli.models.zoo.registry import source_of
from catdog_cli.settings import HeadSpec


@pytest.mark.parametrize("arch", ["vgg16", "regnet_y_128gf", "swin_v2_t"])  # regnet counts with tensors
def test_an_empty_network_has_shapes_and_no_numbers(arch):
    with meta_networks():
        model = source_of(arch).build(arch)
    assert all(parameter.is_meta for parameter in model.parameters())
    assert sum(parameter.numel() for parameter in model.parameters()) > 10**6


def test_an_empty_head_of_any_size_costs_nothing():
    with meta_networks():
        classifier = build_classifier("simple_cnn", 10, HeadSpec((65536,) * 100))
    assert sum(parameter.numel() for parameter in classifier.parameters()) > 4 * 10**11


def test_real_networks_are_built_after_empty_ones():
    with meta_networks():
        source_of("simple_cnn").build("simple_cnn")
    assert not source_of("simple_cnn").build("simple_cnn").classifier.weight.is_meta
    assert torch.arange(3).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("arch", "size"), [("resnet18", 8), ("alexnet", 63), ("vgg11", 32), ("simple_cnn", 8), ("vit_b_16", 224)]
)
def test_a_size_that_fits_is_taken(arch, size):
    check_image_size(arch, size)


@pytest.mark.parametrize(
    ("arch", "size"), [("alexnet", 62), ("vgg11", 31), ("vit_b_16", 256), ("maxvit_t", 96)]
)
def test_a_size_that_does_not_fit_is_refused(arch, size):
    with pytest.raises(
        SettingsError, match=rf"{arch} takes no pictures of {size} px \(.+\): leave out --image"
    ):
        check_image_size(arch, size)
