"""An exact map adds up to its logit; the others are gradient times activation, as they say."""

import pytest
import torch
from torch import nn

from catdog_cli.explanation.class_maps import EXACT, linear_head
from catdog_cli.settings import HeadSpec

from ..conftest import one_thread
from .networks import build, mapper_of, noise

LINEAR = [("simple_cnn", HeadSpec()), ("resnet18", HeadSpec()), ("simple_cnn", HeadSpec(head="cosine"))]
BF16_EPS = 2**-8


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    with one_thread():
        yield


def run(mapper, *inputs):
    activations = mapper.activate(inputs)
    features = mapper.embed(activations)
    with torch.no_grad():
        return activations, features, mapper.head(features)[0]


@pytest.mark.parametrize(("arch", "head"), LINEAR, ids=["cnn", "resnet18", "cosine"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_an_exact_map_and_the_bias_add_up_to_the_logit(arch, head, dtype):
    mapper = mapper_of(build(arch, head), 64, dtype=dtype)
    activations, features, logits = run(mapper, noise(64))
    assert mapper.describe(features) == (EXACT, True)
    linear = linear_head(mapper.head, features)
    for label, maps in enumerate(mapper.map_classes(activations, features, range(3))):
        (grid,) = maps.grids
        # in bfloat16 the network rounds each pooled feature, the map none
        rounding = (linear.weight[label] * features[0]).abs().sum() * BF16_EPS / 2
        bound = 1e-4 if dtype == torch.float32 else rounding.item()
        assert abs(float(grid.mean()) + maps.bias - float(logits[label])) < bound
        assert float(grid.std()) > 10 * abs(float(grid.mean()) + maps.bias - float(logits[label]))


def test_each_of_several_networks_adds_its_own_part():
    mapper = mapper_of(build("simple_cnn+resnet18"), 64, 96)
    activations, features, logits = run(mapper, noise(64), noise(96))
    (maps,) = mapper.map_classes(activations, features, [1])
    assert [tuple(grid.shape) for grid in maps.grids] == [(2, 2), (3, 3)]
    total = sum(float(grid.mean()) for grid in maps.grids)
    assert abs(total + maps.bias - float(logits[1])) < 1e-4


def test_gradients_give_the_exact_map_but_for_what_is_the_same_everywhere():
    mapper = mapper_of(build("simple_cnn"), 96)
    activations, features, _ = run(mapper, noise(96))
    (exact,) = mapper.map_classes(activations, features, [2])
    (product,) = mapper._differentiate(activations, [2])
    shift = product.grids[0] - exact.grids[0]
    assert float(shift.std()) < 1e-4
    assert product.bias is None


CUSTOM = nn.Sequential(nn.Linear(256, 8), nn.Tanh(), nn.Linear(8, 3))
OTHERS = [
    ("simple_cnn", HeadSpec((8,)), None, 64, "HiResCAM"),
    ("simple_cnn", HeadSpec((8,), activation="gelu", head_norm="batch"), None, 64, "HiResCAM"),
    ("simple_cnn", HeadSpec(head="custom"), CUSTOM, 64, "HiResCAM"),
    ("simple_cnn", HeadSpec(), None, 32, "HiResCAM"),
    ("mobilenet_v3_small", HeadSpec(), None, 64, "HiResCAM"),
    ("timm/test_vit", HeadSpec(), None, 160, "gradient x token"),
]


@pytest.mark.parametrize(("arch", "head", "custom", "size", "method"), OTHERS)
def test_other_maps_are_gradient_times_activation(arch, head, custom, size, method):
    """Their sum is how fast the logit changes where all activations of places are made larger."""
    if "/" in arch:
        pytest.importorskip("timm")
    mapper = mapper_of(build(arch, head, custom), size)
    activations, features, _ = run(mapper, noise(size))
    assert mapper.describe(features) == (method, False)
    (maps,) = mapper.map_classes(activations, features, [1])
    (cut,), step = mapper.cuts, 1e-3

    def logit(factor):
        changed = activations[0].double()
        changed[:, cut.prefix :] *= factor
        with torch.no_grad():
            rows = mapper._tails[0].double()(changed)
            return float(mapper.head.double()(rows)[0, 1])

    slope = (logit(1 + step) - logit(1 - step)) / (2 * step)
    mapper._tails[0].float(), mapper.head.float()
    assert float(maps.grids[0].mean()) == pytest.approx(slope, rel=0.02, abs=1e-4)
    assert float(maps.grids[0].std()) > 0


def test_a_class_token_is_explained_by_tokens_of_places_before_it():
    pytest.importorskip("timm")
    classifier = build("timm/test_vit")
    assert classifier.networks[0].num_prefix_tokens == 1
    mapper = mapper_of(classifier, 160)
    activations, features, _ = run(mapper, noise(160))
    (maps,) = mapper.map_classes(activations, features, [0])
    assert maps.grids[0].numel() == 100  # 10 x 10 patches
    assert int((maps.grids[0] != 0).sum()) > 95  # all of which reach the token; a sum may be 0 by chance


@pytest.mark.parametrize(
    "head", [HeadSpec((8,)), HeadSpec((4, 4), head="cosine")], ids=["hidden", "hidden cosine"]
)
def test_a_head_with_hidden_layers_is_not_linear(head):
    assert linear_head(build("simple_cnn", head).head, torch.ones(1, 256)) is None
