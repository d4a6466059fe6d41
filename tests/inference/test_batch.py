"""Many inputs: one row each, in files that outlive a kill at any time."""

import csv
import io
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet
import pytest

from catdog_cli import Predictor, cli
from catdog_cli.errors import CatdogError, SettingsError
from catdog_cli.inference.answer import ClassProbability
from catdog_cli.inference.batch import iterate_predictions
from catdog_cli.inference.outputs.predictions_file import Output
from catdog_cli.inference.outputs.sort_into import Sorter
from catdog_cli.inference.prediction import Prediction

from ..conftest import draw_image, write_images
from .checkpoints import write_checkpoint
from .test_inputs import expand

SUFFIXES = ("csv", "jsonl", "parquet")
ODD = ("a,b.png", 'quo"te.png', "new\nline.png", "cr\rhere.png", " lead.png", "caf\udce9.png", "猫.png")


def run(*arguments):
    return cli.run(["predict", *arguments])


def feed(monkeypatch, data: bytes):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))


def read_rows(path: Path) -> list[dict]:
    """Return the rows of an output file of any kind."""
    if path.suffix == ".parquet":
        rows = pyarrow.parquet.read_table(path).to_pylist()
        for row in rows:
            raw = row.pop("path_bytes")
            row["path"] = row["path"] if raw is None else os.fsdecode(raw)
        return rows
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


# Files of rows


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_input_has_one_row_in_order(place, capsys, suffix):
    assert run("pets", "gone.png", "best.pt", "--output", f"out/rows.{suffix}", "--top-k", "2") == 1
    rows = read_rows(place / "out" / f"rows.{suffix}")
    assert [row["path"] for row in rows] == expand("pets", "gone.png")
    assert [row["path"] for row in rows if row["status"] == "error"] == ["pets/cats/7a.jpg", "gone.png"]
    assert all(row["error"] for row in rows if row["status"] == "error")
    assert sorted(path.name for path in (place / "out").iterdir()) == [f"rows.{suffix}"]
    assert f"21 rows in 'out/rows.{suffix}'" in capsys.readouterr().err


def test_the_three_kinds_say_the_same_as_the_printed_json(place, capsys):
    run("pets", "best.pt", "--json")
    printed = json.loads(capsys.readouterr().out)
    for suffix in SUFFIXES:
        run("pets", "best.pt", "--output", f"rows.{suffix}")
    assert read_rows(place / "rows.jsonl") == printed
    for suffix in ("csv", "parquet"):
        for row, wanted in zip(read_rows(place / f"rows.{suffix}"), printed, strict=True):
            for place_, each in enumerate(wanted["predictions"], start=1):
                end = "" if place_ == 1 else f"_{place_}"
                assert row[f"class{end}"] == each["class"]
                assert float(row[f"probability{end}"]) == each["probability"]


