"""Measures two checkpoints on the same labelled images, and says whether they differ by more than chance."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..data.dataset import Dataset, classes_present
from ..data.label_lists import AS_SHOWN, LabelForm
from ..errors import DataError
from ..inference.predictor import Predictor
from ..models.tasks import Task
from ..runs.category_names import tell_apart
from ..runtime.progress import OnProgress
from ..runtime.text import name_some
from .collect_logits import SplitLogits, collect_logits
from .eval_split import TOO_GOOD, choose_images, count_trained_on, image_path
from .evaluate import label_form
from .intervals import wilson_interval
from .metrics import compare_metrics, quick_metrics
from .multilabel.compare import LabelComparison, compare_label_predictors
from .result import Comparison

LEVEL = 0.05  # chances below it count as evidence
LEAST_SHOWN = 0.001  # a smaller chance is told as less than that
Pair = tuple[str, str]


def compare_predictors(
    predictors: Sequence[Predictor],
    checkpoints: Pair,
    data: str,
    split: str | None,
    exclude: str | Path | None,
    log: Callable[[str], None],
    on_progress: OnProgress,
    labels: LabelForm = AS_SHOWN,
    decisions: str | Path | None = None,
) -> Comparison | LabelComparison:
    """Measure two checkpoints that have been loaded; see `evaluation.api.compare`."""
    several = [predictor.task.several for predictor in predictors]
    if several[0] != several[1]:
        kinds = [("one class", "several labels")[is_several] for is_several in several]
        raise DataError(
            f"{checkpoints[0]!r} tells {kinds[0]} a picture and {checkpoints[1]!r} {kinds[1]}: compare two "
            f"of one kind."
        )
    if several[0]:
        form = label_form(predictors[0], labels)
        return compare_label_predictors(
            predictors, checkpoints, data, split, exclude, log, on_progress, form, decisions
        )
    names = _join_names(predictors, checkpoints, log)
    dataset, split = choose_images(data, list(checkpoints), names, split, log, exclude, labels, decisions)
    _refuse_unknown(dataset, predictors, checkpoints)
    log(f"Measuring {' and '.join(p.arch for p in predictors)} on {len(dataset):,} pictures ({split})")
    trained_on = [count_trained_on(dataset, [path]) for path in checkpoints]
    for number, path in zip(trained_on, checkpoints, strict=True):
        if number:
            log(f"Warning: {path!r} trained on {number:,} of these {len(dataset):,} pictures: {TOO_GOOD}")
    found = [collect_logits(predictor, dataset, split, log, on_progress) for predictor in predictors]
    task = predictors[0].task
    both = sorted(set(found[0].indices).intersection(found[1].indices))
    truth = dataset.splits[split].labels[both]
    scores = [_spread(*pair, both, names) for pair in zip(predictors, found, strict=True)]
    measured = compare_metrics(scores[0], scores[1], truth, task=task)
    unreadable = {each["path"]: each for part in found for each in part.list_unreadable()}
    return Comparison(
        first=checkpoints[0],
        second=checkpoints[1],
        data=data,
        split=split,
        num_trained_on_a=trained_on[0],
        num_trained_on_b=trained_on[1],
        **measured,
        **_describe_each(scores, truth, measured, task),
        num_unreadable=len(unreadable),
        unreadable=list(unreadable.values()),
        disagreements=_list_disagreements(
            scores, both, truth, _names_to_show(predictors, names), dataset, split, task
        ),
        conclusion=conclude(measured),
    )


def _join_names(predictors: Sequence[Predictor], paths: Pair, log: Callable[[str], None]) -> list[str]:
    """Return the classes that either checkpoint knows, the first one's in front; say which only one knows."""
    known = [set(predictor.class_names) for predictor in predictors]
    for own, other, path in ((known[0], known[1], paths[0]), (known[1], known[0], paths[1])):
        alone = name_some(sorted(own - other))
        if alone:
            log(f"Warning: only {path!r} knows {alone}.")
    first, second = (predictor.class_names for predictor in predictors)
    return [*first, *(name for name in second if name not in known[0])]


