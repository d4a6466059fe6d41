"""`catdog info`: networks, layers, checkpoints and the cache, for people and as JSON, without a network."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from catdog_cli.cli import run
from catdog_cli.features.store import Store, cache_root
from catdog_cli.models.classifier import build_classifier
from catdog_cli.models.zoo.registry import arch_names, first_class_archs
from catdog_cli.runs.checkpoint import describe_model, save_checkpoint
from catdog_cli.settings import HeadSpec, InputSpec, Phase, TrainSettings

HEAD = HeadSpec((6,), 0.1)
FIRST_CLASS = first_class_archs()
BEST = {"phase": 0, "phase_name": "head", "epoch": 2, "val_accuracy": 0.9375, "val_loss": 0.25}
PHASES = (Phase("head", 3), Phase("fine-tune", 4, 1e-5, unfreeze="all", scheduler="cosine"))


@pytest.fixture(autouse=True)
def _no_download(monkeypatch):
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *a, **k: pytest.fail("used the network"))


@pytest.fixture
def ask(capsys):
    """Return a function that runs `catdog info ...` and gives its exit code, stdout and stderr."""

    def call(*arguments):
        code = run(["info", *map(str, arguments)])
        caught = capsys.readouterr()
        return code, caught.out, caught.err

    return call


def ask_json(ask, *arguments):
    code, out, err = ask(*arguments, "--json")
    assert (code, err) == (0, "")
    return json.loads(out)


def make_run(folder: Path, best: bool = True, last: bool = True) -> Path:
    """Write best.pt and last.pt as training does."""
    folder.mkdir()
    classifier = build_classifier("simple_cnn", 2, HEAD)
    content = describe_model(classifier, HEAD, ["cats", "dogs"], InputSpec(32, 36))
    if best:
        save_checkpoint({**content, "best": BEST, "temperature": 1.25}, folder / "best.pt")
    if last:
        settings = TrainSettings("pets", "simple_cnn", "none", HEAD, PHASES, seed=7).to_dict()
        progress = {"phase": 1, "epoch": 2, "step": 5, "patience": 1, "best": BEST, "history": []}
        facts = {
            "settings": settings,
            "versions": {"catdog": "0.1.0", "torch": "2.11"},
            "data_fingerprint": {"num_files": 36, "digest": "abcd"},
        }
        save_checkpoint({**content, **progress, **facts}, folder / "last.pt")
    return folder


# --- networks


def test_networks_are_listed(ask):
    code, out, _ = ask()
    assert code == 0
    lines = out.splitlines()
    assert lines[0].split() == ["network", "parameters", "features", "input", "px", "layers", "blocks"]
    rows = {line.split()[0]: line.split()[1:] for line in lines[1 : 1 + len(FIRST_CLASS)]}
    assert list(rows) == FIRST_CLASS
    assert rows["resnet18"] == ["11,689,512", "512", "224", "51", "10"]
    assert rows["simple_cnn"][5:] == ["no", "ImageNet", "weights:", "--weights", "none"]
    said = out.replace(",", " ").split()
    assert set(arch_names()) <= set(said)
    assert max(map(len, lines)) <= 110


def test_networks_as_json(ask):
    facts = ask_json(ask)
    assert [row["arch"] for row in facts["archs"]] == FIRST_CLASS
    assert facts["archs"][5] == {
        "arch": "mobilenet_v2",
        "first_class": True,
        "parameters": 3504872,
        "feature_dim": 1280,
        "input_spec": {
            "size": 224,
            "resize": 232,
            "mean": [0.485, 0.456, 0.406],
            "std": [0.229, 0.224, 0.225],
            "interpolation": "bilinear",
        },
        "num_layers": 139,
        "num_blocks": 20,
        "imagenet_weights": True,
        "source": "torchvision",
        "tag": "IMAGENET1K_V2",
        "licence": "BSD-3-Clause",
    }
    assert facts["others"] == arch_names()[len(FIRST_CLASS) :]


def test_all_networks_have_details(ask, monkeypatch):
    chosen = [*FIRST_CLASS, "regnet_y_128gf", "vit_h_14"]  # all 79 take seconds
    monkeypatch.setattr("catdog_cli.models.zoo.registry.arch_names", lambda: chosen)
    facts = ask_json(ask, "--all")
    assert [row["arch"] for row in facts["archs"]] == chosen
    assert facts["others"] == []
    assert [row["parameters"] for row in facts["archs"][-2:]] == [644812894, 633470440]


@pytest.mark.slow
def test_really_all_networks_have_details(ask):
    assert [row["arch"] for row in ask_json(ask, "--all")["archs"]] == arch_names()


# --- one network


def test_layers_are_numbered_from_the_end(ask):
    facts = ask_json(ask, "mobilenet_v2")
    layers = facts["layers"]
    assert [row["unfreeze"] for row in layers] == list(range(139, 0, -1))
    assert layers[-2] == {
        "unfreeze": 2,
        "block": "features.18",
        "name": "features.18.1",
        "type": "BatchNorm2d",
        "parameters": 2560,
        "trained": 2560,
    }
    assert layers[0]["trained"] == sum(row["parameters"] for row in layers) == 3504872 - 1281 * 1000


@pytest.mark.parametrize("arch", ["resnet18", "simple_cnn", "vit_b_16"])
def test_the_numbers_are_what_unfreeze_does(ask, arch):
    from catdog_cli.models.meta import meta_networks

    layers = ask_json(ask, arch)["layers"]
    with meta_networks():
        classifier = build_classifier(arch, 2, HeadSpec())
    for row in layers[:: len(layers) // 6]:
        classifier.unfreeze(row["unfreeze"])
        assert row["trained"] == sum(p.numel() for p in classifier.backbone.parameters() if p.requires_grad)


def test_a_network_for_people(ask):
    code, out, _ = ask("resnet18")
    lines = out.splitlines()
    assert code == 0
    assert lines[0] == "resnet18: 11,689,512 parameters, 512 features"
    assert lines[2] == "weights: torchvision IMAGENET1K_V1, licence BSD-3-Clause"
    assert lines[3] == "51 layers in 10 blocks; `--unfreeze N` trains row N, all below, and the head:"
    assert lines[-1].split() == ["1", "pool", "avgpool", "AdaptiveAvgPool2d", "0", "0"]
    assert lines[-51].split() == ["51", "stem", "conv1", "Conv2d", "9,408", "11,176,512"]


def test_a_folder_called_like_a_network_is_reached_by_its_path(ask, tmp_path, monkeypatch):
    make_run(tmp_path / "simple_cnn")
    monkeypatch.chdir(tmp_path)
    assert "layers" in ask_json(ask, "simple_cnn")
    assert ask_json(ask, "./simple_cnn")["class_names"] == ["cats", "dogs"]


def test_a_folder_of_any_other_name_is_a_run(ask, tmp_path, monkeypatch):
    make_run(tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    assert ask_json(ask, "mine")["arch"] == "simple_cnn"


# --- checkpoints


def test_a_run_directory_says_all(ask, tmp_path):
    folder = make_run(tmp_path / "run-1")
    facts = ask_json(ask, folder)
    assert facts == {
        "path": str(folder),
        "files": [
            {"path": str(folder / name), "bytes": (folder / name).stat().st_size}
            for name in ("best.pt", "last.pt")
        ],
        "format_version": 1,
        "arch": "simple_cnn",
        "source": "",
        "tag": "",
        "licence": "",
        "parameters": 394660,
        "head": HEAD.to_dict(),
        "num_classes": 2,
        "class_names": ["cats", "dogs"],
        "category_names": {},
        "input_spec": InputSpec(32, 36).to_dict(),
        "looks": "once",
        "temperature": 1.25,
        "task": "single-label",
        "thresholds": None,
        "unknown": None,
        "sets": None,
        "best": BEST,
        "progress": {
            "phase": 1,
            "phase_name": "fine-tune",
            "num_phases": 2,
            "epoch": 2,
            "epochs": 4,
            "step": 5,
            "patience": 1,
        },
        "settings": TrainSettings("pets", "simple_cnn", "none", HEAD, PHASES, seed=7).to_dict(),
        "versions": {"catdog": "0.1.0", "torch": "2.11"},
        "data_fingerprint": {"num_files": 36, "digest": "abcd"},
    }


def test_a_run_directory_for_people(ask, tmp_path):
    code, out, _ = ask(make_run(tmp_path / "run-1"))
    lines = {line[:12].strip(): line[13:] for line in out.splitlines()}
    assert code == 0
    assert lines["network"] == "simple_cnn, 394,660 parameters"
    assert lines["head"] == "hidden layers 6, dropout 0.1"
    assert lines["classes"] == "2: cats, dogs"
    assert lines["best"] == "head epoch 2, accuracy 93.75 %, loss 0.2500"
    assert lines["reached"] == "phase 2 of 2 (fine-tune), epoch 2 of 4, 5 batches more"
    assert lines["phase 2"] == "fine-tune: epochs 4, learning_rate 1e-05, unfreeze all, scheduler cosine"
    assert lines["versions"] == "catdog 0.1.0, torch 2.11"
    assert lines["data"] == "36 pictures, fingerprint abcd"
    assert "seed 7" in lines["settings"]
    assert out.splitlines()[0].endswith("best.pt, 1.6 MB")


@pytest.mark.parametrize(("best", "last"), [(True, False), (False, True)])
def test_one_checkpoint_alone_is_enough(ask, tmp_path, best, last):
    folder = make_run(tmp_path / "run-1", best, last)
    facts = ask_json(ask, folder)
    assert facts["class_names"] == ["cats", "dogs"]
    assert (facts["settings"] is not None, facts["progress"] is not None) == (last, last)
    assert facts["temperature"] == (1.25 if best else 1.0)
    code, out, _ = ask(folder / ("best.pt" if best else "last.pt"))
    assert code == 0
    assert ("reached" in out) == last


def test_a_checkpoint_of_training_is_understood(ask, pets, tmp_path):
    network = ["--arch", "simple_cnn", "--weights", "none", "--epochs", "1", "--image-size", "32", "--cpu"]
    assert run(["train", str(pets), *network, "--output", str(tmp_path / "run")]) == 0
    ask("simple_cnn")  # drop what training printed
    facts = ask_json(ask, tmp_path / "run")
    assert facts["class_names"] == ["cats", "dogs"]
    assert facts["best"]["epoch"] == 1
    assert facts["progress"]["phase_name"] == "scratch"
    assert facts["data_fingerprint"]["num_files"] == 36
    assert {"catdog", "torch", "torchvision"} <= set(facts["versions"])
    code, out, _ = ask(tmp_path / "run")
    assert code == 0
    assert "scratch: epochs 1" in out


# --- what is refused


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("resnet19", "Unknown arch 'resnet19': did you mean resnet1"),
        ("no/such/run", "No checkpoint at 'no/such/run'"),
        ("missing.pt", "No checkpoint at 'missing.pt'"),
        (".", "No best.pt in '.'"),
        ("x" * 300 + ".pt", "Cannot look for 'xxx"),
        ("text.pt", "'text.pt' is a text, not a model"),
    ],
)
def test_what_is_neither_is_refused(ask, tmp_path, monkeypatch, target, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.pt").write_text("hello")
    code, out, err = ask(target)
    assert (code, out) == (2 if target == "resnet19" else 1, "")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"settings": {"data": "d", "colour": 1}}, "The settings in '"),
        ({"settings": [1]}, "TrainSettings is [1], but must be names with values"),
        ({"class_to_idx": {"a": 0}}, "do not fit together"),
    ],
)
def test_a_damaged_last_is_named(ask, tmp_path, changes, message):
    folder = make_run(tmp_path / "run-1")
    content = torch.load(folder / "last.pt", weights_only=True)
    torch.save({**content, **changes}, folder / "last.pt")
    code, _, err = ask(folder)
    assert code == 1
    assert message in err
    assert "last.pt" in err


@pytest.mark.parametrize(
    "arguments",
    [["resnet18", "--all"], ["resnet18", "--cache"], ["--all", "--clear-cache"], ["run", "--cache"]],
)
def test_two_questions_at_once_are_refused(ask, arguments):
    code, _, err = ask(*arguments)
    assert code == 2
    assert "ask one at a time" in err


# --- the cache


FIRST, SECOND = "1" * 24 + "-none", "2" * 24 + "-light-5"  # as the cache calls its stores


def fill_cache() -> None:
    for name, rows in ((FIRST, 3), (SECOND, 2)):
        store = Store(cache_root() / name, (4,), torch.float32)
        store.append([f"{i:032x}" for i in range(rows)], torch.zeros(rows, 4))


def test_the_cache_is_shown(ask):
    assert ask_json(ask, "--cache")["stores"] == []
    fill_cache()
    facts = ask_json(ask, "--cache")
    assert {Path(store["path"]).name: store["rows"] for store in facts["stores"]} == {FIRST: 3, SECOND: 2}
    assert facts["bytes"] == sum(store["bytes"] for store in facts["stores"]) >= 5 * 32
    code, out, _ = ask("--cache")
    assert code == 0
    assert out.startswith(f"{cache_root()}: ")
    assert " in 2 stores\n" in out
    assert sorted(line.split()[-1] for line in out.splitlines()[2:4]) == [FIRST, SECOND]
    shutil.rmtree(cache_root() / SECOND)
    assert " in 1 store\n" in ask("--cache")[1]


def test_the_cache_is_emptied(ask):
    fill_cache()
    (cache_root() / "not-ours").mkdir()
    (cache_root() / "unpacked" / "pets-0").mkdir(parents=True)
    (cache_root() / "unpacked" / "pets-0" / "a.png").write_bytes(b"0" * 500)
    assert "500 bytes of archives" in ask("--cache")[1]
    size = ask_json(ask, "--cache")["bytes"]
    code, out, _ = ask("--clear-cache")
    assert (code, out) == (0, f"{cache_root()}: freed {size} bytes\n")
    assert [path.name for path in cache_root().iterdir()] == ["not-ours"]
    assert ask_json(ask, "--cache", "--clear-cache") == {
        "root": str(cache_root()),
        "freed_bytes": 0,
        "left_bytes": 0,
    }


def test_what_cannot_be_deleted_is_said(ask, monkeypatch):
    fill_cache()
    monkeypatch.setattr("catdog_cli.features.store._delete", lambda folder: None)
    _, out, _ = ask("--clear-cache")
    assert out.startswith(f"{cache_root()}: freed 0 bytes; ")
    assert out.endswith(" could not be deleted\n")
