"""A network cut into backbone and blocks: run in turn the blocks equal it, and hold all of it once."""

import pytest
import torch
from torch import nn

from catdog_cli.models.zoo.blocks import drop_linear, split_blocks

FEATURES = {
    "alexnet": 4096,
    "vgg11": 4096,
    "vgg16": 4096,
    "resnet18": 512,
    "resnet50": 2048,
    "mobilenet_v2": 1280,
    "simple_cnn": 256,
}


@torch.no_grad()
def test_blocks_in_turn_equal_the_forward_pass(classifier, images):
    wanted = classifier.backbone(images)
    assert wanted.shape == (2, FEATURES[classifier.arch]) == (2, classifier.feature_dim)
    outputs = images
    for _, block in classifier.blocks:
        outputs = block(outputs)
    torch.testing.assert_close(outputs, wanted)


@torch.no_grad()
def test_blocks_are_named_once_and_hold_every_parameter(classifier):
    names = [name for name, _ in classifier.blocks]
    assert len(set(names)) == len(names)
    held = {id(parameter) for _, block in classifier.blocks for parameter in block.parameters()}
    assert held == {id(parameter) for parameter in classifier.backbone.parameters()}


def test_what_is_no_linear_stays():
    network = nn.Sequential(nn.Conv2d(3, 2, 1))
    with pytest.raises(TypeError, match="0 is a Conv2d, not a Linear"):
        drop_linear(network, "0")


@pytest.mark.parametrize(
    ("layers", "path", "left"),
    [
        ([nn.Linear(4, 4), nn.Dropout(), nn.Linear(4, 2)], "body.2", [nn.Linear, nn.Identity, nn.Identity]),
        ([nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)], "body.2", [nn.Linear, nn.ReLU, nn.Identity]),
        ([nn.Linear(4, 2)], "body.0", [nn.Identity]),
    ],
)
def test_a_dropout_goes_with_the_linear_behind_it(layers, path, left):
    network = nn.Sequential()
    network.add_module("body", nn.Sequential(*layers))
    assert drop_linear(network, path) == 4
    assert [type(module) for module in network.body] == left


def test_without_entries_the_backbone_is_one_block():
    backbone = nn.Flatten()
    assert split_blocks(backbone, ()) == [("backbone", backbone)]
