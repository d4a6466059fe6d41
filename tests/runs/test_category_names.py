"""Names to show for classes, however a file has them; kept in checkpoints; shown by every command."""

import csv
import json

import pytest
import torch

from catdog_cli import Predictor, cli, evaluate
from catdog_cli.errors import CheckpointError, SettingsError
from catdog_cli.runs.category_names import match_category_names, tell_apart
from catdog_cli.runs.checkpoint import build_from_checkpoint, load_checkpoint

from ..conftest import write_images
from ..inference.checkpoints import write_checkpoint

TINY = ("--arch", "simple_cnn", "--image-size", "32", "--batch-size", "4", "--workers", "0", "--cpu")
PETS = ["cats", "dogs", "emus"]
NAMED = {"cats": "Cat", "dogs": "Dog", "emus": "Emu"}


@pytest.mark.parametrize(
    ("given", "class_names", "wanted"),
    [
        (NAMED, PETS, NAMED),
        ({"cats": "Cat", "fish": "Fish"}, PETS, {"cats": "Cat"}),
        ({"Cats": "Cat", "DOGS": "Dog", "emus": "Emu"}, PETS, NAMED),
        ({"Cats": "x", "cats": "Cat"}, PETS, {"cats": "Cat"}),
        ({"0": "Cat", "1": "Dog", "2": "Emu", "3": "Fish"}, PETS, NAMED),
        ({"0": "Zero", "1": "One"}, ["1", "0"], {"0": "Zero", "1": "One"}),
        ({"1": "One", "2": "Two"}, ["1", "2", "3"], {"1": "One", "2": "Two"}),
        ({"0": "Zero", "1": "One"}, ["1", "2", "3"], {"1": "One"}),
        ({"Cat": "cats", "Dog": "dogs", "Emu": "emus"}, PETS, NAMED),
        ({"Cat": 0, "Dog": 1, "Emu": 2}, PETS, NAMED),
        ({"Cat": "0", "Dog": "1", "Emu": "2"}, PETS, NAMED),
        ({"cats": "dogs", "dogs": "cats"}, PETS, {"cats": "dogs", "dogs": "cats"}),
        ({"0": ["n02", "tench"], "1": ["n01", "shark"]}, ["n01", "n02"], {"n01": "shark", "n02": "tench"}),
        ({"fish": "Fish"}, PETS, {}),
        ({}, PETS, {}),
    ],
)
def test_names_as_files_have_them(given, class_names, wanted):
    assert match_category_names(given, class_names) == wanted


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"cats": 3}, "gives 'cats' the name 3, which is not a text"),
        ({"cats": 0, "dogs": 1, "emus": 2}, "gives 'cats' the name 0, which is not a text"),
        ({"Cat": "cats", "Kitty": "cats"}, "gives the class 'cats' two names"),
        ({"cats": ["a", "b"]}, r"gives 'cats' the name \['a', 'b'\]"),
        ({"cats": "\ud800"}, "which is not a text"),
    ],
)
def test_what_is_no_name(given, match):
    with pytest.raises(SettingsError, match=match):
        match_category_names(given, PETS)


def test_shared_names_are_told_apart():
    assert tell_apart(PETS, ["Pet", "Pet", "Bird"]) == ["Pet (cats)", "Pet (dogs)", "Bird"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Return the working directory, with pets/, names.json and by_index.json."""
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "pets", {"cats": 8, "dogs": 8})
    (tmp_path / "names.json").write_text('{"cats": "Cat", "dogs": "Dog"}')
    (tmp_path / "by_index.json").write_text('{"0": "Kitty", "1": "Puppy"}')
    return tmp_path


def ask(capsys, *arguments, code=0):
    capsys.readouterr()
    assert cli.run([*map(str, arguments)]) == code
    return json.loads(capsys.readouterr().out)


def test_names_given_to_train_stay_with_the_run(place, capsys):
    train = ["train", "pets", *TINY, "--epochs", "1", "--category-names", "names.json", "--output", "run"]
    assert cli.run(train) == 0
    assert "Cat" in (place / "run/reports/1-scratch/report.txt").read_text()
    (place / "names.json").unlink()
    assert cli.run(["train", "--resume", "run", "--epochs", "2"]) == 0
    for name in ("best.pt", "last.pt", "best-1-scratch.pt"):
        if (place / "run" / name).exists():
            assert load_checkpoint(place / "run" / name)["category_names"] == {"cats": "Cat", "dogs": "Dog"}
    report = json.loads((place / "run/reports/1-scratch/report.json").read_text())
    assert report["class_names"] == ["Cat", "Dog"]
    rows = ask(capsys, "predict", "pets", "run", "--json")
    assert {each["name"] for row in rows for each in row["predictions"]} == {"Cat", "Dog"}
    assert {each["class"] for row in rows for each in row["predictions"]} == {"cats", "dogs"}
    rows = ask(capsys, "predict", "pets", "run", "--json", "--category-names", "by_index.json")
    assert {each["name"] for row in rows for each in row["predictions"]} == {"Kitty", "Puppy"}
    assert ask(capsys, "info", "run", "--json")["category_names"] == {"cats": "Cat", "dogs": "Dog"}
    assert cli.run(["train", "--resume", "run", "--category-names", "by_index.json"]) == 2
    assert "--category-names cannot change on resume" in capsys.readouterr().err


def test_names_in_evaluations_reports_and_sorted_folders(place, capsys):
    write_checkpoint(place / "run" / "best.pt", ("cats", "dogs"))
    names = ["--category-names", "by_index.json"]
    found = ask(capsys, "evaluate", "pets", "run", *names, "--output", "report", "--json")
    assert list(found["classes"]) == found["class_names"] == ["Kitty", "Puppy"]
    assert {each["true"] for each in found["mistakes"]} <= {"Kitty", "Puppy"}
    assert "Kitty" in (place / "report" / "report.html").read_text()
    write_checkpoint(place / "other" / "best.pt", ("cats", "dogs"), seed=1)
    found = ask(capsys, "compare", "run", "other", "--data", "pets", *names, "--json")
    assert {each["true"] for each in found["disagreements"]} <= {"Kitty", "Puppy"}
    assert cli.run(["predict", "pets", "run", *names, "--sort-into", "sorted", "--output", "rows.csv"]) == 0
    assert {path.name for path in (place / "sorted").iterdir()} <= {"Kitty", "Puppy"}
    with (place / "rows.csv").open(newline="") as file:
        assert {row["class"] for row in csv.DictReader(file)} <= {"cats", "dogs"}


def test_python_takes_a_file_or_names(place):
    path = write_checkpoint(place / "run" / "best.pt", ("cats", "dogs"), category_names={"cats": "Cat"})
    assert Predictor.load(path).names == ["Cat", "dogs"]
    assert Predictor.load(path, category_names="by_index.json").names == ["Kitty", "Puppy"]
    assert Predictor.load(path, category_names={"1": "Puppy"}).names == ["cats", "Puppy"]
    assert evaluate(path, "pets", category_names={"0": "Pet", "1": "Pet"}).class_names == [
        "Pet (cats)",
        "Pet (dogs)",
    ]


@pytest.mark.parametrize("names", [3, {"cats": 3}, {"cats": ""}, {"cats": torch.zeros(1)}, {"cats": []}])
def test_names_in_a_checkpoint_that_are_none(place, names):
    path = write_checkpoint(place / "best.pt", ("cats", "dogs"), category_names=names)
    with pytest.raises(CheckpointError, match="do not fit together"):
        build_from_checkpoint(load_checkpoint(path), path)
