"""`catdog predict` as a user runs it: text, JSON, plots, bad pictures, wrong arguments."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from catdog_cli import cli

from ..conftest import write_images
from ..inference.checkpoints import write_checkpoint


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Return the working directory, with pets/ of four pictures and the run directory `run`."""
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "pets", {"cats": 2, "dogs": 2})
    write_checkpoint(tmp_path / "run" / "best.pt")
    return tmp_path


def predict_json(capsys, *arguments):
    """Run with --json; return the exit code, what was printed, and stderr."""
    code = cli.run(["predict", *arguments, "--json"])
    out, err = capsys.readouterr()
    return code, json.loads(out), err


def test_text_names_each_picture_with_its_classes(place, capsys):
    assert cli.run(["predict", "pets/cats/0.png", "pets/dogs/1.png", "run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == ["pets/cats/0.png", "pets/dogs/1.png"]
    assert len(lines) == 8
    assert {line.split()[0] for line in lines[1:4]} == {"cats", "dogs", "emus"}
    percents = [float(line.split()[1]) for line in lines[1:4]]
    assert percents == sorted(percents, reverse=True)
    assert sum(percents) == pytest.approx(100, abs=0.02)


def test_neither_training_nor_measuring_nor_predicting_imports_scikit_learn_or_scipy(place):
    """They would take a second and a half: a picture takes two, a training on kept features four."""
    network = "--arch simple_cnn --weights none --epochs 1 --image-size 32 --cpu --workers 0 --output new"
    commands = [
        ["train", "pets", *network.split()],
        ["evaluate", "pets", "new"],
        ["predict", "pets/cats/0.png", "new"],
    ]
    code = (
        "import sys, catdog_cli.evaluation.metrics; print('torch' in sys.modules); "
        f"from catdog_cli import cli; codes = [*map(cli.run, {commands})]; "
        "print(codes, {'sklearn', 'scipy'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == "False"  # what the loop asks every epoch
    assert done.stdout.splitlines()[-1] == "[0, 0, 0] set()"
    assert [*Path("new/reports").glob("*/report.json")]


def test_bars_appear_on_a_terminal_alone(place, capsys, monkeypatch):
    cli.run(["predict", "pets/cats/0.png", "run"])
    assert "█" not in capsys.readouterr().out
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    cli.run(["predict", "pets/cats/0.png", "run"])
    assert "█" in capsys.readouterr().out


@pytest.mark.parametrize("checkpoint", ["run", "run/best.pt"])
def test_json_of_a_folder(place, capsys, checkpoint):
    code, rows, err = predict_json(capsys, "pets", checkpoint, "--top-k", "2")
    assert (code, err) == (0, "")
    assert [row["path"] for row in rows] == [f"pets/{c}/{i}.png" for c in ("cats", "dogs") for i in (0, 1)]
    for row in rows:
        assert set(row) == {"path", "status", "error", "predictions"}
        assert (row["status"], row["error"], len(row["predictions"])) == ("ok", None, 2)
        assert set(row["predictions"][0]) == {"class", "name", "probability"}
        assert row["predictions"][0]["probability"] >= row["predictions"][1]["probability"]


def test_a_bad_picture_is_named_and_the_others_predicted(place, capsys):
    (place / "bad.jpg").write_bytes(b"")
    code, rows, err = predict_json(capsys, "pets/cats/0.png", "bad.jpg", "gone.png", "pets/dogs/0.png", "run")
    assert code == 1
    assert [row["status"] for row in rows] == ["ok", "error", "error", "ok"]
    assert rows[1]["error"].startswith("Cannot read the picture 'bad.jpg': it is empty")
    assert rows[1]["predictions"] == []
    assert err.splitlines() == [
        rows[1]["error"],
        rows[2]["error"],
        "2 of 4 inputs could not be predicted.",
    ]


def test_all_bad_still_gives_rows_and_no_plot(place, capsys):
    code, rows, _ = predict_json(capsys, "gone.png", "run", "--plot", "plot.png")
    assert (code, len(rows)) == (1, 1)
    assert not (place / "plot.png").exists()


def test_category_names_and_those_missing_said_once(place, capsys):
    (place / "names.json").write_text('{"cats": "Cat", "dogs": "Dog", "fish": "Fish"}')
    code, rows, err = predict_json(capsys, "pets", "run", "--category-names", "names.json")
    assert code == 0
    names = {each["class"]: each["name"] for row in rows for each in row["predictions"]}
    assert names == {"cats": "Cat", "dogs": "Dog", "emus": "emus"}
    assert err == "'names.json' has no name for 1 of 3 classes (emus): their folder names are shown.\n"


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (None, r"Cannot read the names in 'names\.json' \(No such file"),
        (b"", r"Cannot read the names in 'names\.json' \(Expecting value"),
        (b"\xff\xfe\x00", r"Cannot read the names in 'names\.json' \('utf-8' codec"),
        (b'["Cat"]', r"'names\.json' holds a list, no names: expected one object such as"),
        (b'{"cats": 3}', r"'names\.json' gives 'cats' the name 3, which is not a text"),
        (b'{"cats": " "}', r"gives 'cats' the name ' ', which is not a text"),
        (b"[" * 100_000, r"Cannot read the names in 'names\.json'"),
    ],
)
def test_bad_category_names(place, capsys, content, match):
    if content is not None:
        (place / "names.json").write_bytes(content)
    assert cli.run(["predict", "pets", "run", "--category-names", "names.json"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert re.search(match, err)
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("count", [1, 4])
def test_plot(place, capsys, count):
    images = [f"pets/{name}/{i}.png" for name in ("cats", "dogs") for i in (0, 1)][:count]
    assert cli.run(["predict", *images, "run", "--plot", "out/plot.png"]) == 0
    assert "Drawn: out/plot.png" in capsys.readouterr().err
    with Image.open(place / "out" / "plot.png") as image:
        assert image.width > 800


def test_plot_never_replaces_a_picture(place, capsys):
    before = (place / "pets/cats/1.png").read_bytes()
    assert cli.run(["predict", "pets", "run", "--plot", "pets/cats/1.png"]) == 2
    assert "'pets/cats/1.png' is one of the pictures: give another name." in capsys.readouterr().err
    assert (place / "pets/cats/1.png").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ([], "Nothing was given: name pictures, then the checkpoint."),
        (["run"], "Only 'run' was given: name pictures, then the checkpoint, which comes last"),
        (["run", "pets/cats/0.png"], "'pets/cats/0.png' is not a checkpoint, and the checkpoint comes last"),
        (["run", "-"], "'-' is not a checkpoint, and the checkpoint comes last"),
        (["pets", "run", "--top-k", "0"], "Invalid value for '--top-k'"),
        (["pets", "run", "--plot", "answer.txt"], "Cannot draw into 'answer.txt': give a name that ends in"),
        (["pets", "run", "--output", "rows.txt"], "--output is 'rows.txt', but must end in one of"),
        (["run", "pets"], "'run' is a checkpoint and 'pets' is data: swap them: catdog predict pets run"),
        (
            ["run/best.pt", "run"],
            "'run/best.pt' is a checkpoint, not pictures: catdog predict DATA",
        ),
    ],
)
def test_wrong_usage(place, capsys, arguments, match):
    assert cli.run(["predict", *arguments]) == 2
    assert match in capsys.readouterr().err


def test_what_is_no_checkpoint(place, capsys):
    assert cli.run(["predict", "pets", "pets"]) == 1
    assert "'pets'" in capsys.readouterr().err


@pytest.mark.parametrize("normalise", [[], ["--normalise"]])
def test_a_prepared_folder_is_predicted_without_its_files(place, capsys, normalise):
    code, wanted, _ = predict_json(capsys, "pets", "run")
    assert cli.run(["data", "prepare", "pets", "prepared", "--size", "32", *normalise]) == 0
    (place / "pets").rename(place / "moved")
    capsys.readouterr()
    code, rows, err = predict_json(capsys, "prepared", "run")
    assert (code, err, len(rows)) == (0, "", 4)
    assert [row["path"] for row in rows] == [row["path"].removeprefix("pets/") for row in wanted]
    assert [row["predictions"] for row in rows] == [row["predictions"] for row in wanted]
    assert cli.run(["predict", "prepared", "run"]) == 0
    assert "cats/0.png" in capsys.readouterr().out


def test_a_prepared_folder_into_a_file_and_on_with_it(place, capsys):
    cli.run(["data", "prepare", "pets", "prepared", "--size", "32"])
    assert cli.run(["predict", "prepared", "run", "--output", "all.csv"]) == 0
    whole = (place / "all.csv").read_text()
    assert [line.split(",")[0] for line in whole.splitlines()[1:]] == [
        f"{c}/{i}.png" for c in ("cats", "dogs") for i in (0, 1)
    ]
    (place / "all.csv").write_text("".join(whole.splitlines(keepends=True)[:3]))
    assert cli.run(["predict", "prepared", "run", "--output", "all.csv", "--resume"]) == 0
    assert (place / "all.csv").read_text() == whole
    (place / "all.csv").write_text("".join(whole.splitlines(keepends=True)[:3]))
    write_checkpoint(place / "other.pt", seed=1)
    capsys.readouterr()
    assert cli.run(["predict", "prepared", "other.pt", "--output", "all.csv", "--resume"]) != 0
    assert "Cannot resume 'all.csv'" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--plot", "--sort-into"])
def test_options_that_need_files_refuse_a_prepared_folder(place, capsys, option):
    cli.run(["data", "prepare", "pets", "prepared", "--size", "32"])
    capsys.readouterr()
    assert cli.run(["predict", "prepared", "run", option, "made.png"]) != 0
    assert f"{option} needs the pictures' files, but 'prepared' is" in capsys.readouterr().err
    assert not (place / "made.png").exists()


def test_a_damaged_prepared_folder_is_refused(place, capsys):
    cli.run(["data", "prepare", "pets", "prepared", "--size", "32"])
    (place / "prepared" / "files.csv").unlink()
    capsys.readouterr()
    assert cli.run(["predict", "prepared", "run"]) != 0
    assert "The prepared folder 'prepared' is damaged" in capsys.readouterr().err
