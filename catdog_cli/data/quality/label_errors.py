"""Pictures that are probably in the wrong class folder, found by confident learning."""

from dataclasses import dataclass

import numpy as np

from ...errors import DataError
from ..dataset import Dataset

MAX_FOLDS = 5


@dataclass(frozen=True)
class LabelError:
    """A picture that is probably in the wrong class; `probability` is that of `suggested`, out of fold."""

    path: str
    split: str
    class_name: str
    suggested: str
    probability: float


def list_label_errors(dataset: Dataset, features: list[np.ndarray | None], seed: int = 0) -> list[LabelError]:
    """Return the pictures of a dataset, all splits together, that are probably mislabelled, the worst first.

    What is suggested is the likeliest other class.

    Args:
        features: a float (D,) for each picture, in the dataset's order; None where it cannot be read.

    Raises:
        DataError: fewer than two classes have two readable pictures; pictures have several labels.
    """
    if dataset.has_several_labels:
        raise DataError(
            "Wrong labels are not looked for where pictures have several: `catdog evaluate --output DIR` "
            "lists those that a checkpoint misses or adds, the surest first."
        )
    items = [
        (path, name, label)
        for name, split in dataset.splits.items()
        for path, label in zip(split.paths, split.labels.tolist(), strict=True)
    ]
    known = [(item, row) for item, row in zip(items, features, strict=True) if row is not None]
    labels = np.array([label for (_, _, label), _ in known], dtype=np.int64)
    rows = np.array([row for _, row in known])
    suspects, probabilities = find_label_errors(rows, labels, seed)
    found = []
    for index in suspects.tolist():
        (path, split, label), _ = known[index]
        others = np.nan_to_num(probabilities[index], nan=-1.0)
        others[label] = -1
        best = int(others.argmax())
        names = dataset.class_names
        found.append(LabelError(path, split, names[label], names[best], float(others[best])))
    return found


def find_label_errors(
    features: np.ndarray, labels: np.ndarray, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Find labels that a classifier, trained on the other pictures, does not believe.

    A logistic regression on the features gives each picture probabilities from folds that do not hold it.
    A picture is suspect if its most likely class, among those that reach the mean confidence of their own
    members, is not its label (Northcutt et al., Confident Learning, 2021). A class with a single picture
    cannot be judged, and its picture never is.

    Args:
        features: float (N, D).
        labels: int (N,), 0 to C - 1.

    Returns:
        The indices of suspect pictures, the most suspect first, int64 (S,); and the probabilities out of
        fold, float64 (N, C), NaN for a picture that cannot be judged.

    Raises:
        DataError: fewer than two classes have two pictures; or the arrays do not fit together.
    """
    labels = np.asarray(labels)
    if len(features) != len(labels):
        raise DataError(
            f"There are {len(features)} feature rows for {len(labels)} labels: give one for each."
        )
    counts = np.bincount(labels)
    judged = np.flatnonzero(counts[labels] >= 2)
    if (counts >= 2).sum() < 2:
        raise DataError("Wrong labels can only be found with two pictures in each of two classes: add some.")
    probabilities = np.full((len(labels), len(counts)), np.nan)
    probabilities[judged] = 0
    known = np.flatnonzero(counts >= 2)
    probabilities[np.ix_(judged, known)] = _predict_out_of_fold(features[judged], labels[judged], seed)
    return _find_suspects(probabilities, labels, judged, known), probabilities


def _predict_out_of_fold(features: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
    """Return probabilities (N, K) for the K classes that occur in `labels`."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    smallest = np.unique(labels, return_counts=True)[1].min()
    folds = StratifiedKFold(min(MAX_FOLDS, int(smallest)), shuffle=True, random_state=seed)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=300))
    return cross_val_predict(model, features, labels, cv=folds, method="predict_proba")


def _find_suspects(
    probabilities: np.ndarray, labels: np.ndarray, judged: np.ndarray, known: np.ndarray
) -> np.ndarray:
    threshold = np.full(probabilities.shape[1], np.inf)
    for label in known:
        threshold[label] = probabilities[labels == label, label].mean()
    chosen = probabilities[judged]
    confident = np.where(chosen >= threshold, chosen, -1.0)
    believed = confident.argmax(axis=1)
    suspect = (confident.max(axis=1) >= 0) & (believed != labels[judged])
    doubt = chosen[np.arange(len(judged)), labels[judged]] - chosen.max(axis=1)  # the lower, the worse
    order = np.argsort(doubt[suspect], kind="stable")
    return judged[suspect][order]
