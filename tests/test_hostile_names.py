"""Names that lie: control characters, bytes that are no text, links to themselves, pipes; no command falls.

Nothing here may reach a terminal raw, break a file that catdog writes, or make a command wait.
"""

import csv
import html.parser
import io
import json
import os
import socket
import subprocess
from pathlib import Path

import pytest

from catdog_cli.cli import run
from catdog_cli.commands.output.terminal import echo, echo_json, printable

from .conftest import draw_image, write_images
from .inference.checkpoints import write_checkpoint

ESCAPE = "\x1b[2J\x1b]0;owned\x07"  # clears the screen, renames the window
NAMES = {
    "escape": f"a{ESCAPE}.png",
    "line break": "a\nError: all is well.png",
    "no text": os.fsdecode(b"caf\xe9\xff.png"),
    "255 bytes": "x" * 251 + ".png",
    "a dash": "-rf.png",
    "turned writing": "cat\u202egnp.png",
    "markup": "[bold red]a[x].png",
    "mathematics": r"$\frac{a$.png",
    "a page": "<img src=x onerror=alert(1)>.png",
    "a formula": '=cmd|"calc"!A1.png',
    "quotes": "'\"`,;.png",
}
CLASSES = [f"cats{ESCAPE}", "<script>alert(1)", os.fsdecode(b"dogs\xe9\n"), r"=$\frac{[red]"]


