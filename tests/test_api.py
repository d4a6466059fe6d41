"""The public API: lazy, complete, and leaving what the commands leave."""

import base64
import io
import json
import re
import subprocess
import sys
import types

import numpy as np
import pytest
from PIL import Image

import catdog_cli
from catdog_cli.cli import run
from catdog_cli.training.events import EpochEnded, RunClosed, RunEnded, RunOpened
from tests.commands.trained import train_tiny
from tests.conftest import write_images
from tests.inference.checkpoints import write_checkpoint

TINY = {
    "arch": "simple_cnn",
    "weights": "none",
    "epochs": 1,
    "image_size": 32,
    "device": "cpu",
    "workers": 0,
}


def names_in(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def show_in_notebook(monkeypatch):
    """Return the texts that a notebook shows, in order."""
    shown = []
    handle = types.SimpleNamespace(update=lambda item: shown.append(repr(item)))

    def display(item, display_id):
        handle.update(item)
        return handle

    shell = types.SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "IPython.display", types.SimpleNamespace(display=display))
    return shown


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("api")
    counts = {"train/cats": 12, "train/dogs": 12, "val/cats": 6, "val/dogs": 6}
    pets, events = write_images(folder / "pets", counts), []
    result = catdog_cli.train(pets, output=folder / "run", listeners=[events.append], **TINY)
    return pets, result, events


