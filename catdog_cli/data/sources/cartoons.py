"""Draws one cartoon of a cat or a dog; `sample` makes a dataset of them.

A cat has pointed ears, slit pupils, a small muzzle and whiskers; a dog has floppy ears, round pupils, a long
muzzle with a big nose, and mostly a tongue. Colours, backgrounds, sizes and poses come from the same lists
for both, so that shape alone tells them apart.
"""

import math
import random
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

OVERSAMPLE = 2  # pictures are drawn this many times larger, then shrunk: smooth edges


Color = tuple[int, int, int]
Points = list[tuple[float, float]]

INK, PINK, TONGUE = (52, 40, 40), (240, 160, 165), (236, 110, 125)
FURS = (
    *((232, 150, 72), (150, 100, 62), (128, 130, 140), (72, 66, 70), (240, 218, 180)),
    *((206, 172, 130), (245, 242, 235), (178, 92, 52), (98, 108, 128)),
)
EYES = ((108, 168, 88), (226, 176, 60), (92, 150, 200), (140, 92, 54))
SKIES = (
    *((190, 222, 240), (250, 226, 190), (214, 234, 204), (240, 206, 214), (220, 212, 240)),
    *((120, 170, 180), (235, 180, 110), (150, 190, 130), (110, 120, 160)),
)


def draw_animal(label: str, rng: random.Random) -> Image.Image:
    """Return one RGB picture of a "cats" or "dogs" face, everything about it taken from `rng`."""
    width, height = rng.randint(180, 230), rng.randint(160, 205)  # px
    canvas = _draw_background(width * OVERSAMPLE, height * OVERSAMPLE, rng)
    unit = rng.uniform(0.25, 0.33) * min(canvas.size)  # px from the middle of the head to its side
    x, y = canvas.width * rng.uniform(0.42, 0.58), canvas.height * rng.uniform(0.5, 0.58)
    tilt, turn = rng.uniform(-18, 18), rng.uniform(-0.16, 0.16)
    pen = _Pen(ImageDraw.Draw(canvas), unit, x, y, tilt, turn)
    fur = rng.choice(FURS)
    _draw_body(pen, fur, rng)
    (_draw_cat if label == "cats" else _draw_dog)(pen, fur, rng)
    return _photograph(canvas.resize((width, height), Image.Resampling.LANCZOS), rng)


@dataclass
class _Pen:
    """Draws in units of half a head's width, the middle of the head at (0, 0), y pointing down."""

    draw: ImageDraw.ImageDraw
    unit: float  # px
    x: float  # px, the middle of the head
    y: float
    tilt: float  # degrees
    turn: float  # how far the face looks aside: what is nearer to the viewer moves by more

    def fill(self, points: Points, color: Color, edge: Color | None = None, depth: float = 0) -> None:
        self.draw.polygon(self._place(points, depth), fill=color)
        if edge:
            self.line([*points, *points[:2]], edge, 0.035, depth)

    def line(self, points: Points, color: Color, thickness: float = 0.04, depth: float = 0) -> None:
        width = max(1, round(thickness * self.unit))
        self.draw.line(self._place(points, depth), fill=color, width=width, joint="curve")

    def _place(self, points: Points, depth: float) -> Points:
        turned = _rotate([(x + self.turn * depth, y) for x, y in points], self.tilt)
        return [(x * self.unit + self.x, y * self.unit + self.y) for x, y in turned]


def _rotate(points: Points, degrees: float) -> Points:
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return [(x * cos - y * sin, x * sin + y * cos) for x, y in points]


def _oval(x: float, y: float, rx: float, ry: float, tilt: float = 0, part: float = 1) -> Points:
    """Return points on an ellipse turned by `tilt` degrees; `part` of it, clockwise from its right end."""
    angles = [2 * math.pi * part * step / 40 for step in range(41)]
    ring = _rotate([(rx * math.cos(angle), ry * math.sin(angle)) for angle in angles], tilt)
    return [(x + across, y + down) for across, down in ring]


