"""Many pictures through `Predictor.predict` and the command line, against forward alone and an eager loop."""

import time
from argparse import Namespace
from pathlib import Path
from typing import Any

from measure import KEEP_MEMORY, answer, run_catdog, run_worker
from prepare import list_pictures
from table import Found, Row, ratio
from tutorial import BATCH_SIZE, build_network


def measure(options: Namespace) -> dict[str, float]:
    """Return pictures a second and peak memory of catdog's library, its command line and an eager loop."""
    images, checkpoint = (
        list_pictures(options.data, "train")[: options.predict_pictures],
        options.checkpoint,
    )
    found: dict[str, float] = {}
    for name, source, environment in (
        ("library", checkpoint, KEEP_MEMORY),
        ("eager", options.weights, {}),
    ):
        arguments = {"way": name, "source": source, "images": images}
        child, facts = run_worker(__file__, arguments, options.work, **environment)
        found |= {f"{name}_s": facts["seconds"], f"{name}_rate": len(images) / facts["seconds"]}
        found[f"{name}_peak_mb"] = child.peak_mb
    listed = options.work / "pictures.txt"
    listed.write_text("\n".join(map(str, images)) + "\n")
    table = options.work / "predictions.csv"
    command = ["predict", listed, checkpoint, "--cpu", "--output", table, "--overwrite"]
    child = run_catdog(command, options.work)
    found |= {"cli_s": child.wall_s, "cli_rate": len(images) / child.wall_s, "cli_peak_mb": child.peak_mb}
    return found


def rows(options: Namespace, found: Found) -> list[Row]:
    """Return the three ways, each compared by its rate with forward alone."""
    own, forward, result = found["predict"], found["floor"]["forward"], []
    for name, what in (
        ("library", "Predictor.predict, without its start"),
        ("cli", "catdog predict, with its start"),
        ("eager", f"eager float32 loop, batches of {BATCH_SIZE}, without its start"),
    ):
        result.append(
            Row(
                "predict",
                f"{options.predict_pictures} pictures, {what}",
                own[f"{name}_s"],
                own[f"{name}_rate"],
                peak_mb=own[f"{name}_peak_mb"],
                ratio=ratio(own[f"{name}_rate"], forward),
                ratio_to="forward's rate",
            )
        )
    return result


def compute(way: str, source: str, images: list[str]) -> dict[str, float]:
    """Predict in this process; return the seconds that it took once everything was loaded."""
    predict_all = {"library": _library, "eager": _eager}[way](source)
    predict_all(images[:BATCH_SIZE])
    start = time.perf_counter()
    count = predict_all(images)
    if count != len(images):
        raise SystemExit(f"{len(images) - count} of {len(images)} pictures got no answer.")
    return {"seconds": time.perf_counter() - start}


def _library(checkpoint: str) -> Any:
    from catdog_cli import Predictor

    predictor = Predictor.load(checkpoint, device="cpu")
    return lambda images: sum(answer.error is None for answer in predictor.predict(map(Path, images)))


def _eager(weights: str) -> Any:
    import torch
    from PIL import Image
    from torchvision import transforms

    network = build_network(weights).eval()
    scale = [transforms.ToTensor(), transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
    look = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), *scale])

    @torch.no_grad()
    def predict_all(images: list[str]) -> int:
        count = 0
        for start in range(0, len(images), BATCH_SIZE):
            part = [Image.open(path).convert("RGB") for path in images[start : start + BATCH_SIZE]]
            count += len(network(torch.stack([look(image) for image in part])).softmax(1))
        return count

    return predict_all


if __name__ == "__main__":
    answer(compute)
