"""What a graph makes of pixels: the views that torch cuts out, to a level or two."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from catdog_cli.export.builder import GraphBuilder
from catdog_cli.export.views import cut_view, open_canvas
from catdog_cli.images.augment import build_augment
from catdog_cli.images.looks import WHOLE
from catdog_cli.settings import InputSpec

from .models import smooth_image

SIZES = [
    (1, 1),
    (1, 50),
    (300, 20),
    (1, 3000),
    (700, 7),
    (225, 224),
    (257, 640),
    (31, 32),
    (64, 64),
    (480, 360),
]
LEVELS = {"bilinear": 1, "bicubic": 2}  # how far off a view may be, of 255


def write_views(spec: InputSpec, kind: str) -> onnx.ModelProto:
    graph = GraphBuilder("images", "view")
    graph.rename(cut_view(graph, open_canvas(graph, "images"), spec, kind), "view")
    info, types = onnx.helper.make_tensor_value_info, onnx.TensorProto
    inputs = [info("images", types.UINT8, ["N", "H", "W", 3])]
    return graph.model(inputs, [info("view", types.FLOAT, ["N", 3, spec.size, spec.size])], {})


def run(model: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, {"images": images})[0]


@pytest.mark.parametrize("kind", ["none", WHOLE])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_views_are_those_of_torch_but_for_rounding(interpolation, kind):
    spec = InputSpec(48, 55, interpolation=interpolation)
    session = onnxruntime.InferenceSession(write_views(spec, kind).SerializeToString())
    view, off, number = build_augment(kind, spec), 0, 0
    for size in SIZES:
        image = smooth_image(*size)
        wanted = view(torch.from_numpy(image).permute(2, 0, 1)).numpy().astype(np.float32)
        found = session.run(None, {"images": image[None]})[0][0]
        assert found.shape == wanted.shape
        assert np.array_equal(found, found.round())
        assert np.abs(found - wanted).max() <= LEVELS[interpolation], size
        off, number = off + (found != wanted).sum(), number + wanted.size
    assert off < 0.02 * number  # and most are not off at all


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_resizing_says_all_that_it_takes_to_be_torchs(interpolation):
    model = write_views(InputSpec(48, 55, interpolation=interpolation), "none")
    resizes = [node for node in model.graph.node if node.op_type == "Resize"]
    assert len(resizes) == 2  # along rows, then along columns, rounding after each
    for node in resizes:
        said = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
        assert (said["antialias"], said["exclude_outside"]) == (1, 1)
        assert said["cubic_coeff_a"] == pytest.approx(-0.5)
        assert said["coordinate_transformation_mode"] == b"half_pixel"
        assert said["mode"] == {"bilinear": b"linear", "bicubic": b"cubic"}[interpolation]


@pytest.mark.parametrize(
    ("attribute", "value"), [("antialias", 0), ("exclude_outside", 0), ("cubic_coeff_a", -0.75)]
)
def test_without_one_of_these_it_is_not(attribute, value):
    spec, image = InputSpec(48, 55, interpolation="bicubic"), smooth_image(257, 640)
    model = write_views(spec, WHOLE)  # which keeps the edges
    wanted = build_augment(WHOLE, spec)(torch.from_numpy(image).permute(2, 0, 1)).numpy().astype(np.float32)
    for node in model.graph.node:
        for each in node.attribute:
            if each.name == attribute:
                each.CopyFrom(onnx.helper.make_attribute(attribute, value))
    assert np.abs(run(model, image[None])[0] - wanted).max() > LEVELS["bicubic"]


def test_images_of_one_size_go_together():
    model = write_views(InputSpec(48, 55), "none")
    images = np.stack([smooth_image(70, 90, seed) for seed in range(3)])
    together = run(model, images)
    assert all(
        np.array_equal(each, run(model, image[None])[0]) for each, image in zip(together, images, strict=True)
    )
