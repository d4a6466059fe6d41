"""What every source of networks promises, and that a new one is all in one file."""

import json
import socket

import pytest
import torch

import catdog_cli
from catdog_cli.cli import run
from catdog_cli.errors import CatdogError, CheckpointError, SettingsError
from catdog_cli.models import weights
from catdog_cli.models.classifier import build_classifier
from catdog_cli.models.meta import meta_networks
from catdog_cli.models.weights import load_backbone
from catdog_cli.models.zoo import registry
from catdog_cli.models.zoo.registry import arch_names, default_weights, first_class_archs, source_of
from catdog_cli.models.zoo.simple_cnn_source import SimpleCNNSource
from catdog_cli.models.zoo.torchvision_source import TorchvisionSource
from catdog_cli.settings import HeadSpec, InputSpec

from ..conftest import make_classifier
from .toys import NO_WEIGHTS, ToySource

ARCHS = [  # with the source that has it: first-class ones, others, and other families
    *((TorchvisionSource, arch) for arch in ("resnet18", "efficientnet_b0", "googlenet", "convnext_tiny")),
    *((TorchvisionSource, arch) for arch in ("vit_b_16", "vit_h_14", "swin_t", "inception_v3", "maxvit_t")),
    (TorchvisionSource, "regnet_y_400mf"),
    (SimpleCNNSource, "simple_cnn"),
    *((ToySource, arch) for arch in ("toy_thin", "toy_wide", "toy_odd")),
]
every_arch = pytest.mark.parametrize(("kind", "arch"), ARCHS, ids=lambda value: getattr(value, "name", value))


@pytest.fixture(autouse=True)
def toys(tmp_path, monkeypatch) -> ToySource:
    """Add a third source, as an entry in SOURCES would; nothing may reach the internet."""
    source = ToySource(tmp_path / "toys")
    source.folder.mkdir()
    monkeypatch.setattr(registry, "SOURCES", (*registry.SOURCES, source))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", _refuse)
    monkeypatch.setattr(socket, "getaddrinfo", _refuse)
    return source


def _refuse(*args, **options):
    raise OSError("no network here")


# --- what every source promises


@every_arch
def test_an_arch_is_found_at_its_source(kind, arch):
    source = source_of(arch)
    assert isinstance(source, kind)
    assert arch in source.archs()
    assert arch in arch_names()
    assert source.why_not(arch) == ""


@every_arch
def test_blocks_and_backbone_are_one_network(kind, arch):
    shape_of(arch)


@pytest.mark.slow
def test_every_arch_runs_at_its_own_size(monkeypatch):
    monkeypatch.setattr(torch.nn.functional, "batch_norm", lambda images, *_, **__: images)  # of one shape
    for arch in arch_names():
        shape_of(arch)


def shape_of(arch: str) -> None:
    """Run an empty network on an empty picture of its own size, and its blocks in turn."""
    with meta_networks():
        classifier = build_classifier(arch, 2, HeadSpec())
    size = source_of(arch).input_spec(arch, "imagenet").size
    images = torch.empty(2, 3, size, size, device="meta")
    logits = classifier.to("meta").eval()(images)
    assert logits.shape == (2, 2)
    if len(classifier.blocks) > 1:  # else they are the same
        for _, block in classifier.blocks:
            images = block(images)
        assert images.shape == (2, classifier.feature_dim)
    owners = [id(p) for _, module in classifier.layers() for p in module.parameters(recurse=False)]
    assert sorted(owners) == sorted({id(p) for p in classifier.backbone.parameters()})
    held = {id(p) for _, block in classifier.blocks for p in block.parameters()}
    assert held == set(owners)
    buffers = {name for name, _ in classifier.named_buffers()}
    assert buffers <= set(classifier.state_dict())  # else a checkpoint would not fill an empty network


@pytest.mark.parametrize("arch", ["resnet18", "simple_cnn", "toy_thin"])
def test_random_weights_come_from_torchs_generator(arch):
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(next(source_of(arch).build(arch).parameters()))
    first, same, other = found
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


@every_arch
def test_an_input_spec_is_there_for_every_kind_of_weights(kind, arch):
    source = source_of(arch)
    assert isinstance(source.input_spec(arch, "imagenet"), InputSpec)
    assert source.input_spec(arch, "weights.pth") == source.input_spec(arch, "none")


@pytest.mark.parametrize(
    ("arch", "size"), [("resnet18", 224), ("inception_v3", 299), ("simple_cnn", 128), ("toy_thin", 16)]
)
def test_input_spec_of_a_file_has_the_size_of_the_arch(arch, size):
    assert source_of(arch).input_spec(arch, "weights.pth").size == size


