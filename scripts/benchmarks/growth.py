"""How time and memory of `catdog train` grow with the number of pictures, small and drawn."""

import random
import shutil
from argparse import Namespace
from pathlib import Path

from measure import answer, run_worker
from prepare import train
from table import Found, Row, ratio

SIDE = 64  # px of the pictures
IMAGE_SIZE = 32  # px of the network's input: the forward pass is cheap, so that the rest shows
DRAWINGS = 200  # a class; the others repeat them with other marks, so that no two files are equal
VAL_SHARE = 5  # every fifth picture is for validation
MARK = 2  # px of a bit of the mark


def measure(options: Namespace) -> dict[str, float]:
    """Return seconds, accuracy and peak memory of a cold `catdog train` for each number of pictures."""
    found = {}
    for count in options.growth_pictures:
        folder = options.work / f"drawn-{count}"
        if not folder.exists():
            run_worker(__file__, {"folder": folder, "count": count}, options.work)
        cache = options.work / "growth-cache"
        shutil.rmtree(cache, ignore_errors=True)
        child, accuracy, _ = train(
            options, ["--image-size", IMAGE_SIZE, "--epochs", 1], folder, CATDOG_CACHE=str(cache)
        )
        found |= {
            f"{count}_s": child.wall_s,
            f"{count}_rate": count / child.wall_s,
            f"{count}_accuracy": accuracy,
            f"{count}_peak_mb": child.peak_mb,
        }
    return found


def rows(options: Namespace, found: Found) -> list[Row]:
    """Return a row a number of pictures; time and memory compared with those of the number before."""
    own, result, before = found["growth"], [], None
    for count in options.growth_pictures:
        compared = {}
        if before is not None:
            memory = ratio(own[f"{count}_peak_mb"], own[f"{before}_peak_mb"])
            compared = {
                "ratio": ratio(own[f"{count}_s"], own[f"{before}_s"]),
                "ratio_to": f"the time, {memory:.2f} x the memory of {before}",
            }
        result.append(
            Row(
                "growth",
                f"catdog train, 1 epoch, {count} pictures of {SIDE} px",
                own[f"{count}_s"],
                own[f"{count}_rate"],
                own[f"{count}_accuracy"],
                own[f"{count}_peak_mb"],
                **compared,
            )
        )
        before = count
    return result


def draw(folder: str, count: int) -> dict[str, int]:
    """Write `count` JPEGs of cats and dogs under `folder`, no two alike."""
    from PIL import Image

    from catdog_cli.data.sources.cartoons import draw_animal

    drawn = Path(folder).with_suffix(".part")
    shutil.rmtree(drawn, ignore_errors=True)
    labels = ("cats", "dogs")
    drawings: dict[tuple[str, int], Image.Image] = {}
    for number in range(count):
        label, split = labels[number % 2], "val" if number // 2 % VAL_SHARE == 0 else "train"
        key = (label, number // 2 % DRAWINGS)
        if key not in drawings:
            drawings[key] = draw_animal(label, random.Random(str(key))).resize((SIDE, SIDE))
        target = drawn / split / label
        target.mkdir(parents=True, exist_ok=True)
        _mark(drawings[key].copy(), number).save(target / f"{number:06d}.jpg", quality=90)
    drawn.rename(folder)
    return {"count": count}


def _mark(image, number: int):
    """Write `number` into the top row in black and white squares, a bit each."""
    for bit in range(20):
        square = (bit * MARK, 0, (bit + 1) * MARK, MARK)
        image.paste((255, 255, 255) if number >> bit & 1 else (0, 0, 0), square)
    return image


if __name__ == "__main__":
    answer(draw)
