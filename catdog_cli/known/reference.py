"""What is kept of the training images' features, to say how far a new image lies from them.

Two distances, which find different strangers, on features of length 1: the mean to the nearest neighbours
(Sun et al., Out-of-Distribution Detection with Deep Nearest Neighbors, ICML 2022; squared, it is twice the
cosine distance), and Mahalanobis with a shrunk covariance (Mueller and Hein, Mahalanobis++, ICML 2025; with
one mean for all classes, which finds as many as one for each and holds for several labels, too). Each
becomes a p-value among the leave-one-out distances of the reference images themselves, and so does what the
two amount to together.

Features of more than DIM numbers are first projected to DIM by random signs, which keep distances to a few
per cent (Achlioptas, Database-friendly random projections, 2003) and, other than PCA, know nothing of the
images: by a basis fitted to them each would lie nearer to the others than a new one does, and the rate would
not hold.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from .conformal import join_p, least_rate, own_p, rank_p

DIM = 512
NEIGHBOURS = 10
MOST_IMAGES = 2000  # of the reference
FEWEST_IMAGES = 3
FORMAT = 1
ROWS_AT_ONCE = 2048
PLAIN = ("block", "border", "feature_dim", "num_images", "split", "neighbours")
KEPT = {"near": torch.float64, "far": torch.float64, "joint": torch.float64}
TENSORS = {
    "rows": torch.float16,
    "labels": torch.int32,
    "mean": torch.float32,
    "precision": torch.float32,
    **KEPT,
}
LONGEST = 1_000_000  # features of an image, before they are projected


def project(features: torch.Tensor, signs: torch.Tensor | None) -> torch.Tensor:
    """Return features (N, D) brought to length 1, and to DIM numbers where `signs` (D, DIM) are given.

    They are rounded as the reference is kept, so that a new image is measured as those of the reference were.
    """
    found = torch.nn.functional.normalize(features.float(), eps=1e-12)
    return (found if signs is None else found @ signs).half().float()


def random_signs(feature_dim: int) -> torch.Tensor | None:
    """Return (D, DIM) random signs divided by the root of DIM, None of no more than DIM features.

    `RandomState` gives the same numbers with every version of numpy: a checkpoint need not keep them.
    """
    if feature_dim <= DIM:
        return None
    drawn = np.random.RandomState(0).randint(0, 2, (feature_dim, DIM)).astype(np.float32)
    return torch.from_numpy((2 * drawn - 1) / np.float32(DIM**0.5))


@dataclass(frozen=True, eq=False)
class Reference:
    """What says how far images lie from those trained on. n images of the reference, d numbers each.

    `block` names the block of the network whose pooled output is measured, "" for what the head gets, and
    `border` is how many blocks come up to it.
    """

    block: str
    border: int
    feature_dim: int
    num_images: int  # from which the n were drawn
    split: str  # whose images they are: train, or val where the whole network was trained
    neighbours: int
    rows: torch.Tensor  # (n, d)
    labels: torch.Tensor  # (n,) class indices; none where images have several labels
    mean: torch.Tensor  # (d,)
    precision: torch.Tensor  # (d, d)
    near: np.ndarray  # (n,) sorted leave-one-out distances to the nearest neighbours
    far: np.ndarray  # (n,) the same of Mahalanobis
    joint: np.ndarray  # (n,) sorted scores of both together

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def least_rate(self) -> float:
        """The smallest rate at which anything can be called unknown."""
        return least_rate(len(self))

    def meter(self, device: torch.device) -> "Meter":
        """Return what measures images on `device`."""
        return Meter(self, device)

    def without(self, label: int) -> "Reference | None":
        """Return the reference of all images but those of a class, None where too few are left."""
        kept = self.labels != label
        return _fit_rows(self, self.rows[kept], self.labels[kept])

    def p_values(self, distances: np.ndarray) -> np.ndarray:
        """Return p-values (N,) of what `Meter` measured (N, 2), small ones being of strangers."""
        near, far = distances[:, 0].astype(np.float64), distances[:, 1].astype(np.float64)
        return rank_p(self.joint, join_p(rank_p(self.near, near), rank_p(self.far, far)))

    def to_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps: plain values and tensors."""
        return {
            "format": FORMAT,
            **{name: getattr(self, name) for name in PLAIN},
            "rows": self.rows.half(),
            "labels": self.labels,
            "mean": self.mean,
            "precision": self.precision,
            **{name: torch.from_numpy(getattr(self, name)) for name in KEPT},
        }

    @classmethod
    def from_dict(cls, kept: Any, block_names: Sequence[str], feature_dim: int) -> "Reference":
        """Return what `to_dict` made of one, checked against the network's blocks and its features.

        Raises:
            ValueError: it is something else, or of another network.
        """
        _check_kept(kept, block_names, feature_dim)
        return cls(
            **{name: kept[name] for name in PLAIN},
            rows=kept["rows"].float(),
            labels=kept["labels"],
            mean=kept["mean"],
            precision=kept["precision"],
            **{name: kept[name].numpy() for name in KEPT},
        )


