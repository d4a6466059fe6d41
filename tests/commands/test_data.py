"""`catdog data`: what its commands print, write and refuse; results on stdout, talk on stderr."""

import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from catdog_cli import cli
from catdog_cli.data.scan import scan_dataset
from catdog_cli.data.sources import download
from catdog_cli.data.sources.download import DownloadSummary
from tests.commands.trained import train_tiny
from tests.conftest import write_images
from tests.inference.checkpoints import write_checkpoint


@pytest.fixture
def run(capsys):
    """Return a function that runs `catdog data ...` and gives (exit code, stdout, stderr)."""

    def call(*arguments):
        code = cli.run(["data", *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def folders(tmp_path):
    """Return a folder with a folder for each of two classes of 20 pictures."""
    return write_images(tmp_path / "folders", {"cats": 20, "dogs": 20})


def test_sample(run, tmp_path):
    code, out, _ = run("sample", tmp_path / "s", "--num-per-class", 3, "--val-per-class", 1, "--json")
    assert code == 0
    assert json.loads(out) == {"root": str(tmp_path / "s"), "num_train": 6, "num_val": 2}
    assert len(scan_dataset(tmp_path / "s")) == 8
    code, out, _ = run("sample", tmp_path / "s", "--num-per-class", 3, "--val-per-class", 1)
    assert out == f"{tmp_path / 's'}: 6 pictures in train, 2 in val.\n"


def test_download_says_size_and_licence_first(run, tmp_path, monkeypatch):
    calls = []

    def fake(name, root, breeds, report):
        calls.append((name, root, breeds))
        return DownloadSummary(root, 7349, False)

    monkeypatch.setattr(download, "download_dataset", fake)
    code, out, err = run("download", "pets", tmp_path / "p", "--breeds", "--yes", "--json")
    assert code == 0
    assert json.loads(out) == {"root": str(tmp_path / "p"), "num_pictures": 7349, "already_there": False}
    assert "about 811 MB to download; licence: CC BY-SA 4.0" in err
    assert calls == [("pets", str(tmp_path / "p"), True)]


@pytest.mark.parametrize(("answer", "code"), [("n\n", 130), ("y\n", 0)])
def test_download_asks_on_a_terminal(run, tmp_path, monkeypatch, answer, code):
    monkeypatch.setattr(
        download, "download_dataset", lambda name, root, *_, **__: DownloadSummary(root, 1, True)
    )
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda text: answer.strip())
    assert run("download", "pets", tmp_path / "p")[0] == code


def test_an_unknown_download_is_one_sentence(run, tmp_path):
    code, out, err = run("download", "birds", tmp_path / "p", "--yes")
    assert (code, out) == (2, "")
    assert "no pictures called 'birds': known are cats-vs-dogs" in err


def test_check(run, pets, tmp_path):
    (pets / "train/cats/bad.jpg").write_bytes(b"no")
    (pets / "train/cats" / os.fsdecode(b"\xff\n.jpg")).write_bytes(b"no picture")
    shutil.copy(pets / "train/cats/0.png", pets / "val/dogs/copy.png")
    files = ("--html", tmp_path / "page.html", "--exclude-list", tmp_path / "list.txt")
    code, out, err = run("check", pets, *files)
    assert code == 0
    assert "cats      14    6" in out
    assert "2 damaged" in out
    assert "train/cats/bad.jpg" in out
    assert "'train/cats/\\udcff\\n.jpg'" in out
    assert "exact, LABELLED DIFFERENTLY, IN SEVERAL SPLITS: train/cats/0.png, val/dogs/copy.png" in out
    assert "4 paths to leave out" in err
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")
    code, out, _ = run("check", pets, "--json")
    report = json.loads(out)
    assert report["kinds"] == {"damaged": 2}
    assert report["duplicates"][0]["conflict"]
    assert len(report["excluded"]) == 4
    assert scan_dataset(pets, exclude=tmp_path / "list.txt").ignored == {"excluded": 4}


def test_the_answer_outlives_a_page_that_cannot_be_written(run, pets, tmp_path):
    (tmp_path / "file").touch()
    code, out, err = run("check", pets, "--html", tmp_path / "file" / "page.html")
    assert code != 0
    assert "Nothing is wrong with them." in out
    assert "page.html' (File exists): choose another place" in err


def test_check_finds_swapped_labels(run, pets, tmp_path):
    trained = train_tiny(pets, tmp_path / "run")
    data = write_images(tmp_path / "data", {"cats": 20, "dogs": 20})
    (data / "cats" / "3.png").rename(data / "dogs" / "swapped.png")
    (data / "dogs" / "5.png").rename(data / "cats" / "swapped.png")
    (data / "cats" / "bad.png").write_bytes(b"bad")
    page, excluded = tmp_path / "page.html", tmp_path / "out.txt"
    options = ["--checkpoint", trained, "--html", page, "--exclude-list", excluded]
    code, out, _ = run("check", data, *options, "--json")
    found = json.loads(out)
    assert code == 0
    suspects = {each["path"]: each for each in found["label_errors"]}
    assert set(suspects) == {"cats/swapped.png", "dogs/swapped.png"}
    assert suspects["cats/swapped.png"]["class_name"] == "cats"
    assert suspects["cats/swapped.png"]["suggested"] == "dogs"
    assert 0.5 < suspects["cats/swapped.png"]["probability"] <= 1
    assert excluded.read_text() == "cats/bad.png\n"
    assert found["excluded"] == ["cats/bad.png"]
    html = page.read_text()
    assert "2 labels probably wrong" in html
    assert "cats/swapped.png: cats, perhaps dogs" in html
    assert html.count("<img") >= 2
    code, out, _ = run("check", data, "--checkpoint", trained)
    assert "2 labels probably wrong" in out
    assert "  dogs/swapped.png  dogs, perhaps cats (" in out


def test_check_of_labels_needs_two_classes_and_a_checkpoint(run, pets, tmp_path):
    code, out, _ = run("check", pets, "--json")
    assert json.loads(out)["label_errors"] is None
    code, out, err = run("check", pets, "--checkpoint", tmp_path / "none.pt")
    assert code != 0
    assert out == ""
    assert "none.pt" in err
    write_checkpoint(tmp_path / "best.pt")
    few = write_images(tmp_path / "few", {"cats": 3, "dogs": 1})
    code, out, _ = run("check", few, "--checkpoint", tmp_path / "best.pt")
    assert code == 0
    assert "Warning: Wrong labels can only be found with two pictures" in out


def test_check_of_sound_pictures(run, pets):
    code, out, _ = run("check", pets)
    assert code == 0
    assert out.endswith("36 pictures; largest class to smallest: 1.00 to 1\n\nNothing is wrong with them.\n")


def test_long_lists_are_cut(run, pets):
    for number in range(25):
        (pets / "train/cats" / f"bad{number}.jpg").write_bytes(b"%d" % number)
    assert f"... and 5 more; the full list: catdog data check {pets} --json" in run("check", pets)[1]


def test_split_writes_a_manifest_that_is_data(run, folders, tmp_path):
    code, out, _ = run(
        "split", folders, tmp_path / "split.csv", "--test-fraction", 0.2, "--seed", 1, "--json"
    )
    assert code == 0
    counts = json.loads(out)["counts"]
    dataset = scan_dataset(tmp_path / "split.csv")
    assert {name: len(part) for name, part in dataset.splits.items()} == counts
    assert list(counts) == ["train", "val", "test"]
    assert sum(counts.values()) == 40
    assert (tmp_path / "split.csv").read_bytes().startswith(b"path,class,split\r\nfolders/")


def test_split_moves_hardly_any_when_pictures_come(run, folders, tmp_path):
    run("split", folders, tmp_path / "one.csv")
    write_images(tmp_path / "folders", {"cats": 30, "dogs": 30, "foxes": 5})
    run("split", folders, tmp_path / "two.csv")
    sides = [
        {path: name for name, part in scan_dataset(tmp_path / file).splits.items() for path in part.paths}
        for file in ("one.csv", "two.csv")
    ]
    assert len(sides[1]) == 65
    moved = [path for path, side in sides[0].items() if sides[1][path] != side]
    assert len(moved) < 8  # of 40, where 20 came


def test_split_keeps_groups_and_look_alikes_together(run, folders, tmp_path):
    for number in range(20):
        image = Image.open(folders / f"cats/{number}.png").resize((20, 16), Image.Resampling.BOX)
        image.resize((400, 320), Image.Resampling.BICUBIC).save(folders / f"cats/{number}_big.png")
        image.resize((200, 160), Image.Resampling.BICUBIC).save(folders / f"cats/{number}_small.jpg")
    assert (
        run("split", folders, tmp_path / "s.csv", "--val-fraction", 0.5, "--group-by", r"dogs/(\d)")[0] == 0
    )
    dataset = scan_dataset(tmp_path / "s.csv")
    val = {path.removeprefix("folders/") for path in dataset.splits["val"].paths}
    for number in range(20):
        assert (f"cats/{number}_big.png" in val) == (f"cats/{number}_small.jpg" in val)
    assert len({f"dogs/{number}.png" in val for number in (1, *range(10, 20))}) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--val-fraction", "1.5"], "val fraction is 1.5"),
        (["--val-fraction", "0.6", "--test-fraction", "0.6"], "val and test fraction together is 1.2"),
        (["--group-by", "("], "not a regular expression"),
        (["--seed", "-1"], "seed is -1, but must be a whole number from 0"),
    ],
)
def test_split_refuses(run, folders, tmp_path, options, message):
    code, out, err = run("split", folders, tmp_path / "split.csv", *options)
    assert (code, out) == (2, "")
    assert message in err
    assert not (tmp_path / "split.csv").exists()


