"""How well strangers are told: catdog's distances beside maximum softmax, energy and ViM.

Run by itself: python scripts/benchmarks/strangers.py DATA CKPT STRANGERS... prints a Markdown table, a row a
method and a folder of strangers; `scripts/bench strangers` does it with pictures that it draws. Known
pictures are those of DATA's validation; all methods ask the same features and logits of a checkpoint with a
linear head on a frozen network. "found at 1 %" takes the threshold that 1 % of the known pictures pass, so
that no method has an advantage; what the checkpoint's own threshold does stands in the last lines, with its
false alarms on five folds.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from prepare import list_pictures

from catdog_cli.data.scan import scan_dataset
from catdog_cli.evaluation.intervals import wilson_interval
from catdog_cli.evaluation.strangers import area_under_roc
from catdog_cli.inference.predictor import Predictor
from catdog_cli.known.reference import Reference, fit_reference
from catdog_cli.runs.checkpoint import build_from_checkpoint, load_checkpoint
from catdog_cli.runs.directory import find_checkpoint

HEADER = ("strangers", "pictures", "method", "AUROC (95 %)", "found at 1 %")
RATE = 0.01
FOLDS = 5
SUFFIXES = (".jpg", ".jpeg", ".png")
Table = tuple[np.ndarray, np.ndarray]  # features (N, D), logits (N, C)


def max_softmax(logits: np.ndarray) -> np.ndarray:
    """Return scores (N,), high ones of strangers, of logits (N, C).

    Source: Hendrycks and Gimpel, A Baseline for Detecting Misclassified and Out-of-Distribution Examples.
    """
    return -torch.from_numpy(logits).softmax(1).amax(1).numpy()


def energy(logits: np.ndarray) -> np.ndarray:
    """Return scores (N,), high ones of strangers, of logits (N, C).

    Source: Liu et al., Energy-based Out-of-distribution Detection, NeurIPS 2020.
    """
    return -torch.from_numpy(logits).logsumexp(1).numpy()


class ViM:
    """Virtual-logit matching: what of the features lies outside of their main space, as a logit of its own.

    Source: Wang et al., ViM: Out-Of-Distribution with Virtual-logit Matching, CVPR 2022.
    """

    def __init__(self, features: np.ndarray, weight: np.ndarray, bias: np.ndarray, dim: int):
        """Fit to training features (N, D) of a linear layer (C, D), (C,); the main space has `dim`."""
        self.weight, self.bias = weight, bias
        self.origin = -np.linalg.pinv(weight) @ bias
        centred = features - self.origin
        _, directions = np.linalg.eigh(centred.T @ centred / len(centred))  # the weakest first
        self.rest = directions[:, : features.shape[1] - dim]
        self.scale = self._logits(features).max(1).mean() / self._outside(features).mean()

    def _logits(self, features: np.ndarray) -> np.ndarray:
        return features @ self.weight.T + self.bias

    def _outside(self, features: np.ndarray) -> np.ndarray:
        return np.linalg.norm((features - self.origin) @ self.rest, axis=1)

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Return scores (N,), high ones of strangers."""
        sums = torch.from_numpy(self._logits(features)).logsumexp(1).numpy()
        return self.scale * self._outside(features) - sums


def look(predictor: Predictor, paths: list[Path]) -> Table:
    """Return features and logits of the pictures that can be read."""
    found = [row for row in predictor.logits_and_seen(paths) if not isinstance(row, str)]
    return np.stack([row[1].numpy() for row in found]), np.stack([row[0].numpy() for row in found])


def score(reference: Reference, features: np.ndarray) -> dict[str, np.ndarray]:
    """Return catdog's scores, high ones of strangers: each distance by itself, and both together."""
    distances = reference.meter(torch.device("cpu"))(torch.from_numpy(features)).numpy()
    return {
        "nearest neighbours": distances[:, 0],
        "Mahalanobis": distances[:, 1],
        "both, as catdog": -reference.p_values(distances),
    }


def alarms_on_folds(features: np.ndarray, labels: np.ndarray) -> tuple[int, int]:
    """Return how many pictures a reference of the other folds calls unknown, and of how many."""
    fold = np.random.default_rng(0).permutation(len(features)) % FOLDS
    count = 0
    for number in range(FOLDS):
        out = fold == number
        reference = fit_reference(torch.from_numpy(features[~out]), labels[~out])
        assert reference is not None
        distances = reference.meter(torch.device("cpu"))(torch.from_numpy(features[out])).numpy()
        count += int((reference.p_values(distances) <= RATE).sum())
    return count, len(features)