def test_all_gives_every_probability_in_the_order_of_the_classes(place):
    run("pets/cats/0.png", "best.pt", "--all", "--output", "rows.csv")
    (row,) = read_rows(place / "rows.csv")
    names = [name for name in row if name.startswith("probability:")]
    assert names == ["probability:cats", "probability:dogs", "probability:emus"]
    assert sum(float(row[name]) for name in names) == pytest.approx(1)
    assert row["probability"] == row[f"probability:{row['class']}"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_odd_names_survive(place, monkeypatch, suffix):
    for name in ODD:
        draw_image(0, 1).save(place / "x.png")
        (place / "x.png").rename(place / name)
    feed(monkeypatch, b"\0".join(os.fsencode(name) for name in ODD))
    assert run("-", "best.pt", "--output", f"rows.{suffix}") == 0
    assert [row["path"] for row in read_rows(place / f"rows.{suffix}")] == list(ODD)
    feed(monkeypatch, b"\0".join(os.fsencode(name) for name in ODD))
    assert run("-", "best.pt", "--output", f"rows.{suffix}", "--resume") == 0
    assert [row["path"] for row in read_rows(place / f"rows.{suffix}")] == list(ODD)
    if suffix == "csv":
        assert expand("rows.csv") == list(ODD)


# Going on


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_file_cut_anywhere_is_completed_to_the_same_bytes(place, suffix):
    draw_image(0, 1).save(place / "pets" / "cats" / 'a\n"b",c.png')
    predictor = Predictor.load("best.pt", device="cpu")
    path, sources = place / f"rows.{suffix}", expand("pets")

    def write(resume):
        with Output(str(path), predictor, 2, False, resume, False) as output:
            rest = iter(sources)
            kept = sum(1 for _ in output.keep(rest))
            for row in answers[kept:]:
                output.write(row)
        return kept

    answers = list(iterate_predictions(predictor, sources, 2))
    write(False)
    whole = path.read_bytes()
    for cut in random.Random(0).sample(range(len(whole) + 1), 40):
        path.write_bytes(whole[:cut])
        kept = write(True)
        assert path.read_bytes() == whole
        assert kept <= whole[:cut].count(b"\n")


@pytest.mark.parametrize("suffix", ["csv", *(pytest.param(s, marks=pytest.mark.slow) for s in SUFFIXES[1:])])
def test_killed_and_resumed_loses_doubles_and_tears_nothing(place, monkeypatch, capsys, suffix):
    sources = expand("pets") * 20
    names = b"".join(os.fsencode(source) + b"\n" for source in sources)
    command = [sys.executable, "-m", "catdog_cli", "predict", "-", "best.pt", "--output", f"rows.{suffix}"]
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[1])}
    growing = place / (f"rows.{suffix}" if suffix != "parquet" else "rows.parquet.rows.csv")
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    ) as process:
        process.stdin.write(names[: len(names) // 2])
        process.stdin.flush()  # and left open: the run cannot end by itself
        while not (growing.exists() and growing.stat().st_size > 4000):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    feed(monkeypatch, names)
    assert run("-", "best.pt", "--output", f"rows.{suffix}", "--resume", "--json") == 1  # of the bad picture
    out, err = capsys.readouterr()
    assert "Resuming after" in err
    assert json.loads(out)["total"] == len(sources)
    assert [row["path"] for row in read_rows(place / f"rows.{suffix}")] == sources


def test_a_finished_file_can_be_gone_on_with(place):
    for suffix in SUFFIXES:
        assert run("pets/dogs", "best.pt", "--output", f"rows.{suffix}") == 0
        before = (place / f"rows.{suffix}").read_bytes()
        assert run("pets/dogs", "best.pt", "--output", f"rows.{suffix}", "--resume") == 0
        if suffix != "parquet":
            assert (place / f"rows.{suffix}").read_bytes() == before
        assert run("pets/dogs", "pets/cats/1.png", "best.pt", "--output", f"rows.{suffix}", "--resume") == 0
        assert len(read_rows(place / f"rows.{suffix}")) == 9


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["pets/dogs", "best.pt"], "' exists: resume it with --resume, replace it with --overwrite, or"),
        (
            ["pets/cats", "best.pt", "--resume"],
            "its row 1 is of 'pets/dogs/0.png', but the input there is 'pe",
        ),
        (["pets/dogs/0.png", "best.pt", "--resume"], "row 2 is of 'pets/dogs/1.png', but there are fewer in"),
        (["pets/dogs", "other.pt", "--resume"], "which this checkpoint with these options does not"),
        (["pets/dogs", "best.pt", "--resume", "--top-k", "1"], "Cannot resume 'rows"),
    ],
)
def test_what_cannot_be_gone_on_with_is_left_alone(place, capsys, suffix, arguments, match):
    write_checkpoint(place / "best.pt", temperature=0.02)
    write_checkpoint(place / "other.pt", seed=5, temperature=0.02)
    run("pets/dogs", "best.pt", "--output", f"rows.{suffix}", "--top-k", "3")
    before = read_rows(place / f"rows.{suffix}")
    capsys.readouterr()
    assert run(*arguments, "--output", f"rows.{suffix}") == 1
    err = capsys.readouterr().err
    assert match in err
    assert len(err.splitlines()) == 1
    assert read_rows(place / f"rows.{suffix}") == before


def test_overwrite_replaces_but_never_an_input(place, capsys):
    (place / "list.csv").write_text("path\npets/dogs/0.png\n")
    assert run("list.csv", "best.pt", "--output", "list.csv", "--overwrite") == 2
    assert "--output 'list.csv' is one of the inputs" in capsys.readouterr().err
    for _ in range(2):
        assert run("list.csv", "best.pt", "--output", "rows.csv", "--overwrite") == 0
    assert len(read_rows(place / "rows.csv")) == 1


def test_a_full_disk_is_one_sentence_and_can_be_gone_on_with(place, capsys):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (700, limits[1]))
    try:
        assert run("pets", "best.pt", "--output", "rows.csv") == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    err = capsys.readouterr().err.splitlines()
    assert "rows are kept: fix that and add --resume." in err[-1]
    assert err[-1].startswith("Error: Cannot write 'rows.csv' (File too large)")
    assert (place / "rows.csv").stat().st_size == 700  # torn
    assert run("pets", "best.pt", "--output", "rows.csv", "--resume") == 1
    assert [row["path"] for row in read_rows(place / "rows.csv")] == expand("pets")


def test_interrupted_says_how_to_go_on(place, capsys, monkeypatch):
    write, written = Output.write, []

    def write_some(output, row):
        if len(written) == 7:
            raise KeyboardInterrupt
        written.append(row.path)
        write(output, row)

    monkeypatch.setattr(Output, "write", write_some)
    assert run("pets", "best.pt", "--output", "rows.csv") == 130
    said = "Interrupted: 7 rows are kept; run this again with --resume to continue.\n"
    assert capsys.readouterr().err == said
    assert [row["path"] for row in read_rows(place / "rows.csv")] == written


