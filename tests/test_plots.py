"""Each picture is drawn with 2, 10 and 102 classes and awkward names, and looked at where a pixel tells."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import confusion_matrix

from catdog_cli import plots
from catdog_cli.errors import CatdogError
from catdog_cli.evaluation.calibration import measure_calibration
from catdog_cli.evaluation.metric_functions import area_below, reliability, roc_curves
from catdog_cli.models.tasks import SINGLE_LABEL
from catdog_cli.plots.canvas import DPI, fit_label, show_percent

pytestmark = pytest.mark.plots

AWKWARD = ["$\\frac{cats", "猫", "a " * 60, "line\nbreak", "<b>&amp;", "\udcff", "%s {0}", "-", "é", "'\""]


def name_classes(number):
    return [AWKWARD[i] if i < len(AWKWARD) else f"class number {i}" for i in range(number)]


def make_logits(num_classes, num_samples=400, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(num_samples) % num_classes
    return rng.normal(size=(num_samples, num_classes)) + 4 * np.eye(num_classes)[labels], labels


def make_history(*phases):
    """Return rows for phases given as (name, epochs)."""
    rows = []
    for phase, (name, epochs) in enumerate(phases):
        for epoch in range(1, epochs + 1):
            share = 1 / (len(rows) + 2)
            row = {"phase": phase, "phase_name": name, "epoch": epoch, "learning_rate": 0.001}
            row |= {"train_loss": share, "val_loss": share, "train_accuracy": 1 - share, "val_accuracy": 0.9}
            rows.append(row)
    return rows


def make_photo(width=40, height=30):
    return np.full((height, width, 3), 128, dtype=np.uint8)


def read_image(path):
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def count_pixels(picture, colour):
    """Return how many pixels are very near a colour given as #rrggbb."""
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return int((abs(picture.astype(int) - wanted).max(2) < 12).sum())


@pytest.mark.parametrize(
    "history",
    [
        make_history(("head", 1)),
        make_history(("head", 3), ("fine-tune", 4)),
        make_history(*((AWKWARD[i % 10], 1 + i % 3) for i in range(40))),
        [{"phase": 0, "train_loss": None, "val_loss": float("nan")}],
        [{"phase": 0, "val_loss": 1e9, "val_accuracy": 0.5}, {"phase": 0, "val_loss": float("inf")}],
    ],
    ids=["one epoch", "two phases", "forty phases", "nothing measured", "diverged"],
)
def test_curves(tmp_path, history):
    plots.plot_curves(history, tmp_path / "curves.png")
    assert read_image(tmp_path / "curves.png").shape == (660, 1650, 3)


def test_the_best_epoch_is_starred_where_it_is(tmp_path):
    history = make_history(("head", 9))
    places = []
    for best in (0, 8):
        plots.plot_curves(history, tmp_path / "curves.png", best=best)
        left_panel = read_image(tmp_path / "curves.png")[:, :820].astype(int)
        orange = abs(left_panel - [234, 88, 12]).max(2) < 12
        places.append(float(np.nonzero(orange)[1].mean()))
    assert places[1] - places[0] > 600


def test_the_best_epoch_is_the_most_accurate_then_the_lowest_loss(tmp_path):
    history = make_history(("head", 4))
    history[1]["val_accuracy"] = history[2]["val_accuracy"] = 0.95
    plots.plot_curves(history, tmp_path / "found.png")
    plots.plot_curves(history, tmp_path / "given.png", best=2)
    assert (read_image(tmp_path / "found.png") == read_image(tmp_path / "given.png")).all()


@pytest.mark.parametrize("number", [2, 10, 102])
def test_pictures_of_an_evaluation(tmp_path, number):
    logits, labels = make_logits(number)
    probabilities, names = SINGLE_LABEL.probabilities(logits), name_classes(number)
    plots.plot_confusion(
        confusion_matrix(labels, probabilities.argmax(1), labels=range(number)), names, tmp_path / "c.png"
    )
    curves = roc_curves(probabilities, labels)
    areas = {c: area_below(*curve) for c, curve in curves.items()}
    plots.plot_roc(curves, areas, names, tmp_path / "r.png")
    found = measure_calibration(logits, labels)
    plots.plot_calibration(found["before"], found["after"], tmp_path / "k.png")
    height, width, _ = read_image(tmp_path / "c.png").shape
    assert 700 < height < 3500
    assert 700 < width < 3500
    assert read_image(tmp_path / "r.png").shape[0] == 5.9 * DPI
    assert read_image(tmp_path / "k.png").shape == (7 * DPI, 6.4 * DPI, 3)


