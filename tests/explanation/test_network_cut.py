"""Networks are cut where they last know places; the two parts give the bits of the whole."""

import pytest
import torch
from torch import fx, nn

from catdog_cli.explanation.network_cut import INPUT, MAP, TOKENS, differentiable, find_cut
from catdog_cli.models.inference_form.inference_form import InferenceForm
from catdog_cli.models.inference_form.onednn import ACTIVATIONS, FusedConv, can_fuse

from ..conftest import one_thread
from .networks import CPU, build, forms_of, noise

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
ROWS = [  # arch, size, what lies at the cut, of how many places a side, whether the rest is a mean
    ("simple_cnn", 64, MAP, 2, True),
    ("simple_cnn", 32, MAP, 2, False),  # the last map has one place: the one before it
    ("mobilenet_v2", 64, MAP, 2, True),
    ("mobilenet_v3_small", 64, MAP, 2, False),  # a convolution after the pooling
    ("resnet18", 64, MAP, 2, True),
    ("resnet18", 32, MAP, 2, False),  # where a shortcut goes beside it, no cut
    ("squeezenet1_1", 64, MAP, 3, True),
    ("densenet121", 64, MAP, 2, True),
    ("swin_t", 64, MAP, 2, True),
    ("timm/test_efficientnet", 96, MAP, 3, True),
    ("timm/test_vit", 160, TOKENS, 10, False),
    ("timm/test_convnext", 96, MAP, 3, False),  # normalised after the pooling
    pytest.param("vit_b_16", 224, TOKENS, 14, False, marks=pytest.mark.slow),
    pytest.param("timm/swin_tiny_patch4_window7_224", 224, MAP, 7, True, marks=pytest.mark.slow),
]


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    with one_thread():
        yield


@pytest.mark.parametrize(("arch", "size", "kind", "side", "is_mean"), ROWS)
def test_cut_is_the_last_with_places_and_changes_no_bit(arch, size, kind, side, is_mean):
    if "/" in arch:
        pytest.importorskip("timm")
    classifier = build(arch)
    (form,) = forms_of(classifier)
    cut = find_cut([form], classifier.networks[0].num_prefix_tokens, size)
    inputs = form.prepare(noise(size))
    with torch.no_grad():
        activations = cut.trunk(inputs)
        assert torch.equal(cut.tail(activations.clone()), form(inputs))
        assert (cut.kind, cut.is_mean) == (kind, is_mean)
        grid = cut.to_grid(activations)
        assert grid.shape[2:] == (side, side)
        own = differentiable(cut.tail)(activations)
    torch.testing.assert_close(own, form(inputs), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("border", "size", "is_mean"), [(3, 64, True), (10, 64, True), (9, 32, False)])
def test_a_network_in_two_parts_is_cut_where_the_whole_is(border, size, is_mean):
    classifier = build("resnet18")
    parts = [classifier.prefix(border), nn.Sequential(*(block for _, block in classifier.blocks[border:]))]
    forms = [InferenceForm(part, torch.float32, CPU) for part in parts]
    cut, inputs = find_cut(forms, 0, size), forms[0].prepare(noise(size))
    assert (cut.kind, cut.is_mean) == (MAP, is_mean)
    with torch.no_grad():
        found = cut.tail(cut.trunk(inputs).clone())
        torch.testing.assert_close(found, forms[1](forms[0](inputs)), rtol=1e-4, atol=1e-5)


class Untraceable(nn.Module):
    """One block whose pass depends on numbers: only its input has places."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, images):
        found = self.conv(images).mean((2, 3))
        return found if found.sum() > 0 else -found


def test_what_cannot_be_looked_into_is_cut_at_its_input():
    form = InferenceForm(nn.Sequential(Untraceable()), torch.float32, CPU)
    assert not isinstance(form.body, fx.GraphModule)
    cut = find_cut([form], 0, 16)
    assert cut.kind == INPUT
    inputs = form.prepare(noise(16))
    assert torch.equal(cut.tail(cut.trunk(inputs)), form(inputs))


@pytest.mark.skipif(not can_fuse(), reason="this torch has no fused convolutions of oneDNN")
@pytest.mark.parametrize("kind", [*ACTIVATIONS, None], ids=str)
def test_a_fused_convolution_has_a_gradient_where_one_is_asked_for(kind):
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 6, 3, padding=1)
    activation = ("none", [], "") if kind is None else ACTIVATIONS[kind](kind())
    fused, inputs = FusedConv(conv, activation, torch.float32), torch.randn(1, 4, 5, 5)
    expected = fused(inputs.contiguous(memory_format=torch.channels_last))
    asked = inputs.clone().requires_grad_()
    found = differentiable(fused)(asked)  # a copy, once weights lie in oneDNN's own layout
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    found.sum().backward()
    plain = inputs.clone().requires_grad_()
    (conv if kind is None else nn.Sequential(conv, kind()))(plain).sum().backward()
    torch.testing.assert_close(asked.grad, plain.grad, rtol=1e-4, atol=1e-5)
