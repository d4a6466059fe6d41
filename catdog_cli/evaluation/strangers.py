"""How well a checkpoint tells strangers: images of another kind, or each of its own classes in turn.

Other kinds are far; the class that is left out of what the checkpoint knows is near, and hard.
"""

import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..data.dataset import Dataset
from ..errors import DataError, UnavailableError
from ..inference.inputs import Unusable, expand_inputs, fetch_input, input_path
from ..inference.predictor import Predictor
from ..inference.torch_predictor import TorchPredictor, require_checkpoint
from ..inference.urls import is_address
from ..known.reference import Reference
from ..runtime.progress import OnProgress
from .collect_logits import SplitLogits
from .intervals import wilson_interval

BINS = 24


def find_strangers(predictor: Predictor, strangers: str) -> list[Any]:
    """Return the sources under `strangers`, before anything is measured.

    Args:
        strangers: what `catdog predict` takes: a folder, a file, a pattern, a list.

    Raises:
        UnavailableError: the checkpoint keeps nothing to tell strangers by.
        DataError: there is no such file or folder, or no image in it.
    """
    if not predictor.tells_unknown:
        raise UnavailableError(
            f"--strangers {strangers!r} was given, but the checkpoint keeps nothing to tell them by, or "
            f"--unknown-rate is 0: add it with `catdog calibrate CKPT DATA`."
        )
    sources = list(expand_inputs([strangers], io.BytesIO()))
    if not any(map(_may_be_read, sources)):
        raise _no_stranger(strangers)
    return sources


def _may_be_read(source: Any) -> bool:
    if isinstance(source, str):
        return is_address(source) or Path(source).exists()
    return not isinstance(source, Unusable)


def _no_stranger(strangers: str) -> DataError:
    return DataError(f"--strangers {strangers!r} has no picture that can be read: check the path.")


def measure_strangers(
    predictor: Predictor,
    strangers: str,
    sources: list[Any],
    known: SplitLogits,
    log: Callable[[str], None],
    on_progress: OnProgress,
) -> dict[str, Any]:
    """Return how well strangers are told from the images that were measured, as plain values.

    Args:
        strangers: as it was given; `sources` are what it holds.
        known: the images that the checkpoint should know.

    Raises:
        DataError: not one stranger can be read.
    """
    assert known.p_values is not None
    rows: list[dict[str, Any]] = []
    unreadable = 0
    answers = predictor.predict(sources, fetch=fetch_input)
    for done, answer in enumerate(answers, start=1):
        if answer.known is None:
            log(f"Skipped: {answer.error}")
            unreadable += 1
        else:
            best = answer.top_k(1)[0]
            found = {"path": input_path(answer.source), "p_value": answer.known.p_value}
            rows.append({**found, "class": best.class_name, "probability": best.probability})
        on_progress("measuring strangers", done, len(sources))
    if not rows:
        raise _no_stranger(strangers)
    p_values, rate = np.array([row["p_value"] for row in rows]), predictor.unknown_rate
    fooled = sorted((row for row in rows if row["p_value"] > rate), key=lambda row: -row["p_value"])
    return {
        "strangers": strangers,
        "num_unreadable": unreadable,
        **describe_separation(known.p_values, p_values, rate),
        "histogram": _histogram(known.p_values, p_values),
        "fooled": fooled,
    }


def describe_separation(known: np.ndarray, strange: np.ndarray, rate: float) -> dict[str, Any]:
    """Return AUROC, false alarms and finds at a rate, with 95 % intervals, of p-values (N,) and (M,)."""
    alarms, finds = int((known <= rate).sum()), int((strange <= rate).sum())
    area, interval = area_under_roc(-known, -strange)
    return {
        "rate": rate,
        "num_known": len(known),
        "num_strangers": len(strange),
        "auroc": area,
        "auroc_interval": interval,
        "false_alarms": alarms / len(known),
        "false_alarms_interval": wilson_interval(alarms, len(known)),
        "found": finds / len(strange),
        "found_interval": wilson_interval(finds, len(strange)),
    }


