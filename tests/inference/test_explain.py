"""Explanations of real answers: the map is hottest where the label is, and what it says of itself is true."""

import csv

import numpy as np
import pytest
import torch
from PIL import Image

import catdog_cli
from catdog_cli.errors import SettingsError
from catdog_cli.explanation.deletion import blur_places
from catdog_cli.explanation.placement import Box, enlarge
from catdog_cli.images.read import ImageError
from catdog_cli.images.transforms import load_image
from catdog_cli.inference.predictor import Predictor
from catdog_cli.models.classifier import build_classifier
from catdog_cli.runs.checkpoint import describe_model, save_checkpoint
from catdog_cli.settings import HeadSpec, InputSpec
from catdog_cli.settings_networks import InputSpecs

from ..conftest import draw_image, one_thread
from ..label_files import COLOURS, draw_labels, write_joined
from .checkpoints import write_checkpoint

OPTIONS = {"device": "cpu", "precision": "fp32"}
THIRDS = {"red": "left", "green": "centre", "blue": "right"}


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    with one_thread():
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a run that tells a red, a green and a blue bar, each in its third of an image."""
    folder = tmp_path_factory.mktemp("labels")
    write_joined(folder, 48)
    return catdog_cli.train(
        folder / "labels.csv",
        output=folder / "run",
        arch="simple_cnn",
        weights="none",
        image_size=96,
        epochs=7,
        batch_size=8,
        learning_rate=3e-3,
        device="cpu",
        workers=0,
    ).run_dir


@pytest.fixture(scope="module")
def labels(trained):
    return Predictor.load(trained, **OPTIONS)


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    """Return a predictor of one class an image that sees a part of it alone, with a temperature."""
    path, head = tmp_path_factory.mktemp("single") / "best.pt", HeadSpec()
    classifier = build_classifier("simple_cnn", 3, head, 3)
    described = describe_model(classifier, head, ["cats", "dogs", "emus"], InputSpec(64, 80))
    save_checkpoint({**described, "temperature": 0.5, "category_names": {"cats": "Cat"}}, path)
    return path


def test_each_label_of_an_image_has_its_map_and_lies_where_it_is(labels):
    found = labels.explain(draw_labels({"red", "blue"}, 900))
    assert {each.class_name for each in found.maps} == {"red", "blue"}
    for each in found.maps:
        assert each.exact
        assert each.grid.shape == (3, 3)
        assert each.strongest.endswith(THIRDS[each.class_name])
        thirds = each.map[:, 13:26].mean(), each.map[:, :13].mean(), each.map[:, 26:].mean()
        assert np.argmax(thirds) == {"red": 1, "blue": 2}[each.class_name]


def test_falls_are_those_of_predicting_the_blurred_images(labels):
    image = draw_labels({"green"}, 902)
    found = labels.explain(image).first
    view = load_image(image, labels.input_spec)
    (changed,) = blur_places([view.permute(1, 2, 0).numpy()], [Box(0, 0, 1, 1)], enlarge(found.grid, 96, 96))
    chances = [next(float(answer.probabilities[1]) for answer in labels.predict([each])) for each in changed]
    assert chances[0] == found.probability
    assert found.fall == pytest.approx(chances[0] - chances[1], abs=1e-6)
    assert found.fall_random == pytest.approx(chances[0] - np.mean(chances[2:]), abs=1e-6)


def test_an_image_with_none_of_the_labels_has_no_map_but_of_one_that_is_asked_for(labels):
    image = draw_labels(set(), 901)
    found = labels.explain(image)
    assert found.maps == ()
    with pytest.raises(SettingsError, match="has none of the labels: name one"):
        _ = found.map
    asked = labels.explain(image, class_name="red", check=False)
    assert (asked.first.class_name, asked.first.fall, asked.first.fall_random) == ("red", None, None)


@pytest.mark.parametrize("mirror", [False, True])
def test_the_map_adds_up_to_the_logit_that_predict_gives(single, mirror):
    predictor = Predictor.load(single, mirror=mirror, **OPTIONS)
    image = draw_image(1, 5, (120, 90))
    (answer,) = predictor.predict([image])
    for label, name in enumerate(predictor.class_names):
        found = predictor.explain(image, class_name=name, check=False).first
        assert found.logit == float(answer.logits[label])
        assert found.probability == float(answer.probabilities[label])
        assert float(found.grid.mean()) + found.bias == pytest.approx(found.logit, abs=1e-5)
    likeliest = predictor.explain(image).first
    assert (likeliest.class_name, likeliest.probability) == (answer.class_name, answer.probability)


def test_a_look_at_the_whole_image_is_part_of_the_map(single):
    predictor = Predictor.load(single, looks="whole", **OPTIONS)
    image = draw_image(1, 5, (120, 90))
    (answer,) = predictor.predict([image])
    found = predictor.explain(image).first
    assert found.logit == float(answer.logits.max())
    assert found.parts[0] + found.bias == pytest.approx(found.logit, abs=1e-5)
    assert found.map.mean() == pytest.approx(found.parts[0], abs=0.05)
    assert found.map[0].any()  # what the centre does not hold
    assert found.fall is not None


def test_a_mirrored_map_is_turned_back(single):
    predictor = Predictor.load(single, mirror=True, **OPTIONS)
    image = draw_image(1, 5, (96, 96))
    image.paste((255, 0, 0), (0, 0, 40, 40))
    found = predictor.explain(image, check=False).first.grid
    turned = predictor.explain(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), check=False).first.grid
    np.testing.assert_allclose(found, turned[:, ::-1], atol=1e-4)


def test_the_map_lies_over_the_image_upright(single, tmp_path):
    predictor = Predictor.load(single, **OPTIONS)
    exif = Image.Exif()
    exif[0x0112] = 6
    draw_image(0, 1, (120, 90)).save(tmp_path / "turned.png", exif=exif)
    found = predictor.explain(tmp_path / "turned.png", check=False)
    assert found.map.dtype == np.float32
    assert found.map.shape == catdog_cli.read_image(tmp_path / "turned.png").shape[:2] == (120, 90)
    # 64 of 80 px of the shorter side are seen: 72 of 90, in the middle
    seen = np.flatnonzero(found.map.any(1)), np.flatnonzero(found.map.any(0))
    assert [(int(each[0]), int(each[-1])) for each in seen] == [(24, 95), (9, 80)]
    upright = Image.fromarray(catdog_cli.read_image(tmp_path / "turned.png"))
    np.testing.assert_array_equal(predictor.explain(upright, check=False).map, found.map)


def test_two_networks_side_by_side_share_one_map(tmp_path):
    arch, head = "simple_cnn+resnet18", HeadSpec()
    spec = InputSpecs((InputSpec(64, 64), InputSpec(64, 80)))
    described = describe_model(build_classifier(arch, 2, head, 1), head, ["cats", "dogs"], spec)
    save_checkpoint(described, tmp_path / "best.pt")
    found = Predictor.load(tmp_path / "best.pt", **OPTIONS).explain(draw_image(1, 2, (90, 90))).first
    assert found.exact
    assert sum(found.parts) + found.bias == pytest.approx(found.logit, abs=1e-4)
    assert found.map.mean() == pytest.approx(sum(found.parts), abs=0.02)  # all of the image is seen
    assert found.fall is not None


def test_the_sum_of_several_checkpoints_is_refused(tmp_path):
    paths = [write_checkpoint(tmp_path / f"{seed}.pt", seed=seed) for seed in range(2)]
    with pytest.raises(SettingsError, match="mean of several checkpoints has no map"):
        Predictor.load(*paths, **OPTIONS).explain(draw_image(0, 0))


@pytest.mark.parametrize(
    ("name", "match"),
    [
        (
            "fish",
            r"Cannot explain the class 'fish': the checkpoint does not know it; give one of 'cats', 'd",
        ),
        ("", "does not know it"),
    ],
)
def test_an_unknown_class_is_refused(single, name, match):
    with pytest.raises(SettingsError, match=match):
        Predictor.load(single, **OPTIONS).explain(draw_image(0, 0), class_name=name)


def test_a_class_has_its_folder_name_or_the_one_that_is_shown(single):
    predictor = Predictor.load(single, **OPTIONS)
    found = [predictor.explain(draw_image(0, 0), name, False).first.logit for name in ("cats", "Cat")]
    assert found[0] == found[1]


def test_several_images_and_one_that_cannot_be_read(single, tmp_path):
    draw_image(0, 0).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"no")
    predictor = Predictor.load(single, **OPTIONS)
    with pytest.raises(ImageError, match=r"bad\.png"):
        predictor.explain(tmp_path / "bad.png")
    found = catdog_cli.explain(tmp_path, single, class_name="emus", output=tmp_path / "maps", **OPTIONS)
    assert [each.error is None for each in found] == [False, True]
    assert found[1].first.overlay == str(tmp_path / "maps" / "good.png")
    assert "why emus: exact class activation map, 2 x 2" in str(found[1])
    assert "is not a picture" in str(found[0])
    with (tmp_path / "maps" / "explanations.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == ["error", "ok"]
    assert float(rows[1]["fall"]) == found[1].first.fall


def test_a_hidden_layer_is_explained_by_gradients_which_leave_no_trace(tmp_path):
    predictor = Predictor.load(write_checkpoint(tmp_path / "best.pt"), **OPTIONS)
    image = draw_image(2, 3, (64, 64))
    before = predictor(image)
    found = predictor.explain(image)
    assert (found.first.method, found.first.exact, found.first.bias) == ("HiResCAM", False, None)
    assert predictor(image) == before
    assert all(parameter.grad is None for parameter in predictor.head.parameters())


def test_an_exact_map_in_bfloat16_is_off_by_the_rounding_of_features_alone(trained):
    predictor = Predictor.load(trained, device="cpu", precision="bf16")
    for label in COLOURS:
        found = predictor.explain(draw_labels({"green"}, 7), class_name=label, check=False).first
        assert float(found.grid.mean()) + found.bias == pytest.approx(found.logit, abs=0.05)


def test_torch_keeps_its_threads(single):
    before = torch.get_num_threads()
    Predictor.load(single, **OPTIONS).explain(draw_image(0, 0))
    assert torch.get_num_threads() == before
