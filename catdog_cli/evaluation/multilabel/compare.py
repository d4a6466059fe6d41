"""Whether two checkpoints that tell several labels differ by more than chance: the paired bootstrap of mAP.

Both are measured on the same resamples of the images, 2,000 of them; the p-value is twice the share of
resamples in which the difference has the other sign (Efron and Tibshirani 1993, chapter 15).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from ...errors import DataError
from ...inference.predictor import Predictor
from ...models.tasks import MULTI_LABEL
from ...runtime.progress import OnProgress
from ...runtime.text import name_some
from ..collect_logits import collect_logits
from ..eval_split import TOO_GOOD, choose_images, count_trained_on, image_path
from ..intervals import affordable, draw_weights
from ..report import Row
from ..result import PairText, show_p, show_span
from .evaluate import measure_labels
from .metrics import average_precisions, mean_over_known

LEVEL = 0.05  # chances below it count as evidence
SCORES = ("", "mAP", "95 % interval", "F1, mean", "wrong labels, %")
COUNTS = ("of the labels of all pictures", "number")
SHOWN = 1000  # disagreements in the document
Pair = tuple[str, str]


@dataclass(frozen=True, eq=False)
class LabelComparison(PairText):
    """How two checkpoints differ on the same images; a is the first, b the second; differences are b minus a.

    `map_interval` is of the difference, 95 %, None where all resamples agree; `p` the chance of a difference
    as large if both were equally good. `only_a_right` counts labels, not images.
    """

    first: str
    second: str
    data: str
    split: str
    task: str
    num_samples: int
    num_trained_on_a: int
    num_trained_on_b: int
    labels: list[str]
    map_a: float
    map_b: float
    map_a_interval: list[float] | None
    map_b_interval: list[float] | None
    map_difference: float
    map_interval: list[float] | None
    p: float
    f1_a: float
    f1_b: float
    hamming_loss_a: float
    hamming_loss_b: float
    only_a_right: int
    only_b_right: int
    both_right: int
    both_wrong: int
    num_unreadable: int
    unreadable: list[dict[str, str]] = field(repr=False)
    disagreements: list[dict[str, Any]] = field(repr=False)
    conclusion: str
    score_columns: ClassVar[Row] = SCORES
    count_columns: ClassVar[Row] = COUNTS

    def list_scores(self) -> list[Row]:
        """Return the rows of SCORES as text: both, and second minus first."""
        own = [
            (name, f"{value:.4f}", show_span(span, 1, ".4f"), f"{f1:.4f}", f"{100 * wrong:.2f}")
            for name, value, span, f1, wrong in (
                ("first", self.map_a, self.map_a_interval, self.f1_a, self.hamming_loss_a),
                ("second", self.map_b, self.map_b_interval, self.f1_b, self.hamming_loss_b),
            )
        ]
        wrong = 100 * (self.hamming_loss_b - self.hamming_loss_a)
        difference = f"{self.map_difference:+.4f}", show_span(self.map_interval, 1, "+.4f")
        return [*own, ("second - first", *difference, f"{self.f1_b - self.f1_a:+.4f}", f"{wrong:+.2f}")]

    def list_counts(self) -> list[Row]:
        """Return (name, number) rows as text: which of the two is right how often, and the test's p."""
        return [*self.list_right(), ("p of the mAP's difference", show_p(self.p))]


def compare_label_predictors(
    predictors: Sequence[Predictor],
    checkpoints: Pair,
    data: str,
    split: str | None,
    exclude: Any,
    log: Callable[[str], None],
    on_progress: OnProgress,
    form: Any,
    decisions: Any = None,
) -> LabelComparison:
    """Measure two checkpoints that have been loaded, on the labels that both know; see `api.compare`.

    Args:
        form: the `LabelForm` by which a table is read.

    Raises:
        DataError: they have no label in common.
    """
    names = _shared_names(predictors, checkpoints, log)
    dataset, split = choose_images(data, list(checkpoints), names, split, log, exclude, form, decisions)
    log(f"Measuring {' and '.join(p.arch for p in predictors)} on {len(dataset):,} pictures ({split})")
    trained_on = [count_trained_on(dataset, [path]) for path in checkpoints]
    for number, path in zip(trained_on, checkpoints, strict=True):
        if number:
            log(f"Warning: {path!r} trained on {number:,} of these {len(dataset):,} pictures: {TOO_GOOD}")
    found = [collect_logits(predictor, dataset, split, log, on_progress) for predictor in predictors]
    both = sorted(set(found[0].indices).intersection(found[1].indices))
    labels = dataset.splits[split].labels[both]
    paths = [image_path(dataset, dataset.splits[split].paths[index]) for index in both]
    documents, scores, limits = [], [], []
    for predictor, part in zip(predictors, found, strict=True):
        row = {index: number for number, index in enumerate(part.indices)}
        columns = [predictor.class_names.index(name) for name in names]
        logits = part.logits[[row[index] for index in both]][:, columns]
        thresholds = np.array(predictor.thresholds)[columns]
        document, probabilities = measure_labels(
            logits, labels, names, paths, predictor.temperature, thresholds
        )
        documents.append(document)
        scores.append(probabilities)
        limits.append(thresholds)
    measured = compare_label_scores(scores[0], scores[1], labels, limits[0], limits[1])
    unreadable = {each["path"]: each for part in found for each in part.list_unreadable()}
    first, second = documents
    return LabelComparison(
        first=checkpoints[0],
        second=checkpoints[1],
        data=data,
        split=split,
        task=MULTI_LABEL.name,
        num_trained_on_a=trained_on[0],
        num_trained_on_b=trained_on[1],
        labels=names,
        map_a_interval=first["intervals"]["map"],
        map_b_interval=second["intervals"]["map"],
        f1_a=first["f1_macro"],
        f1_b=second["f1_macro"],
        hamming_loss_a=first["hamming_loss"],
        hamming_loss_b=second["hamming_loss"],
        num_unreadable=len(unreadable),
        unreadable=list(unreadable.values()),
        disagreements=_list_disagreements(scores, limits, labels, names, paths),
        conclusion=conclude_labels(measured),
        **measured,
    )


