"""Arguments the wrong way round are named before anything is loaded."""

import pytest

from catdog_cli import cli, compare, evaluate
from catdog_cli.errors import SettingsError
from catdog_cli.runs.argument_order import is_like_checkpoint

from ..conftest import write_images
from ..inference.checkpoints import write_checkpoint


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Return the working directory, with pets/, run/best.pt and a copy of it without a suffix."""
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "pets", {"cats": 2, "dogs": 2})
    path = write_checkpoint(tmp_path / "run" / "best.pt")
    (tmp_path / "copy").write_bytes(path.read_bytes())
    return tmp_path


SWAPPED = [
    ("evaluate run pets", "'run' is a checkpoint and 'pets' is data: swap them: catdog evaluate pets run"),
    ("evaluate copy pets", "'copy' is a checkpoint and 'pets' is data: swap them"),
    (
        "evaluate run/best.pt run",
        "'run/best.pt' is a checkpoint, not pictures: catdog evaluate DATA",
    ),
    (
        "compare pets run --data run",
        "'run' is a checkpoint and 'pets' is data: swap them: catdog comp",
    ),
    ("predict run pets", "'run' is a checkpoint and 'pets' is data: swap them: catdog predict pets run"),
    ("train run", "'run' is a checkpoint, not pictures: resume a run with `catdog train --resume RUN`"),
]


@pytest.mark.parametrize(("line", "match"), SWAPPED, ids=[line for line, _ in SWAPPED])
def test_swapped_arguments_are_wrong_usage(place, capsys, line, match):
    assert cli.run(line.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"Error: {match}")
    assert not (place / "checkpoints").exists()


def test_python_says_it_in_its_own_order(place):
    with pytest.raises(SettingsError, match=r"swap them: evaluate\('run', 'pets'\)"):
        evaluate("pets", "run")
    with pytest.raises(SettingsError, match=r"swap them: compare\('run', OTHER, 'pets'\)"):
        compare("pets", "run", "run")


@pytest.mark.parametrize("name", ["pets", "pets/cats/0.png", "nowhere", "photos.zip", "half.zip"])
def test_what_is_no_checkpoint(place, name):
    (place / "photos.zip").write_bytes(b"PK\5\6" + bytes(18))
    (place / "half.zip").write_bytes(b"PK\3\4" + bytes(18))
    assert not is_like_checkpoint(place / name)
