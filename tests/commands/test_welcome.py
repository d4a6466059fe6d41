"""`catdog` alone: the commands that help in a folder with nothing, with pictures, with a run."""

import os
import subprocess
import sys

import pytest

from catdog_cli.cli import run


@pytest.fixture
def ask(capsys, monkeypatch, tmp_path):
    """Return a function that runs `catdog` in tmp_path and gives what it prints."""
    monkeypatch.chdir(tmp_path)

    def call():
        assert run([]) == 0
        return capsys.readouterr().out

    return call


def add_picture(folder, name="a.jpg"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b"")


def test_where_there_is_nothing_it_says_how_to_begin(ask, tmp_path):
    (tmp_path / "notes").mkdir()
    text = ask()
    assert "No run and no folders of pictures here yet." in text
    assert "catdog data sample pictures" in text


@pytest.mark.parametrize("below", ["my pets", "my pets/train"])
def test_pictures_are_found(ask, tmp_path, below):
    for name in ("cats", "dogs"):
        add_picture(tmp_path / below / name)
    assert "catdog train 'my pets' --dry-run" in ask()


def test_pictures_of_this_folder_itself_are_found(ask, tmp_path):
    for name in ("cats", "dogs"):
        add_picture(tmp_path / name)
    assert "catdog train ." in ask()


@pytest.mark.parametrize("names", [{"cats": "a.jpg"}, {"cats": "a.jpg", "dogs": "notes.txt"}])
def test_one_class_is_no_data(ask, tmp_path, names):
    for folder, name in names.items():
        add_picture(tmp_path / "pets" / folder, name)
    assert "No run and no folders" in ask()


def test_the_newest_run_is_named(ask, tmp_path):
    for number, folder in enumerate(("b-2", "a-10", "c-1")):
        add_picture(tmp_path / "checkpoints" / folder, "best.pt")
        add_picture(tmp_path / "checkpoints" / folder, "curves.png")
        os.utime(tmp_path / "checkpoints" / folder / "best.pt", (number, number))
    (tmp_path / "checkpoints" / "d-9").mkdir()  # has no checkpoint
    text = ask()
    assert "catdog predict PICTURE checkpoints/c-1" in text
    assert "catdog evaluate DATA checkpoints/c-1" in text


def test_names_do_not_steer_the_terminal(ask, tmp_path):
    for name in ("cats", "dogs"):
        add_picture(tmp_path / "\x1b[2J" / name)
    assert "\x1b" not in ask()


def test_it_imports_neither_torch_nor_numpy(tmp_path):
    code = (
        "import sys; from catdog_cli.cli import run; run([]); "
        "print(sorted({'torch', 'numpy', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
