"""Strangers that are drawn here, told by catdog, maximum softmax, energy and ViM; and what asking costs."""

import json
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
from measure import ROOT, run_catdog, run_child
from PIL import Image, ImageDraw, ImageFilter
from prepare import train
from table import Found, Row, ratio

COUNT, SIZE = 100, 320  # pictures a kind, and their side in pixels
WORDS = ["while", "rain", "fell", "a", "cat", "sat", "on", "the", "mat", "and", "nobody", "came", "home"]
KEYS = {"maximum softmax": "softmax", "energy": "energy", "ViM": "vim", "both, as catdog": "catdog"}


def measure(options: Namespace) -> dict[str, float]:
    """Return AUROC and share found by kind of strangers and method, and seconds with and without asking."""
    folders = [
        draw(options.work / "strangers" / kind, kind) for kind in ("drawn", "textures", "noise", "text")
    ]
    train(options, ["--optimizer", "lbfgs"])
    checkpoint = options.work / "run" / "best.pt"
    worker = [sys.executable, str(ROOT / "scripts" / "benchmarks" / "strangers.py"), "--json"]
    counts = ["--time", str(options.predict_pictures), "--rounds", "3"]
    given = [str(part) for part in (options.data, checkpoint, *folders)]
    answer = json.loads(run_child([*worker, *given, *counts], options.work).stdout.strip().splitlines()[-1])
    found = {f"{way}_s": float(np.median(seconds)) for way, seconds in answer["seconds"].items()}
    for row in answer["rows"]:
        if row["method"] in KEYS:
            name = f"{row['strangers']}_{KEYS[row['method']]}"
            found |= {f"{name}_auroc": row["auroc"], f"{name}_found": row["found"]}
    return {**found, "alarms": answer["folds"][0] / answer["folds"][1]}


def rows(options: Namespace, found: Found) -> list[Row]:
    """Return a row a kind of strangers and method: AUROC under "accuracy", and the share found."""
    own, result = found["strangers"], []
    for kind in ("drawn", "textures", "noise", "text"):
        for method, key in KEYS.items():
            for what, said in (("auroc", "AUROC"), ("found", "share found at 1 %")):
                text = f"{kind} strangers, {method}: {said}"
                result.append(Row("strangers", text, accuracy=own[f"{kind}_{key}_{what}"]))
    text = "own pictures called unknown at 1 %, five folds (a share)"
    result.append(Row("strangers", text, accuracy=own["alarms"]))
    for way in ("without", "with"):
        compared = (
            {"ratio": ratio(own["with_s"], own["without_s"]), "ratio_to": "without"} if way == "with" else {}
        )
        text = f'{options.predict_pictures} pictures {way} "unknown", processor time'
        result.append(Row("strangers", text, own[f"{way}_s"], **compared))
    return result


def draw(folder: Path, kind: str) -> Path:
    """Fill a folder with COUNT pictures of a kind, unless it is there; return it."""
    if folder.exists():
        return folder
    if kind == "drawn":
        run_catdog(["data", "sample", folder, "--num-per-class", COUNT // 2], folder.parent.parent)
        return folder
    folder.mkdir(parents=True)
    for number in range(COUNT):
        random = np.random.default_rng([number, len(kind)])
        {"textures": _texture, "noise": _noise, "text": _text}[kind](random).save(folder / f"{number:03}.png")
    return folder


def _noise(random: np.random.Generator) -> Image.Image:
    """Return pixels that know nothing of each other, or a blurred lot of them."""
    pixels = random.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    return Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(int(random.choice([0, 1, 2, 4, 8]))))


def _texture(random: np.random.Generator) -> Image.Image:
    """Return waves of two directions in two colours."""
    y, x = np.mgrid[:SIZE, :SIZE]
    waves = np.zeros((SIZE, SIZE))
    for _ in range(2):
        angle, length = random.uniform(0, np.pi), random.uniform(6, 60)
        waves += np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / length)
    share = (waves[..., None] + 2) / 4
    ends = random.integers(0, 256, (2, 3))
    return Image.fromarray((ends[0] * share + ends[1] * (1 - share)).astype(np.uint8))


def _text(random: np.random.Generator) -> Image.Image:
    """Return a page of words, dark on light or light on dark."""
    paper, ink = ("white", "black") if random.integers(2) else ("#202028", "#d0e0d0")
    image = Image.new("RGB", (SIZE, SIZE), paper)
    pen = ImageDraw.Draw(image)
    for top in range(8, SIZE, 16):
        pen.text((8, top), " ".join(random.choice(WORDS, 9)), fill=ink)
    return image
