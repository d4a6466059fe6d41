"""What every command says of DATA: what it ignores, by suffix; one table means the same files to all."""

import csv
import json

import pytest

from catdog_cli.cli import run
from catdog_cli.images import suffixes
from tests.commands.trained import train_tiny
from tests.conftest import write_images

TINY = (
    *("--arch", "simple_cnn", "--weights", "none", "--epochs", "1", "--image-size", "32", "--cpu"),
    *("--workers", "0"),
)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Return a folder with two classes, other files among them, and a run on it."""
    root = tmp_path_factory.mktemp("mixed")
    data = write_images(root / "pets", {"cats": 10, "dogs": 10})
    for name in ("cats/a.txt", "dogs/b.TXT", "cats/c.psd", "dogs/notes"):
        (data / name).write_text("no picture")
    return data, train_tiny(data, root / "run")


COMMANDS = {
    "train": lambda data, made, new: ("train", data, *TINY, "--output", new),
    "dry-run": lambda data, made, new: ("train", data, *TINY, "--dry-run"),
    "evaluate": lambda data, made, new: ("evaluate", data, made),
    "lr-find": lambda data, made, new: ("lr-find", data, *TINY, "--plot", new.with_suffix(".png")),
    "verify-resume": lambda data, made, new: ("verify-resume", data, *TINY, "--kills", "1"),
    "check": lambda data, made, new: ("data", "check", data),
    "split": lambda data, made, new: ("data", "split", data, new),
    "prepare": lambda data, made, new: ("data", "prepare", data, new, "--size", 32),
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_every_command_counts_what_it_ignores(capsys, mixed, tmp_path, command, verified_here):
    assert run([*map(str, command(*mixed, tmp_path / "new"))]) == 0
    printed = capsys.readouterr()
    said = "Ignored: 1 .psd (pictures of a kind that is not read), 2 .txt, 1 without suffix"
    assert said in (printed.out + printed.err).replace("\n", " ")


def test_predict_gives_a_row_for_every_picture_and_counts_the_rest(capsys, mixed, tmp_path):
    data, made = mixed
    assert run(["predict", str(data), str(made), "--output", str(tmp_path / "rows.csv")]) == 1  # for c.psd
    assert "Ignored: 2 .txt, 1 without suffix" in capsys.readouterr().err
    with (tmp_path / "rows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 21
    assert [row["path"] for row in rows if row["status"] != "ok"] == [str(data / "cats" / "c.psd")]


def test_a_picture_that_needs_an_extra_is_counted_with_its_name(capsys, mixed, monkeypatch, tmp_path):
    data = write_images(tmp_path / "pets", {"cats": 3, "dogs": 3})
    (data / "cats" / "phone.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    monkeypatch.setattr(suffixes, "_is_installed", lambda package: False)
    assert run(["data", "check", str(data)]) == 0
    assert "\nIgnored: 1 .heic (install catdog[heic])" in capsys.readouterr().out
    assert run(["predict", str(data / "cats"), str(mixed[1]), "--json"]) == 1
    rows = json.loads(capsys.readouterr().out)
    assert [row["path"] for row in rows if row["status"] == "error"] == [str(data / "cats" / "phone.HEIC")]


def test_one_table_means_the_same_files_to_train_evaluate_and_predict(capsys, tmp_path, monkeypatch):
    data = write_images(tmp_path / "pets", {"train": 12})
    rows = "".join(f"{number};{'cat' if number % 2 else 'dog'}\n" for number in range(12))
    (data / "labels.csv").write_text(f"id;breed\n{rows}")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    for given in (data, data / "labels.csv"):
        made = train_tiny(given, tmp_path / f"run-{given.stem}")
        capsys.readouterr()
        assert run(["evaluate", str(given), str(made), "--split", "all", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["num_samples"] == 12
    assert run(["predict", "../pets/labels.csv", str(made), "--json"]) == 0
    answers = json.loads(capsys.readouterr().out)
    assert [row["path"] for row in answers] == [f"../pets/train/{number}.png" for number in range(12)]
    assert run(["evaluate", str(made / "split.csv"), str(made), "--json"]) == 0
    assert run(["predict", str(made / "split.csv"), str(made), "--json"]) == 0
