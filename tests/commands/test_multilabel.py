"""Several labels a picture, as a user runs it: train, evaluate, predict and compare from a table."""

import csv
import json

import pytest
from PIL import Image

import catdog_cli
from catdog_cli import cli

from ..conftest import one_thread, write_images
from ..inference.checkpoints import write_checkpoint
from ..label_files import COLOURS, choose_labels, draw_labels, write_coco, write_joined, write_wide

TINY = ["--arch", "simple_cnn", "--weights", "none", "--image-size", "32", "--cpu", "--precision", "fp32"]
QUICK = ["--hidden-layers", "", "--batch-size", "8", "--learning-rate", "3e-3", "--workers", "0"]


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    with one_thread():
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a folder with labels.csv of 64 images, and `run`, which has learnt the three colours."""
    folder = tmp_path_factory.mktemp("labels")
    write_joined(folder, 64)
    command = ["train", str(folder / "labels.csv"), *TINY, *QUICK, "--epochs", "10"]
    assert cli.run([*command, "--output", str(folder / "run")]) == 0
    return folder


@pytest.fixture
def place(trained, monkeypatch):
    monkeypatch.chdir(trained)
    return trained


def out_of(capsys, *arguments, code=0):
    """Run a command; return what it printed to stdout and stderr."""
    assert cli.run([*arguments]) == code
    return capsys.readouterr()


def test_training_says_what_the_data_is_and_how_good_the_run(place, capsys):
    shown = out_of(capsys, "train", "labels.csv", *TINY, *QUICK, "--epochs", "1", "--output", "again")
    assert "Several labels a picture: column 'labels', divided by ';'" in shown.err
    assert "subset accuracy" in shown.err
    assert "mAP" in shown.err
    assert "val   13 pictures: " in shown.err
    assert " accuracy" not in shown.err.replace("subset accuracy", "")


def test_json_of_training_names_map(place, capsys):
    command = ["train", "labels.csv", *TINY, *QUICK, "--epochs", "1", "--output", "json", "--json"]
    found = json.loads(out_of(capsys, *command).out)
    assert set(found["best"]) == {"phase", "epoch", "map", "loss"}


def test_a_dry_run_counts_pictures_not_labels(place, capsys):
    shown = out_of(capsys, "train", "labels.csv", *TINY, *QUICK, "--epochs", "1", "--dry-run").out
    assert "train 51 pictures" in shown
    assert "val   13 pictures" in shown


def test_evaluation_measures_what_was_kept_apart(place, capsys):
    found = json.loads(out_of(capsys, "evaluate", "labels.csv", "run", "--json").out)
    assert (found["task"], found["split"], found["num_samples"]) == ("multi-label", "val", 13)
    assert "accuracy" not in found
    assert found["map"] > 0.9
    assert set(found["classes"]) == set(COLOURS)
    assert "They were chosen on 13 of these pictures" in found["notes"]["thresholds"]
    shown = out_of(capsys, "evaluate", "labels.csv", "run", "--output", "report")
    assert "mean average precision (mAP)" in shown.out
    assert "threshold" in shown.out
    assert {path.name for path in (place / "report").iterdir()} == {
        *("report.json", "report.txt", "report.html"),
        *("labels.png", "precision_recall.png", "calibration.png", "mistakes.png"),
    }


def test_other_tables_and_coco_are_measured_too(place, capsys, tmp_path):
    for data in (write_wide(tmp_path / "wide", 16, unknown=5), write_coco(tmp_path / "coco", 16)):
        found = json.loads(out_of(capsys, "evaluate", str(data), "run", "--json").out)
        assert found["num_samples"] == 16
        assert found["num_trained_on"] > 0  # the same images, by their content
    assert found["num_unknown"] == 0


def test_folders_are_refused_for_such_a_checkpoint_and_tables_of_labels_for_others(place, capsys, tmp_path):
    folders = write_images(tmp_path / "pets", {"blue": 2, "red": 2})
    shown = out_of(capsys, "evaluate", str(folders), "run", code=1)
    assert "tells several labels a picture, but" in shown.err
    write_checkpoint(tmp_path / "single" / "best.pt")
    shown = out_of(capsys, "evaluate", "labels.csv", str(tmp_path / "single"), code=1)
    assert "tells one class a picture, but" in shown.err
    shown = out_of(capsys, "compare", "run", str(tmp_path / "single"), "--data", "labels.csv", code=1)
    assert "compare two of one kind" in shown.err


def test_comparison(place, capsys):
    shown = out_of(capsys, "compare", "run", "run", "--data", "labels.csv")
    assert "No evidence that they differ: their mean average precision is the same." in shown.out
    found = json.loads(out_of(capsys, "compare", "run", "run", "--data", "labels.csv", "--json").out)
    assert (found["map_difference"], found["p"]) == (0.0, 1.0)


def test_prediction_names_every_label_above_its_threshold(place, capsys):
    draw_labels({"red", "blue"}, 900).save("two.png")
    draw_labels(set(), 901).save("none.png")
    shown = out_of(capsys, "predict", "two.png", "none.png", "run").out.splitlines()
    assert shown[0] == "two.png"
    assert {line.split()[0] for line in shown[1:3]} == {"red", "blue"}
    assert shown[3] == "none.png"
    assert shown[4].startswith("  none of the labels (the likeliest: ")
    ranked = out_of(capsys, "predict", "two.png", "run", "--top-k", "3").out.splitlines()
    assert [line.endswith("*") for line in ranked[1:]] == [True, True, False]
    rows = json.loads(out_of(capsys, "predict", "two.png", "none.png", "run", "--json").out)
    assert [sorted(each["class"] for each in row["labels"]) for row in rows] == [["blue", "red"], []]
    assert [len(row["predictions"]) for row in rows] == [3, 3]


def test_thresholds_follow_the_temperature(place, capsys):
    images = [f"images/{number}.png" for number in range(16)]
    answers = [
        [[each["class"] for each in row["labels"]] for row in json.loads(out_of(capsys, *command).out)]
        for command in (
            ["predict", *images, "run", "--json"],
            ["predict", *images, "run", "--json", "--uncalibrated"],
        )
    ]
    assert answers[0] == answers[1]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_files_of_predictions_hold_labels_and_resume(place, capsys, tmp_path, suffix):
    output = str(tmp_path / f"rows.{suffix}")
    out_of(capsys, "predict", "images", "run", "--output", output)
    before = (tmp_path / f"rows.{suffix}").read_bytes()
    shown = out_of(capsys, "predict", "images", "run", "--output", output, "--resume", "--summary")
    assert "Resuming after 64 rows" in shown.err
    assert any(line.startswith("(none of them)") for line in shown.out.splitlines())
    if suffix != "parquet":
        assert (tmp_path / f"rows.{suffix}").read_bytes() == before
    if suffix == "csv":
        with (tmp_path / "rows.csv").open() as file:
            rows = list(csv.DictReader(file))
        right = sum(
            set(filter(None, row["labels"].split(";"))) == choose_labels(int(row["path"].split("/")[1][:-4]))
            for row in rows
        )
        assert right > 48


@pytest.mark.plots
def test_a_plot_of_labels(place, capsys):
    out_of(capsys, "predict", "images/5.png", "images/0.png", "run", "--plot", "answer.png")
    assert Image.open("answer.png").size[0] > 600


def test_the_mean_of_two_checkpoints(place, capsys):
    """Of a checkpoint with itself it is what that says, thresholds included."""
    images = [f"images/{number}.png" for number in range(16)]
    alone, mean = (
        json.loads(out_of(capsys, "predict", *images, "run", *more, "--json").out)
        for more in ((), ("--with", "run/best.pt"))
    )
    for one, other in zip(alone, mean, strict=True):
        assert [each["class"] for each in one["labels"]] == [each["class"] for each in other["labels"]]
        assert other["predictions"][0]["probability"] == pytest.approx(one["predictions"][0]["probability"])
    found = json.loads(out_of(capsys, "evaluate", "labels.csv", "run", "--with", "run/best.pt", "--json").out)
    assert found["checkpoints"] == ["run", "run/best.pt"]
    assert found["map"] > 0.9


def test_sorting_into_folders_is_refused(place, capsys):
    shown = out_of(capsys, "predict", "images", "run", "--sort-into", "sorted", code=2)
    assert "--sort-into puts each picture into one folder, but 'run' tells several labels" in shown.err
    assert not (place / "sorted").exists()


def test_a_checkpoint_says_its_thresholds(place, capsys):
    assert "several a picture, each said from its threshold on: blue 0." in out_of(capsys, "info", "run").out
    found = json.loads(out_of(capsys, "info", "run", "--json").out)
    assert (found["task"], set(found["thresholds"])) == ("multi-label", set(COLOURS))


def test_data_commands_read_such_tables(place, capsys, tmp_path):
    shown = out_of(capsys, "data", "check", "labels.csv", "--checkpoint", "run")
    assert "Wrong labels are not looked for where pictures have several" in shown.out
    target = str(tmp_path / "split.csv")
    out_of(capsys, "data", "split", "labels.csv", target, "--label-delimiter", ";", "--test-fraction", "0.25")
    assert (tmp_path / "split.csv").read_text().splitlines()[0] == "path,labels,unknown,split"
    found = json.loads(out_of(capsys, "evaluate", target, "run", "--json").out)
    assert (found["split"], found["num_samples"]) == ("test", 16)
    out_of(capsys, "data", "prepare", "labels.csv", str(tmp_path / "prepared"), "--size", "32")
    found = json.loads(out_of(capsys, "evaluate", str(tmp_path / "prepared"), "run", "--json").out)
    assert (found["num_samples"], found["task"]) == (64, "multi-label")


def test_python_gives_the_same(place, tmp_path):
    found = catdog_cli.evaluate("run", "labels.csv", device="cpu")
    assert found.map > 0.9
    assert "Mean average precision (mAP)" in str(found)
    assert "<table" in found._repr_html_()
    answers = catdog_cli.predict(["images/5.png", "images/0.png"], "run", device="cpu")
    assert {each.class_name for each in answers[0].labels} == {"blue", "red"}
    assert answers[1].labels == ()
    assert "none of the labels" in str(answers[1])
    assert "none of the labels" in answers[1]._repr_html_()
    compared = catdog_cli.compare("run", "run", "labels.csv", device="cpu")
    assert "No evidence" in str(compared)
    assert "<table" in compared._repr_html_()
    options = {"arch": "simple_cnn", "weights": "none", "image_size": 32, "epochs": 1, "device": "cpu"}
    result = catdog_cli.train("labels.csv", label_columns=None, output=tmp_path / "run", **options)
    assert "mAP" in str(result)
