"""What --dry-run says, and that it leaves nothing behind."""

import shutil
import time

import pytest

from catdog_cli.errors import SettingsError
from catdog_cli.features.store import cache_root
from catdog_cli.settings import HeadSpec, Phase
from catdog_cli.training import run
from catdog_cli.training.dry_run import estimate_run

from .runs import Events, settings_for, train


def estimate(settings):
    return estimate_run(settings, run.read_data(settings, Events()))


def test_facts_are_those_of_the_run(few):
    facts = estimate(settings_for(few, Phase("a", 2, batch_size=5), Phase("b", 1, unfreeze="all")))
    assert facts["classes"] == ["cats", "dogs"]
    assert facts["pictures"] == {"train": {"cats": 6, "dogs": 6}, "val": {"cats": 3, "dogs": 3}}
    assert (facts["device"], facts["precision"], facts["image_size_px"]) == ("cpu", "float32", 32)
    assert [phase["name"] for phase in facts["phases"]] == ["a", "b"]
    assert facts["phases"][1]["trainable_parameters"] == facts["phases"][1]["total_parameters"]
    assert facts["phases"][0]["trainable_parameters"] == 256 * 8 + 8 + 8 * 2 + 2
    assert facts["seconds"] == sum(phase["seconds"] for phase in facts["phases"]) > 0
    assert 10**8 < facts["memory_bytes"] < 10**11


def test_nothing_is_written(few, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    estimate(settings_for(few, Phase("a", 2, batch_size=5, augment="light", views=2)))
    assert list(tmp_path.iterdir()) == []
    assert not cache_root().exists() or list(cache_root().iterdir()) == []


@pytest.mark.parametrize(
    ("phase", "rows"),
    [
        (Phase("p", 4), 18),
        (Phase("p", 4, augment="light", views=3), 6 + 3 * 12),
        (Phase("p", 2, augment="light", views=3), 6 + 2 * 12),
        (Phase("p", 4, augment="light"), 6),
        (Phase("p", 4, unfreeze="all"), 0),
        (Phase("p", 1, optimizer="lbfgs", augment="light", views=3), 6 + 3 * 12),
    ],
)
def test_kept_bytes_are_those_that_the_run_keeps(few, tmp_path, phase, rows):
    settings = settings_for(few, phase, head=HeadSpec())
    assert estimate(settings)["phases"][0]["features_kept_bytes"] == rows * (256 * 4 + 16)
    train(settings, tmp_path / "run")
    kept = sum(path.stat().st_size for path in cache_root().glob("*/*.bin"))
    assert kept == rows * (256 * 4 + 16)


def test_no_cache_keeps_no_bytes(few):
    facts = estimate(settings_for(few, Phase("p", 2), cache=False))
    assert facts["phases"][0]["features_kept_bytes"] == 0


def test_seconds_are_of_the_right_size(few, tmp_path, monkeypatch):
    """On the clock of this process, which stands still while others have the cores."""
    monkeypatch.setattr(time, "perf_counter", time.process_time)
    phase = Phase("p", 20, unfreeze="all", batch_size=6)
    said = estimate(settings_for(few, phase))["seconds"]
    started = time.perf_counter()
    train(settings_for(few, phase), tmp_path / "run")
    took = time.perf_counter() - started
    assert took / 8 < said < took * 8


def test_more_epochs_take_longer(few):
    short, long = (
        estimate(settings_for(few, Phase("p", epochs, unfreeze="all")))["seconds"] for epochs in (1, 1000)
    )
    assert long > 100 * short


def test_settings_that_would_fail_fail_now(few):
    with pytest.raises(SettingsError, match="linear head alone"):
        estimate(settings_for(few, Phase("p", 1, unfreeze="all", optimizer="lbfgs")))


def test_unreadable_pictures_do_not_stop_it(few, tmp_path):
    data = shutil.copytree(few, tmp_path / "data")
    for path in (data / "train").glob("*/[0-4].png"):
        path.write_bytes(b"nothing")
    assert estimate(settings_for(data, Phase("p", 1, batch_size=2)))["seconds"] > 0
