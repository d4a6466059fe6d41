"""An export as a whole: the file, the proof beside it, and nothing where the proof fails."""

import dataclasses
import hashlib
import json
import shutil

import numpy as np
import onnx
import pytest
from PIL import Image

import catdog_cli
from catdog_cli import Predictor
from catdog_cli.errors import CatdogError, CheckpointError, DataError, SettingsError, UnavailableError
from catdog_cli.export import formats
from catdog_cli.export.accuracy import measure_cost
from catdog_cli.export.api import ParityError, export
from catdog_cli.export.parity import compare_answers
from catdog_cli.export.pictures import Images
from catdog_cli.inference.answer import Answer, Known
from catdog_cli.models.tasks import MULTI_LABEL, SINGLE_LABEL

from ..commands.trained import train_tiny
from ..conftest import one_thread, write_images
from .models import build_model, smooth_image, write_model


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    counts = {"train/cats": 12, "train/dogs": 12, "val/cats": 6, "val/dogs": 6}
    return write_images(tmp_path_factory.mktemp("pets"), counts, size=(50, 40))


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    """Return the directory of a small training."""
    with one_thread():
        return train_tiny(data, tmp_path_factory.mktemp("run") / "run")


@pytest.fixture
def copy(run, tmp_path):
    """Return the run without what was exported from it."""
    return shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("*.onnx", "*parity*"))


def test_the_file_lies_beside_the_checkpoint_with_its_proof(copy, data):
    seen, said = [], []
    result = export(copy, log=said.append, on_progress=lambda *step: seen.append(step))
    assert result.path == copy / "best.onnx"
    assert result.num_bytes == result.path.stat().st_size
    assert said == [] or all("Warning" not in text for text in said)
    document = json.loads((copy / "best.parity.json").read_text())
    assert document == result.to_dict()
    parity = document["parity"]
    assert (parity["passed"], parity["num_images"], parity["agreement"], parity["changed"]) == (
        True,
        12,
        1,
        [],
    )
    assert 0 <= parity["mean_difference"] <= parity["max_difference"] < parity["bound"] == 0.03
    assert parity["num_known_changed"] == 0
    assert "pets" in parity["images"]
    assert parity["images"].endswith("(val)")
    assert ("asking the file", 12, 12) in seen
    assert seen[0] == ("writing the graph", 0, 1)
    assert "the same answer on 12 of 12" in str(result)
    model = onnx.load_model(str(result.path))
    assert [each.version for each in model.opset_import] == [18]
    onnx.checker.check_model(model, full_check=True)
    own, file = Predictor(copy, device="cpu", precision="fp32"), Predictor(result.path)
    image = data / "val/cats/0.png"
    for mine, theirs in zip(own(image), file(image), strict=True):
        assert theirs.class_name == mine.class_name
        assert theirs.probability == pytest.approx(mine.probability, abs=0.01)
    assert file.metadata.digest == hashlib.sha256((copy / "best.pt").read_bytes()).hexdigest()
    assert (file.metadata.checkpoint, file.metadata.version) == ("best.pt", catdog_cli.__version__)


def test_it_is_replaced_but_nothing_that_somebody_else_made_is(copy, tmp_path):
    first = export(copy).path.read_bytes()
    assert export(copy).path.read_bytes() == first  # the same each time
    other = tmp_path / "other.onnx"
    other.write_text("mine")
    with pytest.raises(UnavailableError, match=r"other.onnx' is there already, and catdog did not export it"):
        export(copy, output=other)
    assert other.read_text() == "mine"


def test_half_weights_make_half_a_file(copy):
    whole, half = export(copy), export(copy, "onnx-fp16")
    assert half.path.name == "best.fp16.onnx"
    assert half.report.name == "best.fp16.parity.json"
    weights = {each.name: each for each in onnx.load_model(str(whole.path)).graph.initializer}
    for tensor in onnx.load_model(str(half.path)).graph.initializer:
        if tensor.name.endswith("_half"):
            own = weights.pop(tensor.name.removesuffix("_half"))
            assert tensor.data_type == onnx.TensorProto.FLOAT16
            assert len(tensor.raw_data) == len(own.raw_data) / 2
    left = [name for name, each in weights.items() if len(each.raw_data) >= 4096]
    assert left  # what strangers are told by is as it was
    assert not any(name.startswith(("network/", "head/")) for name in left)
    assert half.num_bytes < whole.num_bytes
    assert Predictor(half.path).metadata.weights == "float16"
    assert half.parity.max_difference < 0.05