class Meter:
    """Measures images on a device: features (N, D) -> distances (N, 2)."""

    def __init__(self, reference: Reference, device: torch.device):
        signs = random_signs(reference.feature_dim)
        self.signs = None if signs is None else signs.to(device)
        self.rows = reference.rows.to(device)
        self.lengths = self.rows.square().sum(1)
        self.mean, self.precision = reference.mean.to(device), reference.precision.to(device)
        self.neighbours = reference.neighbours

    @torch.no_grad()
    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        """Return (N, 2): the mean squared distance to the nearest neighbours, and Mahalanobis squared."""
        found = project(features, self.signs)
        squares = found.square().sum(1, keepdim=True) + self.lengths - 2 * found @ self.rows.T
        nearest = squares.topk(self.neighbours, largest=False, sorted=False).values
        offset = found - self.mean
        return torch.stack([nearest.mean(1), ((offset @ self.precision) * offset).sum(1)], 1)


@torch.no_grad()
def fit_reference(
    features: torch.Tensor,
    labels: np.ndarray,
    block: str = "",
    border: int = 0,
    num_images: int | None = None,
    split: str = "train",
) -> Reference | None:
    """Return the reference of images with features (n, D), None of fewer than three.

    Args:
        labels: (n,) class indices, or (n, C) of several labels, which are not kept.
        block, border: whose output the features are; see `Reference`.
        num_images: from how many images these were drawn.
        split: whose images they are.
    """
    number, feature_dim = features.shape
    rows = project(features, random_signs(feature_dim))
    indices = labels if labels.ndim == 1 else np.empty(0)
    empty = np.empty(0)
    nothing = torch.empty(0)
    start = Reference(
        block,
        border,
        feature_dim,
        num_images or number,
        split,
        0,
        rows,
        nothing,
        nothing,
        nothing,
        *[empty] * 3,
    )
    return _fit_rows(start, rows, torch.from_numpy(indices.astype(np.int32)))


def _fit_rows(like: Reference, rows: torch.Tensor, labels: torch.Tensor) -> Reference | None:
    """Return the reference of projected features (n, d), of the network that `like` is of."""
    if len(rows) < FEWEST_IMAGES:
        return None
    neighbours = min(NEIGHBOURS, len(rows) - 1)
    near = _leave_one_out_neighbours(rows, neighbours)
    mean, precision, far = _fit_mahalanobis(rows.double())
    joint = join_p(own_p(near), own_p(far))
    near, far, joint = map(np.sort, (near, far, joint))
    return dataclasses.replace(
        like,
        neighbours=neighbours,
        rows=rows,
        labels=labels,
        mean=mean.float(),
        precision=precision.float(),
        near=near,
        far=far,
        joint=joint,
    )


def _leave_one_out_neighbours(rows: torch.Tensor, neighbours: int) -> np.ndarray:
    """Return (n,): the mean squared distance of each row to its nearest ones among the others."""
    lengths, found = rows.square().sum(1), []
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = rows[start : start + ROWS_AT_ONCE]
        squares = part.square().sum(1, keepdim=True) + lengths - 2 * part @ rows.T
        own = torch.arange(start, start + len(part))
        squares[own - start, own] = torch.inf
        found.append(squares.topk(neighbours, largest=False, sorted=False).values.mean(1))
    return torch.cat(found).double().numpy()


