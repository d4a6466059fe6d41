"""Freezing: what trains, what does not, and what its BatchNorm does meanwhile."""

import pytest
import torch
from torch import nn

from catdog_cli.errors import SettingsError
from catdog_cli.models.classifier import build_classifier
from catdog_cli.models.heads import build_head
from catdog_cli.models.meta import meta_networks
from catdog_cli.models.pooling import ChannelsLastMean, MeanPool
from catdog_cli.settings import HeadSpec

from .conftest import make_classifier


def trainable(classifier) -> set[str]:
    return {name for name, _ in classifier.trainable_parameters()}


@pytest.mark.parametrize("count", [0, 1, 2, 5, 11])
def test_unfreeze_trains_exactly_the_last_layers_and_the_head(classifier, count):
    split_at = classifier.unfreeze(count)
    layers = classifier.layers()
    unfrozen = [module for _, module in layers[len(layers) - count :]]
    wanted = {id(parameter) for module in [*unfrozen, classifier.head] for parameter in module.parameters()}
    assert {id(parameter) for _, parameter in classifier.trainable_parameters()} == wanted
    before, after = classifier.prefix(split_at), classifier.suffix(split_at)
    assert not any(parameter.requires_grad for parameter in before.parameters())
    assert any(parameter.requires_grad for parameter in after[0].parameters())
    assert split_at == len(classifier.blocks) or after[0] is classifier.blocks[split_at][1]


def test_layers_hold_every_parameter_once(classifier):
    owned = [id(p) for _, module in classifier.layers() for p in module.parameters()]
    assert sorted(owned) == sorted(id(p) for p in classifier.backbone.parameters())


def test_all_is_as_many_layers_as_there_are(classifier):
    assert classifier.unfreeze("all") == 0
    everything = trainable(classifier)
    assert everything == {name for name, _ in classifier.named_parameters()}
    assert classifier.unfreeze(len(classifier.layers())) == 0
    assert trainable(classifier) == everything
    classifier.train_unfrozen()
    assert all(module.training for module in classifier.modules())


def test_more_layers_than_there_are_is_refused(classifier):
    count = len(classifier.layers())
    message = (
        rf"unfreeze is {count + 1}, but {classifier.arch} has {count} layers: give at most that, or 'all'"
    )
    with pytest.raises(SettingsError, match=message):
        classifier.unfreeze(count + 1)


@pytest.mark.parametrize(("arch", "count"), [("resnet18", 51), ("mobilenet_v2", 139)])
def test_layers_are_counted_as_leaf_modules(arch, count):
    layers = make_classifier(arch).layers()
    assert len(layers) == count
    assert not any(any(module.children()) for _, module in layers)


def test_tokens_of_a_transformer_belong_to_a_layer():
    with meta_networks():
        classifier = build_classifier("vit_b_16", 2, HeadSpec())
    classifier.unfreeze(20)
    names = trainable(classifier)
    assert "backbone.encoder.layers.encoder_layer_11.self_attention.in_proj_weight" in names
    assert "backbone.class_token" not in names
    classifier.unfreeze(len(classifier.layers()))
    assert "backbone.class_token" in trainable(classifier)


def norms(classifier) -> list[tuple[str, nn.BatchNorm2d]]:
    return [(n, m) for n, m in classifier.backbone.named_modules() if isinstance(m, nn.BatchNorm2d)]


def train_a_step(classifier, images) -> None:
    classifier.train_unfrozen()
    parameters = [parameter for _, parameter in classifier.trainable_parameters()]
    optimizer = torch.optim.SGD(parameters, lr=0.1, weight_decay=0.1)
    loss = nn.functional.cross_entropy(classifier(images), torch.tensor([0, 2]))
    loss.backward()
    optimizer.step()


@pytest.mark.parametrize("arch", ["resnet18", "mobilenet_v2"])
@pytest.mark.parametrize("count", [0, 10, "all"])
def test_a_step_changes_what_is_unfrozen_and_nothing_else(arch, count, images):
    classifier = make_classifier(arch)
    before = {name: tensor.clone() for name, tensor in classifier.state_dict().items()}
    classifier.unfreeze(count)
    train_a_step(classifier, images)
    after = classifier.state_dict()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    moving = classifier.moving_names() - {"head.norm.mean", "head.norm.std"}
    assert changed == moving
    running = {name for name in changed if "running_mean" in name}
    assert len(running) == {0: 0, 10: 4, "all": len(norms(classifier))}[count]


@pytest.mark.parametrize("arch", ["resnet18", "mobilenet_v2"])
def test_frozen_batch_norm_is_in_eval_mode(arch):
    classifier = make_classifier(arch)
    classifier.unfreeze(10)
    classifier.train()  # as a careless loop would
    classifier.train_unfrozen()
    unfrozen = {name for name, _ in classifier.layers()[-10:]}
    assert {name for name, norm in norms(classifier) if norm.training} == {
        name for name, _ in norms(classifier) if name in unfrozen
    }
    assert classifier.head.training


@pytest.mark.parametrize(
    ("hidden_layers", "names"),
    [
        ((), ["norm", "dropout", "output"]),
        ((8, 4), ["norm", "hidden0", "relu0", "dropout0", "hidden1", "relu1", "dropout1", "output"]),
    ],
)
def test_head_has_the_asked_layers(hidden_layers, names):
    head = build_head(16, 5, HeadSpec(hidden_layers, 0.4)).eval()
    assert [name for name, _ in head.named_children()] == names
    assert head(torch.randn(3, 16)).shape == (3, 5)
    assert {module.p for module in head if isinstance(module, nn.Dropout)} == {0.4}


