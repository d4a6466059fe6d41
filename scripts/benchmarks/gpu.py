"""On a GPU: the frozen pass against the pure forward pass, and how long until 99 % are right."""

import shutil
import time
from argparse import Namespace
from typing import Any

from measure import KEEP_MEMORY, answer, run_worker
from prepare import train
from table import Found, Row, ratio

GOAL = 0.99  # accuracy
BATCHES = (16, 64, 256)  # pictures; the best one counts
MIN_SECONDS = 1.0  # of the pure forward pass


def measure(options: Namespace) -> dict[str, float] | None:
    """Return rates of both passes and the seconds to GOAL, or None without a GPU that torch can use."""
    arguments = {"data": options.data, "weights": options.weights}
    child, rates = run_worker(__file__, arguments, options.work, **KEEP_MEMORY)
    if not rates:
        return None
    cache = options.work / "gpu-cache"
    shutil.rmtree(cache, ignore_errors=True)
    child_, accuracy, epochs = train(options, ["--gpu"], CATDOG_CACHE=str(cache))
    return {
        **rates,
        "peak_mb": child.peak_mb,
        "train_s": child_.wall_s,
        "train_peak_mb": child_.peak_mb,
        "accuracy": accuracy,
        "to_goal_s": _seconds_to_goal(child_.wall_s, epochs),
    }


def _seconds_to_goal(wall_s: float, epochs: list[dict]) -> float:
    """Return the command's time without the epochs after the first that reached GOAL; -1 if none did."""
    reached = [number for number, row in enumerate(epochs, 1) if row["val_accuracy"] >= GOAL]
    return wall_s - sum(row["seconds"] for row in epochs[reached[0] :]) if reached else -1.0


def rows(options: Namespace, found: Found) -> list[Row]:
    """Return both passes and the whole command."""
    own = found["gpu"]
    passed, forward, to_goal = own["pass_rate"], own["forward_rate"], own["to_goal_s"]
    never = min(to_goal) < 0
    return [
        Row("gpu", "forward alone", pictures_per_s=forward),
        Row(
            "gpu",
            "frozen pass: read, decode, forward",
            pictures_per_s=passed,
            peak_mb=own["peak_mb"],
            ratio=ratio(passed, forward),
            ratio_to="forward's rate",
        ),
        Row(
            "gpu",
            "catdog train, empty feature cache",
            own["train_s"],
            accuracy=own["accuracy"],
            peak_mb=own["train_peak_mb"],
        ),
        Row(
            "gpu",
            f"catdog train until {GOAL:.0%} are right" + (": not reached" * never),
            [] if never else to_goal,
        ),
    ]


def compute(data: str, weights: str) -> dict[str, float]:
    """Measure in this process: pictures a second of the frozen pass and of forward; empty without a GPU."""
    import torch

    if not torch.cuda.is_available():
        return {}
    from catdog_cli.data.loaders import Images
    from catdog_cli.data.scan import scan_dataset
    from catdog_cli.features.extractor import FrozenPrefix, View, image_set, run_prefix
    from catdog_cli.models.classifier import build_classifier
    from catdog_cli.models.weights import load_backbone
    from catdog_cli.models.zoo.registry import source_of
    from catdog_cli.runtime.devices import pick_precision
    from catdog_cli.settings import HeadSpec

    device, spec = torch.device("cuda"), source_of("mobilenet_v2").input_spec("mobilenet_v2", weights)
    classifier = build_classifier("mobilenet_v2", 2, HeadSpec())
    load_backbone(classifier, weights)
    module = classifier.prefix(len(classifier.blocks))
    prefix = FrozenPrefix(module, spec, pick_precision("auto", device), device)
    chosen = image_set(Images(scan_dataset(data, leaks=False), "train", spec))
    places = list(range(len(chosen)))
    list(run_prefix(prefix, chosen, places[:64], View()))
    start = time.perf_counter()
    count = sum(len(indices) for indices, _, _ in run_prefix(prefix, chosen, places, View()))
    pass_rate = count / (time.perf_counter() - start)
    return {"pass_rate": pass_rate, "forward_rate": max(_forward_rate(prefix, size) for size in BATCHES)}


def _forward_rate(prefix: Any, size: int) -> float:
    """Return pictures a second of the prefix on batches that are ready in the GPU's memory."""
    import torch

    side = prefix.spec.size
    batch = torch.rand(size, 3, side, side, device=prefix.device, dtype=prefix.dtype)
    batch = batch.contiguous(memory_format=torch.channels_last)
    for _ in range(5):
        prefix.fast(batch)
    torch.cuda.synchronize()
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < MIN_SECONDS:
        for _ in range(20):
            prefix.fast(batch)
        torch.cuda.synchronize()
        count += 20 * size
    return count / (time.perf_counter() - start)


if __name__ == "__main__":
    answer(compute)
