"""`catdog verify-resume` on tiny pictures: real processes, killed; what it says; that it leaves nothing."""

import json
import os
import sys
import tempfile

import pytest

from catdog_cli.cli import run
from catdog_cli.features.store import cache_root
from catdog_cli.training.resume import verify_resume as verify
from tests.commands.trained import call, train_tiny
from tests.conftest import write_images
from tests.training.runs import settings_for

TINY = ("--arch", "simple_cnn", "--weights", "none", "--image-size", "32", "--cpu", "--workers", "0")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Return one folder per class, more pictures than are trained on."""
    return write_images(tmp_path_factory.mktemp("data") / "pets", {"cats": 30, "dogs": 30})


@pytest.fixture
def private(tmp_path, monkeypatch):
    """Let temporary folders be made in a place of its own, and return it."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return folder


@pytest.mark.slow
def test_it_kills_and_finds_no_difference(capsys, data, private, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = sorted(path for path in data.rglob("*"))
    code, found, talk = call(
        capsys, "verify-resume", data, *TINY, "--batch-size", 5, "--kills", 1, "--pictures", 20
    )
    assert (code, found["identical"], found["differences"]) == (0, True, [])
    assert found["pictures"] == {"train": 20, "val": 10}
    assert (found["epochs"], len(found["kills"])) == (2, 1)
    assert found["kills"][0].startswith("in phase 'scratch', batch ")
    assert found["files_compared"] > 8
    assert "Killed 1: in phase 'scratch'" in talk
    assert [path.name for path in tmp_path.iterdir()] == ["temporary"]
    assert list(private.iterdir()) == []
    assert sorted(path for path in data.rglob("*")) == before
    assert not cache_root().exists() or list(cache_root().iterdir()) == []


def outcome(capsys, *arguments) -> tuple[int, str]:
    capsys.readouterr()
    code = run(["verify-resume", *map(str, arguments)])
    return code, capsys.readouterr().out


def test_what_is_identical_is_said_in_plain_words(capsys, data, private, verified_here):
    code, text = outcome(capsys, data, *TINY, "--pictures", 8)
    assert code == 0
    assert "Trained 2 epochs on 8 pictures, measured on 4, twice: undisturbed, and killed 3 times." in text
    assert "Identical, bit for bit" in text


def test_a_bad_picture_among_few_does_not_count_as_among_all(capsys, private, verified_here, tmp_path):
    """One of 60 is less than the 2 % allowed, and one of the 12 that are trained on is more."""
    counts = {"train/cats": 25, "train/dogs": 25, "val/cats": 5, "val/dogs": 5}
    bad = write_images(tmp_path / "bad", counts)
    (bad / "train" / "cats" / "0.png").write_bytes(b"no picture")
    code, text = outcome(capsys, bad, *TINY, "--pictures", 8, "--max-bad-fraction", 0.02)
    assert (code, "Identical, bit for bit" in text) == (0, True)


def test_a_difference_is_named_and_exits_with_1(capsys, data, private, verified_here):
    verified_here.append(["killed"])
    code, text = outcome(capsys, data, *TINY, "--pictures", 8)
    assert code == 1
    assert "They differ at 1 places:\n  last.pt: patience: " in text
    assert "so the resume is to blame: please report this." in text
    assert list(private.iterdir()) == []


def test_a_device_that_does_not_repeat_itself_is_not_blamed_on_the_resume(
    capsys, data, private, verified_here
):
    verified_here.append(["killed", "again"])
    code, text = outcome(capsys, data, *TINY, "--pictures", 8)
    assert code == 1
    assert "Two undisturbed trainings differ here, too: this device does not repeat" in text


def test_a_run_directory_gives_its_settings(capsys, data, private, verified_here, tmp_path):
    run_dir = train_tiny(data, tmp_path / "run", "--epochs", "1", "--batch-size", "7")
    before = {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()}
    code, found, _ = call(capsys, "verify-resume", run_dir)
    assert (code, found["epochs"], found["pictures"]["train"]) == (0, 1, 28)
    assert {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (("--epochs", "3"), "--epochs was given, but "),
        (("--recipe", "scratch"), "--recipe was given, but "),
    ],
)
def test_options_beside_a_run_directory_are_refused(capsys, tmp_path, options, match):
    (tmp_path / "settings.json").write_text(json.dumps(settings_for("pets").to_dict()))
    capsys.readouterr()
    assert run(["verify-resume", str(tmp_path), *options]) == 2
    assert match in capsys.readouterr().err


@pytest.mark.parametrize(
    ("folder", "options", "match"),
    [
        ("nothing", (), "does not exist"),
        (None, ("--weights", "missing.pth"), "missing.pth"),
    ],
)
def test_what_cannot_be_trained_is_one_sentence(capsys, data, private, tmp_path, folder, options, match):
    capsys.readouterr()
    assert run(["verify-resume", str(tmp_path / folder if folder else data), *TINY, *options]) == 1
    printed = capsys.readouterr()
    assert match in printed.err
    assert printed.out == ""
    assert list(private.iterdir()) == []


@pytest.mark.parametrize(
    ("logged", "said"),
    [
        ("Phase 1\nError: the loss is gone", "the loss is gone"),
        ("Error: 1 of 4 cannot be read.\n  cats/1.png", "1 of 4 cannot be read.\n  cats/1.png"),
        ("Killed", "Killed"),
        ("", "it said nothing"),
    ],
)
def test_a_training_that_fails_says_why(capsys, data, private, tmp_path, monkeypatch, logged, said):
    failing = tmp_path / "python"
    failing.write_text(f"#!/bin/sh\necho '{logged}' >&2\nexit 1\n")
    failing.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(failing))
    capsys.readouterr()
    assert run(["verify-resume", str(data), *TINY]) == 1
    assert f"Error: The training itself failed: {said}\n" in capsys.readouterr().err
    assert list(private.iterdir()) == []


def test_paths_of_any_kind_are_left_out(private, tmp_path):
    odd = write_images(tmp_path / "odd", {"train/a": 9, "train/b": 9, "val/a": 3, "val/b": 3})
    names = ["new\nline.png", '"quoted".png', "\udcff.png"]
    for name in names:
        (odd / "train" / "b" / name).write_bytes((odd / "train" / "b" / "1.png").read_bytes())
    small, counts = verify._shrink(settings_for(os.path.relpath(odd)), tmp_path, 4, print)
    from catdog_cli.data.scan import scan_dataset

    found = scan_dataset(small.data, exclude=small.exclude, leaks=False)
    assert {name: len(split) for name, split in found.splits.items()} == counts == {"train": 4, "val": 4}