def test_a_column_that_never_changes_is_not_blown_up():
    features = torch.randn(50, 4) * torch.tensor([1.0, 10, 100, 0]) + 3
    head = build_head(4, 2, HeadSpec())
    head.norm.fit(features)
    scaled = head.norm(features)
    assert scaled.mean(0).abs().max() < 1e-4
    assert torch.isfinite(scaled).all()
    assert scaled[:, 3].abs().max() < 1e-4
    torch.testing.assert_close(scaled[:, 1].std(), scaled[:, 2].std())


def test_constant_features_stay_finite():
    head = build_head(4, 2, HeadSpec())
    head.norm.fit(torch.full((5, 4), 7.0))
    assert torch.isfinite(head.norm(torch.randn(3, 4))).all()


def test_the_seed_gives_the_weights_and_leaves_torchs_numbers_alone():
    state = torch.get_rng_state()
    first, same, other = (build_classifier("simple_cnn", 2, HeadSpec(), seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    pairs = list(zip(first.parameters(), same.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(first.head.output.weight, other.head.output.weight)


def test_gradients_between_blocks_have_the_layout_of_their_blocks():
    """That of the pooled mean would be channels-first, with which BatchNorm goes back ten times slower."""
    torch.manual_seed(0)
    classifier = build_classifier("mobilenet_v2", 2, HeadSpec()).to(memory_format=torch.channels_last)
    split_at = len(classifier.blocks) - 3
    blocks = [block for _, block in classifier.blocks[split_at:]]
    values = torch.rand(8, 160, 3, 5).contiguous(memory_format=torch.channels_last)
    layouts, gradients = [], []

    def note(given):
        layouts.append(given[0].is_contiguous(memory_format=torch.channels_last))

    for block in blocks[:2]:
        block.register_forward_hook(lambda _, inputs, output: output.grad_fn.register_prehook(note) and None)
    for network, kept in (
        (classifier.suffix(split_at), True),
        (nn.Sequential(*blocks, classifier.head), False),
    ):
        layouts.clear()
        network.zero_grad()
        torch.manual_seed(1)  # dropout
        network(values).square().sum().backward()
        gradients.append([parameter.grad.clone() for parameter in network.parameters()])
        assert len(layouts) == 2
        assert all(layouts) is kept  # torch by itself loses it; once it does not, this is not needed
    for ours, plain in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-3, atol=1e-4)


def has_convolution(block: nn.Module) -> bool:
    return any(isinstance(module, nn.Conv2d) for module in block.modules())


@pytest.mark.parametrize("arch", ["mobilenet_v2", "mobilenet_v3_small", "efficientnet_b0"])
def test_what_trains_copies_nothing_to_work_in_place(arch):
    """In place torch clones the input of these activations first, or it could not go back."""
    found = []
    for as_built in (True, False):
        classifier = build_classifier(arch, 2, HeadSpec(dropout=0.0))
        convolutional = [
            any(isinstance(m, nn.Conv2d) for m in block.modules()) for _, block in classifier.blocks
        ]
        split_at = max(index for index, found_one in enumerate(convolutional) if found_one)
        blocks = [block for _, block in classifier.blocks[split_at:]]
        channels = next(module for module in blocks[0].modules() if isinstance(module, nn.Conv2d)).in_channels
        network = nn.Sequential(*blocks, classifier.head) if as_built else classifier.suffix(split_at)
        values = torch.rand(4, channels, 3, 3, generator=torch.Generator().manual_seed(1))
        torch.manual_seed(2)  # stochastic depth
        with torch.autograd.profiler.profile() as profile:
            network(values).square().sum().backward()
        clones = sum(event.name == "aten::clone" for event in profile.function_events)
        found.append((clones, [parameter.grad for parameter in network.parameters()]))
    (before, plain), (after, ours) = found
    assert after < before
    assert all(torch.equal(one, other) for one, other in zip(plain, ours, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("autocast", [False, True])
def test_a_mean_that_is_channels_last_has_the_same_bits(dtype, autocast):
    torch.manual_seed(0)
    found = []
    for pool in (ChannelsLastMean.apply, MeanPool()):
        images = torch.rand(3, 10, 5, 4, generator=torch.Generator().manual_seed(1)).to(dtype)
        images = images.contiguous(memory_format=torch.channels_last).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            pooled = pool(images)
        pooled.float().pow(3).sum().backward()
        found.append((pooled, images.grad))
    (ours, gradient), (plain, wanted) = found
    assert ours.dtype == plain.dtype
    assert gradient.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(ours, plain)
    assert torch.equal(gradient, wanted)


@torch.no_grad()
def test_prefix_and_suffix_share_the_network(classifier, images):
    wanted = classifier(images)
    names = {id(parameter) for parameter in classifier.parameters()}
    for split_at in (0, 1, len(classifier.blocks) // 2, len(classifier.blocks)):
        prefix, suffix = classifier.prefix(split_at), classifier.suffix(split_at)
        torch.testing.assert_close(suffix(prefix(images)), wanted)
        parts = [id(parameter) for part in (prefix, suffix) for parameter in part.parameters()]
        assert sorted(parts) == sorted(names)