def _names_to_show(predictors: Sequence[Predictor], names: list[str]) -> list[str]:
    """Return how classes are shown: as the first checkpoint that has a name for each."""
    shown = {**predictors[1].category_names, **predictors[0].category_names}
    return tell_apart(names, [shown.get(name, name) for name in names])


def _refuse_unknown(dataset: Dataset, predictors: Sequence[Predictor], paths: Pair) -> None:
    """Raise DataError if an image shows a class that one of the checkpoints could not name."""
    for predictor, path in zip(predictors, paths, strict=True):
        unknown = [name for name in classes_present(dataset) if name not in set(predictor.class_names)]
        if unknown:
            raise DataError(
                f"{str(dataset.root)!r} holds {name_some(unknown)}, which {path!r} does not know: "
                "compare on pictures of classes that both know."
            )


def _spread(predictor: Predictor, found: SplitLogits, indices: list[int], names: list[str]) -> np.ndarray:
    """Return probabilities (N, C) of the images at `indices`, columns as `names`; 0 for unknown classes."""
    row = {index: number for number, index in enumerate(found.indices)}
    logits = found.logits[[row[index] for index in indices]]
    spread = np.zeros((len(indices), len(names)))
    columns = [names.index(name) for name in predictor.class_names]
    spread[:, columns] = predictor.task.probabilities(logits, predictor.temperature)
    return spread


def _describe_each(
    scores: list[np.ndarray], labels: np.ndarray, measured: dict[str, Any], task: Task
) -> dict[str, Any]:
    rights = (measured["both_right"] + measured[f"only_{letter}_right"] for letter in "ab")
    intervals = [wilson_interval(right, len(labels)) for right in rights]
    losses = [quick_metrics(probabilities, labels, task)["loss"] for probabilities in scores]
    return {
        **{f"accuracy_{letter}_interval": pair for letter, pair in zip("ab", intervals, strict=True)},
        **{f"loss_{letter}": loss for letter, loss in zip("ab", losses, strict=True)},
    }


def _list_disagreements(
    scores: list[np.ndarray],
    indices: list[int],
    labels: np.ndarray,
    names: list[str],
    dataset: Dataset,
    split: str,
    task: Task,
) -> list[dict[str, str]]:
    """Return each image that the two name differently: path, true, and what each said."""
    first, second = map(task.decide, scores)
    paths = dataset.splits[split].paths
    return [
        {
            "path": image_path(dataset, paths[indices[i]]),
            "true": names[labels[i]],
            "first": names[first[i]],
            "second": names[second[i]],
        }
        for i in (first != second).nonzero()[0].tolist()
    ]


def conclude(measured: dict[str, Any]) -> str:
    """Return in one sentence what `compare_metrics` found; "first" is a, "second" is b."""
    only_a, only_b, chance = (measured[name] for name in ("only_a_right", "only_b_right", "mcnemar_p"))
    if not only_a + only_b:
        return "No evidence that they differ: they are right on exactly the same pictures."
    split = (
        f"of the {only_a + only_b:,} pictures that only one of them names right, the first has {only_a:,} "
        f"and the second {only_b:,}"
    )
    if chance >= LEVEL:
        return (
            f"No evidence that they differ: {split}, and two equally good ones would differ so much or more "
            f"with a chance of {_show_chance(chance)}."
        )
    better = "first" if only_a > only_b else "second"
    return (
        f"The {better} is better: {split}, which two equally good ones would show with a chance of "
        f"{'only ' if chance >= LEAST_SHOWN else ''}{_show_chance(chance)}."
    )


def _show_chance(chance: float) -> str:
    return f"{100 * chance:.1f} %" if chance >= LEAST_SHOWN else "less than 0.1 %"
