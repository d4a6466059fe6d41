"""How accurate three ways to train are on 100 drawn classes: ten shapes in ten patterns, ten pictures each.

Neither colour, place nor size tells the class. Measured on pictures that no training has seen.
"""

import json
import random
import shutil
from argparse import Namespace
from pathlib import Path
from typing import Any

from measure import answer, run_catdog, run_worker
from table import Found, Row

SHAPES = ("circle", "square", "triangle", "star", "cross", "ring", "hexagon", "bar", "half", "arrow")
PATTERNS = ("plain", "rows", "columns", "slanted", "checks", "dots", "net", "rings", "speckles", "bricks")
SIDE = 160  # px
TRAINED, KEPT = 10, 5  # pictures a class
WAYS = {  # what the row says: options
    "the default": [],
    "--epochs 5": ["--epochs", 5],
    "--optimizer lbfgs": ["--optimizer", "lbfgs"],
    "--recipe best": ["--recipe", "best"],
}


def measure(options: Namespace) -> dict[str, float]:
    """Return seconds and accuracy of each way to train."""
    folder = options.work / "classes"
    if not folder.exists():
        run_worker(__file__, {"folder": folder}, options.work)
    found = {}
    for name, arguments in WAYS.items():
        run_dir = options.work / "classes-run"
        shutil.rmtree(run_dir, ignore_errors=True)
        network = ["--arch", "mobilenet_v2", "--weights", options.weights, "--cpu"]
        command = ["train", folder / "trained", *network, "--output", run_dir, "--json", *arguments]
        child = run_catdog(command, options.work)
        asked = ["evaluate", folder / "kept", run_dir, "--cpu", "--json"]
        measured = json.loads(run_catdog(asked, options.work).stdout)
        found |= {f"{name}_s": child.wall_s, f"{name}_accuracy": measured["accuracy"]}
    return found


def rows(options: Namespace, found: Found) -> list[Row]:
    """Return a row a way to train."""
    own = found["classes"]
    count = len(SHAPES) * len(PATTERNS)
    return [
        Row(
            "classes",
            f"{count} classes of {TRAINED} drawn pictures, {name}",
            own[f"{name}_s"],
            accuracy=own[f"{name}_accuracy"],
        )
        for name in WAYS
    ]


def draw(folder: str) -> dict[str, int]:
    """Write all pictures as PNGs under `folder`."""
    drawn = Path(folder).with_suffix(".part")
    shutil.rmtree(drawn, ignore_errors=True)
    count = 0
    for split, number in (("trained", TRAINED), ("kept", KEPT)):
        for shape in SHAPES:
            for pattern in PATTERNS:
                target = drawn / split / f"{shape}-{pattern}"
                target.mkdir(parents=True)
                for index in range(number):
                    rng = random.Random(f"{split} {shape} {pattern} {index}")
                    draw_image(shape, pattern, rng).save(target / f"{index}.png")
                    count += 1
    drawn.rename(folder)
    return {"count": count}


def draw_image(shape: str, pattern: str, rng: random.Random) -> Any:
    """Return a picture of SIDE x SIDE px: a turned shape in a pattern of two colours on a noisy ground."""
    from PIL import Image, ImageChops

    size = round(SIDE * rng.uniform(0.45, 0.75))
    angle = rng.uniform(-20, 20)  # so that rows are never columns
    mask = _draw_shape(shape, size).rotate(angle, Image.Resampling.BICUBIC, expand=True)
    fill = _draw_pattern(pattern, mask.size[0], rng).rotate(angle, Image.Resampling.BICUBIC)
    colours = [tuple(rng.randrange(256) for _ in range(3)) for _ in range(4)]
    ground = Image.linear_gradient("L").resize((SIDE, SIDE)).rotate(rng.choice((0, 90, 180, 270)))
    image = Image.composite(*(Image.new("RGB", (SIDE, SIDE), colour) for colour in colours[:2]), ground)
    noise = Image.effect_noise((SIDE, SIDE), rng.uniform(10, 50)).convert("RGB")
    image = Image.blend(image, ImageChops.overlay(image, noise), 0.5)
    inked = Image.composite(
        *(Image.new("RGB", mask.size, colour) for colour in colours[2:]), fill.resize(mask.size)
    )
    room = SIDE - mask.size[0]
    place = tuple(rng.randint(min(0, room), max(0, room)) for _ in range(2))
    image.paste(inked, place, mask)
    return image


