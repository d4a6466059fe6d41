"""Heads: what stands in them under which names, the cosine layer, and a module of the user's own."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from catdog_cli.errors import SettingsError
from catdog_cli.models.classifier import build_classifier
from catdog_cli.models.heads import ACTIVATIONS, CosineLinear, build_head
from catdog_cli.models.meta import meta_networks
from catdog_cli.settings import HeadSpec
from catdog_cli.settings_head import ACTIVATIONS as ACTIVATION_NAMES
from catdog_cli.settings_head import CUSTOM

OWN = HeadSpec(head=CUSTOM)


def names_in(head):
    return [name for name, _ in head.named_children()]


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        (HeadSpec((8,), activation="gelu"), ["norm", "hidden0", "gelu0", "dropout0", "output"]),
        (
            HeadSpec((8, 4), head_norm="batch", activation="leaky_relu"),
            [
                *("norm", "hidden0", "norm0", "leaky_relu0", "dropout0"),
                *("hidden1", "norm1", "leaky_relu1", "dropout1", "output"),
            ],
        ),
        (HeadSpec(head="cosine"), ["norm", "dropout", "output"]),
    ],
)
def test_a_head_has_the_layers_that_were_asked_for(spec, names):
    head = build_head(16, 5, spec)
    assert names_in(head) == names
    assert head(torch.randn(3, 16)).shape == (3, 5)
    head(torch.randn(3, 16)).sum().backward()
    assert all(parameter.grad is not None for parameter in head.parameters())


def test_each_hidden_layer_has_its_own_dropout():
    head = build_head(16, 5, HeadSpec((8, 4), (0.3, 0.1)))
    assert [module.p for module in head if isinstance(module, nn.Dropout)] == [0.3, 0.1]
    (only,) = (
        module.p for module in build_head(16, 5, HeadSpec(dropout=(0.4,))) if isinstance(module, nn.Dropout)
    )
    assert only == 0.4


@pytest.mark.parametrize("name", ACTIVATION_NAMES)
def test_an_activation_is_torchs_of_that_name(name):
    values = torch.linspace(-3, 3, 21)
    wanted = getattr(F, name)(values)
    torch.testing.assert_close(ACTIVATIONS[name]()(values), wanted)


@pytest.mark.parametrize(("name", "kind"), [("batch", nn.BatchNorm1d), ("layer", nn.LayerNorm)])
def test_hidden_layers_are_normalised_before_their_activation(name, kind):
    head = build_head(16, 5, HeadSpec((8,), head_norm=name))
    assert isinstance(head.norm0, kind)
    found = head[:3](torch.randn(50, 16))
    assert found.mean(1 if name == "layer" else 0).abs().max() < 1e-5


def test_cosines_know_no_lengths():
    torch.manual_seed(0)
    layer = CosineLinear(6, 3)
    features = torch.randn(4, 6)
    wanted = torch.stack([F.cosine_similarity(features, weight[None]) for weight in layer.weight], 1)
    torch.testing.assert_close(layer(features), layer.scale * wanted)
    torch.testing.assert_close(layer(7 * features), layer(features))
    layer(features).square().sum().backward()
    assert layer.scale.grad is not None


def test_a_head_of_zeros_stays_finite():
    """A class whose features are all 0 has no direction."""
    assert torch.isfinite(CosineLinear(6, 3)(torch.zeros(2, 6))).all()


@pytest.mark.parametrize("hidden_layers", [(), (8, 4)])
def test_a_default_head_has_the_bits_of_before(hidden_layers):
    """The layers are made in the order in which older heads made them."""
    torch.manual_seed(3)
    head = build_head(16, 5, HeadSpec(hidden_layers))
    torch.manual_seed(3)
    widths = [16, *hidden_layers, 5]
    layers = [nn.Linear(*pair) for pair in itertools.pairwise(widths)]
    found = [module for module in head if isinstance(module, nn.Linear)]
    assert all(torch.equal(a.weight, b.weight) for a, b in zip(found, layers, strict=True))


def test_a_custom_head_is_a_copy_behind_the_standardisation():
    module = nn.Sequential(nn.Linear(16, 4), nn.ReLU(), nn.Linear(4, 3))
    head = build_head(16, 3, OWN, module)
    assert names_in(head) == ["norm", "custom"]
    features = torch.randn(5, 16)
    assert torch.equal(head(features), module(head.norm(features)))
    assert head.custom is not module
    assert head.custom.training
    with torch.no_grad():
        head.custom[0].weight.zero_()
    assert module[0].weight.abs().sum() > 0


def test_a_custom_head_may_learn_its_size_from_the_features():
    head = build_head(16, 3, OWN, nn.LazyLinear(3))
    assert head.custom.weight.shape == (3, 16)


def test_a_custom_head_has_numbers_where_networks_have_none():
    module = nn.Linear(256, 3)
    with meta_networks():
        classifier = build_classifier("simple_cnn", 3, OWN, custom_head=module)
    assert next(classifier.backbone.parameters()).is_meta
    assert not classifier.head.custom.weight.is_meta
    assert classifier.num_classes == 3


class _Fails(nn.Module):
    def forward(self, features):
        raise ValueError


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (None, r"a module that only Python can give: do this there, with head=MODULE"),
        (nn.Linear(16, 5), r"Linear must make \(3,\) numbers, .* of \(16,\) .* it makes \(2, 5\): change it"),
        (nn.Linear(9, 3), r"Linear must make \(3,\) .* but fails \(mat1 and mat2 .*\): change it"),
        (_Fails(), r"_Fails must make .* but fails \(ValueError\): change it"),
        (nn.LSTM(16, 3), r"LSTM must make .* it makes tuple: change it"),
        (nn.AdaptiveAvgPool1d(3), r"AdaptiveAvgPool1d has no parameters to train: give another"),
    ],
)
def test_a_custom_head_that_does_not_fit(module, message):
    with pytest.raises(SettingsError, match=message) as caught:
        build_head(16, 3, OWN, module)
    assert "\n" not in str(caught.value)


def test_networks_side_by_side_are_standardised_each_by_its_own_scale():
    torch.manual_seed(0)
    parts = [torch.randn(50, 4), 1000 * torch.randn(50, 3)]
    head = build_head(7, 2, HeadSpec())
    assert not head.norm.fit(torch.cat(parts, 1), [4, 3])
    wanted = []
    for part in parts:
        alone = build_head(part.shape[1], 2, HeadSpec())
        alone.norm.fit(part)
        wanted.append(alone.norm(part))
    torch.testing.assert_close(head.norm(torch.cat(parts, 1)), torch.cat(wanted, 1))