def test_confusion_shows_mistakes_in_orange(tmp_path):
    plots.plot_confusion([[9, 0], [0, 9]], ["cats", "dogs"], tmp_path / "right.png")
    plots.plot_confusion([[0, 9], [9, 0]], ["cats", "dogs"], tmp_path / "wrong.png")
    right, wrong = (read_image(tmp_path / f"{name}.png") for name in ("right", "wrong"))
    assert count_pixels(right, "#2563eb") > 50_000
    assert count_pixels(right, "#ea580c") == 0
    assert count_pixels(wrong, "#ea580c") > 50_000
    assert count_pixels(wrong, "#2563eb") == 0


def test_confusion_of_150_classes_and_of_no_pictures(tmp_path):
    plots.plot_confusion(np.eye(150, dtype=int), [f"class {i}" for i in range(150)], tmp_path / "big.png")
    plots.plot_confusion(np.zeros((3, 3), dtype=int), ["a", "b", "c"], tmp_path / "empty.png")
    assert max(read_image(tmp_path / "big.png").shape) < 3500
    assert count_pixels(read_image(tmp_path / "empty.png"), "#2563eb") == 0


def test_roc_without_a_class_to_tell_apart_says_so(tmp_path):
    plots.plot_roc({}, {}, ["cats", "dogs"], tmp_path / "roc.png")
    assert read_image(tmp_path / "roc.png").shape == (3 * DPI, 6 * DPI, 3)


def test_calibration_before_alone_and_of_one_picture(tmp_path):
    found = reliability(np.array([[0.7, 0.3]]), np.array([0]))
    plots.plot_calibration(found, None, tmp_path / "one.png")
    picture = read_image(tmp_path / "one.png")
    assert count_pixels(picture, "#ea580c") > 1000
    assert count_pixels(picture, "#2563eb") == 0


@pytest.mark.parametrize(("number", "size"), [(1, (1425, 622)), (3, (2100, 855)), (31, (2100, 6487))])
def test_predictions(tmp_path, number, size):
    names = AWKWARD[:5]
    item = {"image": make_photo(), "title": "ünï$cø\udcffde.jpg", "names": names, "probabilities": [0.2] * 5}
    plots.plot_predictions([item] * number, tmp_path / "p.png")
    picture = read_image(tmp_path / "p.png")
    height, width, _ = picture.shape
    assert (picture[:, -8:] == 255).all()  # no percentage is cut off
    assert width == size[0]
    assert height == pytest.approx(size[1], abs=1)


def test_a_hundred_bars_and_a_huge_photo_stay_a_picture(tmp_path):
    photo = make_photo(9000, 60)
    names, probabilities = [f"class {i}" for i in range(100)], [0.01] * 100
    item = {"image": photo, "title": "panorama.jpg", "names": names, "probabilities": probabilities}
    plots.plot_predictions([item, item], tmp_path / "p.png")
    assert read_image(tmp_path / "p.png").shape[0] < 1500


@pytest.mark.parametrize("number", [0, 1, 6, 31])
def test_mistakes(tmp_path, number):
    item = {"image": make_photo(), "true": AWKWARD[0], "predicted": AWKWARD[2], "probability": 0.97}
    plots.plot_mistakes([item] * number, tmp_path / "m.png", total=100 if number else None)
    picture = read_image(tmp_path / "m.png")
    assert (count_pixels(picture, "#808080") > 10_000) == (number > 0)
    assert picture.shape[0] < 4000


