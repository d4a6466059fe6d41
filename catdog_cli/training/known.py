"""What a run keeps to tell strangers by: the features of its training images, as far as nothing trains them.

Of a network whose last blocks are tuned it is what the last frozen block makes of an image, pooled: tuned on
one kind of image, a network loses what tells others apart. Where all of it is trained, it is what the head
gets of the validation images, which were not learnt by heart.
"""

from typing import TYPE_CHECKING, Any

import torch

from ..data.loaders import CorruptImage
from ..features.batches import FreshImages, KeptFeatures
from ..features.extractor import AnyPrefix, ImageSet, View, frozen_prefix, run_prefix
from ..known.reference import MOST_IMAGES, fit_reference, pool, sample_images
from ..models.classifier import Classifier
from ..runtime.distributed import processes
from ..runtime.seeds import seed_of

if TYPE_CHECKING:
    from .setup import Setup


def frozen_border(setup: "Setup", index: int) -> int:
    """Return how many blocks no phase up to number `index` has trained; its own freezing is what is left."""
    unfrozen = [phase.unfreeze for phase in setup.settings.phases[: index + 1]]
    return min(setup.classifier.unfreeze(count) for count in unfrozen)


def fit_frozen(
    setup: "Setup",
    source: KeptFeatures | FreshImages,
    split_at: int,
    border: int,
    kept: dict[str, Any] | None,
) -> dict[str, Any] | None:
    """Return what checkpoints of a phase keep, made of the plain view of at most MOST_IMAGES training images.

    Args:
        source: where the phase's batches come from: what passes `split_at` blocks.
        border: how many blocks are frozen in all phases so far; of none, each epoch makes its own.
        kept: what last.pt has, where a run resumes: of the same border it is the same.
    """
    classifier, chosen = setup.classifier, setup.sets["train"]
    if not border:
        return kept
    block = block_at(classifier, border)
    if isinstance(kept, dict) and (kept.get("border"), kept.get("block")) == (
        _numbered(classifier, border),
        block,
    ):
        return kept
    places = _sample(setup, chosen)
    if isinstance(source, KeptFeatures) and split_at == border:
        readable = torch.tensor([i for i in places if i not in chosen.bad], dtype=torch.int64)
        features = pool(source.tables[0].take(readable).cpu())
    else:
        prefix = frozen_prefix(classifier, border, setup.spec, setup.dtype, setup.device, setup.forward_batch)
        features = _compute(prefix, chosen, places)
    if not processes().is_main:  # it alone writes
        return None
    number = len(chosen) - len(chosen.bad)
    labels = chosen.labels[[place for place in places if place not in chosen.bad]].numpy()
    found = fit_reference(features, labels, block, _numbered(classifier, border), number)
    return None if found is None else found.to_dict()


def fit_trained(features: torch.Tensor, labels: torch.Tensor) -> dict[str, Any] | None:
    """Return what a checkpoint of a network that was trained as a whole keeps.

    `features` are what the head gets of the validation images, (N, D), with their labels.
    """
    places = sample_images(labels.numpy(), MOST_IMAGES, seed=0)
    found = fit_reference(features[places], labels[places].numpy(), num_images=len(features), split="val")
    return None if found is None else found.to_dict()


def block_at(classifier: Classifier, border: int) -> str:
    """Return the name of the last of `border` blocks, "" where they are all and the head follows."""
    return classifier.blocks[border - 1][0] if 0 < border < len(classifier.blocks) else ""


def _numbered(classifier: Classifier, border: int) -> int:
    return border if border < len(classifier.blocks) else 0


def _sample(setup: "Setup", chosen: ImageSet) -> list[int]:
    """Return the places of the images to keep, the same in every process and after a resume."""
    seed = seed_of(setup.settings.seed, "unknown")
    return [int(place) for place in sample_images(chosen.labels.numpy(), MOST_IMAGES, seed)]


def _compute(prefix: AnyPrefix, chosen: ImageSet, places: list[int]) -> torch.Tensor:
    """Return the pooled features of images in order, computed by all processes together."""
    parts: list[tuple[int, torch.Tensor]] = []
    for found, bad in processes().gather(lambda: _compute_share(prefix, chosen, places)):
        chosen.note_bad(bad)
        parts += found
    parts.sort(key=lambda part: part[0])
    return torch.cat([features for _, features in parts]) if parts else torch.empty(0, 1)


def _compute_share(
    prefix: AnyPrefix, chosen: ImageSet, places: list[int]
) -> tuple[list[tuple[int, torch.Tensor]], list[CorruptImage]]:
    """Return (first place, features) of this process's batches, and the images that cannot be read."""
    mine = [place for chunk in processes().chunks(places, prefix.batch) for place in chunk]
    parts, unreadable = [], []
    for indices, outputs, bad in run_prefix(prefix, chosen, mine, View(), pool):
        unreadable += bad
        if len(indices):
            parts.append((int(indices[0]), outputs))
    return parts, unreadable
