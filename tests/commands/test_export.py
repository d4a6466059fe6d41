"""`catdog export`, and the commands that take what it writes."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from catdog_cli.cli import run
from catdog_cli.commands.export import FORMATS as OFFERED
from catdog_cli.export import formats

from ..conftest import one_thread, write_images
from .trained import call, train_tiny


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Return a folder with pets/ and a small run on them, which was exported."""
    folder = tmp_path_factory.mktemp("export")
    counts = {"train/cats": 12, "train/dogs": 12, "val/cats": 6, "val/dogs": 6}
    write_images(folder / "pets", counts, size=(50, 40))
    with one_thread():
        train_tiny(folder / "pets", folder / "run")
        assert run(["export", str(folder / "run")]) == 0
    return folder


def test_it_says_where_the_file_is_and_how_it_compares(place, capsys):
    assert run(["export", str(place / "run")]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(f"Exported: {place}/run/best.onnx (")
    assert "the same answer on 12 of 12" in printed.out
    code, document, _ = call(capsys, "export", place / "run")
    assert code == 0
    assert (document["format"], document["path"]) == ("onnx", str(place / "run/best.onnx"))
    assert document == json.loads((place / "run/best.parity.json").read_text())


def test_a_file_that_fails_its_proof_leaves_the_document_and_exit_code_1(
    place, capsys, monkeypatch, tmp_path
):
    changed = dataclasses.replace(formats.FORMATS["onnx"], bound=-1.0)
    monkeypatch.setitem(formats.FORMATS, "onnx", changed)
    target = tmp_path / "new.onnx"
    code, document, said = call(capsys, "export", place / "run", "--output", target)
    assert code == 1
    assert document["parity"]["passed"] is False
    assert "Error: onnx was not written: a probability differs by" in said
    assert list(tmp_path.iterdir()) == []


def test_every_format_is_offered():
    assert tuple(formats.FORMATS) == OFFERED


def predictions_of(capsys, place, model, *options):
    code, rows, _ = call(capsys, "predict", place / "pets/val", place / "run" / model, *options)
    assert code == 0
    return rows


@pytest.mark.parametrize("options", [[], ["--top-k", "1"], ["--uncalibrated"], ["--sure", "0.6"]])
def test_predict_prints_the_same_rows(place, capsys, options):
    mine = predictions_of(capsys, place, "best.pt", "--cpu", "--precision", "fp32", *options)
    theirs = predictions_of(capsys, place, "best.onnx", *options)
    assert [row["path"] for row in mine] == [row["path"] for row in theirs]
    for own, other in zip(mine, theirs, strict=True):
        assert own.keys() == other.keys()
        assert (own["status"], own["error"]) == (other["status"], other["error"])
        assert own["known"]["is_known"] == other["known"]["is_known"]
        for one, two in zip(own["predictions"], other["predictions"], strict=True):
            assert one["class"] == two["class"]
            assert one["probability"] == pytest.approx(two["probability"], abs=0.03)


def test_predict_writes_and_draws_with_it(place, capsys, tmp_path):
    model = str(place / "run/best.onnx")
    for suffix in ("csv", "jsonl"):
        target = tmp_path / f"rows.{suffix}"
        assert run(["predict", str(place / "pets/val"), model, "--output", str(target), "--summary"]) == 0
        assert len(target.read_text().splitlines()) == 12 + (suffix == "csv")
    assert run(["predict", str(place / "pets/val"), model, "--output", str(target), "--resume"]) == 0
    photo = str(place / "pets/val/cats/0.png")
    assert run(["predict", photo, model, "--plot", str(tmp_path / "plot.png")]) == 0
    assert (tmp_path / "plot.png").exists()
    assert run(["predict", photo, str(tmp_path / "lost.png"), model]) == 1
    assert "lost.png" in capsys.readouterr().err


def test_evaluate_measures_it_as_its_checkpoint(place, capsys):
    found = []
    for model in ("best.pt", "best.onnx"):
        code, document, said = call(capsys, "evaluate", place / "pets", place / "run" / model)
        assert code == 0
        found.append(document)
    assert "onnxruntime, cpu, float32" in said
    assert found[1]["accuracy"] == found[0]["accuracy"]
    assert found[1]["loss"] == pytest.approx(found[0]["loss"], abs=0.02)
    assert run(["evaluate", str(place / "pets"), str(place / "run/best.onnx"), "--leave-class-out"]) == 2
    assert "--leave-class-out needs a checkpoint" in capsys.readouterr().err


def test_info_says_what_it_holds(place, capsys):
    code, facts, _ = call(capsys, "info", place / "run/best.onnx")
    assert code == 0
    assert (facts["arch"], facts["weights"], facts["class_names"]) == (
        "simple_cnn",
        "float32",
        ["cats", "dogs"],
    )
    assert facts["outputs"]["logits"] == ["N", 2]
    assert facts["parity"]["passed"]
    assert run(["info", str(place / "run/best.onnx")]) == 0
    shown = capsys.readouterr().out
    assert "SHA-256" in shown
    assert "0 of 12 answers changed" in shown


@pytest.mark.parametrize(
    ("arguments", "code", "match"),
    [
        (["export"], 2, "Missing argument 'CKPT'"),
        (["export", "lost.pt"], 1, "No checkpoint at 'lost.pt'"),
        (["export", "run", "--to", "tflite"], 2, "'tflite' is not one of"),
        (["export", "run/best.onnx"], 1, "is an ONNX model, not a PyTorch one"),
        (["export", "run", "--output", "x.bin"], 1, "must end in .onnx"),
        (["export", "run", "--to", "onnx-int8", "--data", "lost"], 1, "lost"),
        (["predict", "pets/val/cats/0.png", "bad.onnx"], 1, "cannot be run as an ONNX file"),
        (["predict", "pets/val/cats/0.png", "lost.onnx"], 1, "is not there"),
        (["predict", "pets/val/cats/0.png", "run/best.onnx", "--tta"], 2, "was exported with once"),
        (["predict", "pets/val/cats/0.png", "run/best.onnx", "--with", "run"], 2, "A mean of several files"),
        (["predict", "pets/val/cats/0.png", "run/best.onnx", "--explain"], 2, "a file carries them where"),
        (["calibrate", "run/best.onnx", "pets"], 1, "is an ONNX model"),
        (["data", "check", "pets", "--checkpoint", "run/best.onnx"], 2, "--checkpoint needs a checkpoint"),
    ],
)
def test_wrong_arguments_end_with_a_sentence(place, tmp_path, monkeypatch, capsys, arguments, code, match):
    shutil.copytree(place, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here/bad.onnx").write_bytes(b"no network")
    assert run(arguments) == code
    said = capsys.readouterr().err
    assert match in said
    assert "Traceback" not in said
    errors = [line for line in said.splitlines() if line.startswith("Error:")]
    assert len(errors) == 1


def test_an_exported_file_is_told_from_data(place, capsys):
    assert run(["predict", str(place / "run/best.onnx"), str(place / "pets/val/cats/0.png")]) == 2
    assert "the checkpoint comes last" in capsys.readouterr().err


def test_rows_hold_plain_numbers(place, capsys):
    (row,) = call(capsys, "predict", place / "pets/val/cats/0.png", place / "run/best.onnx")[1]
    assert type(row["known"]["p_value"]) is float
    assert np.isclose(sum(each["probability"] for each in row["predictions"]), 1)
