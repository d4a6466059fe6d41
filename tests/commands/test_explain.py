"""`catdog explain`, and `catdog predict --explain`: what is printed, written and refused."""

import csv

import numpy as np
import pytest
from PIL import Image

from catdog_cli import cli

from ..conftest import write_images
from ..inference.checkpoints import write_checkpoint
from .trained import call

KEYS = {
    *("class", "name", "probability", "logit", "bias", "method", "exact", "grid", "strongest"),
    *("fall", "fall_random", "overlay"),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explain")
    write_images(folder / "pets", {"cats": 2, "dogs": 2})
    (folder / "pets" / "dogs" / "notes.txt").write_text("no picture")
    write_checkpoint(folder / "best.pt")
    write_checkpoint(folder / "labels.pt", task="multi-label", thresholds=[0.001, 0.999, 0.001])
    return folder


@pytest.fixture
def place(made, monkeypatch):
    monkeypatch.chdir(made)
    return made


def test_predict_says_why_and_draws_it(place, capsys, tmp_path):
    plot = tmp_path / "why.png"
    command = ("predict", "pets/cats/0.png", "pets/dogs/1.png", "best.pt", "--explain", "--cpu")
    code, rows, err = call(capsys, *command, "--plot", plot)
    assert (code, err) == (0, f"Drawn: {plot}\n")
    for row in rows:
        (found,) = row["explanations"]
        assert set(found) == KEYS
        assert found["class"] == row["predictions"][0]["class"]
        assert (found["method"], found["exact"], found["overlay"]) == ("HiResCAM", False, str(plot))
    assert Image.open(plot).size[0] > Image.open(plot).size[1]
    assert cli.run([*command]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[4].startswith(
        f"  why {rows[0]['predictions'][0]['name']}: HiResCAM, 2 x 2, strongest in the "
    )
    assert " with the most important fifth blurred, " in lines[5]
    assert len(lines) == 12


def test_without_explain_nothing_is_different(place, capsys):
    code, rows, _ = call(capsys, "predict", "pets/cats/0.png", "best.pt", "--cpu")
    assert code == 0
    assert set(rows[0]) == {"path", "status", "error", "predictions"}


def test_a_folder_gets_overlays_and_a_table(place, capsys, tmp_path):
    write_images(place / "pets", {"dogs": 2})
    code, rows, err = call(capsys, "explain", "pets", "best.pt", "--output", tmp_path / "maps", "--cpu")
    assert code == 0
    overlays = [each["overlay"] for row in rows for each in row["explanations"]]
    assert overlays == [str(tmp_path / "maps" / name) for name in ("0.png", "1.png", "0-2.png", "1-2.png")]
    shown = np.asarray(Image.open(overlays[0]))
    np.testing.assert_array_equal(shown[:, :40], np.asarray(Image.open(rows[0]["path"])))
    assert shown.shape == (32, 40 + 8 + 40, 3)
    with (tmp_path / "maps" / "explanations.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [row["overlay"] for row in table] == overlays
    assert {row["exact"] for row in table} == {"no"}
    assert "4 pictures beside their maps" in err
    assert "points of probability on average, a random fifth" in err
    assert "Ignored: 1 .txt" in err
    assert cli.run(["explain", "pets", "best.pt", "--output", str(tmp_path / "maps"), "--cpu"]) == 0
    assert capsys.readouterr().out == ""
    assert len(list((tmp_path / "maps").iterdir())) == 5  # those of before were replaced


def test_labels_have_a_map_each_side_by_side(place, capsys, tmp_path):
    command = ("explain", "pets/cats/0.png", "labels.pt", "--no-check", "--cpu")
    code, rows, _ = call(capsys, *command, "--output", tmp_path / "maps")
    assert code == 0
    assert {each["class"] for each in rows[0]["explanations"]} == {"cats", "emus"}
    assert Image.open(tmp_path / "maps" / "0.png").size == (40 + 2 * 48, 32)
    code, rows, _ = call(capsys, *command, "--class", "dogs")
    assert [each["class"] for each in rows[0]["explanations"]] == ["dogs"]
    assert [each["fall"] for each in rows[0]["explanations"]] == [None]


def test_a_bad_picture_is_named_and_the_others_explained(place, capsys, tmp_path):
    command = ("explain", "gone.png", "pets/cats/0.png", "best.pt", "--no-check", "--cpu")
    code, rows, err = call(capsys, *command)
    assert code == 1
    assert [row["status"] for row in rows] == ["error", "ok"]
    assert rows[0]["explanations"] == []
    assert err.splitlines() == [rows[0]["error"], "1 of 2 inputs could not be predicted."]
    code, rows, _ = call(capsys, "predict", *command[1:4], "--explain", "--cpu")
    assert (code, "explanations" in rows[0], len(rows[1]["explanations"])) == (1, False, 1)


WRONG = [
    (("predict", "a.png", "best.pt", "--class", "cats"), 2, "--class belongs to --explain"),
    (("predict", "a.png", "best.pt", "--explain", "--output", "a.csv"), 2, "--explain goes without --output"),
    (("predict", "a.png", "best.pt", "--explain", "--with", "best.pt"), 2, "--explain goes without --with"),
    (
        ("explain", "pets", "best.pt", "--output", "pets/maps"),
        2,
        "--output 'pets/maps' lies in the input 'pets'",
    ),
    (("predict", "pets", "best.pt", "--explain", "--json", "--class", "fish"), 2, "does not know it"),
    (("explain", "pets", "best.pt", "--class", "fish"), 2, "Cannot explain the class 'fish'"),
    (("explain", "pets", "best.pt", "--output", "best.pt"), 1, "Cannot write maps into 'best.pt'"),
    (("explain", "best.pt"), 2, "Only 'best.pt' was given"),
]


@pytest.mark.parametrize(("arguments", "code", "match"), WRONG, ids=lambda value: str(value)[:40])
def test_what_makes_no_sense_is_refused(place, capsys, arguments, code, match):
    assert cli.run([*arguments]) == code
    shown = capsys.readouterr()
    assert match in " ".join(shown.err.split())
    assert shown.out == ""