def compare_label_scores(
    first: np.ndarray,
    second: np.ndarray,
    labels: np.ndarray,
    thresholds_a: np.ndarray,
    thresholds_b: np.ndarray,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Return how two classifiers differ on the same images; differences are second minus first.

    Args:
        first, second: probabilities (N, C), columns in the same order.
        labels: (N, C).
        thresholds_a, thresholds_b: (C,) each.

    Raises:
        DataError: no image has any of the labels.
    """
    every = np.ones((len(labels), 1))

    def mean(scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return mean_over_known(average_precisions(scores, labels, weights))

    own = [float(mean(scores, every)[0]) for scores in (first, second)]
    if not np.isfinite(own).all():
        raise DataError("No picture has any of the labels: there is no average precision to compare.")
    count = affordable(resamples, *labels.shape)
    drawn = [
        mean(second, weights) - mean(first, weights) for weights in draw_weights(len(labels), count, seed)
    ]
    differences = np.concatenate(drawn)
    differences = differences[np.isfinite(differences)]
    known = labels >= 0
    right_a, right_b = (
        (scores >= limits) == (labels == 1)
        for scores, limits in ((first, thresholds_a), (second, thresholds_b))
    )
    return {
        "num_samples": len(labels),
        "map_a": own[0],
        "map_b": own[1],
        "map_difference": own[1] - own[0],
        "map_interval": _interval(differences),
        "p": _chance(differences),
        "only_a_right": int((right_a & ~right_b & known).sum()),
        "only_b_right": int((right_b & ~right_a & known).sum()),
        "both_right": int((right_a & right_b & known).sum()),
        "both_wrong": int((~right_a & ~right_b & known).sum()),
    }


def _interval(values: np.ndarray) -> list[float] | None:
    """Return the 95 % percentile interval, None where all values are the same."""
    if not len(values) or np.ptp(values) < 1e-12:
        return None
    return [float(end) for end in np.percentile(values, [2.5, 97.5])]


def _chance(differences: np.ndarray) -> float:
    """Return twice the share of differences on the rarer side of 0; 0 counts for both, 1 is the most."""
    if not len(differences):
        return 1.0
    sides = [int((differences <= 0).sum()), int((differences >= 0).sum())]
    return min(1.0, 2 * (min(sides) + 1) / (len(differences) + 1))


def conclude_labels(measured: dict[str, Any]) -> str:
    """Return in one sentence what `compare_label_scores` found; "first" is a, "second" is b."""
    gap, chance = measured["map_difference"], measured["p"]
    if not gap and chance >= LEVEL:
        return "No evidence that they differ: their mean average precision is the same."
    spread = f"mean average precision differs by {abs(gap):.4f}"
    if chance >= LEVEL:
        return (
            f"No evidence that they differ: {spread}, which two equally good ones would show with a chance "
            f"of {100 * chance:.1f} %."
        )
    better = "second" if gap > 0 else "first"
    shown = f"{100 * chance:.1f} %" if chance >= 0.001 else "less than 0.1 %"
    return (
        f"The {better} is better: {spread}, which two equally good ones would show with a chance of {shown}."
    )


def _shared_names(predictors: Sequence[Predictor], paths: Pair, log: Callable[[str], None]) -> list[str]:
    known = [set(predictor.class_names) for predictor in predictors]
    for own, other, path in ((known[0], known[1], paths[0]), (known[1], known[0], paths[1])):
        alone = name_some(sorted(own - other))
        if alone:
            log(f"Warning: only {path!r} knows {alone}: left out.")
    shared = [name for name in predictors[0].class_names if name in known[1]]
    if not shared:
        raise DataError(f"{paths[0]!r} and {paths[1]!r} have no label in common: nothing can be compared.")
    return shared


def _list_disagreements(
    scores: list[np.ndarray], limits: list[np.ndarray], labels: np.ndarray, names: list[str], paths: list[str]
) -> list[dict[str, Any]]:
    """Return each image of which the two say different labels: path, true, and what each said."""
    first, second = ((part >= limit) for part, limit in zip(scores, limits, strict=True))

    def shown(row: np.ndarray) -> list[str]:
        return [names[c] for c in np.flatnonzero(row)]

    return [
        {
            "path": paths[i],
            "true": shown(labels[i] == 1),
            "first": shown(first[i]),
            "second": shown(second[i]),
        }
        for i in np.flatnonzero((first != second).any(1)).tolist()[:SHOWN]
    ]