def measure_methods(data: str, checkpoint: str, folders: list[Path]) -> dict:
    """Return AUROC, its interval and the share found by folder and method, and false alarms."""
    path = find_checkpoint(checkpoint)
    model = build_from_checkpoint(load_checkpoint(path), path)
    predictor = Predictor(model, device="cpu", looks="once")
    dataset = scan_dataset(data)
    sources = {
        side: [dataset.source(side, i) for i in range(len(dataset.splits[side]))] for side in ("train", "val")
    }
    trained, known = (look(predictor, sources[side]) for side in ("train", "val"))
    reference = fit_reference(torch.from_numpy(trained[0]), dataset.splits["train"].labels)
    assert reference is not None
    head = model.classifier.head
    weight = (head.output.weight / head.norm.std).detach().double().numpy()
    bias = head.output.bias.detach().double().numpy() - weight @ head.norm.mean.double().numpy()
    vim = ViM(trained[0].astype(np.float64), weight, bias, min(512, trained[0].shape[1] // 2))

    def ask(table: Table) -> dict[str, np.ndarray]:
        features, logits = table
        plain = {"maximum softmax": max_softmax(logits), "energy": energy(logits)}
        return {**plain, "ViM": vim(features.astype(np.float64)), **score(reference, features)}

    own, found = ask(known), []
    for folder in folders:
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        for method, scores in ask(look(predictor, paths)).items():
            area, interval = area_under_roc(own[method], scores)
            share = float((scores > np.quantile(own[method], 1 - RATE)).mean())
            row = {"strangers": folder.name, "count": len(scores), "method": method}
            found.append({**row, "auroc": area, "interval": interval, "found": share})
    p_values = -own["both, as catdog"]
    folds = alarms_on_folds(trained[0], dataset.splits["train"].labels)
    return {"rows": found, "val": (int((p_values <= RATE).sum()), len(p_values)), "folds": folds}


def time_both(checkpoint: str, images: list[Path], rounds: int) -> dict[str, list[float]]:
    """Return processor seconds of predicting `images` with and without "unknown", in turn, both warm.

    Those of the wall differ by a tenth from one time to the next on a shared machine.
    """
    ways = {"with": RATE, "without": 0.0}
    predictors = {
        way: Predictor.load(checkpoint, device="cpu", unknown_rate=rate) for way, rate in ways.items()
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(rounds + 1):
        for way in sorted(ways, reverse=bool(number % 2)):
            start = time.process_time()
            count = sum(answer.error is None for answer in predictors[way].predict(images))
            assert count == len(images)
            if number:
                seconds[way].append(time.process_time() - start)
    return seconds


def main() -> None:
    """Print the table, or with --json the numbers and the times of --time pictures with and without it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=str)
    parser.add_argument("checkpoint", type=str)
    parser.add_argument("strangers", type=Path, nargs="*")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--time", type=int, default=0, metavar="N", help="time N training pictures, too")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    found = measure_methods(given.data, given.checkpoint, given.strangers)
    if given.time:
        images = list_pictures(Path(given.data), "train")[: given.time]
        found["seconds"] = time_both(given.checkpoint, images, given.rounds)
    if given.json:
        print("\n" + json.dumps(found))
        return
    print("| " + " | ".join(HEADER) + " |\n" + "| --- " * len(HEADER) + "|")
    for row in found["rows"]:
        ends = "" if row["interval"] is None else " ({:.4f} to {:.4f})".format(*row["interval"])
        cells = (row["strangers"], row["count"], row["method"], f"{row['auroc']:.4f}{ends}")
        print("|", " | ".join(map(str, cells)), f"| {row['found']:.1%} |")
    for name, side in (("validation pictures", "val"), ("training pictures by folds", "folds")):
        part, whole = found[side]
        low, high = wilson_interval(part, whole) or (0.0, 1.0)
        share = f"{part / whole:.2%} ({low:.2%} to {high:.2%})"
        print(f"\nCalled unknown at a rate of 1 %: {part} of {whole} {name}, {share}")
    for way, seconds in found.get("seconds", {}).items():
        times = ", ".join(f"{value:.2f}" for value in sorted(seconds))
        print(f'\n{given.time} pictures {way} "unknown": {times} s of processor')


if __name__ == "__main__":
    main()