@every_arch
def test_a_licence_is_named(kind, arch):
    assert source_of(arch).licence(arch)


@every_arch
def test_without_weights_or_internet_a_sentence_says_so(kind, arch):
    with meta_networks():
        classifier = build_classifier(arch, 2, HeadSpec())
    source = source_of(arch)
    message = "no ImageNet weights: add --weights none"
    if source.has_weights(arch):
        path = source.weights_path(arch)
        assert not path.exists()
        message = rf"Cannot download the ImageNet weights of {arch} .* at '{path}', or give --weights FILE"
    with pytest.raises(CatdogError, match=message):
        load_backbone(classifier, "imagenet")


@pytest.mark.parametrize("arch", ["resnet18", "efficientnet_b0", "toy_thin", "toy_wide"])
def test_weights_that_are_there_are_loaded_offline(arch):
    source = source_of(arch)
    path = source.weights_path(arch)
    path.parent.mkdir(parents=True, exist_ok=True)
    wanted = source.build(arch).state_dict()
    torch.save(wanted, path)
    loaded = source.load_weights(arch)
    assert list(loaded) == list(wanted)
    classifier = build_classifier(arch, 2, HeadSpec(), seed=3)
    load_backbone(classifier, "imagenet")
    assert all(torch.equal(t, wanted[name]) for name, t in classifier.backbone.state_dict().items())
    path.write_bytes(b"half a file")
    with pytest.raises(CheckpointError, match=r"The downloaded weights '.+' are damaged: delete that file"):
        load_backbone(classifier, "imagenet")


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ("toy_block", r"'toy_block' is made of wood\."),
        ("toy_thn", r"Unknown arch 'toy_thn': did you mean toy_thin\?"),
    ],
)
def test_what_no_source_has_is_refused(arch, message):
    with pytest.raises(SettingsError, match=message):
        source_of(arch)


def test_no_source_takes_the_name_of_an_earlier_one():
    for number, source in enumerate(registry.SOURCES):
        earlier = {arch for before in registry.SOURCES[:number] for arch in before.archs()}
        assert not earlier.intersection(source.first_class)
        assert set(source.first_class) <= set(source.archs())


# --- a new source is one file and one entry


def test_a_new_source_is_listed_and_described(capsys):
    assert run(["info", "--json"]) == 0
    rows = {row["arch"]: row for row in json.loads(capsys.readouterr().out)["archs"]}
    assert list(rows) == first_class_archs()
    assert rows["toy_thin"] == {
        "arch": "toy_thin",
        "first_class": True,
        "parameters": 162,
        "feature_dim": 4,
        "input_spec": source_of("toy_thin").input_spec("toy_thin", "imagenet").to_dict(),
        "num_layers": 2,
        "num_blocks": 2,
        "imagenet_weights": True,
        "source": "toys",
        "tag": "",
        "licence": "CC0-1.0",
    }
    assert run(["info", "toy_wide"]) == 0
    assert "2 layers in one block" in capsys.readouterr().out
    assert default_weights("toy_wide") == "imagenet"
    assert default_weights(NO_WEIGHTS) == "none"


def test_weights_of_a_new_source_are_told_from_others(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "arch_names", lambda: [*first_class_archs(), "toy_wide"])  # all take seconds
    torch.save(source_of("toy_wide").build("toy_wide").state_dict(), tmp_path / "w.pth")
    message = r"belongs to toy_wide, not to toy_thin: give --arch toy_wide, or other weights"
    with pytest.raises(CheckpointError, match=message):
        load_backbone(make_classifier("toy_thin"), str(tmp_path / "w.pth"))


@pytest.mark.parametrize("arch", ["toy_thin", NO_WEIGHTS])
def test_a_new_source_trains_and_predicts(toys, pets, tmp_path, arch):
    if toys.has_weights(arch):
        torch.save(toys.build(arch).state_dict(), toys.weights_path(arch))
    found = catdog_cli.train(
        pets, arch=arch, epochs=1, fine_tune_epochs=1, output=tmp_path / "run", device="cpu", workers=0
    )
    content = catdog_cli.load_checkpoint(found.checkpoint)
    assert content["arch"] == arch
    assert content["input_spec"]["mean"] == [0.5, 0.5, 0.5]
    (row,) = catdog_cli.predict([pets / "val" / "cats" / "0.png"], found.checkpoint, device="cpu")
    assert {each.class_name for each in row.predictions} == {"cats", "dogs"}
