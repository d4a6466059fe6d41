"""Several networks under one head: features kept one by one, and one checkpoint that does what others do."""

import json
import shutil

import pytest
import torch

import catdog_cli
from catdog_cli.cli import run as command
from catdog_cli.features import cache_fill as fill
from catdog_cli.features.store import clear_cache, list_stores
from catdog_cli.images import read
from catdog_cli.settings import HeadSpec, Phase
from catdog_cli.training.dry_run import estimate_run
from catdog_cli.training.run import read_data

from ..conftest import save_network
from .runs import Events, differences, load, resume, settings_for, train

BOTH = "squeezenet1_1+simple_cnn"  # small ones, of two sources
PHASE = Phase("p", 2, 1e-2, batch_size=5)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return the weights of BOTH, in order."""
    folder = tmp_path_factory.mktemp("weights")
    return tuple(str(save_network(arch, folder / f"{arch}.pth")) for arch in BOTH.split("+"))


@pytest.fixture
def counted(monkeypatch):
    """Return a list of (arch sizes, pictures) of each pass through frozen networks."""
    passes = []
    original = fill.run_prefix

    def spy(prefix, chosen, indices, *args, **kwargs):
        passes.append((len(prefix.parts), len(indices)))
        return original(prefix, chosen, indices, *args, **kwargs)

    monkeypatch.setattr(fill, "run_prefix", spy)
    return passes


@pytest.fixture(scope="module")
def run_dir(few, files, tmp_path_factory):
    """Return a run of two networks, of which tests work on copies."""
    folder = tmp_path_factory.mktemp("both")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CATDOG_CACHE", str(folder / "cache"))
        settings = settings_for(few, PHASE, arch=BOTH, weights=files, image_size=40)
        train(settings, folder / "run")
    return folder / "run"


def test_the_head_sees_the_features_of_both_in_a_row(run_dir, few):
    content = load(run_dir)
    assert content["arch"] == BOTH
    assert [spec["size"] for spec in content["input_spec"]] == [40, 40]
    assert content["state_dict"]["head.hidden0.weight"].shape == (8, 512 + 256)
    assert content["state_dict"]["backbone.0.features.0.weight"].shape == (64, 3, 3, 3)
    both = catdog_cli.Predictor.load(run_dir, device="cpu", precision="fp32")
    (found,) = both.features([few / "val" / "cats" / "0.png"])
    assert found.shape == (768,)


def test_each_half_has_the_features_that_the_network_has_alone(run_dir, few, files, tmp_path):
    image = few / "val" / "cats" / "0.png"
    (both,) = catdog_cli.Predictor.load(run_dir, device="cpu", precision="fp32").features([image])
    start = 0
    for arch, weights in zip(BOTH.split("+"), files, strict=True):
        settings = settings_for(few, PHASE, arch=arch, weights=weights, image_size=40)
        train(settings, tmp_path / arch)
        (alone,) = catdog_cli.Predictor.load(tmp_path / arch, device="cpu", precision="fp32").features(
            [image]
        )
        assert torch.equal(both[start : start + len(alone)], alone)
        start += len(alone)


@pytest.mark.parametrize("augment", [{}, {"augment": "light", "views": 2}], ids=["plain", "views"])
def test_a_cache_is_shared_with_runs_of_one_network(few, files, tmp_path, counted, augment):
    phase = Phase("p", 2, 1e-2, batch_size=5, **augment)
    alone = settings_for(few, phase, arch="squeezenet1_1", weights=files[0])
    train(alone, tmp_path / "one")
    rows = 6 + 12 * (2 if augment else 1)
    assert sum(count for _, count in counted) == rows
    counted.clear()
    both = settings_for(few, phase, arch=BOTH, weights=files)
    first = train(both, tmp_path / "both")
    assert sum(count for _, count in counted) == rows  # of the other network alone
    assert {parts for parts, count in counted if count} == {1}
    clear_cache()
    counted.clear()
    again = train(both, tmp_path / "again")
    assert {(parts, count) for parts, count in counted if count} <= {(2, 6), (2, 12)}  # each image once
    assert differences(first, again) == []
    counted.clear()
    for arch, weights in zip(BOTH.split("+"), files, strict=True):
        train(settings_for(few, phase, arch=arch, weights=weights), tmp_path / arch)
    assert sum(count for _, count in counted) == 0
    assert len(list_stores()) == (4 if augment else 2)


def test_an_image_is_decoded_once_for_both(few, files, tmp_path, monkeypatch):
    decoded = []
    original = read.decode
    monkeypatch.setattr(read, "decode", lambda *args: decoded.append(args) or original(*args))
    train(settings_for(few, PHASE, arch=BOTH, weights=files), tmp_path / "run")
    assert len(decoded) == 18
    decoded.clear()
    predictor = catdog_cli.Predictor.load(tmp_path / "run", device="cpu")
    list(predictor.predict([few / "val" / "cats" / "0.png"]))
    assert len(decoded) == 1


@pytest.mark.parametrize(
    "changes",
    [{"cache": False}, {"cache_limit": 1e-5}],
    ids=["without a cache", "with a small cache"],
)
def test_without_kept_features_it_learns_the_same(few, files, tmp_path, changes):
    phase = Phase("p", 2, 1e-2, batch_size=5)
    settings = settings_for(few, phase, arch=BOTH, weights=files)
    kept = train(settings, tmp_path / "kept")
    fresh = train(settings_for(few, phase, arch=BOTH, weights=files, **changes), tmp_path / "fresh")
    for name, tensor in kept["state_dict"].items():
        torch.testing.assert_close(fresh["state_dict"][name], tensor, rtol=1e-3, atol=1e-4)


def test_fresh_views_are_the_same_however_they_are_loaded(few, files, tmp_path):
    phase = Phase("p", 1, 1e-2, batch_size=5, augment="standard")
    runs = [
        train(settings_for(few, phase, arch=BOTH, weights=files, workers=workers), tmp_path / str(workers))
        for workers in (0, 1)
    ]
    assert [found for found in differences(*runs) if "settings.workers" not in found] == []


def test_a_resumed_run_has_the_bits_of_one_in_one_go(run_dir, few, files, tmp_path):
    settings = settings_for(few, Phase("p", 1, 1e-2, batch_size=5), arch=BOTH, weights=files, image_size=40)
    train(settings, tmp_path / "run")
    found = resume(tmp_path / "run", epochs=2, arch=BOTH, weights="+".join(files))
    assert differences(found, load(run_dir)) == []
    with pytest.raises(
        catdog_cli.CatdogError, match="--weights cannot change on resume: the run keeps its own"
    ):
        resume(tmp_path / "run", weights="imagenet")


def test_it_is_solved_and_measured_like_one_network(few, files, tmp_path):
    found = catdog_cli.train(
        few, arch=BOTH, weights=list(files), image_size=40, optimizer="lbfgs", output=tmp_path / "run",
        device="cpu",
    )  # fmt: skip
    measured = catdog_cli.evaluate(found.run_dir, few, device="cpu")
    assert measured.num_samples == 6
    assert measured.accuracy == pytest.approx(found.best["val_accuracy"])
    mirrored = catdog_cli.evaluate(found.run_dir, few, device="cpu", tta=True)
    assert mirrored.num_samples == 6


def test_networks_may_have_inputs_of_their_own(few, files, tmp_path):
    """squeezenet looks at 224 px, simple_cnn at 128."""
    settings = settings_for(few, PHASE, arch=BOTH, weights=(files[0], "none"), image_size=0, head=HeadSpec())
    content = train(settings, tmp_path / "run")
    assert [spec["size"] for spec in content["input_spec"]] == [224, 128]
    found = catdog_cli.predict([few / "val" / "cats" / "0.png"], tmp_path / "run", device="cpu")
    assert found[0].error is None


def test_unreadable_pictures_are_left_out(few, files, tmp_path):
    data = shutil.copytree(few, tmp_path / "data")
    (data / "train" / "cats" / "0.png").write_bytes(b"nothing")
    settings = settings_for(data, PHASE, arch=BOTH, weights=files, max_bad_fraction=0.5)
    assert train(settings, tmp_path / "run")["history"][-1]["num_bad"] == 1


def test_a_dry_run_speaks_of_both(few, files):
    settings = settings_for(few, PHASE, arch=BOTH, weights=files)
    facts = estimate_run(settings, read_data(settings, Events()))
    assert (facts["arch"], facts["weights"], facts["image_size_px"]) == (BOTH, "+".join(files), [32, 32])
    assert facts["phases"][0]["features_kept_bytes"] == 18 * (4 * (512 + 256) + 2 * 16)


def test_the_command_line_speaks_of_both(run_dir, few, files, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)  # lr-find leaves its plot there
    assert command(["info", str(run_dir)]) == 0
    printed = capsys.readouterr().out
    assert f"network      {BOTH}" in printed
    assert "40 px, cut from a shorter side of 40 px" in printed
    assert command(["info", str(run_dir), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["input_spec"]) == 2
    options = ["--arch", BOTH, "--weights", "+".join(files), "--image-size", "32", "--dry-run", "--cpu"]
    assert command(["train", str(few), *options]) == 0
    assert f"{BOTH}, weights {'+'.join(files)}, 32+32 px" in capsys.readouterr().out
    assert command(["lr-find", str(few), *options[:6], "--cpu"]) == 0


def test_a_checkpoint_with_one_input_for_two_networks_is_refused(run_dir, tmp_path):
    content = torch.load(run_dir / "best.pt", weights_only=True)
    torch.save({**content, "input_spec": content["input_spec"][0]}, tmp_path / "best.pt")
    with pytest.raises(catdog_cli.CatdogError, match=r"there are 1 input specs for 2 networks"):
        catdog_cli.Predictor.load(tmp_path / "best.pt")
