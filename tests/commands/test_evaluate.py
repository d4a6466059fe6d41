"""`catdog evaluate` on tiny pictures: which ones count, what is printed and written, what is refused."""

import csv
import json
import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import catdog_cli
from catdog_cli.cli import run
from catdog_cli.inference.predictor import Predictor
from tests.commands.trained import call, change_checkpoint, reverse_classes, train_tiny
from tests.conftest import write_images

FILES = {
    *("report.json", "report.txt", "report.html"),
    *("confusion_matrix.png", "roc.png", "calibration.png", "mistakes.png"),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a run directory trained on a folder with train/ and val/."""
    root = tmp_path_factory.mktemp("trained")
    counts = {"train/cats": 12, "train/dogs": 12, "val/cats": 6, "val/dogs": 6}
    return train_tiny(write_images(root / "pets", counts), root / "run")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Return a folder without splits, and a run directory that drew its own val from it."""
    root = tmp_path_factory.mktemp("plain")
    data = write_images(root / "pets", {"cats": 20, "dogs": 20})
    return data, train_tiny(data, root / "run", "--val-fraction", "0.4")


def list_sides(run_dir):
    """Return the paths that a run trained on and those that it kept apart."""
    with (run_dir / "split.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return ([row["path"] for row in rows if row["split"] == side] for side in ("train", "val"))


def ask(checkpoint, data, split="val", **options):
    """Return the logits (N, C) and labels (N,) of a split, by hand."""
    predictor = Predictor.load(checkpoint, device="cpu", **options)
    paths = [path for name in predictor.class_names for path in sorted((data / split / name).iterdir())]
    labels = [predictor.class_names.index(path.parent.name) for path in paths]
    return torch.stack([answer.logits for answer in predictor.predict(paths)]).double(), torch.tensor(labels)


def test_the_document_says_what_the_answers_are_worth(capsys, trained, pets):
    code, found, talk = call(capsys, "evaluate", pets, trained)
    logits, labels = ask(trained, pets)
    assert code == 0
    assert found["num_samples"] == 12
    assert found["split"] == "val"
    assert found["accuracy"] == pytest.approx((logits.argmax(1) == labels).double().mean().item())
    assert sum(map(sum, found["confusion"])) == 12
    assert sum(found["confusion"][i][i] for i in (0, 1)) == round(12 * found["accuracy"])
    assert found["classes"].keys() == {"cats", "dogs"}
    assert found["classes"]["cats"].keys() == {"precision", "recall", "f1", "support"}
    assert found["macro"].keys() == found["weighted"].keys() == {"precision", "recall", "f1"}
    assert 0 <= found["auc"] <= 1
    low, high = found["intervals"]["accuracy"]
    assert 0 <= low <= found["accuracy"] <= high <= 1
    assert {"f1_macro", "loss", "top_k", "ece", "brier", "calibration"} <= found.keys()
    assert "12 pictures (val)" in talk


def test_the_table_goes_to_stdout_and_talk_to_stderr(capsys, trained, pets):
    assert run(["evaluate", str(pets), str(trained)]) == 0
    printed = capsys.readouterr()
    for text in ("accuracy", "area under the ROC curve", "95 % interval", "cats", "weighted mean", "answer"):
        assert text in printed.out
    assert re.search(
        r"\d+ of 12 pictures \(.*\) classified correctly\. The accuracy .* lies between", printed.out
    )
    assert printed.err.count("\n") == 1
    assert "Measuring simple_cnn" in printed.err
    assert "\x1b" not in printed.out + printed.err


def test_a_terminal_gets_a_bar_on_stderr_alone(capsys, trained, pets, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich then takes what it writes to for a terminal
    code, found, talk = call(capsys, "evaluate", pets, trained)
    assert (code, found["num_samples"]) == (0, 12)
    assert "measuring simple_cnn" in talk


@pytest.mark.parametrize(
    ("folders", "options", "split", "number"),
    [
        (("train", "val", "test"), [], "test", 5),
        (("train", "val"), [], "val", 4),
        (("train", "val", "test"), ["--split", "val"], "val", 4),
        (("train", "val", "test"), ["--split", "all"], "all", 15),
        (("train", "val"), ["--split", "train"], "train", 6),
        ((".",), [], "all", 8),
        (("train",), [], "all", 6),
    ],
)
def test_the_split_that_is_measured(capsys, tmp_path, trained, folders, options, split, number):
    sizes = {"train": (3, 3), "val": (2, 2), "test": (2, 3), ".": (4, 4)}
    counts = {
        f"{folder}/{name}": sizes[folder][i] for folder in folders for i, name in enumerate(("cats", "dogs"))
    }
    data = write_images(tmp_path / "new", counts)
    code, found, talk = call(capsys, "evaluate", data, trained, *options)
    assert (code, found["split"], found["num_samples"]) == (0, split, number)
    assert f"({split})" in talk


def test_pictures_that_were_trained_on_are_no_evidence(capsys, plain, tmp_path):
    """Known by their content, whatever split is asked for, and wherever they lie now."""
    data, run_dir = plain
    train, val = map(list, list_sides(run_dir))
    _, found, talk = call(capsys, "evaluate", data, run_dir)
    assert (found["num_trained_on"], "pictures were trained on:" in talk) == (0, False)
    assert found["intervals"]["accuracy"] is not None
    moved = shutil.copytree(data, tmp_path / "moved")
    for folder, options in (
        (data, ["--split", "all"]),
        (data, ["--split", "train"]),
        (moved, ["--split", "all"]),
    ):
        code, found, talk = call(
            capsys, "evaluate", folder, run_dir, *options, "--output", tmp_path / "report"
        )
        assert (code, found["num_trained_on"]) == (0, len(train))
        assert f"{len(train)} of these {found['num_samples']} pictures were trained on" in talk
        assert set(found["intervals"].values()) == {None}
        summary = json.loads((tmp_path / "report" / "report.json").read_text())["summary"]
        assert f"{len(train)} of them were trained on: this says little about other pictures." in summary
        assert "95 %" not in summary
    assert len(val) + len(train) == 40


def test_compare_says_which_checkpoint_was_trained_on_the_pictures(capsys, plain, trained, tmp_path):
    data, run_dir = plain
    train, _ = map(list, list_sides(run_dir))
    command = [
        "compare",
        str(run_dir),
        str(trained),
        "--data",
        str(data),
        "--split",
        "all",
        "--cpu",
        "--json",
    ]
    assert run(command) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["num_trained_on_a"] == len(train)
    assert f"trained on {len(train)} of these 40 pictures" in err


@pytest.mark.parametrize("moved", [False, True])
def test_pictures_that_were_trained_on_are_not_measured(capsys, tmp_path, plain, moved):
    data, run_dir = plain
    if moved:
        data = shutil.copytree(data, tmp_path / "elsewhere")
    train, val = list_sides(run_dir)
    code, found, talk = call(capsys, "evaluate", data, run_dir)
    assert (code, found["split"], found["num_samples"]) == (0, "val", len(val))
    assert f"measuring the {len(val)} pictures that training kept apart (--split all takes all)" in talk
    assert len(train) + len(val) == 40
    wrong = {item["path"] for item in found["mistakes"]}
    assert wrong <= {str(data / path) for path in val}


def test_other_splits_of_what_was_trained_on(capsys, plain):
    data, run_dir = plain
    train, _ = list_sides(run_dir)
    assert call(capsys, "evaluate", data, run_dir, "--split", "train")[1]["num_samples"] == len(train)
    assert call(capsys, "evaluate", data, run_dir / "best.pt", "--split", "all")[1]["num_samples"] == 40


def test_a_copy_that_grew_keeps_its_val_and_a_changed_one_is_warned_of(capsys, tmp_path, plain):
    data, run_dir = plain
    _, val = list_sides(run_dir)
    copy = shutil.copytree(data, tmp_path / "copy")
    shutil.copytree(run_dir, tmp_path / "run")
    settings = json.loads((tmp_path / "run" / "settings.json").read_text())
    Image.new("RGB", (32, 32)).save(copy / "cats" / "new.png")
    assert call(capsys, "evaluate", copy, tmp_path / "run")[1]["num_samples"] == len(val)
    Image.new("RGB", (32, 32)).save(copy / "cats" / "0.png")
    _, found, talk = call(capsys, "evaluate", copy, tmp_path / "run")
    assert found["num_samples"] == 41
    assert "have the names of those" in talk
    assert call(capsys, "evaluate", copy, tmp_path / "run", "--split", "val")[1]["num_samples"] == len(val)
    (tmp_path / "run" / "settings.json").write_text(json.dumps(settings | {"data": str(copy)}))
    assert call(capsys, "evaluate", copy, tmp_path / "run")[1]["num_samples"] == len(val)


def test_other_pictures_with_other_names_are_measured_in_full(capsys, tmp_path, plain):
    data = write_images(tmp_path / "others", {"sub/cats": 3, "sub/dogs": 3}) / "sub"
    for path in list(data.rglob("*.png")):
        path.rename(path.with_stem(f"other{path.stem}"))
    _, found, talk = call(capsys, "evaluate", data, plain[1])
    assert found["num_samples"] == 6
    assert "trained" not in talk


def test_unreadable_pictures_are_named_counted_and_left_out(capsys, trained, pets):
    (pets / "val" / "cats" / "0.png").write_bytes(b"no picture")
    (pets / "val" / "dogs" / "1.png").write_bytes(b"")
    code, found, talk = call(capsys, "evaluate", pets, trained)
    assert (code, found["num_samples"], found["num_unreadable"]) == (0, 10, 2)
    assert [item["path"] for item in found["unreadable"]] == ["val/cats/0.png", "val/dogs/1.png"]
    assert re.search(r"Skipped: .*val/cats/0\.png'.*not a picture", talk)
    assert re.search(r"Skipped: .*val/dogs/1\.png'.*empty", talk)
    assert run(["evaluate", str(pets), str(trained)]) == 0
    assert "2 unreadable pictures were left out." in capsys.readouterr().out


def test_classes_in_another_order_give_the_same_numbers(capsys, tmp_path, trained, pets):
    turned = reverse_classes(trained, tmp_path / "turned.pt")
    assert Predictor.load(turned, device="cpu").class_names == ["dogs", "cats"]
    _, first, _ = call(capsys, "evaluate", pets, trained)
    _, second, _ = call(capsys, "evaluate", pets, turned)
    assert second["accuracy"] == first["accuracy"]
    assert second["loss"] == pytest.approx(first["loss"], abs=1e-12)
    assert second["classes"] == first["classes"]
    assert second["confusion"] == [row[::-1] for row in first["confusion"][::-1]]


def test_a_missing_class_is_warned_of(capsys, tmp_path, trained):
    data = write_images(tmp_path / "few", {"train/cats": 2, "train/dogs": 2, "val/dogs": 3})
    code, found, talk = call(capsys, "evaluate", data, trained)
    assert (code, found["num_samples"], found["auc"]) == (0, 3, None)
    assert found["classes"]["dogs"]["support"] == 3
    assert "no picture of 'cats'" in found["notes"]["auc"]
    assert "Warning: val has no pictures of 'cats': they cannot be measured." in talk
    code, found, talk = call(capsys, "evaluate", write_images(tmp_path / "one", {"dogs": 3}), trained)
    assert (code, found["num_samples"]) == (0, 3)
    assert "has no pictures of 'cats'" in talk


def test_the_temperature_is_used_unless_raw_probabilities_are_asked_for(capsys, tmp_path, trained, pets):
    warm = change_checkpoint(trained, tmp_path / "warm.pt", temperature=4.0)
    logits, labels = ask(warm, pets)
    losses = [torch.nn.functional.cross_entropy(logits / t, labels).item() for t in (4, 1)]
    _, found, _ = call(capsys, "evaluate", pets, warm)
    _, raw, _ = call(capsys, "evaluate", pets, warm, "--uncalibrated")
    assert found["loss"] == pytest.approx(losses[0], abs=1e-6)
    assert raw["loss"] == pytest.approx(losses[1], abs=1e-6)
    assert found["calibration"]["before"]["loss"] == pytest.approx(losses[1], abs=1e-6)
    assert found["calibration"]["after"]["ece"] == found["ece"]
    assert found["calibration"]["before"]["ece"] == raw["ece"] != found["ece"]
    assert raw["calibration"]["after"] is None
    assert found["accuracy"] == raw["accuracy"]


def test_tta_averages_a_picture_with_its_mirror_image(capsys, tmp_path, trained, pets):
    logits, labels = ask(trained, pets, precision="fp32")
    mirrored = shutil.copytree(pets, tmp_path / "mirrored")
    for path in mirrored.rglob("*.png"):
        with Image.open(path) as image:
            image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(path)
    average = (logits + ask(trained, mirrored, precision="fp32")[0]) / 2
    loss = torch.nn.functional.cross_entropy(average, labels).item()
    _, found, talk = call(capsys, "evaluate", pets, trained, "--tta", "--uncalibrated", "--precision", "fp32")
    _, plain, _ = call(capsys, "evaluate", pets, trained, "--uncalibrated", "--precision", "fp32")
    assert found["loss"] == pytest.approx(loss, abs=1e-6)
    assert abs(found["loss"] - plain["loss"]) > 1e-9
    assert "mirror" in talk


@pytest.mark.parametrize(("looks", "said"), [("mirror", "mirror image"), ("whole", "the whole of it")])
def test_a_checkpoint_remembers_how_it_looks_at_pictures(capsys, tmp_path, trained, pets, looks, said):
    kept = change_checkpoint(trained, tmp_path / "looks.pt", looks=looks)
    named = {"checkpoint": "", "checkpoints": []}
    asked = ("--tta",) if looks == "mirror" else ("--looks", looks)
    wanted = call(capsys, "evaluate", pets, trained, *asked)[1]
    found = call(capsys, "evaluate", pets, kept)[1]
    assert {**found, **named} == {**wanted, **named}
    assert catdog_cli.evaluate(kept, pets).loss == wanted["loss"]
    found, wanted = (call(capsys, "evaluate", pets, *each)[1] for each in ((kept, "--no-tta"), (trained,)))
    assert {**found, **named} == {**wanted, **named}
    assert run(["info", str(kept)]) == 0
    assert said in capsys.readouterr().out


def test_looks_that_there_are_not_are_refused(capsys, tmp_path, trained, pets):
    wrong = change_checkpoint(trained, tmp_path / "wrong.pt", looks="twice")
    assert run(["evaluate", str(pets), str(wrong)]) == 1
    assert "looks is 'twice', but must be one of: once, mirror, whole" in capsys.readouterr().err
    for options in (("--tta", "--looks", "once"), ("--no-tta", "--looks", "whole")):
        assert run(["evaluate", str(pets), str(trained), *options]) == 2
        assert "give one of them" in capsys.readouterr().err


def test_the_whole_of_a_picture_is_looked_at(tmp_path, trained):
    """A tall picture whose ends are black is all white in its centre: the whole of it is not."""
    pixels = np.zeros((96, 32, 3), np.uint8)
    pixels[32:64] = 255
    tall, square = tmp_path / "tall.png", tmp_path / "square.png"
    Image.fromarray(pixels).save(tall)
    Image.fromarray(pixels[32:64]).save(square)
    whole = Image.fromarray(pixels).resize((32, 32), Image.Resampling.BILINEAR)
    once = Predictor.load(trained, device="cpu", precision="fp32")
    four = Predictor.load(trained, device="cpu", precision="fp32", looks="whole")
    logits = [next(once.predict([each])).logits for each in (square, whole)]
    found = next(four.predict([tall])).logits
    torch.testing.assert_close(found, sum(logits) / 2, rtol=1e-3, atol=1e-3)
    assert not torch.allclose(found, logits[0], atol=1e-3)


@pytest.mark.plots
def test_the_report_is_whole_and_its_page_needs_nothing_else(capsys, tmp_path, trained, pets):
    folder = tmp_path / "new" / "report"
    for _ in range(2):  # a second time replaces the first
        code, found, talk = call(capsys, "evaluate", pets, trained, "--output", folder)
        assert code == 0
    assert {path.name for path in folder.iterdir()} == FILES
    assert f"Report: {folder / 'report.html'}" in talk
    written = json.loads((folder / "report.json").read_text("utf-8"))
    assert {key: written[key] for key in found} == found
    page = (folder / "report.html").read_text("utf-8")
    assert page.count('src="data:image/png;base64,') == page.count("<img") == 4
    assert len(re.findall(r'<img alt="[^"]+" width="\d{3,4}" src=', page)) == 4  # letters of one size
    assert not re.search(r"https?://|<link|<script", page)
    for path in folder.glob("*.png"):
        with Image.open(path) as image:
            assert np.asarray(image.convert("L")).std() > 5  # something is drawn
    assert "accuracy" in (folder / "report.txt").read_text("utf-8")


@pytest.mark.plots
def test_names_are_printed_as_they_are(capsys, tmp_path):
    names = "[red]a", ":cat: $x$"
    counts = {f"{side}/{name}": 4 for side in ("train", "val") for name in names}
    data = write_images(tmp_path / "odd", counts)
    run_dir = train_tiny(data, tmp_path / "run")
    capsys.readouterr()
    assert run(["evaluate", str(data), str(run_dir), "--output", str(tmp_path / "report")]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in names)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nowhere", "RUN"], 1, "The data folder 'nowhere' does not exist"),
        (["PETS", "nowhere.pt"], 1, r"No checkpoint at 'nowhere\.pt'"),
        (["PETS", "PETS"], 1, r"No best\.pt in "),
        (["PETS", "PICTURE"], 1, r"'.*0\.png' is a picture, not a model"),
        (["EMPTY", "RUN"], 1, "No pictures under '.*empty'"),
        (["PETS", "RUN", "--split", "test"], 1, "has no split 'test', only train, val: choose another"),
        (["PETS", "RUN", "--split", "best"], 2, "'best' is not one of 'train', 'val', 'test', 'all'"),
        (
            ["BIRDS", "RUN"],
            1,
            r"holds 'birds', which the checkpoint does not know \(it knows 'cats', 'dogs'\)",
        ),
        (["PETS", "RUN", "--output", "PICTURE"], 1, r"Cannot make the folder '.*0\.png' \(File exists\)"),
        (["BAD", "RUN"], 1, "None of the 2 pictures under '.*bad' can be read: .*not a picture"),
        (["PETS"], 2, "Missing argument 'CHECKPOINT'"),
    ],
)
def test_what_cannot_be_measured_is_said_in_a_sentence(
    capsys, tmp_path, trained, pets, arguments, code, message
):
    (tmp_path / "empty").mkdir()
    birds = write_images(tmp_path / "birds", {"cats": 1, "birds": 1})
    for name in ("cats", "dogs"):
        (tmp_path / "bad" / name).mkdir(parents=True)
        (tmp_path / "bad" / name / "x.jpg").write_bytes(b"no picture")
    places = {"PETS": pets, "RUN": trained, "EMPTY": tmp_path / "empty", "BIRDS": birds}
    places |= {"BAD": tmp_path / "bad", "PICTURE": pets / "val" / "cats" / "0.png"}
    capsys.readouterr()
    assert run(["evaluate", *(str(places.get(part, part)) for part in arguments)]) == code
    printed = capsys.readouterr()
    assert re.search(message, printed.err)
    assert "Traceback" not in printed.err
    assert printed.out == ""


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_an_error(capsys, trained, pets):
    code, found, talk = call(capsys, "evaluate", pets, trained, "--gpu")
    assert (code, found) == (1, None)
    assert "GPU" in talk


def test_a_damaged_split_file_stops_unless_all_is_asked_for(capsys, tmp_path, plain):
    data, run_dir = plain
    broken = shutil.copytree(run_dir, tmp_path / "run")
    (broken / "split.csv").write_text("picture,side\na,b\n")
    code, _, talk = call(capsys, "evaluate", data, broken)
    assert code == 1
    assert re.search(r"Cannot read '.*split\.csv', which says what the checkpoint was trained on", talk)
    assert call(capsys, "evaluate", data, broken, "--split", "all")[1]["num_samples"] == 40


def test_numbers_that_are_not_finite_are_refused(capsys, tmp_path, trained, pets):
    content = torch.load(trained / "best.pt", weights_only=True)["state_dict"]
    huge = {
        name: value * 1e30 if value.is_floating_point() and "running" not in name else value
        for name, value in content.items()
    }
    broken = change_checkpoint(trained, tmp_path / "huge.pt", state_dict=huge)
    code, found, talk = call(capsys, "evaluate", pets, broken)
    assert (code, found) == (1, None)
    assert "scores are not all finite" in talk