def test_the_package_loads_nothing_heavy_and_every_name_is_there():
    code = "import sys, catdog_cli; print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
    assert all(getattr(catdog_cli, name) is not None for name in catdog_cli.__all__)
    assert dir(catdog_cli) == sorted(catdog_cli.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'trian'"):
        catdog_cli.trian  # noqa: B018


def test_a_training_from_python_leaves_what_the_command_leaves(trained, tmp_path):
    pets, result, events = trained
    train_tiny(pets, tmp_path / "run", "--workers", "0")
    assert names_in(result.run_dir) == names_in(tmp_path / "run")
    assert [event.row["epoch"] for event in events if isinstance(event, EpochEnded)] == [1]
    assert [type(events[place]) for place in (0, -2, -1)] == [RunOpened, RunEnded, RunClosed]
    assert (events[0].run_dir, events[0].resuming, events[-1].error) == (result.run_dir, False, None)
    assert events[-2].result is result


def test_a_result_prints_well_and_shows_its_curves(trained):
    _, result, _ = trained
    assert result.to_dict().keys() == {"run_dir", "checkpoint", "best", "num_classes", "seconds"}
    assert result.checkpoint.is_file()
    assert f"{result.run_dir}: best scratch epoch 1, validation accuracy" in str(result)
    assert '<img alt="curves"' in result._repr_html_()


def test_a_run_is_resumed_and_made_longer(trained, tmp_path):
    import shutil

    _, result, _ = trained
    run_dir = shutil.copytree(result.run_dir, tmp_path / "run")
    longer = catdog_cli.resume(run_dir, epochs=2)
    assert [row["epoch"] for row in longer.history] == [1, 2]
    with pytest.raises(catdog_cli.CatdogError, match="epochs are done already"):
        catdog_cli.resume(run_dir, epochs=1)
    with pytest.raises(catdog_cli.CatdogError, match="--arch cannot change on resume"):
        catdog_cli.resume(run_dir, arch="resnet18")
    with pytest.raises(TypeError, match="unexpected keyword argument 'epoch'"):
        catdog_cli.resume(run_dir, epoch=3)


def test_warnings_reach_log(trained, tmp_path):
    pets, _, _ = trained
    said = []
    catdog_cli.train(pets, output=tmp_path / "run", val_fraction=0.4, log=said.append, **TINY)
    assert any("has val already: --val-fraction 0.4 changes nothing." in text for text in said)
    assert sum("classified correctly" in text for text in said) == 1


def test_data_is_checked_split_and_prepared(pets, tmp_path):
    assert catdog_cli.check_data(pets).num_pictures == 36
    drawn = catdog_cli.split_data(pets / "train", tmp_path / "split.csv", val_fraction=0.25)
    assert set(drawn.splits) == {"train", "val"}
    with pytest.raises(catdog_cli.CatdogError, match="exists already"):
        catdog_cli.split_data(pets / "train", tmp_path / "split.csv")
    assert catdog_cli.prepare_data(pets, tmp_path / "prepared", size=16).num_pictures == 36


def test_a_check_gives_what_the_command_prints(trained, pets, tmp_path, capsys):
    (pets / "val" / "cats" / "0.png").write_bytes(b"<i>")
    (pets / "train" / "dogs" / "0.png").rename(pets / "train" / "cats" / "<i>.png")
    steps = []
    features = catdog_cli.Predictor.load(trained[1].run_dir).features
    found = catdog_cli.check_data(pets, features=features, on_progress=lambda *step: steps.append(step))
    assert run(["data", "check", str(pets), "--checkpoint", str(trained[1].run_dir), "--json"]) == 0
    assert found.to_dict() == json.loads(capsys.readouterr().out)
    assert steps[0] == ("checking", 36, 36)
    assert steps[-1] == ("looking for wrong labels", 36, 36)
    assert [each.path for each in found.label_errors] == ["train/cats/<i>.png"]
    text = str(found)
    assert text.startswith(
        f"{pets}: 36 pictures in 2 classes, the largest 1.1 times as large as the smallest"
    )
    assert "1 damaged" in text
    assert "1 label probably wrong" in text
    page = found._repr_html_()
    assert "<title>" not in page
    assert "<i>" not in page
    assert 'src="data:image/jpeg;base64,' in page


def test_labels_that_cannot_be_judged_are_a_warning(trained, tmp_path):
    data = write_images(tmp_path / "few", {"cats": 1, "dogs": 1})
    found = catdog_cli.check_data(data, features=catdog_cli.Predictor.load(trained[1].run_dir).features)
    assert found.label_errors is None
    assert "Wrong labels can only be found with two pictures in each" in str(found)


def test_an_image_is_read_as_rows_of_pixels(tmp_path):
    Image.fromarray(np.full((3, 5, 3), 7, np.uint8)).save(tmp_path / "a.png")
    pixels = catdog_cli.read_image(tmp_path / "a.png")
    assert (pixels.shape, pixels.dtype, pixels.flags["C_CONTIGUOUS"]) == ((3, 5, 3), np.uint8, True)
    assert (pixels == 7).all()


def test_a_checkpoint_is_a_plain_dict(trained):
    assert catdog_cli.load_checkpoint(trained[1].checkpoint)["arch"] == "simple_cnn"


def test_a_learning_rate_is_suggested(trained):
    found = catdog_cli.find_learning_rate(trained[0], **TINY)
    assert 0 < found.suggestion < 1
    assert found.to_dict().keys() == {"suggestion", "steepest", "least"}
    assert str(found).startswith(f"learning rate {found.suggestion:.1e}. The loss falls most steeply at")
    assert '<img alt="loss by learning rate"' in found._repr_html_()


def test_a_notebook_shows_how_far_a_training_is(trained, tmp_path, monkeypatch):
    shown = show_in_notebook(monkeypatch)
    pets, result, _ = trained
    catdog_cli.train(pets, output=tmp_path / "run", **TINY)
    assert any(re.search(r"scratch epoch 1/1, loss \d\.\d{4}: 1 of 1", text) for text in shown)
    shown.clear()
    catdog_cli.resume(tmp_path / "run", epochs=2, progress=False)
    catdog_cli.evaluate(result.run_dir, pets, progress=False)
    assert shown == []
    catdog_cli.evaluate(result.run_dir, pets)
    assert "measuring simple_cnn: 12 of 12" in shown
    catdog_cli.predict(pets / "val", result.run_dir)
    assert "predicting: 12 of 12" in shown
    assert shown[-1] == ""


def test_prediction_gives_what_the_command_prints(trained, capsys, tmp_path):
    _, result, _ = trained
    Image.new("RGB", (50, 40), (200, 30, 60)).save(tmp_path / "photo.png")
    (tmp_path / "bad.png").write_bytes(b"nothing")
    found = catdog_cli.predict([tmp_path / "photo.png", tmp_path / "bad.png"], result.run_dir, top_k=2)
    photos = [str(tmp_path / "photo.png"), str(tmp_path / "bad.png")]
    assert run(["predict", *photos, str(result.run_dir), "--top-k", "2", "--json"]) == 1
    assert [each.to_dict() for each in found] == json.loads(capsys.readouterr().out)
    assert "%" in str(found[0])
    assert str(found[1]) == found[1].error
    assert "<table>" in found[0]._repr_html_()
    assert found._repr_html_().count("<img") == 1
    assert found[0].predictions[0].name in str(found)
    steps = []
    catdog_cli.predict(photos, result.run_dir, on_progress=lambda *step: steps.append(step))
    assert steps == [("predicting", 1, 2), ("predicting", 2, 2)]


def test_evaluation_gives_what_the_command_prints_and_writes(trained, capsys, tmp_path):
    pets, result, _ = trained
    said, steps = [], []
    found = catdog_cli.evaluate(
        result.run_dir,
        pets,
        output=tmp_path / "report",
        device="cpu",
        log=said.append,
        on_progress=lambda *step: steps.append(step),
    )
    options = ["--output", str(tmp_path / "other"), "--cpu"]
    assert run(["evaluate", str(pets), str(result.run_dir), *options, "--json"]) == 0
    printed = capsys.readouterr()
    assert found.to_dict() == json.loads(printed.out)
    assert [line.replace("report/", "other/") for line in said] == printed.err.splitlines()
    assert names_in(tmp_path / "report") == names_in(tmp_path / "other")
    assert steps == [("measuring simple_cnn", done, 12) for done in range(13)]
    assert (found.num_samples, found.split, found.class_names) == (12, "val", ["cats", "dogs"])


@pytest.mark.plots
def test_an_evaluation_prints_well_and_shows_its_confusion_matrix(trained):
    pets, result, _ = trained
    found = catdog_cli.evaluate(result.run_dir, pets, device="cpu")
    text = str(found)
    assert text.startswith(f"{result.run_dir} on {pets} (val)\n")
    assert found.summary in text
    assert re.search(rf"^accuracy +{found.accuracy:.4f}  0\.\d{{4}} to \d\.\d{{4}}$", text, re.MULTILINE)
    assert re.search(r"^dogs( +[01]\.\d{4}){3} +6$", text, re.MULTILINE)
    page = found._repr_html_()
    assert page.count("<table") == 2
    (png,) = re.findall(r'<img alt="confusion matrix" src="data:image/png;base64,([^"]+)"', page)
    with Image.open(io.BytesIO(base64.b64decode(png))) as image:
        assert image.width > 300


def test_a_comparison_gives_what_the_command_prints(trained, capsys):
    pets, result, _ = trained
    found = catdog_cli.compare(result.run_dir, result.checkpoint, pets, device="cpu")
    paths = [str(result.run_dir), str(result.checkpoint)]
    assert run(["compare", *paths, "--data", str(pets), "--cpu", "--json"]) == 0
    assert found.to_dict() == json.loads(capsys.readouterr().out)
    assert found.conclusion in str(found)
    assert re.search(r"^second - first +\+0\.0 +- +\+0\.0000 +-$", str(found), re.MULTILINE)
    assert found._repr_html_().count("<table") == 2


def test_what_cannot_be_measured_is_an_error(trained, pets, tmp_path):
    result = trained[1]
    with pytest.raises(catdog_cli.CatdogError, match="has no split 'test', only train, val"):
        catdog_cli.evaluate(result.run_dir, pets, split="test")
    with pytest.raises(catdog_cli.CatdogError, match="No checkpoint at"):
        catdog_cli.compare(result.run_dir, tmp_path / "gone.pt", pets)


@pytest.mark.plots
def test_html_holds_no_tag_from_a_class_name(tmp_path):
    Image.new("RGB", (50, 40)).save(tmp_path / "photo.png")
    checkpoint = write_checkpoint(tmp_path / "best.pt", ("<i>", "dogs"))
    (result,) = catdog_cli.predict(tmp_path / "photo.png", checkpoint)
    assert "<i>" not in result._repr_html_()
    assert "&lt;i&gt;" in result._repr_html_()
    data = write_images(tmp_path / "data", {"<i>": 2, "dogs": 2})
    for found in (
        catdog_cli.evaluate(checkpoint, data, device="cpu"),
        catdog_cli.compare(checkpoint, checkpoint, data, device="cpu"),
    ):
        assert "<i>" not in found._repr_html_()