@pytest.mark.parametrize("suggestion", [0.003, None])
def test_learning_rate_search(tmp_path, suggestion):
    losses = [0.7, 0.7, 0.5, 0.3, 2.0, float("nan"), float("inf")]
    plots.plot_lr_find([10.0**i for i in range(-5, 2)], losses, suggestion, tmp_path / "lr.png")
    orange = count_pixels(read_image(tmp_path / "lr.png"), "#ea580c")
    assert (orange > 500) == (suggestion is not None)


@pytest.mark.parametrize("kind", ["png", "pdf", "svg", "jpg", "webp", "PNG"])
def test_the_suffix_picks_the_format_and_only_the_picture_remains(tmp_path, kind):
    path = tmp_path / "new" / f"lr.{kind}"
    plots.plot_lr_find([0.1, 1.0], [1.0, 2.0], None, path)
    starts = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml", "jpg": b"\xff\xd8", "webp": b"RIFF"}
    assert path.read_bytes().startswith(starts[kind.lower()])
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lr.bmpp", r"Cannot draw into '.*lr\.bmpp': give a name that ends in one of .*\.pdf.*\.png"),
        ("lr", r"Cannot draw into '.*lr': give a name"),
        ("file/lr.png", r"Cannot write the picture '.*lr\.png': (Not a directory|File exists)"),
        ("folder.png", r"Cannot write the picture '.*folder\.png': .*directory"),
    ],
)
def test_what_cannot_be_written_is_named(tmp_path, name, message):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(CatdogError, match=message):
        plots.plot_lr_find([0.1, 1.0], [1.0, 2.0], None, tmp_path / name)
    assert {path.name for path in tmp_path.iterdir()} == {"file", "folder.png"}


def test_a_failed_write_leaves_the_old_picture(tmp_path, monkeypatch):
    path = tmp_path / "lr.png"
    path.write_bytes(b"old")
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", fail_to_write)
    with pytest.raises(CatdogError, match="No space left on device"):
        plots.plot_lr_find([0.1, 1.0], [1.0, 2.0], None, path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def fail_to_write(_figure, path, **_options):
    path.write_bytes(b"half")
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda path: plots.plot_curves([], path), "no curves to draw yet"),
        (lambda path: plots.plot_predictions([], path), "no predictions to draw"),
        (lambda path: plots.plot_lr_find([0.1], [float("nan")], None, path), "no loss to draw"),
    ],
)
def test_nothing_to_draw_is_named(tmp_path, draw, message):
    with pytest.raises(CatdogError, match=message):
        draw(tmp_path / "x.png")


def test_labels_fit_and_are_no_mathematics():
    assert fit_label("cats and dogs", 8) == "cats an…"
    assert fit_label("$x$\n\ty", 20) == r"\$x\$ y"
    assert fit_label("\udcff", 5) == "?"


@pytest.mark.parametrize(
    ("fraction", "shown"),
    [(1, "100.0 %"), (0.9999, "> 99.9 %"), (0.984, "98.4 %"), (0.0001, "< 0.1 %"), (0, "0.0 %")],
)
def test_nearly_certain_is_not_shown_as_certain(fraction, shown):
    assert show_percent(fraction) == shown


def test_pictures_need_no_pyplot():
    code = "import sys, catdog_cli.plots; print('matplotlib.pyplot' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("backend", ["module://matplotlib_inline.backend_inline", "nonsense", "agg", "TkAgg"])
def test_a_backend_that_is_not_there_is_not_asked_for(tmp_path, backend):
    """Jupyter sets MPLBACKEND for all that is started from a notebook; matplotlib would not be imported."""
    code = (
        "import os, sys; from catdog_cli import plots; plots.plot_lr_find([.1, 1], [2, 1], .1, sys.argv[1]); "
        "print(os.environ['MPLBACKEND'])"
    )
    environment = {**os.environ, "MPLBACKEND": backend}
    path = tmp_path / "curve.png"
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], env=environment, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == (f"{backend}\n", "")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_backend_that_is_there_stays_the_users_own():
    code = "import catdog_cli.plots, matplotlib; print(matplotlib.rcParams['backend'])"
    environment = {**os.environ, "MPLBACKEND": "svg"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout == "svg\n"
