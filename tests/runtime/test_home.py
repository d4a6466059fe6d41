"""~ is the home folder wherever a path is given: in options, in option files, in Python."""

import shutil

import pytest

from catdog_cli import Predictor, check_data, cli, evaluate, load_checkpoint, predict, resume, train
from catdog_cli.recipes.build import build_settings
from catdog_cli.runtime.files import expand_home

from ..conftest import write_images
from ..inference.checkpoints import write_checkpoint

QUICK = {"arch": "simple_cnn", "image_size": 32, "device": "cpu", "workers": 0, "epochs": 1, "batch_size": 4}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Return a home folder with pets/ and run/best.pt, while the process works in another folder."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    write_images(tmp_path / "home" / "pets", {"cats": 6, "dogs": 6})
    write_checkpoint(tmp_path / "home" / "run" / "best.pt", ("cats", "dogs"))
    return tmp_path / "home"


def test_the_home_folder(home):
    assert expand_home("~/x") == str(home / "x")
    assert expand_home("~") == str(home)
    assert [expand_home(each) for each in ("x/~", "", "./~/x")] == ["x/~", "", "./~/x"]
    assert expand_home("~nobody-of-this-name/x") == "~nobody-of-this-name/x"
    (home.parent / "elsewhere" / "~").mkdir()
    assert expand_home("~") == "~"


def test_options(home, capsys):
    (home / "names.json").write_text('{"cats": "Cat", "dogs": "Dog"}')
    line = ["predict", "~/pets", "~/run", "--category-names=~/names.json", "--output=~/rows.csv"]
    assert cli.run([*line, "--plot=~/plot.png"]) == 0
    assert cli.run(["evaluate", "~/pets", "~/run", "--output=~/report"]) == 0
    assert cli.run(["info", "~/run"]) == 0
    assert cli.run(["data", "check", "~/pets", "--html=~/check.html"]) == 0
    made = {path.name for path in home.iterdir()} - {"pets", "run", "names.json"}
    assert made == {"rows.csv", "plot.png", "report", "check.html"}
    assert list((home.parent / "elsewhere").iterdir()) == []
    assert capsys.readouterr().err.count("Error") == 0


def test_an_option_file(home, capsys):
    (home / "bad.txt").write_text("cats/0.png\n")
    text = 'output = "~/new"\nexclude = "~/bad.txt"\n' + "\n".join(
        f"{name} = {value!r}" for name, value in QUICK.items() if name != "device"
    )
    (home / "options.toml").write_text(f"{text}\ncpu = true\n")
    assert cli.run(["train", "~/pets", "--config=~/options.toml"]) == 0
    assert (home / "new" / "best.pt").exists()
    assert "cats/0.png" not in (home / "new" / "split.csv").read_text()


def test_python(home):
    run = train("~/pets", output="~/new", **QUICK)
    assert (home / "new" / "best.pt").exists()
    shutil.copytree(home / "pets", home / "moved")
    assert resume("~/new", data="~/moved", epochs=2).run_dir == run.run_dir
    assert evaluate("~/run", "~/pets", output="~/report").num_samples == 12
    assert (home / "report" / "report.html").exists()
    assert predict("~/pets/cats/0.png", "~/run")[0].error is None
    assert Predictor.load("~/run")("~/pets/cats/0.png")
    assert check_data("~/pets").num_pictures == 12
    assert load_checkpoint("~/run")["arch"] == "simple_cnn"


def test_settings_hold_whole_paths(home):
    settings = build_settings("~/pets", {"weights": "~/w.pth", "exclude": "~/bad.txt"})
    assert (settings.data, settings.weights, settings.exclude) == (
        str(home / "pets"),
        str(home / "w.pth"),
        str(home / "bad.txt"),
    )
