"""Every arch: its blocks equal its forward pass, its features and its input are as promised."""

import pytest
import torch
import torchvision

from catdog_cli.errors import SettingsError
from catdog_cli.models.classifier import build_classifier
from catdog_cli.models.inference_form.inference_form import InferenceForm
from catdog_cli.models.meta import meta_networks
from catdog_cli.models.zoo.registry import (
    FIRST_CLASS,
    arch_names,
    build_model,
    check_arch,
    input_spec,
    split_head,
)
from catdog_cli.settings import HeadSpec

from .conftest import fill, make_classifier

FEATURES = {
    "alexnet": 4096,
    "vgg11": 4096,
    "vgg16": 4096,
    "resnet18": 512,
    "resnet50": 2048,
    "mobilenet_v2": 1280,
    "simple_cnn": 256,
}
CPU = torch.device("cpu")


def relative_error(given: torch.Tensor, wanted: torch.Tensor) -> float:
    return ((given.float() - wanted).abs().max() / wanted.abs().max()).item()


@torch.no_grad()
def test_blocks_in_turn_equal_the_forward_pass(classifier, images):
    wanted = classifier.backbone(images)
    assert wanted.shape == (2, FEATURES[classifier.arch]) == (2, classifier.feature_dim)
    outputs = images
    for _, block in classifier.blocks:
        outputs = block(outputs)
    torch.testing.assert_close(outputs, wanted)


@torch.no_grad()
def test_prefix_and_suffix_share_the_network(classifier, images):
    wanted = classifier(images)
    names = {id(parameter) for parameter in classifier.parameters()}
    for split_at in (0, 1, len(classifier.blocks) // 2, len(classifier.blocks)):
        prefix, suffix = classifier.prefix(split_at), classifier.suffix(split_at)
        torch.testing.assert_close(suffix(prefix(images)), wanted)
        parts = [id(parameter) for part in (prefix, suffix) for parameter in part.parameters()]
        assert sorted(parts) == sorted(names)


@torch.no_grad()
def test_fast_form_says_the_same(classifier, images):
    whole = classifier.prefix(len(classifier.blocks))
    wanted = whole(images)
    before = {name: tensor.clone() for name, tensor in list(classifier.state_dict().items())[:20]}
    assert relative_error(InferenceForm(whole, torch.float32, CPU)(images), wanted) < 1e-4
    fast = InferenceForm(whole, torch.bfloat16, CPU)(images)
    assert fast.dtype == torch.bfloat16
    assert relative_error(fast, wanted) < 0.05
    after = classifier.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


@torch.no_grad()
def test_blocks_are_named_once_and_hold_every_parameter(classifier):
    names = [name for name, _ in classifier.blocks]
    assert len(set(names)) == len(names)
    held = {id(parameter) for _, block in classifier.blocks for parameter in block.parameters()}
    assert held == {id(parameter) for parameter in classifier.backbone.parameters()}


def test_resnet18_blocks_have_names_that_people_use():
    names = [name for name, _ in make_classifier("resnet18").blocks]
    assert names == [
        "stem",
        *(f"layer{stage}.{place}" for stage in range(1, 5) for place in range(2)),
        "pool",
    ]


@pytest.mark.parametrize("arch", ["resnet18", "vgg11", "mobilenet_v2", "googlenet", "densenet121"])
@torch.no_grad()
def test_backbone_and_last_linear_are_torchvisions_network(arch, images):
    """The features, put through the Linear that was taken away, are what torchvision's own network says."""
    with meta_networks():
        model = build_model(arch)
    fill(model)
    model.eval()
    wanted = model(images)
    linear = [module for module in model.modules() if isinstance(module, torch.nn.Linear)][-1]
    assert split_head(model, arch) == linear.in_features
    torch.testing.assert_close(linear(model(images)), wanted)


@pytest.mark.parametrize("arch", ["efficientnet_b0", "mnasnet0_5", "regnet_x_400mf", "shufflenet_v2_x0_5"])
@torch.no_grad()
def test_other_archs_are_one_block(arch, images):
    classifier = make_classifier(arch)
    assert [name for name, _ in classifier.blocks] == ["backbone"]
    wanted = classifier.backbone(images)
    assert wanted.shape == (2, classifier.feature_dim)
    assert relative_error(InferenceForm(classifier.prefix(1), torch.float32, CPU)(images), wanted) < 1e-4


def shape_of(arch: str) -> None:
    """Run an empty network on an empty picture of its own size."""
    with meta_networks():
        classifier = build_classifier(arch, 2, HeadSpec())
    size = input_spec(arch, "imagenet").size
    logits = classifier.to("meta").eval()(torch.empty(2, 3, size, size, device="meta"))
    assert logits.shape == (2, 2)
    owners = [id(p) for _, module in classifier.layers() for p in module.parameters(recurse=False)]
    assert sorted(owners) == sorted({id(p) for p in classifier.backbone.parameters()})
    buffers = {name for name, _ in classifier.named_buffers()}
    assert buffers <= set(classifier.state_dict())  # else a checkpoint would not fill an empty network


@pytest.mark.parametrize(
    "arch", ["convnext_tiny", "vit_b_16", "vit_h_14", "swin_t", "inception_v3", "regnet_y_400mf", "maxvit_t"]
)
def test_other_families_run_at_their_own_size(arch):
    shape_of(arch)


@pytest.mark.slow
def test_every_arch_runs_at_its_own_size():
    for arch in arch_names():
        shape_of(arch)


def test_names_begin_with_the_first_class_and_come_once():
    names = arch_names()
    assert tuple(names[: len(FIRST_CLASS)]) == tuple(FIRST_CLASS) == tuple(FEATURES)
    assert len(names) == len(set(names)) > 70
    assert not [name for name in names if "squeezenet" in name or "quantized" in name]


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ("squeezenet1_0", "'squeezenet1_0' ends in a convolution, not in a Linear"),
        ("resnet19", r"Unknown arch 'resnet19': did you mean resnet1\S+ or .*`catdog info` lists all"),
        ("mobilenetv2", r"Unknown arch 'mobilenetv2': did you mean mobilenet_v2"),
        ("zzzz", r"Unknown arch 'zzzz': `catdog info` lists all of them"),
        ("", r"Unknown arch '': `catdog info`"),
        ("fasterrcnn_resnet50_fpn", r"Unknown arch 'fasterrcnn"),
    ],
)
def test_an_unknown_arch_is_refused(arch, message):
    with pytest.raises(SettingsError, match=message):
        check_arch(arch)


def test_input_spec_is_torchvisions_own_preset():
    for arch in arch_names():
        if arch == "simple_cnn":
            continue
        preset = torchvision.models.get_model_weights(arch).DEFAULT.transforms()
        spec = input_spec(arch, "imagenet")
        assert (spec.size, spec.resize) == (preset.crop_size[0], preset.resize_size[0]), arch
        assert (list(spec.mean), list(spec.std)) == (preset.mean, preset.std)
        assert spec.interpolation == preset.interpolation.value


@pytest.mark.parametrize(("arch", "size"), [("resnet18", 224), ("inception_v3", 299), ("simple_cnn", 128)])
def test_input_spec_of_a_file_has_the_size_of_the_arch(arch, size):
    spec = input_spec(arch, "weights.pth")
    assert spec.size == size
    assert spec == input_spec(arch, "none")


@pytest.mark.parametrize("arch", ["googlenet", "inception_v3"])
def test_inceptions_change_the_mean_as_their_weights_expect(arch):
    """torchvision's builders do it only when they load weights themselves."""
    with meta_networks():
        assert build_model(arch).transform_input