@pytest.fixture
def ask(capfd):
    """Return a function that runs a command and gives (exit code, stdout, stderr), nothing raw in them."""

    def call(*arguments) -> tuple[int, str, str]:
        capfd.readouterr()
        code = run([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        assert not {"\x1b", "\x07", "\u202e"} & set(out + err)
        return code, out, err

    return call


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_pictures_of_any_name_are_predicted(tmp_path, monkeypatch, ask, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / name).write_bytes(b"no picture")
    draw_image(0, 0).save(tmp_path / "good.png")
    (tmp_path / "good.png").rename(tmp_path / "p" / f"g{name[1:]}")
    write_checkpoint(tmp_path / "best.pt", CLASSES)
    code, out, err = ask("predict", "p", "best.pt", "--cpu", "--plot", "plot.png")
    assert code == 1
    assert "it is not a picture" in err
    assert len(out.splitlines()) == 1 + len(CLASSES)  # a line break in a name is not one on the screen
    assert len(err.splitlines()) == 3  # the bad picture, how many were bad, where the plot is
    assert (tmp_path / "plot.png").stat().st_size > 1000
    for suffix in ("csv", "jsonl"):
        ask("predict", "p", "best.pt", "--cpu", "--output", f"rows.{suffix}", "--all", "--summary")
    with Path("rows.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = list(csv.DictReader(file))
    lines = list(map(json.loads, Path("rows.jsonl").read_text("ascii").splitlines()))
    wanted = sorted([f"p/{name}", f"p/g{name[1:]}"])
    assert sorted(row["path"] for row in rows) == sorted(row["path"] for row in lines) == wanted
    assert {row["class"] for row in rows if row["status"] == "ok"} <= set(CLASSES)


class Tags(html.parser.HTMLParser):
    """Gathers what a page consists of."""

    def __init__(self, text: str):
        super().__init__()
        self.found = set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.update((tag, *(name for name, _ in attributes)))


@pytest.fixture
def odd(tmp_path) -> Path:
    """Return a data folder whose classes and pictures have hostile names."""
    root = tmp_path / f"data{ESCAPE}"
    for number, name in enumerate(CLASSES):
        for split, count in (("train", 4), ("val", 2)):
            folder = write_images(root / split / name, {".": 0}).joinpath(f"sub{ESCAPE}")
            folder.mkdir()
            for each, file in list(enumerate(NAMES.values()))[:count]:
                draw_image(number % 3, 100 * number + 10 * count + each).save(tmp_path / "x.png")
                (tmp_path / "x.png").rename(folder / file)
    bad = root / "train" / CLASSES[0] / f"bad{ESCAPE}.png"
    bad.write_bytes(b"no picture")
    return root


@pytest.mark.plots
def test_classes_of_any_name_go_the_whole_way(tmp_path, odd, ask):
    """Check, split, prepare, train, info, evaluate: what they print, and the pages they write."""
    run_dir = tmp_path / f"run{ESCAPE}"
    network = ["--arch", "simple_cnn", "--epochs", "1", "--image-size", "32", "--cpu", "--workers", "0"]
    for as_json in ((), ("--json",)):
        assert ask("data", "check", odd, "--html", tmp_path / "check.html", *as_json)[0] == 0
        assert ask("train", odd, *network, "--dry-run", "--max-bad-fraction", "1", *as_json)[0] == 0
    assert ask("data", "prepare", odd, tmp_path / f"p{ESCAPE}", "--size", "16")[0] == 0
    code, _, err = ask("train", odd, *network, "--output", run_dir, "--max-bad-fraction", "1")
    assert (code, "Skipped: " in err) == (0, True), err
    for command in (("info", run_dir), ("evaluate", odd, run_dir, "--output", tmp_path / "report", "--cpu")):
        for as_json in ((), ("--json",)):
            code, out, err = ask(*command, *as_json)
            assert code == 0, err
            assert json.loads(out) if as_json else out
    for page in (tmp_path / "check.html", tmp_path / "report" / "report.html"):
        assert {"script", "onerror"}.isdisjoint(Tags(page.read_text("utf-8")).found)
    code, _, err = ask("compare", run_dir, run_dir, "--data", odd, "--cpu")
    assert code == 0, err


def test_too_many_bad_pictures_are_named_without_harm(tmp_path, odd, ask):
    code, _, err = ask("train", odd, "--arch", "simple_cnn", "--cpu", "--image-size", "32", "--workers", "0")
    assert code == 1
    assert "cannot be read, more than --max-bad-fraction" in err
    assert "bad\\x1b[2J" in err


@pytest.mark.parametrize("argument", ["x" * 300 + ".png", "a\x1b[2J.png", "-\x1b[2J", "--\x1b[2J"])
def test_arguments_of_any_kind_are_one_sentence(tmp_path, ask, argument):
    write_checkpoint(tmp_path / "best.pt")
    code, _, err = ask("predict", argument, tmp_path / "best.pt", "--cpu")
    assert code in (1, 2)
    assert err


def test_a_screen_that_knows_ascii_alone(monkeypatch):
    screen = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr("sys.stdout", screen)
    echo("caf\xe9 \U0001f638 \udcff \x1b")
    assert screen.buffer.getvalue() == rb"caf\xe9 \U0001f638 \udcff \x1b" + b"\n"


def test_json_never_holds_a_number_that_is_none(capsys):
    with pytest.raises(ValueError, match="not JSON compliant"):
        echo_json({"a": float("nan")})


@pytest.mark.parametrize("text", ["plain", "with space", "h\xe9", "\u732b"])
def test_honest_names_stay_as_they_are(text):
    assert printable(text) == text


# --- links, pipes, devices


@pytest.fixture
def traps(tmp_path) -> Path:
    """Return a data folder with a picture in each of two classes, and all that is no file."""
    root = write_images(tmp_path / "data", {"cats": 2, "dogs": 2})
    cats = root / "cats"
    os.mkfifo(cats / "pipe.png")
    (cats / "zero.png").symlink_to("/dev/zero")
    (cats / "self.png").symlink_to(cats / "self.png")
    (cats / "one.png").symlink_to(cats / "two.png")
    (cats / "two.png").symlink_to(cats / "one.png")
    (cats / "up").symlink_to(cats)
    (cats / "gone.png").symlink_to(tmp_path / "nowhere")
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(cats)  # a socket's path may have 100 letters
        server.bind("socket.png")
        os.chdir(here)
    folders = [root / "dogs" / str(number) for number in range(8)]  # 8! paths through each other
    for folder in folders:
        folder.mkdir()
        for other in folders:
            (folder / f"to{other.name}").symlink_to(other)
    return root


def test_traps_in_a_data_folder_are_left_aside(traps, ask):
    code, out, err = ask("data", "check", traps, "--json")
    found = json.loads(out)
    assert (code, found["num_pictures"]) == (0, 4), err
    code, _, err = ask(
        "train", traps, "--arch", "simple_cnn", "--image-size", "32", "--cpu", "--dry-run", "--workers", "0"
    )
    assert code == 0, err


def test_traps_in_a_folder_to_predict_are_named(traps, tmp_path, ask):
    write_checkpoint(tmp_path / "best.pt")
    code, out, _ = ask("predict", traps, tmp_path / "best.pt", "--cpu", "--json")
    rows = json.loads(out)
    wrong = {Path(row["path"]).name: row["error"] for row in rows if row["status"] == "error"}
    assert code == 1
    assert sum(row["status"] == "ok" for row in rows) == 4
    assert sorted(wrong) == sorted(
        f"{name}.png" for name in ("gone", "one", "pipe", "self", "socket", "two", "zero")
    )
    assert "Too many levels of symbolic links" in wrong["self.png"]
    assert "not a regular file" in wrong["zero.png"]


@pytest.fixture
def deep(tmp_path, monkeypatch):
    """Make d/d/d/..., 1,200 deep, with a picture at its end; Python's own rmtree cannot remove it."""
    monkeypatch.chdir(tmp_path)
    for _ in range(1200):
        Path("d").mkdir()
        os.chdir("d")
    draw_image(0, 0).save("a.png")
    os.chdir(tmp_path)
    yield "d"
    subprocess.run(["rm", "-rf", str(tmp_path / "d")], check=True)


def test_folders_a_thousand_deep(tmp_path, deep, ask):
    write_checkpoint(tmp_path / "best.pt")
    code, out, _ = ask("predict", deep, "best.pt", "--cpu")
    assert (code, out.splitlines()[0][-8:]) == (0, "/d/a.png")


def test_hidden_class_folders_and_empty_files_are_counted(tmp_path, ask):
    root = write_images(tmp_path / "data", {"cats": 2, "dogs": 2, ".hidden": 2, "__MACOSX": 2})
    for number in range(500):
        (root / "cats" / f"empty{number}.png").touch()
    code, out, _ = ask("data", "check", root, "--json")
    found = json.loads(out)
    assert (code, found["kinds"]) == (0, {"empty": 500})
    assert sorted(found["counts"]["all"]) == ["cats", "dogs"]