def test_int8_is_calibrated_on_training_images_and_its_cost_is_told(copy):
    whole, small = export(copy), export(copy, "onnx-int8", max_loss=100)
    cost = small.parity.cost
    assert cost.measure == "accuracy"
    assert cost.num_images == 12
    assert cost.loss == pytest.approx(cost.before - cost.after)
    assert cost.after_interval[0] <= cost.after <= cost.after_interval[1]
    assert "before" in str(small)
    assert "after" in str(small)
    model = onnx.load_model(str(small.path))
    kinds = {node.op_type for node in model.graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    quantised = {
        name for node in model.graph.node if node.op_type == "DequantizeLinear" for name in node.output
    }
    for node in model.graph.node:  # preprocessing and what comes behind the network stay in float
        if node.op_type in ("Resize", "Softmax", "TopK") or node.name.startswith("head/"):
            assert not quantised & set(node.input[1:])
    scales = {each.name: list(each.dims) for each in model.graph.initializer}
    weights = [name for name in scales if name.endswith("weight_scale")]
    assert weights
    assert all(scales[name][0] > 1 for name in weights)  # one for each channel
    types = {each.name: each.data_type for each in model.graph.initializer}
    zero = onnx.TensorProto
    assert {types[name] for name in types if name.endswith("weight_zero_point")} == {zero.INT8}
    assert zero.UINT8 in {types[name] for name in types if name.endswith("_zero_point")}
    assert Predictor(small.path).metadata.weights == "int8"
    assert small.num_bytes < whole.num_bytes


@pytest.fixture
def spoiled(monkeypatch):
    """Let networks be written with their answers turned round."""

    def make(job):
        weight = job.model.classifier.head.output.weight
        own = weight.detach().clone()
        weight.data.copy_(own.flip(0))
        try:
            return formats._make_float(job)
        finally:
            weight.data.copy_(own)

    for name in ("onnx", "onnx-int8"):
        changed = dataclasses.replace(formats.FORMATS[name], make=make)
        monkeypatch.setitem(formats.FORMATS, name, changed)


def test_a_file_that_says_something_else_is_not_written(copy, spoiled):
    before = {path: path.read_bytes() for path in copy.iterdir() if path.is_file()}
    with pytest.raises(
        ParityError, match=r"onnx was not written: a probability differs by 0\.\d+, more"
    ) as caught:
        export(copy)
    parity = caught.value.result.parity
    assert parity.agreement < 1
    assert parity.num_changed == len(parity.changed) > 0
    worst = parity.changed[0]
    assert worst.path.endswith(".png")
    assert worst.checkpoint != worst.file
    assert worst.difference == parity.max_difference
    assert repr(worst.path) in str(caught.value)
    assert {path: path.read_bytes() for path in copy.iterdir() if path.is_file()} == before


def test_int8_that_costs_more_than_allowed_is_refused(copy, spoiled, monkeypatch):
    with pytest.raises(ParityError, match=r"it costs \d+\.\d+ points, more than --max-loss 0.5") as caught:
        export(copy, "onnx-int8")
    assert caught.value.result.parity.cost.loss > 0.005
    assert not (copy / "best.int8.onnx").exists()
    assert export(copy, "onnx-int8", max_loss=100).path.exists()


def test_without_images_drawn_ones_are_compared_and_int8_is_refused(tmp_path):
    path, said = write_model(build_model(), tmp_path / "best.pt"), []
    result = export(path, log=said.append)
    assert result.parity.images == "32 drawn images"
    assert any("Compared on drawn images meanwhile" in text for text in said)
    with pytest.raises(DataError, match="int8 needs training images to find the range of each layer"):
        export(path, "onnx-int8")


def test_data_may_be_given_and_has_to_be_right(copy, data, tmp_path):
    lone = tmp_path / "lone.pt"
    lone.write_bytes((copy / "best.pt").read_bytes())
    result = export(lone, data=data, output=tmp_path / "new/pets.onnx")
    assert result.path.exists()
    assert result.parity.num_images == 12
    (data / "val/cats/bad.png").write_bytes(b"bad")
    try:
        assert export(lone, data=data).parity.num_unreadable == 1
    finally:
        (data / "val/cats/bad.png").unlink()
    with pytest.raises(DataError, match="lost"):
        export(lone, data=tmp_path / "lost")


def test_looks_are_put_into_the_file(copy, data):
    result = export(copy, looks="whole")
    own = Predictor(copy, device="cpu", precision="fp32", looks="whole")
    file = Predictor(result.path)
    assert file.looks == "whole"
    image = data / "val/dogs/1.png"
    assert file(image)[0].probability == pytest.approx(own(image)[0].probability, abs=0.01)


@pytest.mark.parametrize(
    ("options", "kind", "match"),
    [
        ({"to": "tflite"}, SettingsError, "to is 'tflite', but must be one of: onnx, onnx-fp16, onnx-int8"),
        ({"max_loss": -1}, SettingsError, "max loss is -1"),
        ({"output": "model.bin"}, UnavailableError, r"'model.bin', but must end in .onnx"),
        ({"looks": "once", "tta": True}, SettingsError, "looks is once, but --tta means mirror"),
        ({"output": "/dev/null/x.onnx"}, CatdogError, "Cannot write '/dev/null/x.onnx'"),
    ],
)
def test_options_that_make_no_sense_are_refused(copy, options, kind, match):
    with pytest.raises(kind, match=match):
        export(copy, **options)


def test_what_is_no_checkpoint_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="No checkpoint at"):
        export(tmp_path / "lost.pt")
    Image.fromarray(smooth_image(9, 9)).save(tmp_path / "photo.png")
    with pytest.raises(CheckpointError, match=r"photo\.png"):
        export(tmp_path / "photo.png")