def area_under_roc(known: np.ndarray, strange: np.ndarray) -> tuple[float, list[float] | None]:
    """Return the chance that a stranger scores above a known image, ties counting half, with 95 % interval.

    The interval is DeLong's (DeLong, DeLong and Clarke-Pearson 1988) on the scale of logits, None where it
    has no width: every stranger above every known image is no certainty.
    """
    from scipy.stats import rankdata

    n, m = len(known), len(strange)
    ranks = rankdata(np.concatenate([known, strange]))
    below = (ranks[n:] - rankdata(strange)) / n  # of each stranger: the share of known images below it
    above = 1 - (ranks[:n] - rankdata(known)) / m
    area = float(below.mean())
    if min(n, m) < 2:
        return area, None
    deviation = math.sqrt(below.var(ddof=1) / m + above.var(ddof=1) / n)
    if not deviation or not 0 < area < 1:
        return area, None
    logit, width = math.log(area / (1 - area)), 1.96 * deviation / (area * (1 - area))
    return area, [1 / (1 + math.exp(-end)) for end in (logit - width, logit + width)]


def leave_classes_out(
    predictor: Predictor, dataset: Dataset, split: str, on_progress: OnProgress
) -> dict[str, Any]:
    """Return how well each class is told as a stranger, once it is left out of what the checkpoint knows.

    The reference of the others is the checkpoint's own, without that class; what is told apart are the
    measured images of that class and those of the others.

    Raises:
        UnavailableError: the checkpoint keeps nothing to do that by.
    """
    predictor = require_checkpoint(predictor, "--leave-class-out")
    reference = predictor.reference
    if reference is None or not len(reference.labels):
        reason = (
            "keeps nothing to tell strangers by" if reference is None else "tells several labels a picture"
        )
        raise UnavailableError(
            f"--leave-class-out was given, but the checkpoint {reason}: leave it out"
            f"{', or `catdog calibrate` it' if reference is None else ''}."
        )
    seen, labels = _look_at(predictor, dataset, split, on_progress)
    names, rows = predictor.class_names, {}
    for label, name in enumerate(names):
        others = reference.without(label)
        is_left_out = labels == label
        if others is None or not is_left_out.any() or is_left_out.all() or (others.labels == label).any():
            continue
        p_values = _p_values(others, seen)
        rows[name] = {
            **describe_separation(p_values[~is_left_out], p_values[is_left_out], predictor.unknown_rate),
            "num_reference": len(others),
        }
        on_progress("leaving classes out", label + 1, len(names))
    note = (
        "With two classes this is one-class detection: each is told by the other alone."
        if len(names) == 2
        else "A class that is left out is a near stranger, and hard."
    )
    means = [row["auroc"] for row in rows.values()]
    return {"classes": rows, "auroc_mean": float(np.mean(means)) if means else None, "note": note}


def _look_at(
    predictor: TorchPredictor, dataset: Dataset, split: str, on_progress: OnProgress
) -> tuple[torch.Tensor, np.ndarray]:
    """Return what the readable images of a split are known by, (N, D), and their labels."""
    labels, seen, good = dataset.splits[split].labels, [], []
    found = predictor.logits_and_seen(dataset.source(split, index) for index in range(len(labels)))
    for index, each in enumerate(found):
        if not isinstance(each, str):
            seen.append(each[1].clone())
            good.append(index)
        on_progress("looking again", index + 1, len(labels))
    return torch.stack(seen), labels[good]


def _p_values(reference: Reference, seen: torch.Tensor) -> np.ndarray:
    meter = reference.meter(torch.device("cpu"))
    return np.concatenate([reference.p_values(meter(part).numpy()) for part in seen.split(256)])


def _histogram(known: np.ndarray, strange: np.ndarray) -> dict[str, Any]:
    """Return counts of both by p-value, in bins that are equally wide on a scale of powers."""
    least = min(known.min(), strange.min())
    edges = np.geomspace(min(least, 0.5) / 1.001, 1.0, BINS + 1)
    counts = {"known": np.histogram(known, edges)[0], "strangers": np.histogram(strange, edges)[0]}
    return {"edges": edges.tolist(), **{name: found.tolist() for name, found in counts.items()}}
