"""A whole checkpoint as a graph: what it says is what the checkpoint says."""

import numpy as np
import pytest
import torch
from torch import nn

from catdog_cli.errors import CatdogError, SettingsError
from catdog_cli.export import network
from catdog_cli.inference.onnx_metadata import KNOWN, PROBABILITIES
from catdog_cli.inference.torch_predictor import TorchPredictor
from catdog_cli.settings import HeadSpec
from catdog_cli.settings_head import ACTIVATIONS

from .models import build_model, predictors_of, smooth_image

CLOSE = 2e-4  # of logits, where every pixel is the same
SQUEEZED = {"arch": "squeezenet1_1", "size": 64}
MODELS = {
    "cnn": {},
    "mirrored": {"looks": "mirror", **SQUEEZED},
    "whole": {"looks": "whole", **SQUEEZED},
    "bicubic": {"interpolation": "bicubic"},
    "several labels": {"several": True, **SQUEEZED},
    "hidden layers": {"head": HeadSpec((16, 8), 0.1, "mish", "batch")},
    "layer norm": {"head": HeadSpec((16,), 0.1, "gelu", "layer")},
    "cosine": {"head": HeadSpec(head="cosine"), **SQUEEZED},
    "side by side": {"arch": "simple_cnn+squeezenet1_1", "size": 64},
    "side by side, whole": {"arch": "squeezenet1_1+squeezenet1_1", "size": 64, "looks": "whole"},
    "known by a block": {"arch": "resnet18", "size": 64, "border": 3},
    "without strangers": {"known": False},
    "efficientnet_lite": {"arch": "timm/test_efficientnet", "size": 96, "known": False},
}


def views_alike(model, seed: int = 0) -> np.ndarray:
    """Return an image of which both sides see the same pixels: nothing is left to resize."""
    sides = {spec.resize for spec, _ in TorchPredictor(model, device="cpu").loaded}
    side = min(sides)
    return smooth_image(side, side, seed)


@pytest.fixture(scope="module", params=MODELS)
def pair(request, tmp_path_factory):
    """Return a model with who answers for it by torch and by onnxruntime."""
    if "timm" in MODELS[request.param].get("arch", ""):
        pytest.importorskip("timm")
    model = build_model(**MODELS[request.param])
    path = tmp_path_factory.mktemp("export") / "best.pt"
    return request.param, model, *predictors_of(model, path, unknown_rate=0.05)


def test_logits_and_what_tells_strangers_are_the_checkpoints(pair):
    name, model, own, file = pair
    images = [views_alike(model, seed) for seed in range(3)]
    alike = "whole" not in name and "side by side" not in name  # where one size serves all looks
    for mine, theirs in zip(own.predict(images), file.predict(images), strict=True):
        logits = mine.logits.numpy()
        assert np.ptp(logits) > 0.1  # which random networks may lack
        assert np.allclose(theirs.logits, logits, atol=CLOSE * max(1, np.abs(logits).max()) if alike else 0.3)
        assert np.allclose(theirs.probabilities, mine.probabilities, atol=CLOSE if alike else 0.05)
        assert (mine.known is None) == (theirs.known is None) == (model.reference is None)
        if mine.known is not None:
            assert theirs.known.p_value == pytest.approx(mine.known.p_value, abs=0.06)
        assert (mine.labels is None) == (theirs.labels is None)


def test_the_graphs_own_probabilities_are_calibrated(pair):
    _, model, _, file = pair
    image = smooth_image(90, 70)
    (found,) = file.run(image[None], [PROBABILITIES])
    (answer,) = file.predict([image])
    assert found.dtype == np.float32
    assert np.allclose(found[0], answer.probabilities, atol=1e-6)
    assert file.temperature == file.metadata.temperature == model.temperature == 1.5


