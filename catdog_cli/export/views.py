"""From the pixels of an image of any size to what each network looks at, as nodes of a graph.

What `images.augment` does to bytes, done with floats: Pillow and torch resize along rows and round, then
along columns and round, by weights in fixed point. The same two steps with float weights differ by one
level in 0.3 % of the values of photographs, ONNX's own resizing of bytes in 3 %.
"""

from typing import NamedTuple

import numpy as np

from ..images.looks import LONGEST_SIDES, WHOLE
from ..settings import InputSpec
from .builder import GraphBuilder

MODES = {"bilinear": "linear", "bicubic": "cubic"}
CUBIC = -0.5  # the coefficient that Pillow and torch's antialiased resizing have; ONNX says -0.75 by itself


class Canvas(NamedTuple):
    """Names of values: the images as floats, (N, 3, H, W), 0 to 255; their number and sides, int64 (1,)."""

    pixels: str
    number: str
    height: str
    width: str
    shorter: str


def open_canvas(graph: GraphBuilder, images: str) -> Canvas:
    """Return uint8 images (N, H, W, 3) as floats, the ends of very long ones cut off."""
    shape = graph.op("Shape", images)
    number, height, width = (
        graph.op("Slice", shape, graph.integers(place), graph.integers(place + 1)) for place in range(3)
    )
    shorter = graph.op("Min", height, width, name="shorter")
    # 4: what bicubic weights reach beyond the crop; see images.augment
    keep = graph.op("Add", graph.op("Mul", shorter, graph.integers(LONGEST_SIDES)), graph.integers(4))
    cuts = [_cut(graph, side, keep) for side in (height, width)]
    kept = [graph.op("Sub", side, cut) for side, cut in zip((height, width), cuts, strict=True)]
    pixels = graph.op("Cast", graph.op("Transpose", images, perm=[0, 3, 1, 2]), to=1)
    pixels = graph.op(
        "Slice",
        pixels,
        graph.op("Concat", *cuts, axis=0),
        graph.op("Concat", *kept, axis=0),
        graph.integers(2, 3),
    )
    sides = [graph.op("Sub", *pair) for pair in zip(kept, cuts, strict=True)]
    return Canvas(pixels, number, sides[0], sides[1], shorter)


def _cut(graph: GraphBuilder, side: str, keep: str) -> str:
    """Return max(0, (side - keep) // 2)."""
    half = graph.op("Div", graph.op("Sub", side, keep), graph.integers(2))
    return graph.op("Max", half, graph.integers(0), name="cut")


def cut_view(graph: GraphBuilder, canvas: Canvas, spec: InputSpec, kind: str) -> str:
    """Return what a network looks at: whole levels of 0 to 255 as floats, (N, 3, size, size).

    Args:
        kind: "none", the centre of the image, or WHOLE.
    """
    if kind == WHOLE:
        size = graph.integers(spec.size)
        return _settle(graph, _resize(graph, canvas, size, size, spec.interpolation), spec.size)
    wanted = graph.integers(spec.resize)
    height, width = (
        graph.op("Div", graph.op("Mul", side, wanted), canvas.shorter)
        for side in (canvas.height, canvas.width)
    )
    pixels = _resize(graph, canvas, height, width, spec.interpolation)
    starts = [_centre(graph, side, spec.size) for side in (height, width)]
    start = graph.op("Concat", *starts, axis=0)
    end = graph.op("Add", start, graph.integers(spec.size))
    return _settle(graph, graph.op("Slice", pixels, start, end, graph.integers(2, 3)), spec.size)


def _settle(graph: GraphBuilder, pixels: str, size: int) -> str:
    """Return pixels with a shape that is told: a runtime then leaves what is before as it is.

    Where a network is int8, ONNX Runtime would move the turning of (H, W, 3) into (3, H, W) behind the
    resizing, and cannot resize so.
    """
    return graph.op("Reshape", pixels, graph.integers(-1, 3, size, size), name="view")


def _centre(graph: GraphBuilder, side: str, size: int) -> str:
    """Return round((side - size) / 2), halves to the even number, as Python does."""
    rest, two = graph.op("Sub", side, graph.integers(size)), graph.integers(2)
    half = graph.op("Div", rest, two)
    odd = graph.op("Mul", graph.op("Mod", rest, two), graph.op("Mod", half, two))
    return graph.op("Add", half, odd, name="start")


def _resize(graph: GraphBuilder, canvas: Canvas, height: str, width: str, interpolation: str) -> str:
    pixels = canvas.pixels
    for sides in ((canvas.height, width), (height, width)):
        resized = graph.op(
            "Resize",
            pixels,
            "",
            "",
            graph.op("Concat", canvas.number, graph.integers(3), *sides, axis=0),
            mode=MODES[interpolation],
            antialias=1,
            exclude_outside=1,
            cubic_coeff_a=CUBIC,
            coordinate_transformation_mode="half_pixel",
        )
        half_up = graph.op("Floor", graph.op("Add", resized, graph.constant(np.float32(0.5), "half")))
        pixels = graph.op("Clip", half_up, *(graph.constant(np.float32(end), "end") for end in (0, 255)))
    return pixels


def normalise_view(graph: GraphBuilder, view: str, spec: InputSpec) -> str:
    """Return levels as a network's input, as `images.transforms.normalise` does."""
    mean, std = (np.array(values, np.float32).reshape(3, 1, 1) for values in (spec.mean, spec.std))
    shift, scale = -mean / std, 1 / (255 * std)
    scaled = graph.op("Mul", view, graph.constant(scale, "scale"))
    return graph.op("Add", scaled, graph.constant(shift, "shift"), name="input")