def test_a_file_that_is_removed_meanwhile_is_noticed(place):
    predictor = Predictor.load("best.pt", device="cpu")
    output = Output("rows.csv", predictor, 2, False, False, False)
    Path("rows.csv").unlink()
    with pytest.raises(CatdogError, match=r"'rows\.csv' was removed or replaced"), output:
        list(output.keep(iter([])))


def test_two_runs_do_not_write_one_file(place):
    predictor = Predictor.load("best.pt", device="cpu")
    with (
        Output("rows.csv", predictor, 2, False, False, False),
        pytest.raises(CatdogError, match=r"'rows\.csv' is being written by another process"),
    ):
        Output("rows.csv", predictor, 2, False, True, False)


def test_a_foreign_file_is_left_alone(place, capsys):
    for name, content in (("a.csv", b"x,y\n1,2\n"), ("a.jsonl", b'{"x": 1}\n'), ("a.parquet", b"PAR?")):
        (place / name).write_bytes(content)
        assert run("pets", "best.pt", "--output", name, "--resume") == 1
        assert name in capsys.readouterr().err
        assert (place / name).read_bytes() == content
        assert not (place / f"{name}.rows.csv").exists()


# Sorting, counting


@pytest.mark.parametrize("copy", [False, True])
def test_sorting_links_or_copies_and_changes_nothing_twice(place, capsys, copy):
    write_images(place / "more", {"cats": 2})  # names that pets/cats has too
    options = ["--output", "rows.csv", "--sort-into", "sorted", *(["--copy"] if copy else [])]
    sources = ["pets/cats/0.png", "more/cats/1.png", "pets/cats/1.png"]
    assert run(*sources, "best.pt", *options) == 0
    found = set((place / "sorted").rglob("*.png"))
    assert f"3 pictures {'copied' if copy else 'linked'} by class: sorted" in capsys.readouterr().err
    assert {path.is_symlink() for path in found} == {not copy}
    classes = {row["class"] for row in read_rows(place / "rows.csv")}
    assert {path.parent.name for path in found} == classes
    if not copy:
        assert {path.resolve() for path in found} == {(place / source).resolve() for source in sources}
    assert run(*sources, "best.pt", *options, "--resume") == 0
    assert set((place / "sorted").rglob("*.png")) == found
    assert all((place / source).is_file() for source in sources)


def test_sorting_never_replaces_and_stays_outside(place, capsys):
    assert run("pets", "best.pt", "--sort-into", "pets/sorted") == 2
    assert "--sort-into 'pets/sorted' lies in the input 'pets'" in capsys.readouterr().err
    with pytest.raises(SettingsError, match=r"'\.\./up' cannot be a folder's name"):
        Sorter("sorted", False, ["cats", "../up"])
    sorter = Sorter("sorted", True, ["Cat"])
    row = Prediction("pets/cats/0.png", None, (ClassProbability("cats", "Cat", 0.9),))
    target = place / "sorted" / "Cat" / "0.png"  # the folder is called as the class is shown
    target.parent.mkdir(parents=True)
    target.write_bytes(b"mine")
    assert sorter.place(row)
    assert target.read_bytes() == b"mine"
    assert len(list(target.parent.iterdir())) == 2


def test_summary_counts_and_json_of_a_file(place, capsys):
    assert run("pets", "best.pt", "--output", "rows.csv", "--summary") == 1
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines] == ["cats", "dogs", "emus", "(errors)"]
    assert sum(int(line[1]) for line in lines) == 20
    assert run("pets", "best.pt", "--output", "rows.csv", "--json", "--overwrite") == 1
    facts = json.loads(capsys.readouterr().out)
    assert (facts["output"], facts["total"], facts["errors"]) == ("rows.csv", 20, 1)
    assert sum(facts["classes"].values()) == 19


@pytest.mark.parametrize(
    ("options", "code", "match"),
    [
        (["--resume"], 2, "--resume belongs to --output FILE."),
        (["--overwrite"], 2, "--overwrite belongs to --output FILE."),
        (["--copy"], 2, "--copy belongs to --sort-into DIR."),
        (["--output", "a.csv", "--resume", "--overwrite"], 2, "give one of them."),
        (["--output", "a.txt"], 2, "--output is 'a.txt', but must end in one of: .csv, .jsonl, .parquet."),
        (
            ["--output", "best.pt/a.csv"],
            1,
            "Cannot open 'best.pt/a.csv' (File exists): give another --output.",
        ),
    ],
)
def test_wrong_options(place, capsys, options, code, match):
    assert run("pets", "best.pt", *options) == code
    assert match in capsys.readouterr().err


def test_no_input_at_all_is_said(place, capsys, monkeypatch):
    feed(monkeypatch, b"\n\n")
    assert run("-", "best.pt") == 1
    assert capsys.readouterr().err == "Nothing was predicted: the inputs name no picture.\n"