def test_split_keeps_what_is_there(run, folders, pets, tmp_path):
    (tmp_path / "mine.csv").write_text("mine")
    code, _, err = run("split", folders, tmp_path / "mine.csv")
    assert (code, (tmp_path / "mine.csv").read_text()) == (1, "mine")
    assert "exists already" in err
    code, _, err = run("split", pets, tmp_path / "split.csv")
    assert code == 1
    assert "has val already" in err


def test_split_takes_val_from_train(run, tmp_path):
    write_images(tmp_path / "d", {"train/a": 20, "train/b": 20, "test/a": 2, "test/b": 2})
    code, out, err = run("split", tmp_path / "d", tmp_path / "split.csv", "--json")
    assert code == 0
    assert set(json.loads(out)["counts"]) == {"train", "val", "test"}
    assert "Warning: There is no val/" in err
    code, _, err = run("split", tmp_path / "d", tmp_path / "more.csv", "--test-fraction", 0.2)
    assert code == 1
    assert "has test already" in err


def test_prepare(run, pets, tmp_path):
    (pets / "train/cats/bad.jpg").write_bytes(b"no")
    (tmp_path / "list.txt").write_text("val/dogs/0.png\n")
    arguments = ("prepare", pets, tmp_path / "p", "--size", 16, "--exclude-list", tmp_path / "list.txt")
    code, out, err = run(*arguments, "--normalise", "--json")
    assert code == 0
    found = json.loads(out)
    assert (found["num_pictures"], found["num_resumed"]) == (35, 0)
    assert found["skipped"][0]["path"] == "train/cats/bad.jpg"
    assert "Skipped 'train/cats/bad.jpg': Cannot read" in err
    assert np.load(tmp_path / "p/images.npy").dtype == np.float32
    code, out, _ = run(*arguments, "--normalise")
    assert out == f"{tmp_path / 'p'}: 35 pictures of 16 x 16 px, 1 skipped.\n"


@pytest.mark.parametrize("command", [["check"], ["split"], ["prepare"]])
def test_missing_data_is_one_sentence(run, tmp_path, command):
    target = [] if command == ["check"] else [tmp_path / "out"]
    code, out, err = run(*command, tmp_path / "none", *target)
    assert (code, out) == (1, "")
    assert err.startswith("Error: The data folder")
    assert err.count("\n") == 1