class Fixed:
    """Answers the same rows to whatever it is asked."""

    def __init__(self, rows, p_values=None, thresholds=None):
        self.rows, self.p_values, self.thresholds = rows, p_values, thresholds

    def predict(self, sources):
        for place, (source, row) in enumerate(zip(sources, self.rows, strict=True)):
            known = None if self.p_values is None else Known(self.p_values[place], True)
            names = ("a", "b")
            if row is None:
                yield Answer(source, error="bad")
            else:
                yield Answer(source, row, np.array(row), None, names, names, self.thresholds, known)


def test_how_answers_compare_is_counted():
    images = Images(list("vwxyz"), list("VWXYZ"), None, "5 images")
    own = Fixed([(0.6, 0.4), (0.2, 0.8), None, (0.55, 0.45), (0.1, 0.9)], [0.5, 0.5, 0.5, 0.5, 0.005])
    file = Fixed([(0.61, 0.39), (0.2, 0.8), (1, 0), (0.45, 0.55), None], [0.4, 0.5, 0.5, 0.001, 0.5])
    parity, _, _, good = compare_answers(own, file, images, 0.03, lambda *_: None)
    assert good == [0, 1, 3]
    assert (parity.num_images, parity.num_unreadable, parity.num_changed) == (3, 2, 1)
    assert parity.max_difference == pytest.approx(0.1)
    (change,) = parity.changed
    assert (change.path, change.checkpoint, change.file) == ("Y", "a", "b")
    assert (parity.num_known_changed, parity.max_known_difference) == (1, pytest.approx(0.499))
    assert parity.why_failed == "a probability differs by 0.100, more than 0.03"
    wide = dataclasses.replace(parity, bound=0.2)
    assert wide.why_failed is None  # one of three says little
    many = dataclasses.replace(wide, num_changed=2, num_images=6)
    assert many.why_failed == "66.7% of the answers agree, fewer than 99%"
    assert dataclasses.replace(many, bound=None, least_agreement=None).why_failed is None


def test_numbers_that_are_none_fail():
    images = Images(["x"], ["X"], None, "1 image")
    pair = Fixed([(0.6, 0.4)]), Fixed([(float("nan"), 0.4)])
    parity = compare_answers(*pair, images, 0.03, lambda *_: None)[0]
    assert parity.why_failed == "a probability differs by 1.000, more than 0.03"
    with pytest.raises(DataError, match="None of 1 image can be read"):
        compare_answers(Fixed([None]), pair[1], images, 0.03, lambda *_: None)


def test_of_several_labels_the_sets_are_compared():
    images = Images(["x", "y"], ["X", "Y"], None, "2 images")
    own = Fixed([(0.6, 0.6), (0.1, 0.1)], thresholds=(0.5, 0.5))
    file = Fixed([(0.6, 0.49), (0.1, 0.1)], thresholds=(0.5, 0.5))
    parity = compare_answers(own, file, images, None, lambda *_: None)[0]
    (change,) = parity.changed
    assert (change.checkpoint, change.file) == ("a; b", "a")


def test_what_a_change_costs_has_an_interval():
    labels = np.array([0, 1] * 50)
    right = np.stack([1 - labels, labels], 1).astype(float)
    worse = right.copy()
    worse[:10] = worse[:10, ::-1]
    cost = measure_cost(right, worse, labels, SINGLE_LABEL)
    assert (cost.before, cost.after, cost.loss) == (1, 0.9, pytest.approx(0.1))
    assert cost.loss_interval[0] < 0.1 < cost.loss_interval[1]
    assert "100.00 % (96.30 to 100.00) before, 90.00 %" in str(cost)
    assert "a change of -10.00 points (-1" in str(cost)
    several = measure_cost(right, worse, right.astype(int), MULTI_LABEL)
    assert several.measure == "map"
    assert several.before == 1 > several.after
    assert str(several).startswith("Mean average precision on 100 images")
    nothing = measure_cost(right, right, labels, SINGLE_LABEL)
    assert nothing.loss_interval is None
    assert str(nothing).endswith("a change of +0.00 points.")