def _fit_mahalanobis(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """Return mean (d,), precision (d, d) and each row's leave-one-out distance (n,), squared.

    Without row i the mean moves away from it and the covariance loses its square, a change of rank one, which
    Sherman and Morrison's formula turns into one of the distance.
    """
    number = len(rows)
    mean = rows.mean(0)
    offsets = rows - mean
    covariance, shrinkage = shrink_covariance(offsets)
    precision = torch.linalg.inv(covariance)
    with_itself = ((offsets @ precision) * offsets).sum(1)
    larger = number / (number - 1)
    weight = (1 - shrinkage) / number * larger
    # never 1 or more but by rounding: the shrunk covariance holds more than this row
    left_out = with_itself / (1 - (weight * with_itself).clamp(max=1 - 1e-9)) * larger**2
    return mean, precision, left_out.numpy()


def shrink_covariance(offsets: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Return the covariance (d, d) of rows (n, d) whose mean is 0, and how far it was shrunk, from 0 to 1.

    Towards the mean variance in every direction: where images are fewer than features, nothing else can be
    inverted. Source: Ledoit and Wolf, A well-conditioned estimator for large-dimensional covariance matrices,
    2004.
    """
    number, dim = offsets.shape
    covariance = offsets.T @ offsets / number
    scale = covariance.diagonal().mean()
    squares = offsets.square()
    length = covariance.square().sum()
    noise = ((squares.sum(1) ** 2).sum() / number - length) / (number * dim)
    spread = (length - dim * scale**2) / dim
    shrinkage = float((noise / spread).clamp(0, 1)) if spread > 0 else 1.0
    # constant features have no variance: any distance from them is infinitely strange
    floor = scale.clamp(min=1e-12)
    identity = torch.eye(dim, dtype=offsets.dtype)
    return (1 - shrinkage) * covariance + max(shrinkage, 1e-6) * floor * identity, shrinkage


def sample_images(labels: np.ndarray, number: int, seed: int) -> np.ndarray:
    """Return the places of at most `number` images in order, each class with its share, drawn by `seed`.

    Every class has one at least, as far as they go. Labels are (N,) class indices; where they are (N, C), of
    several, nobody looks at them.
    """
    total = len(labels)
    if total <= number:
        return np.arange(total)
    order = np.random.RandomState(seed % 2**32).permutation(total)
    if labels.ndim > 1:
        return np.sort(order[:number])
    shares = np.empty(total)
    for label in np.unique(labels):
        own = order[labels[order] == label]
        shares[own] = (np.arange(len(own)) + 0.5) / len(own)
        shares[own[0]] = 0
    return np.sort(np.argsort(shares, kind="stable")[:number])


def pool(outputs: torch.Tensor) -> torch.Tensor:
    """Return the mean over places of a block's outputs (N, C, H, W), (N, H, W, C) or (N, T, C): (N, C)."""
    if outputs.ndim == 4:
        channels_last = outputs.shape[1] == outputs.shape[2] != outputs.shape[3]
        return outputs.float().mean((1, 2) if channels_last else (2, 3))
    return outputs.float().mean(1) if outputs.ndim == 3 else outputs.float().flatten(1)


def _check_kept(kept: Any, block_names: Sequence[str], feature_dim: int) -> None:
    """Raise ValueError unless `kept` is what `Reference.to_dict` returns for such a network."""
    if not isinstance(kept, dict) or kept.get("format") != FORMAT:
        raise ValueError(
            "what it keeps to know strangers by is not of this catdog: train or calibrate it again"
        )
    numbers = ("border", "feature_dim", "num_images", "neighbours")
    for name in numbers:
        if type(kept.get(name)) is not int or kept[name] < 0:
            raise ValueError(f"{name} of what tells strangers is no number")
    if not isinstance(kept.get("split"), str) or len(kept["split"]) > 20:
        raise ValueError("what tells strangers does not say whose images it is of")
    border, dim = kept["border"], kept["feature_dim"]
    if not 0 < dim <= LONGEST or (not border and dim != feature_dim):
        raise ValueError(f"strangers are told by {dim} features, the network has {feature_dim}")
    if border and (border > len(block_names) or kept.get("block") != block_names[border - 1]):
        raise ValueError("strangers are told by a block that the network does not have")
    if not border and kept.get("block") != "":
        raise ValueError("the block by which strangers are told has a name, but no place")
    _check_tensors(kept, min(dim, DIM))


def _check_tensors(kept: dict[str, Any], dim: int) -> None:
    for name, dtype in TENSORS.items():
        tensor = kept.get(name)
        if not isinstance(tensor, torch.Tensor) or tensor.dtype != dtype or tensor.layout != torch.strided:
            raise ValueError(f"{name} of what tells strangers is no tensor of {dtype}")
    number = len(kept["rows"]) if kept["rows"].ndim == 2 else 0
    if tuple(kept["labels"].shape) not in ((number,), (0,)):
        raise ValueError("the labels of what tells strangers are not those of its images")
    shapes = {
        "rows": (number, dim),
        "mean": (dim,),
        "precision": (dim, dim),
        **dict.fromkeys(KEPT, (number,)),
    }
    for name, shape in shapes.items():
        if tuple(kept[name].shape) != shape or kept[name].is_meta:
            raise ValueError(
                f"{name} of what tells strangers is {tuple(kept[name].shape)} instead of {shape}"
            )
        if not torch.isfinite(kept[name]).all():
            raise ValueError(f"{name} of what tells strangers holds numbers that are not finite")
    if not FEWEST_IMAGES <= number <= 100_000 or not 0 < kept["neighbours"] < number <= kept["num_images"]:
        raise ValueError("what tells strangers has too few images, or too many")
    if any((kept[name].diff() < 0).any() for name in KEPT):
        raise ValueError("the distances by which strangers are told are not in order")
