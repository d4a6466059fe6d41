"""What bfloat16 costs in accuracy: one head, all photographs, the same network in both precisions."""

import shutil
from argparse import Namespace
from pathlib import Path

from measure import KEEP_MEMORY, answer, run_worker
from prepare import list_pictures, train
from table import Found, Row, ratio

PRECISIONS = {"fp32": "float32", "bf16": "bfloat16"}


def measure(options: Namespace) -> dict[str, float] | None:
    """Train one head, then return accuracy and rate in each precision, and how many answers differ.

    None where this processor has no bfloat16 of its own: catdog computes in float32 there.
    """
    checkpoint = options.work / "precision.pt"
    if not checkpoint.exists():
        train(options, [])
        shutil.copyfile(options.work / "run" / "best.pt", checkpoint)
    arguments = {"checkpoint": checkpoint, "data": options.data}
    return run_worker(__file__, arguments, options.work, **KEEP_MEMORY)[1]["found"]


def rows(options: Namespace, found: Found) -> list[Row]:
    """Return a row a precision."""
    own, result = found["precision"], []
    for name, said in PRECISIONS.items():
        differ = f", {own['differ'][0]:.0f} other answers" if name == "bf16" else ""
        result.append(
            Row(
                "precision",
                f"{options.num_pictures} pictures predicted in {said}{differ}",
                pictures_per_s=own[f"{name}_rate"],
                accuracy=own[f"{name}_accuracy"],
                ratio=ratio(own[f"{name}_rate"], own["fp32_rate"]),
                ratio_to="float32's rate",
            )
        )
    return result


def compute(checkpoint: str, data: str) -> dict[str, dict[str, float] | None]:
    """Predict all pictures in both precisions; a picture's class is the name of its folder."""
    import time

    import torch

    from catdog_cli import Predictor
    from catdog_cli.runtime.devices import pick_precision

    if pick_precision("auto", torch.device("cpu")) != torch.bfloat16:
        return {"found": None}
    paths = [path for split in ("train", "val") for path in list_pictures(Path(data), split)]
    found, answers = {}, {}
    for name in PRECISIONS:
        predictor = Predictor.load(checkpoint, device="cpu", precision=name)
        start = time.perf_counter()
        scores = torch.stack([each.probabilities for each in predictor.predict(paths)])
        found[f"{name}_rate"] = len(paths) / (time.perf_counter() - start)
        answers[name] = [predictor.class_names[place] for place in scores.argmax(1).tolist()]
        right = [path.parent.name == said for path, said in zip(paths, answers[name], strict=True)]
        found[f"{name}_accuracy"] = sum(right) / len(right)
    found["differ"] = sum(a != b for a, b in zip(*answers.values(), strict=True))
    return {"found": found}


if __name__ == "__main__":
    answer(compute)