def _blend(color: Color, other: Color, share: float) -> Color:
    """Return `color` with `share` (0 to 1) of `other` mixed in."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(color, other, strict=True))
    return red, green, blue


def _light(fur: Color) -> Color:
    return _blend(fur, (255, 250, 242), 0.62)


def _dark(fur: Color) -> Color:
    return _blend(fur, INK, 0.5)


def _draw_body(pen: _Pen, fur: Color, rng: random.Random) -> None:
    pen.fill(_oval(0, 2.5, rng.uniform(0.85, 1.15), 2), fur, _dark(fur))
    if rng.random() < 0.5:
        pen.fill(_oval(0, 2.1, 0.5, 1.1), _light(fur))
    if rng.random() < 0.4:
        pen.fill(_oval(0, 0.92, 0.78, 0.26), rng.choice(SKIES), INK)


def _draw_cat(pen: _Pen, fur: Color, rng: random.Random) -> None:
    spread, tall = rng.uniform(0.6, 0.72), rng.uniform(1.25, 1.5)
    for side in (-1, 1):
        ear = [(side * 0.98, -0.1), (side * (spread + 0.16), -tall), (side * 0.18, -0.7)]
        pen.fill(ear, fur, _dark(fur), -0.5)
        inner = [(side * 0.82, -0.4), (side * (spread + 0.12), -tall + 0.25), (side * 0.38, -0.66)]
        pen.fill(inner, PINK, depth=-0.4)
    pen.fill(_oval(0, 0, 1.02, rng.uniform(0.8, 0.88)), fur, _dark(fur))
    if rng.random() < 0.6:  # a tabby
        for x, long in ((-0.24, 0.24), (0, 0.36), (0.24, 0.24)):
            pen.line([(x, -0.76), (x * 0.8, -0.76 + long)], _dark(fur), 0.09, 0.5)
        for side in (-1, 1):
            pen.line([(side * 0.98, 0.02), (side * 0.76, 0.06)], _dark(fur), 0.08)
    iris = rng.choice(EYES)
    for side in (-1, 1):
        pen.fill(_oval(side * 0.42, -0.1, 0.23, 0.19, side * -14), iris, INK, 1)
        pen.fill(_oval(side * 0.42, -0.1, rng.uniform(0.05, 0.09), 0.17), INK, depth=1)
        pen.fill(_oval(side * 0.42 - 0.06, -0.17, 0.045, 0.045), (255, 255, 255), depth=1)
        pen.fill(_oval(side * 0.15, 0.4, 0.22, 0.17), _light(fur), depth=1.3)
    pen.fill([(-0.12, 0.2), (0.12, 0.2), (0, 0.33)], PINK, INK, 1.4)
    for side in (-1, 1):
        pen.line(_oval(side * 0.12, 0.38, 0.12, 0.12, part=0.5), INK, depth=1.4)
        for lift in (-0.1, 0.02, 0.14):
            ends = [(side * 0.3, 0.38 + lift * 0.5), (side * rng.uniform(1.15, 1.35), 0.32 + lift * 2)]
            pen.line(ends, _blend(INK, fur, 0.25), 0.025, 1.2)


def _draw_dog(pen: _Pen, fur: Color, rng: random.Random) -> None:
    pen.fill(_oval(0, -0.02, 0.86, rng.uniform(0.88, 0.98)), fur, _dark(fur))
    if rng.random() < 0.5:  # a patch round one eye
        patch = rng.choice((_dark(fur), _light(fur)))
        pen.fill(_oval(0.36 * rng.choice((-1, 1)), -0.22, 0.28, 0.34), patch, depth=1)
    ears = rng.choice((_dark(fur), _blend(fur, INK, 0.25), fur))
    droop, long = rng.uniform(8, 26), rng.uniform(0.56, 0.72)
    for side in (-1, 1):
        pen.fill(_oval(side * 0.88, -0.1, 0.28, long, side * -droop), ears, _dark(ears), -0.3)
    iris = rng.choice(EYES)
    for side in (-1, 1):
        pen.fill(_oval(side * 0.34, -0.2, 0.16, 0.18), iris, INK, 1)
        pen.fill(_oval(side * 0.34, -0.2, 0.11, 0.13), INK, depth=1)
        pen.fill(_oval(side * 0.34 - 0.04, -0.26, 0.045, 0.045), (255, 255, 255), depth=1)
    _draw_snout(pen, fur, rng)


def _draw_snout(pen: _Pen, fur: Color, rng: random.Random) -> None:
    if rng.random() < 0.7:
        pen.fill(_oval(0, 0.86, 0.19, 0.34), TONGUE, INK, 1.3)
        pen.line([(0, 0.7), (0, 1)], _blend(TONGUE, INK, 0.35), 0.03, 1.3)
    pen.fill(_oval(0, 0.42, rng.uniform(0.46, 0.54), 0.42), _light(fur), _dark(fur), 1.2)
    pen.line([(0, 0.3), (0, 0.56)], INK, 0.05, 1.4)
    for side in (-1, 1):
        pen.line(_oval(side * 0.17, 0.52, 0.17, 0.15, part=0.5), INK, 0.05, 1.4)
        for x, y in ((0.24, 0.34), (0.34, 0.42), (0.24, 0.46)):
            pen.fill(_oval(side * x, y, 0.022, 0.022), INK, depth=1.3)
    pen.fill(_oval(0, 0.2, 0.21, 0.15), INK, depth=1.6)
    pen.fill(_oval(-0.06, 0.14, 0.06, 0.03), _blend(INK, (255, 255, 255), 0.6), depth=1.6)


def _draw_background(width: int, height: int, rng: random.Random) -> Image.Image:
    """Return a plain, dotted, striped or hilly background, lighter or darker towards the bottom."""
    top, other = rng.sample(SKIES, 2)
    shade = Image.linear_gradient("L").resize((width, height))
    bottom = _blend(top, rng.choice(((255, 255, 255), INK)), 0.3)
    image = Image.composite(
        Image.new("RGB", (width, height), bottom), Image.new("RGB", (width, height), top), shade
    )
    draw, color, step = ImageDraw.Draw(image), _blend(top, other, 0.5), rng.randint(36, 70)
    kind = rng.choice(("plain", "dots", "stripes", "hills"))
    if kind == "dots":
        for row, y in enumerate(range(0, height, step)):
            for x in range(step // 2 * (row % 2), width, step):
                draw.circle((x, y), step * 0.22, fill=color)
    elif kind == "stripes":
        lean = rng.uniform(-0.6, 0.6) * height
        for x in range(-height, width + height, 2 * step):
            draw.line([(x, 0), (x + lean, height)], fill=color, width=step // 2)
    elif kind == "hills":
        for place, share in ((0.1, 0.4), (0.8, 0.6)):
            center = (width * (place + rng.uniform(-0.1, 0.1)), height * rng.uniform(1.2, 1.4))
            draw.circle(center, width * 0.5, fill=_blend(top, other, share))
    return image


def _photograph(image: Image.Image, rng: random.Random) -> Image.Image:
    """Return `image` as a camera might take it: brighter, tinted, a little blurred, with noise."""
    blurred = image.filter(ImageFilter.GaussianBlur(rng.uniform(0, 0.8)))
    pixels = np.asarray(blurred, dtype=np.float32)  # (height, width, 3), 0 to 255
    gains = rng.uniform(0.85, 1.1) * np.array([rng.uniform(0.94, 1.06) for _ in range(3)], dtype=np.float32)
    noise = np.random.default_rng(rng.getrandbits(64)).normal(0, rng.uniform(2, 9), pixels.shape)
    return Image.fromarray(np.clip(pixels * gains + noise, 0, 255).astype(np.uint8))
