"""What a training keeps to tell strangers by: features that no phase has tuned, the same after a resume."""

import io

import pytest
import torch

from catdog_cli.errors import InterruptedRunError
from catdog_cli.settings import HeadSpec, Phase

from .runs import differences, load, resume, settings_for, train

LINEAR = HeadSpec((), 0.0)
HEAD, TUNED = Phase("head", 1), Phase("last", 1, unfreeze=4)


@pytest.fixture(scope="module")
def settings(few, squeezenet_file):
    return settings_for(few, HEAD, TUNED, arch="squeezenet1_1", weights=squeezenet_file, head=LINEAR)


@pytest.fixture(scope="module")
def tuned(settings, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("known") / "run"
    train(settings, run_dir)
    return run_dir


def test_a_tuned_network_is_asked_before_its_tuned_blocks(tuned):
    frozen, behind = load(tuned, "best-1-head.pt")["unknown"], load(tuned, "best-2-last.pt")["unknown"]
    assert (frozen["border"], frozen["block"]) == (0, "")
    assert behind["border"] > 0
    assert behind["block"] != ""
    assert {kept["split"] for kept in (frozen, behind)} == {"train"}
    assert len(frozen["rows"]) == len(behind["rows"]) == 12


def test_a_network_trained_as_a_whole_keeps_what_it_makes_of_validation_images(few, tmp_path):
    train(settings_for(few), tmp_path / "run")
    kept = load(tmp_path / "run", "best.pt")["unknown"]
    assert (kept["split"], len(kept["rows"]), kept["border"]) == ("val", 6, 0)


def test_two_networks_keep_one_reference(few, squeezenet_file, tmp_path):
    networks = {"arch": "squeezenet1_1+simple_cnn", "weights": (squeezenet_file, "none")}
    train(settings_for(few, HEAD, head=LINEAR, **networks), tmp_path / "run")
    kept = load(tmp_path / "run", "best.pt")["unknown"]
    assert (
        kept["feature_dim"] > 512 == kept["rows"].shape[1]
    )  # projected: the size knows no number of networks
    content = io.BytesIO()
    torch.save(kept, content)
    assert content.tell() < 512 * 512 * 4 + 12 * 2048 + 20_000  # of 2,000 images 3.2 MB


def test_a_resumed_run_keeps_the_same(settings, tuned, tmp_path):
    asked = []
    with pytest.raises(InterruptedRunError):
        train(settings, tmp_path / "run", should_stop=lambda: len(asked.append(1) or asked) == 5)
    assert not differences(resume(tmp_path / "run")["unknown"], load(tuned)["unknown"])
