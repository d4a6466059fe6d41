"""`catdog train` cold and warm against the floor, and training the last blocks from a kept prefix."""

import shutil
import statistics
from argparse import Namespace
from pathlib import Path

from floor import floor_and_imports
from measure import Child
from prepare import list_pictures, train
from table import Found, Row, ratio

LAST_BLOCKS, LAST_LAYERS = "features.16 to .18", 19  # `catdog info mobilenet_v2` numbers the layers
RECIPE = f"""
[[phase]]
name = "last blocks"
epochs = 2
learning_rate = 1e-4
unfreeze = {LAST_LAYERS}
"""


def _empty_cache(options: Namespace) -> dict[str, str]:
    """Return the environment that gives a run a feature cache of its own, which is empty."""
    cache = options.work / "train-cache"
    shutil.rmtree(cache, ignore_errors=True)
    return {"CATDOG_CACHE": str(cache)}


def train_cold(options: Namespace, arguments: list) -> tuple[Child, float, list[dict]]:
    """Train as `prepare.train` does, with a feature cache of its own, which is empty."""
    return train(options, arguments, **_empty_cache(options))


def measure_train(options: Namespace) -> dict[str, float]:
    """Return seconds, accuracy and peak memory of the same command twice: cold, then warm.

    And the seconds in which the second one's epochs train the head, without validation: their median.
    """
    found, cache = {}, _empty_cache(options)
    for name in ("cold", "warm"):
        child, accuracy, epochs = train(options, [], **cache)
        found |= {
            f"{name}_s": child.wall_s,
            f"{name}_accuracy": accuracy,
            f"{name}_peak_mb": child.peak_mb,
        }
    rate = statistics.median(row["pictures_per_s"] for row in epochs)
    return {**found, "head_epoch_s": len(list_pictures(options.data, "train")) / rate}


def train_rows(options: Namespace, found: Found) -> list[Row]:
    """Return cold and warm, compared with floor + imports, and an epoch of the head."""
    own, floor = found["train"], floor_and_imports(found)
    rows = [
        Row(
            "train",
            f"catdog train, {what}",
            own[f"{name}_s"],
            accuracy=own[f"{name}_accuracy"],
            peak_mb=own[f"{name}_peak_mb"],
            ratio=ratio(own[f"{name}_s"], floor),
            ratio_to="floor + imports",
        )
        for name, what in (("cold", "empty feature cache"), ("warm", "again, from the cache"))
    ]
    what = "an epoch of the head, kept features, without validation"
    return [*rows, Row("train", what, own["head_epoch_s"])]


def measure_partial(options: Namespace) -> dict[str, float]:
    """Return the seconds of the second epoch, accuracy and memory with kept and with fresh prefix outputs."""
    recipe, found = Path(options.work) / "last-blocks.toml", {}
    recipe.write_text(RECIPE)
    for name, choice in (("kept", "--cache"), ("fresh", "--no-cache")):
        child, accuracy, epochs = train(options, ["--recipe", recipe, choice], **_empty_cache(options))
        found |= {
            f"{name}_epoch_s": epochs[-1]["seconds"],
            f"{name}_accuracy": accuracy,
            f"{name}_peak_mb": child.peak_mb,
        }
    return found


def partial_rows(options: Namespace, found: Found) -> list[Row]:
    """Return an epoch from kept activations, and one that computes them, compared with the first."""
    own = found["partial"]
    kept, fresh = (
        {
            "seconds": own[f"{name}_epoch_s"],
            "accuracy": own[f"{name}_accuracy"],
            "peak_mb": own[f"{name}_peak_mb"],
        }
        for name in ("kept", "fresh")
    )
    times = ratio(fresh["seconds"], kept["seconds"])
    what = f"an epoch (with validation) of {LAST_BLOCKS}"
    return [
        Row("partial", f"{what}, the blocks before kept", **kept),
        Row("partial", f"{what}, computed again", **fresh, ratio=times, ratio_to="kept"),
    ]
