"""An exported file answers as its checkpoint does, whatever it is asked; and no other file passes for one."""

import json
import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from catdog_cli import Predictor
from catdog_cli.errors import CatdogError, CheckpointError, SettingsError, UnavailableError
from catdog_cli.images.read import ImageError
from catdog_cli.inference.onnx_metadata import KEY, MapOutput, Maps, Metadata, read_metadata
from catdog_cli.inference.onnx_predictor import OnnxPredictor
from catdog_cli.inference.torch_predictor import TorchPredictor, require_checkpoint
from catdog_cli.settings import InputSpec

from ..conftest import draw_image, write_images
from ..export.models import build_model, onnx_bytes, smooth_image


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return a folder with best.pt of a small network and best.onnx, which was made from it."""
    folder = tmp_path_factory.mktemp("exported")
    model = build_model("squeezenet1_1", 64)
    (folder / "best.onnx").write_bytes(onnx_bytes(model, folder / "best.pt"))
    return folder


@pytest.fixture(scope="module")
def predictor(files):
    return Predictor.load(files / "best.onnx", unknown_rate=0.05)


def test_a_name_that_ends_in_onnx_gets_the_predictor_that_it_needs(files):
    assert (
        type(Predictor(files / "best.onnx"))
        is type(Predictor.load(str(files / "best.onnx")))
        is OnnxPredictor
    )
    assert type(Predictor(files / "best.pt", device="cpu")) is TorchPredictor
    assert isinstance(Predictor(files / "best.onnx"), Predictor)


def test_path_bytes_image_array_and_tensor_give_the_same_answer(predictor, tmp_path):
    draw_image(0, 1).save(tmp_path / "photo.png")
    image = Image.open(tmp_path / "photo.png")
    array = np.asarray(image)
    wanted = predictor(str(tmp_path / "photo.png"))
    tensor = torch.from_numpy(array.copy()).permute(2, 0, 1)
    content = (tmp_path / "photo.png").read_bytes()
    for source in (tmp_path / "photo.png", f"file://{tmp_path}/photo.png", content, image, array, tensor):
        assert predictor(source) == wanted
    assert sum(each.probability for each in wanted) == pytest.approx(1)
    assert wanted == sorted(wanted, key=lambda each: -each.probability)
    assert predictor([array, array], top_k=1) == [wanted[:1]] * 2


def test_many_images_of_all_sizes_are_answered_in_order_with_those_that_cannot_be_read(predictor, tmp_path):
    write_images(tmp_path, {"a": 3}, size=(90, 70))
    (tmp_path / "bad.jpg").write_bytes(b"bad")
    sources = [smooth_image(40 + k, 90 - 2 * k, k) for k in range(20)]
    sources[7:7] = [tmp_path / "bad.jpg", tmp_path / "a/1.png"]
    answers = list(predictor.predict(sources))
    assert [answer.source is source for answer, source in zip(answers, sources, strict=True)] == [True] * 22
    assert "bad.jpg" in answers[7].error
    assert answers[7].probabilities is None
    for answer in [*answers[:7], *answers[8:]]:
        assert np.array_equal(answer.probabilities, next(predictor.predict([answer.source])).probabilities)
        assert answer.known is not None
    with pytest.raises(ImageError, match="bad"):
        predictor(tmp_path / "bad.jpg")
    assert list(predictor.predict([])) == []


def test_options_mean_what_they_mean_for_a_checkpoint(files):
    image = smooth_image(68, 68)
    for options in (
        {"calibrated": False},
        {"category_names": {"cats": "Cats!"}},
        {"unknown_rate": 0},
        {"sure": 0.8},
        {"sure": 0.9, "sets": "aps"},
    ):
        own = TorchPredictor(files / "best.pt", device="cpu", precision="fp32", **options)
        file = Predictor(files / "best.onnx", **options)
        (mine,), (theirs,) = own.predict([image]), file.predict([image])
        assert np.allclose(mine.probabilities, theirs.probabilities, atol=1e-4)
        assert theirs.names == mine.names
        assert theirs.known == mine.known
        assert str(theirs.sure) == str(mine.sure)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"looks": "mirror"}, r"looks is mirror, but .* was exported with once: leave it out, or export"),
        ({"mirror": True}, "looks is mirror, but .* was exported with once"),
        ({"precision": "bf16"}, r"precision is bf16, but .* has its own \(float32\)"),
        ({"head": torch.nn.Linear(1, 1)}, "A head was given for an ONNX file, which has its own"),
        ({"unknown_rate": 2}, "unknown rate is 2"),
    ],
)
def test_options_that_an_exported_file_has_settled_are_refused(files, options, match):
    with pytest.raises(SettingsError, match=match):
        Predictor.load(files / "best.onnx", **options)
    assert Predictor.load(files / "best.onnx", looks="once", mirror=False, precision="fp32")  # which it is


def test_a_gpu_that_is_not_there_and_a_mean_are_refused(files):
    with pytest.raises(UnavailableError, match="--gpu was given, but this onnxruntime cannot use one"):
        Predictor.load(files / "best.onnx", device="gpu")
    for paths in (("best.onnx", "best.pt"), ("best.pt", "best.onnx")):
        with pytest.raises(SettingsError, match="A mean of several files needs checkpoints"):
            Predictor.load(*(files / path for path in paths), device="cpu")


def test_what_needs_a_network_says_so(predictor, files):
    with pytest.raises(SettingsError, match="--checkpoint needs a checkpoint, for an ONNX file"):
        require_checkpoint(predictor, "--checkpoint")
    own = Predictor(files / "best.pt", device="cpu")
    assert require_checkpoint(own, "--checkpoint") is own


def test_maps_and_their_proof_are_the_checkpoints(predictor, files):
    image = smooth_image(68, 90)
    mine = TorchPredictor(files / "best.pt", device="cpu", precision="fp32").explain(image).first
    theirs = predictor.explain(image).first
    assert (theirs.class_name, theirs.exact, theirs.map.shape) == (mine.class_name, True, (68, 90))
    assert np.abs(theirs.map - mine.map).max() < 0.02 * np.abs(mine.map).max()
    assert theirs.fall == pytest.approx(mine.fall, abs=0.01)  # the side is what the network resizes to
    assert theirs.fall_random == pytest.approx(mine.fall_random, abs=0.01)
    with pytest.raises(SettingsError, match="Cannot explain the class 'cows'"):
        predictor.explain(image, "cows")


def test_predicting_imports_no_torch(files, tmp_path):
    draw_image(0, 1).save(tmp_path / "photo.jpg")
    script = (
        "import sys\n"
        "from catdog_cli.cli import run\n"
        f"ends = [['--plot', {str(tmp_path / 'plot.png')!r}, '--explain', '--json'],\n"
        f"        ['--output', {str(tmp_path / 'rows.csv')!r}, '--all', '--sure', '0.8'], []]\n"
        f"start = ['predict', {str(tmp_path / 'photo.jpg')!r}, {str(files / 'best.onnx')!r}]\n"
        "codes = [run([*start, *end]) for end in ends]\n"
        "assert codes == [0, 0, 0], codes\n"
        "heavy = {'torch', 'torchvision', 'onnx', 'scipy', 'sklearn', 'rich', 'timm'} & set(sys.modules)\n"
        "assert heavy <= {'rich'}, heavy\n"
        "assert not any(name.startswith('torch') for name in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "plot.png").stat().st_size > 1000
    assert len((tmp_path / "rows.csv").read_text().splitlines()) == 2


def test_without_onnxruntime_one_is_told_what_to_install(files, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(
        CatdogError, match=r"needs the package 'onnxruntime': run `pip install 'catdog\[onnx\]'`"
    ):
        Predictor.load(files / "best.onnx")


def strip(model: onnx.ModelProto) -> bytes:
    del model.metadata_props[:]
    return model.SerializeToString()


def rename(model: onnx.ModelProto) -> bytes:
    onnx.helper.set_model_props(model, {KEY: _change(model, classes=["a", "b"], sets=None, maps=None)})
    return model.SerializeToString()


def lose_output(model: onnx.ModelProto) -> bytes:
    del model.graph.output[1]  # the logits
    return model.SerializeToString()


def reach_outside(model: onnx.ModelProto) -> bytes:
    tensor = max(model.graph.initializer, key=lambda each: len(each.raw_data))
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../../../../etc/passwd")
    return model.SerializeToString()


def _change(model: onnx.ModelProto, **changes) -> str:
    return json.dumps({**json.loads(model.metadata_props[0].value), **changes})


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda model: b"", "is empty"),
        (lambda model: b"no network", r"cannot be run as an ONNX file \(.*\): export the checkpoint again"),
        (lambda model: b"\x89PNG\r\n\x1a\n" + bytes(100), "cannot be run as an ONNX file"),
        (lambda model: model.SerializeToString()[:20_000], "cannot be run as an ONNX file"),
        (strip, "is an ONNX file, but not one of catdog: it does not say what its classes are"),
        (rename, "is damaged: its graph does not fit what it says of itself"),
        (lose_output, "is damaged: its graph does not fit what it says of itself"),
        (reach_outside, "cannot be run as an ONNX file"),
    ],
    ids=["empty", "text", "png", "truncated", "foreign", "other classes", "fewer outputs", "other files"],
)
def test_a_file_that_is_none_of_ours_is_told_in_a_sentence(files, tmp_path, spoil, match):
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(spoil(onnx.load_model(str(files / "best.onnx"))))
    with pytest.raises(CheckpointError, match=match) as caught:
        Predictor.load(bad)
    assert "\n" not in str(caught.value)
    assert "bad.onnx" in str(caught.value)


def test_a_file_that_is_not_there_is_told_in_a_sentence(tmp_path):
    with pytest.raises(
        CheckpointError, match=r"lost.onnx' is not there: give a file that `catdog export` wrote"
    ):
        Predictor.load(tmp_path / "lost.onnx")
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(CheckpointError, match=r"folder.onnx' is a folder"):
        Predictor.load(tmp_path / "folder.onnx")
    with pytest.raises(CheckpointError, match="Cannot read"):
        Predictor.load(f"{'x' * 300}.onnx")


GOOD = Metadata(
    ["cats", "dogs"],
    InputSpec(),
    maps=Maps((MapOutput("class_map", 0, "none"),), (0.5, -0.5)),
    checkpoint="best.pt",
)


def test_metadata_come_back_as_they_were():
    found = read_metadata(GOOD.to_json(), "best.onnx")
    assert vars(found) == vars(GOOD)
    odd = Metadata(["caf\udce9\n", "\x1b[2J"], InputSpec())  # names of folders, as the system gives them
    assert odd.to_json().isascii()
    assert read_metadata(odd.to_json(), "best.onnx").class_names == odd.class_names


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"format": 99}, "was exported in format 99, this catdog reads up to 1: update catdog"),
        ({"classes": []}, "classes are not names that all differ"),
        ({"classes": ["a", "a"]}, "classes are not names that all differ"),
        ({"classes": ["a", 5]}, "classes are not names that all differ"),
        ({"classes": {"a": 1}}, "classes is .* but must be a list"),
        ({"classes": ["a", "\ud800"]}, "makes no sense"),
        ({"input_specs": []}, "there are 0 input specs"),
        ({"input_specs": [{"size": 10**9}]}, "image size is 1000000000"),
        ({"input_specs": [{"mean": "x"}]}, "makes no sense"),
        ({"temperature": 0}, "temperature is 0"),
        ({"temperature": 1e999}, "temperature is inf"),
        ({"temperature": "hot"}, "makes no sense"),
        ({"task": "poetry"}, "task is 'poetry'"),
        ({"task": "multi-label", "thresholds": [2, 3]}, "thresholds are not 2 numbers between 0 and 1"),
        ({"looks": "twice"}, "looks is 'twice'"),
        ({"weights": "int1"}, "weights is 'int1'"),
        ({"unknown": {"images": -1}}, "unknown is of -1 images"),
        ({"unknown": 7}, "unknown is 7"),
        ({"sets": {"labels": "%%%", "lac": "", "aps": ""}}, "makes no sense"),
        ({"sets": {"labels": "AAAA", "lac": "", "aps": ""}}, "makes no sense"),
        ({"sets": {"labels": "", "lac": "", "aps": ""}}, "the scores of sets are of 0 images"),
        ({"maps": {"outputs": [], "bias": [0, 0]}}, "its maps are not those of its classes"),
        (
            {"maps": {"outputs": [{"name": "x", "network": 9, "kind": "none"}], "bias": []}},
            "map of network 9",
        ),
        ({"category_names": {"cats": ["x"]}}, "makes no sense"),
        ({"checkpoint": None}, "makes no sense"),
    ],
)
def test_metadata_that_make_no_sense_are_refused_in_a_sentence(changes, match):
    text = json.dumps({**json.loads(GOOD.to_json()), **changes})
    with pytest.raises(CheckpointError, match=match) as caught:
        read_metadata(text, "best.onnx")
    assert "best.onnx" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("text", ["", "no JSON", "[]", "null", "{}", "[" * 100_000, '{"format": 1e400}'])
def test_metadata_that_are_none_are_refused(text):
    with pytest.raises(CheckpointError, match=r"^What 'best.onnx' says of itself makes no sense"):
        read_metadata(text, "best.onnx")
