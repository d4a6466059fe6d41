"""Small images with several labels: a red, a green and a blue bar, each there or not; and tables of them."""

import csv
import json
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = ("blue", "green", "red")
CHANNELS = {"red": 0, "green": 1, "blue": 2}


def draw_labels(labels: set[str], number: int) -> Image.Image:
    """Return a noisy RGB image, 40 x 32 px, in which each label's colour fills a third."""
    pixels = np.random.default_rng(number).integers(0, 60, (32, 40, 3))
    for name in labels:
        channel = CHANNELS[name]
        pixels[:, 13 * channel : 13 * channel + 13, channel] += 180
    return Image.fromarray(pixels.astype(np.uint8))


def choose_labels(number: int) -> set[str]:
    """Return some labels of image `number`: each of the eight sets in turn."""
    return {name for place, name in enumerate(COLOURS) if number >> place & 1}


def write_labelled(folder: Path, count: int, start: int = 0) -> list[tuple[str, set[str]]]:
    """Write `count` images into folder/images; return (path from the folder on, labels)."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(start, start + count):
        labels = choose_labels(number)
        draw_labels(labels, number).save(folder / "images" / f"{number}.png")
        rows.append((f"images/{number}.png", labels))
    return rows


def write_csv(path: Path, rows: list) -> Path:
    """Write rows of cells as CSV; return the path."""
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def write_joined(folder: Path, count: int = 24, delimiter: str = ";") -> Path:
    """Write images and labels.csv, `path,labels`; return it."""
    rows = [(path, delimiter.join(sorted(labels))) for path, labels in write_labelled(folder, count)]
    return write_csv(folder / "labels.csv", [("path", "labels"), *rows])


def write_wide(folder: Path, count: int = 24, unknown: int = 0) -> Path:
    """Write images and wide.csv, a column of 1 and 0 for each label; every `unknown`th cell is empty."""
    rows, cell = [], 0
    for path, labels in write_labelled(folder, count):
        cells = []
        for name in COLOURS:
            cell += 1
            cells.append("" if unknown and cell % unknown == 0 else str(int(name in labels)))
        rows.append((path, *cells))
    return write_csv(folder / "wide.csv", [("path", *COLOURS), *rows])


def write_coco(folder: Path, count: int = 24) -> Path:
    """Write images and coco.json; return it."""
    listed = write_labelled(folder, count)
    content = {
        "images": [{"id": number, "file_name": path} for number, (path, _) in enumerate(listed)],
        "categories": [{"id": place, "name": name} for place, name in enumerate(COLOURS)],
        "annotations": [
            {"image_id": number, "category_id": COLOURS.index(name)}
            for number, (_, labels) in enumerate(listed)
            for name in sorted(labels)
        ],
    }
    path = folder / "coco.json"
    path.write_text(json.dumps(content))
    return path
