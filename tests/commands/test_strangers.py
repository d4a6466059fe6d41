"""What is unknown and which classes it may be, through the commands: predict, evaluate, calibrate, info."""

import csv

import numpy as np
import pytest
import torch
from PIL import Image

import catdog_cli
from catdog_cli.cli import run
from tests.commands.trained import call, change_checkpoint, train_tiny
from tests.conftest import write_images


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a run over images of three colours, and the folder that it was trained on."""
    root = tmp_path_factory.mktemp("trained")
    counts = {
        f"{split}/{name}": n for split, n in (("train", 30), ("val", 40)) for name in ("cats", "dogs", "owls")
    }
    data = write_images(root / "pets", counts)
    return train_tiny(data, root / "run", "--precision", "fp32", "--seed", "1"), data


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """Return a folder of 8 images of noise."""
    folder, rng = tmp_path_factory.mktemp("noise"), np.random.default_rng(0)
    for number in range(8):
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def bare(trained, tmp_path_factory):
    """Return a checkpoint as an older catdog wrote it: nothing to tell strangers or choose sets by."""
    content = torch.load(trained[0] / "best.pt", weights_only=True)
    path = tmp_path_factory.mktemp("bare") / "old.pt"
    torch.save({name: value for name, value in content.items() if name not in ("unknown", "sets")}, path)
    return path


def test_strangers_are_unknown_in_every_output(capsys, tmp_path, trained, noise):
    run_dir, data = trained
    own = sorted((data / "val" / "cats").iterdir())[0]
    asked = ["predict", noise, own, run_dir, "--unknown-rate", "0.05"]
    _, rows, _ = call(capsys, *asked)
    assert [row["known"]["is_known"] for row in rows] == [False] * 8 + [True]
    assert all(row["status"] == "ok" and row["predictions"] for row in rows)
    assert run([*map(str, asked), "--summary"]) == 0
    text = capsys.readouterr().out
    assert text.count("unknown (p = 0.0") == 8
    assert "unknown" in text.splitlines()[-1] or "unknown   8" in " ".join(text.split())
    table = tmp_path / "found.csv"
    assert run([*map(str, asked), "--output", str(table)]) == 0
    with table.open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [row["known"] for row in found] == ["false"] * 8 + ["true"]
    assert [float(row["known_p"]) for row in found] == pytest.approx(
        [row["known"]["p_value"] for row in rows]
    )
    assert {row["status"] for row in found} == {"ok"}
    folder = tmp_path / "sorted"
    assert run([*map(str, asked), "--sort-into", str(folder)]) == 0
    assert {path.name: len(list(path.iterdir())) for path in folder.iterdir()}["unknown"] == 8
    (answer,) = catdog_cli.Predictor.load(run_dir, unknown_rate=0.05).predict([noise / "0.png"])
    assert answer.known is not None
    assert not answer.known.is_known
    assert answer.known.p_value == pytest.approx(rows[0]["known"]["p_value"])


def test_a_rate_of_0_calls_nothing_unknown_and_one_too_small_is_told(capsys, trained, noise):
    run_dir, _ = trained
    _, rows, _ = call(capsys, "predict", noise, run_dir, "--unknown-rate", "0")
    assert not any("known" in row for row in rows)
    _, rows, talk = call(capsys, "predict", noise, run_dir, "--unknown-rate", "0.000001")
    assert "nothing is called unknown: the" in talk
    assert all(row["known"]["is_known"] for row in rows)
    assert run(["predict", str(noise), str(run_dir), "--unknown-rate", "0.9"]) == 2
    assert "unknown rate is 0.9, but must be a number from 0 to 0.5" in capsys.readouterr().err


def test_sets_of_classes_hold_the_promise_or_say_what_can_be_promised(capsys, trained):
    run_dir, data = trained
    _, rows, _ = call(capsys, "predict", data / "val", run_dir, "--sure", "0.9", "--unknown-rate", "0")
    right = [row["path"].split("/")[-2] in row["sure"]["classes"] for row in rows]
    assert np.mean(right) >= 0.9  # it was calibrated on these very images
    assert {row["sure"]["level"] for row in rows} == {0.9}
    assert run(["predict", str(data / "val"), str(run_dir), "--sure", "0.9", "--unknown-rate", "0"]) == 0
    text = capsys.readouterr().out
    for row in rows:
        classes = row["sure"]["classes"]
        said = (
            "cannot tell"
            if len(classes) > 1
            else "none of them"
            if not classes
            else f"{classes[0]} (90 % sure)"
        )
        assert said in text
    assert run(["predict", str(data / "val"), str(run_dir), "--sure", "0.999"]) == 1
    message = capsys.readouterr().err
    assert "the class with the fewest validation pictures has 40, which allow 0.9756 at most" in message


def test_an_old_checkpoint_says_nothing_of_strangers_until_it_is_calibrated(
    capsys, tmp_path, trained, bare, noise
):
    _, rows, talk = call(capsys, "predict", noise, bare)
    assert not any("known" in row for row in rows)
    assert "unknown" not in talk
    _, _, talk = call(capsys, "predict", noise, bare, "--unknown-rate", "0.05")
    assert "keeps nothing to tell strangers by, so nothing is called unknown" in talk
    assert run(["predict", str(noise), str(bare), "--sure", "0.9"]) == 1
    assert "keeps no scores to choose sets by: add them with `catdog calibrate" in capsys.readouterr().err
    old = change_checkpoint(bare, tmp_path / "old.pt", temperature=5.0)
    code, found, _ = call(capsys, "calibrate", old, trained[1])
    assert code == 0
    assert found["temperature_before"] == 5.0 != found["temperature"]
    assert found["loss_after"] < found["loss_before"]
    assert found["num_reference"] == 120
    after = torch.load(old, weights_only=True)
    before = torch.load(bare, weights_only=True)
    assert after["temperature"] == found["temperature"]
    for name, tensor in before["state_dict"].items():
        assert torch.equal(after["state_dict"][name], tensor)
    _, rows, _ = call(capsys, "predict", noise, old, "--unknown-rate", "0.05", "--sure", "0.9")
    assert not any(row["known"]["is_known"] for row in rows)
    assert run(["info", str(old)]) == 0
    assert "told by 120 pictures" in capsys.readouterr().out


def test_what_cannot_be_calibrated_leaves_the_file_as_it_was(capsys, tmp_path, trained, bare):
    old = change_checkpoint(bare, tmp_path / "old.pt")
    content = old.read_bytes()
    empty = tmp_path / "empty"
    empty.mkdir()
    for data, match in (
        (empty, "No pictures under"),
        (tmp_path / "gone", "gone"),
        (trained[0], "is a checkpoint, not pictures"),
    ):
        assert run(["calibrate", str(old), str(data)]) in (1, 2)
        assert match in capsys.readouterr().err
        assert old.read_bytes() == content
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".pt"] == ["old.pt"]


@pytest.mark.plots
def test_strangers_are_measured_and_shown(capsys, tmp_path, trained, noise):
    run_dir, data = trained
    report = tmp_path / "report"
    asked = ["--strangers", noise, "--leave-class-out", "--unknown-rate", "0.05", "--output", report]
    code, found, _ = call(capsys, "evaluate", data, run_dir, *asked)
    assert code == 0
    strangers = found["strangers"]
    assert (strangers["num_known"], strangers["num_strangers"], strangers["found"]) == (120, 8, 1.0)
    assert strangers["auroc"] > 0.95
    low, high = strangers["false_alarms_interval"]
    assert low <= strangers["false_alarms"] <= high
    assert set(found["left_out"]["classes"]) == {"cats", "dogs", "owls"}
    for row in found["left_out"]["classes"].values():
        assert 0 <= row["auroc"] <= 1
        assert row["num_strangers"] == 40
    page = (report / "report.html").read_text()
    assert "Known and strange" in page
    assert (report / "strangers.png").exists()


def test_what_strangers_cannot_be_measured_with_is_said(capsys, tmp_path, trained, bare, noise):
    run_dir, data = trained
    empty = tmp_path / "empty"
    empty.mkdir()
    (tmp_path / "bad.png").write_bytes(b"no picture")
    for checkpoint, strangers, match in (
        (bare, noise, "keeps nothing to tell them by"),
        (run_dir, empty, "has no picture that can be read"),
        (run_dir, tmp_path / "gone", "gone"),
        (run_dir, tmp_path / "bad.png", "has no picture that can be read"),
    ):
        assert run(["evaluate", str(data), str(checkpoint), "--strangers", str(strangers)]) == 1
        talk = capsys.readouterr().err
        assert match in talk
        assert ("Measuring" in talk) == (strangers == tmp_path / "bad.png")  # the others are told at once
    assert run(["evaluate", str(data), str(bare), "--leave-class-out"]) == 1
    assert "keeps nothing to tell strangers by" in capsys.readouterr().err
