"""The fused form computes what the network computes, and is what runs where oneDNN is there."""

import threading

import pytest
import torch
from torch import fx, nn

from catdog_cli.models.classifier import build_classifier
from catdog_cli.models.inference_form import inference_form as fast
from catdog_cli.models.inference_form.inference_form import InferenceForm, form_name
from catdog_cli.models.inference_form.onednn import FusedConv, can_fuse
from catdog_cli.runtime.devices import native_bf16
from catdog_cli.settings import HeadSpec

CPU = torch.device("cpu")
needs_onednn = pytest.mark.skipif(not can_fuse(), reason="this torch has no fused convolutions of oneDNN")


def largest_error(given: torch.Tensor, wanted: torch.Tensor) -> float:
    return ((given.float() - wanted).abs().max() / wanted.abs().max()).item()


def relative_error(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return ((found.float() - wanted.float()).norm() / wanted.float().norm()).item()


class Tangled(nn.Module):
    """Convolutions whose outputs are used twice, summed with themselves, and activated after a sum."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(3))
        self.odd = nn.Conv2d(3, 3, 3, padding="same")
        self.relu, self.clip, self.drop = nn.ReLU(), nn.ReLU6(), nn.Dropout(0.5)

    def forward(self, x):
        first = self.first(x)
        twice = self.relu(first) + first
        second = self.second(twice)
        third = self.clip(twice + self.drop(self.third(second + second)))
        return self.relu(self.odd(third) + 1.0)


@needs_onednn
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 0.02)])
def test_fuses_only_what_may_be_fused(dtype, tolerance):
    torch.manual_seed(0)
    network, inputs = Tangled().eval(), torch.randn(2, 3, 16, 16)
    form = InferenceForm(network, dtype, CPU)
    fusable = dtype == torch.float32 or can_fuse(dtype)  # a processor without AVX-512 fuses no bfloat16
    assert fusable or not native_bf16(CPU)
    assert form_name(CPU, dtype) == ("onednn" if fusable else "plain")
    assert (FusedConv in map(type, form.modules())) == fusable
    assert relative_error(form(inputs), network(inputs)) < tolerance
    assert relative_error(form(inputs[:1]), network(inputs[:1])) < tolerance  # another shape than the first
    inputs = inputs[:, :, :1, :1]
    assert relative_error(form(inputs), network(inputs)) < tolerance


@needs_onednn
def test_weights_are_arranged_once_for_all_inputs_of_one_size():
    conv = nn.Conv2d(64, 64, 3, padding=1).requires_grad_(False)
    fused, images = FusedConv(conv, ("relu", [], ""), torch.float32), torch.randn(5, 64, 8, 8)
    images, layouts = images.contiguous(memory_format=torch.channels_last), []
    for inputs in (images, images[:1], images[:, :, :1, :1], images):
        torch.testing.assert_close(fused(inputs), conv(inputs).relu())
        layouts.append(fused.arranged[1])
    assert layouts[0] is layouts[1]
    assert len(set(map(id, layouts))) == 3


@needs_onednn
@pytest.mark.parametrize("arch", ["mobilenet_v2", "mobilenet_v3_small", "resnet18", "efficientnet_b0"])
def test_all_convolutions_are_fused_and_answer_as_before(arch, monkeypatch):
    classifier = build_classifier(arch, 2, HeadSpec()).eval()
    prefix, inputs = classifier.prefix(len(classifier.blocks)), torch.randn(2, 3, 64, 64)
    fused = InferenceForm(prefix, torch.float32, CPU)
    kinds = [type(module) for module in fused.modules()]
    assert FusedConv in kinds
    assert not {nn.Conv2d, nn.BatchNorm2d, nn.ReLU6, nn.Dropout}.intersection(kinds)
    monkeypatch.setattr(fast, "can_fuse", lambda dtype: False)
    plain = InferenceForm(prefix, torch.float32, CPU)
    assert form_name(CPU) == "plain"
    assert FusedConv not in map(type, plain.modules())
    assert relative_error(fused(inputs), plain(inputs)) < 1e-4


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), 1e30])
def test_what_is_no_number_stays_to_be_seen(wrong):
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Conv2d(8, 2, 3))
    for conv in network[::2]:
        nn.init.constant_(conv.weight, wrong)
        conv.weight.data[::2] *= -1
    assert not InferenceForm(network, torch.float32, CPU)(torch.randn(1, 3, 16, 16)).isfinite().all()


def test_without_onednn_the_plain_form_is_taken(monkeypatch):
    can_fuse.cache_clear()
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert not can_fuse()
    can_fuse.cache_clear()


def test_an_operator_that_is_another_one_is_not_used(monkeypatch):
    can_fuse.cache_clear()
    monkeypatch.setattr(FusedConv, "forward", lambda self, inputs, other=None: inputs)
    assert not can_fuse()
    can_fuse.cache_clear()


def test_bfloat16_runs_unfused_where_the_processor_fuses_float32_alone(monkeypatch):
    """A processor without AVX-512 refuses to reorder bfloat16 weights: the network runs as it is."""
    reorder = torch.ops.mkldnn._reorder_convolution_weight

    def refuse(weight, *geometry):
        if weight.dtype == torch.bfloat16:
            raise RuntimeError("bf16 path needs the cpu support")
        return reorder(weight, *geometry)

    can_fuse.cache_clear()
    monkeypatch.setattr(torch.ops.mkldnn, "_reorder_convolution_weight", refuse)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
    found = InferenceForm(network, torch.bfloat16, CPU)(torch.randn(1, 3, 8, 8))
    can_fuse.cache_clear()
    assert found.dtype == torch.bfloat16
    assert found.isfinite().all()


@torch.no_grad()
def test_fast_form_says_the_same(classifier, images):
    whole = classifier.prefix(len(classifier.blocks))
    wanted = whole(images)
    before = {name: tensor.clone() for name, tensor in list(classifier.state_dict().items())[:20]}
    assert largest_error(InferenceForm(whole, torch.float32, CPU)(images), wanted) < 1e-4
    fast = InferenceForm(whole, torch.bfloat16, CPU)(images)
    assert fast.dtype == torch.bfloat16
    assert largest_error(fast, wanted) < 0.05
    after = classifier.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_a_network_is_made_fast_while_another_computes():
    form = InferenceForm(build_classifier("simple_cnn", 3, HeadSpec(), 0).backbone, torch.float32, CPU)
    pictures = torch.zeros(4, 3, 32, 32)
    expected, ended, found = form(pictures), threading.Event(), []

    def compute():
        while not ended.is_set():
            try:
                found.append(torch.equal(form(pictures), expected))
            except Exception as error:
                found.append(error)

    thread = threading.Thread(target=compute)
    thread.start()
    for seed in range(10):
        other = build_classifier("simple_cnn", 3, HeadSpec(), seed).backbone
        assert isinstance(InferenceForm(other, torch.float32, CPU).body, fx.GraphModule)
    ended.set()
    thread.join()
    assert found
    assert all(each is True for each in found), found