def test_images_of_one_size_get_the_same_answers_together(pair):
    _, _, _, file = pair
    images = np.stack([smooth_image(70, 90, seed) for seed in range(3)])
    names = [each.name for each in file.session.get_outputs()]
    together = file.run(images, names)
    for place, image in enumerate(images):
        for many, alone in zip(together, file.run(image[None], names), strict=True):
            assert np.allclose(many[place], alone[0], atol=1e-4)


def test_exact_maps_are_the_checkpoints_and_add_up(pair):
    _, model, own, file = pair
    exact = own.explain(views_alike(model), "dogs", check=False).first.exact
    assert (file.metadata.maps is not None) == exact
    if not exact:
        assert "simple_cnn" in model.arch  # of which the head gets more than a mean over places
        with pytest.raises(SettingsError, match="has no maps: a file carries them where they are exact"):
            file.explain(views_alike(model))
        return
    for image in (views_alike(model), smooth_image(120, 90)):
        mine, theirs = (each.explain(image, "dogs", check=False).first for each in (own, file))
        assert (theirs.method, theirs.exact, theirs.size, theirs.box) == (
            mine.method,
            True,
            mine.size,
            mine.box,
        )
        scale = max(1.0, float(np.abs(mine.grid).max()))
        assert theirs.grid.shape == mine.grid.shape
        assert np.abs(theirs.grid - mine.grid).max() < 0.1 * scale
        assert theirs.bias == pytest.approx(mine.bias, abs=1e-5)
        assert np.allclose(theirs.parts, mine.parts, atol=0.3)
        assert sum(theirs.parts) + theirs.bias == pytest.approx(theirs.logit, abs=1e-3)


def test_a_stranger_is_one_by_the_graph_too(tmp_path):
    own, file = predictors_of(build_model(), tmp_path / "best.pt", unknown_rate=0.05)
    blank = np.zeros((40, 40, 3), np.uint8)
    (p_value,) = file.run(blank[None], [KNOWN])
    assert p_value.dtype == np.float64
    assert p_value[0] == next(own.predict([blank])).known.p_value <= 0.05
    assert not next(file.predict([blank])).known.is_known


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_of_a_head_is_written_without_torchs_exporter(activation, tmp_path, monkeypatch):
    monkeypatch.setattr(network, "_export", None)
    model = build_model(head=HeadSpec((8,), 0.1, activation), known=False)
    own, file = predictors_of(model, tmp_path / "best.pt")
    image = views_alike(model)
    assert np.allclose(next(file.predict([image])).logits, next(own.predict([image])).logits, atol=1e-3)


class Squared(nn.Module):
    """A head of the user's own that does what no table holds."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(256, 3)

    def forward(self, x):
        return self.last(torch.where(x > 0, x, 0.1 * x) ** 2)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["a custom head", "a transformer"])
def test_what_no_table_holds_goes_through_torchs_exporter(kind, tmp_path):
    pytest.importorskip("timm")
    if kind == "a transformer":
        model = build_model("timm/test_vit", 160)
    else:
        model = build_model(head=HeadSpec(head="custom"), custom=Squared())
    own, file = predictors_of(model, tmp_path / "best.pt", unknown_rate=0.05)
    image = views_alike(model)
    mine, theirs = next(own.predict([image])), next(file.predict([image]))
    assert np.allclose(theirs.logits, mine.logits, atol=1e-3)
    assert theirs.known == mine.known
    assert file.metadata.maps is None
    images = np.stack([image, image[:, ::-1]])
    assert np.allclose(file.run(images, [PROBABILITIES])[0][0], theirs.probabilities, atol=1e-4)


def test_a_network_that_cannot_be_written_is_told_in_a_sentence(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("no such operator:\n  aten::magic.\n")

    monkeypatch.setattr(network, "add_traced", _unknown)
    monkeypatch.setattr(torch.onnx, "export", refuse)
    wanted = r"^The network simple_cnn cannot be written as ONNX \(no such operator: aten::magic\): use its"
    with pytest.raises(CatdogError, match=wanted):
        predictors_of(build_model(), tmp_path / "best.pt")


def _unknown(*_):
    raise network.UnknownOperationError("magic")
