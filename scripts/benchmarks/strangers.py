"""How well strangers are told: catdog's distances beside maximum softmax, energy and ViM.

Run by itself: python scripts/benchmarks/strangers.py DATA CKPT STRANGERS... prints a Markdown table, a row a
method and a folder of strangers. Known pictures are those of DATA's validation; all methods ask the same
features and logits of a checkpoint with a linear head on a frozen network. "found at 1 %" takes the threshold
that 1 % of the known pictures pass, so that no method has an advantage; what the checkpoint's own threshold
does stands in the last lines, with its false alarms on five folds.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=str)
    parser.add_argument("checkpoint", type=str)
    parser.add_argument("strangers", type=Path, nargs="+")
    given = parser.parse_args()
    path = find_checkpoint(given.checkpoint)
    model = build_from_checkpoint(load_checkpoint(path), path)
    predictor = Predictor(model, device="cpu", looks="once")
    dataset = scan_dataset(given.data)
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

    def measure(table: Table) -> dict[str, np.ndarray]:
        features, logits = table
        plain = {"maximum softmax": max_softmax(logits), "energy": energy(logits)}
        return {**plain, "ViM": vim(features.astype(np.float64)), **score(reference, features)}

    own = measure(known)
    print("| " + " | ".join(HEADER) + " |\n" + "| --- " * len(HEADER) + "|")
    for folder in given.strangers:
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        strange = measure(look(predictor, paths))
        for method, scores in strange.items():
            area, interval = area_under_roc(own[method], scores)
            limit = np.quantile(own[method], 1 - RATE)
            ends = "" if interval is None else f" ({interval[0]:.4f} to {interval[1]:.4f})"
            found = f"{(scores > limit).mean():.1%}"
            print(f"| {folder.name} | {len(scores)} | {method} | {area:.4f}{ends} | {found} |")
    p_values = -own["both, as catdog"]
    told = int((p_values <= RATE).sum())
    count, total = alarms_on_folds(trained[0], dataset.splits["train"].labels)
    for name, part, whole in (
        ("validation pictures", told, len(p_values)),
        ("training pictures by folds", count, total),
    ):
        low, high = wilson_interval(part, whole) or (0.0, 1.0)
        share = f"{part / whole:.2%} ({low:.2%} to {high:.2%})"
        print(f"\nCalled unknown at a rate of 1 %: {part} of {whole} {name}, {share}")


if __name__ == "__main__":
    main()