def _draw_shape(shape: str, size: int) -> Any:
    """Return a mask of size x size px, 255 inside the shape."""
    import math

    from PIL import Image, ImageDraw

    mask = Image.new("L", (size, size))
    pen, end, middle = ImageDraw.Draw(mask), size - 1, size / 2

    def around(corners: int, radii: tuple[float, ...] = (0.5,)) -> list[tuple[float, float]]:
        turns = [2 * math.pi * corner / corners for corner in range(corners)]
        return [
            (middle + size * radius * math.sin(turn), middle - size * radius * math.cos(turn))
            for turn, radius in zip(turns, radii * corners, strict=False)
        ]

    third = size / 3
    polygons = {
        "triangle": around(3),
        "hexagon": around(6),
        "star": around(10, (0.5, 0.2)),
        "arrow": [(0, third), (middle, third), (middle, 0), (end, middle), (middle, end), (middle, 2 * third),
                  (0, 2 * third)],
    }  # fmt: skip
    if shape in polygons:
        pen.polygon(polygons[shape], fill=255)
    elif shape in ("circle", "ring"):
        pen.ellipse((0, 0, end, end), fill=255)
        if shape == "ring":
            pen.ellipse((size / 4, size / 4, 3 * size / 4, 3 * size / 4), fill=0)
    elif shape == "half":
        pen.pieslice((0, 0, end, end), 0, 180, fill=255)
    elif shape == "square":
        pen.rectangle((size / 8, size / 8, 7 * size / 8, 7 * size / 8), fill=255)
    if shape in ("bar", "cross"):
        pen.rectangle((0, third, end, 2 * third), fill=255)
    if shape == "cross":
        pen.rectangle((third, 0, 2 * third, end), fill=255)
    return mask


def _draw_pattern(pattern: str, size: int, rng: random.Random) -> Any:
    """Return a mask of size x size px, 255 where the pattern has its first colour."""
    from PIL import Image, ImageDraw

    mask, step = Image.new("L", (size, size)), rng.randint(8, 14)
    pen = ImageDraw.Draw(mask)
    starts = range(-size, 2 * size, step)
    lines = {
        "rows": [(0, at, size, at) for at in starts],
        "columns": [(at, 0, at, size) for at in starts],
        "slanted": [(at, 0, at + size, size) for at in starts],
        "net": [line for at in starts for line in ((0, at, size, at), (at, 0, at, size))],
        "bricks": [
            *((0, at, size, at) for at in starts),
            *((x + y // step % 2 * step, y, x + y // step % 2 * step, y + step)
              for y in range(0, size, step) for x in range(0, size, 2 * step)),
        ],
    }  # fmt: skip
    for line in lines.get(pattern, []):
        pen.line(line, fill=255, width=2 if pattern in ("net", "bricks") else step // 2)
    for y in range(0, size, step):
        for x in range(0, size, step):
            if pattern == "checks" and (x + y) // step % 2:
                pen.rectangle((x, y, x + step - 1, y + step - 1), fill=255)
            if pattern == "dots":
                pen.ellipse((x + 2, y + 2, x + step - 3, y + step - 3), fill=255)
    if pattern == "rings":
        for radius in range(0, size, step):
            box = (size / 2 - radius, size / 2 - radius, size / 2 + radius, size / 2 + radius)
            pen.ellipse(box, outline=255, width=step // 2)
    if pattern == "speckles":
        for _ in range(size * size // 60):
            x, y = rng.randrange(size), rng.randrange(size)
            pen.rectangle((x, y, x + 2, y + 2), fill=255)
    return mask


if __name__ == "__main__":
    answer(draw)
