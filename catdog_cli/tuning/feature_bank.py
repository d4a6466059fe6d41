"""What networks make of the training images, computed once a way to look: what cheap trials live on."""

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from ..data.dataset import Dataset
from ..data.digests import content_keys
from ..data.loaders import Images
from ..errors import CatdogError, SettingsError
from ..features.cache_fill import build_feature_table, claim_room, table_bytes
from ..features.extractor import (
    AnyPrefix,
    FeatureTable,
    ImageSet,
    JoinedTable,
    View,
    frozen_prefix,
    image_set,
    run_prefix,
    store_folder,
)
from ..features.store import Store
from ..runtime.files import cache_root
from ..settings import Phase, TrainSettings
from ..settings_networks import Weights
from ..training.batch_source import evaluation_views, fixed_views
from ..training.events import CorruptImagesFound, FeaturesComputed, Listener
from ..training.setup import Setup
from .fold_run import open_base
from .head_trials import FeatureSet

MEASURED = 64  # images that say how long one takes
HELD_TABLES = 6  # feature tensors that stay in memory
AnyTable = FeatureTable | JoinedTable


@dataclass(frozen=True)
class Sight:
    """A network and how it looks at images: what a set of features is made by."""

    arch: str
    weights: Weights
    image_size: int = 0
    looks: str = "once"
    augment: str = "none"
    views: int = 0

    @property
    def name(self) -> str:
        """What people and the journal call it."""
        size = f" {self.image_size} px" if self.image_size else ""
        varied = f", {self.augment} x {self.views}" if self.augment != "none" else ""
        return f"{self.arch}{size}, {self.looks}{varied}"

    @property
    def network(self) -> tuple[str, int]:
        return self.arch, self.image_size


class FeatureBank:
    """The networks of a search, each built once, and the features of the training images."""

    def __init__(self, settings: TrainSettings, dataset: Dataset, listener: Listener):
        train = dataset.splits["train"]
        self.settings, self.listener, self.whole = settings, listener, dataset
        self.dataset = dataclasses.replace(dataset, splits={"train": train})  # all that trials see
        self._val_keys = content_keys(dataset, "val")
        self._bases: dict[tuple[str, int], Setup] = {}
        self._prefixes: dict[tuple[str, int], AnyPrefix] = {}
        self._picture_s: dict[tuple[str, int], float] = {}
        self._tensors: dict[tuple[tuple[str, int], View], torch.Tensor] = {}

    def settings_of(self, sight: Sight) -> TrainSettings:
        """Return the settings of a solved head on these features."""
        phase = Phase("head", 1, optimizer="lbfgs", augment=sight.augment, views=sight.views)
        return dataclasses.replace(
            self.settings,
            arch=sight.arch,
            weights=sight.weights,
            image_size=sight.image_size,
            looks=sight.looks,
            phases=(phase,),
        )

    def base(self, sight: Sight) -> Setup:
        """Return the network with its first weights and all training images."""
        if sight.network not in self._bases:
            found = open_base(self.settings_of(sight), self.dataset, self.listener)
            self._bases[sight.network] = found
        return self._bases[sight.network]

    def prefix(self, sight: Sight) -> AnyPrefix:
        """Return the whole network, frozen, in its fast form."""
        if sight.network not in self._prefixes:
            base = self.base(sight)
            self._prefixes[sight.network] = frozen_prefix(
                base.classifier,
                len(base.classifier.blocks),
                base.spec,
                base.dtype,
                base.device,
                base.forward_batch,
            )
        return self._prefixes[sight.network]

    def picture_s(self, sight: Sight) -> float:
        """Return the seconds that one look at an image takes: decoding, and the network."""
        if sight.network not in self._picture_s:
            prefix, chosen = self.prefix(sight), self.base(sight).sets["train"]
            places = list(range(min(MEASURED, len(chosen))))
            for _ in run_prefix(prefix, chosen, places[: prefix.batch], View()):
                pass  # the first batch pays for set-up
            began = time.perf_counter()
            for _ in run_prefix(prefix, chosen, places, View()):
                pass
            self._picture_s[sight.network] = (time.perf_counter() - began) / max(1, len(places))
        return self._picture_s[sight.network]

    def views(self, sight: Sight) -> tuple[list[View], list[View]]:
        """Return the views to learn from, and the looks whose answers are averaged."""
        settings = self.settings_of(sight)
        return fixed_views(settings, settings.phases[0]), evaluation_views(settings)

    def missing(self, sight: Sight) -> int:
        """Return how many looks at images the cache lacks for these features."""
        train, looks = self.views(sight)
        prefix, keys = self.prefix(sight), self.base(sight).sets["train"].keys
        total = 0
        for view in {*train, *looks}:
            if (sight.network, view) in self._tensors:
                continue
            total += len(set(keys) - self._stored(prefix, view))
        return total

    def cost_s(self, sight: Sight) -> float:
        """Return how long it takes to compute what is missing of these features."""
        missing = self.missing(sight)
        return missing * self.picture_s(sight) if missing else 0.0

    def take(self, sight: Sight, check: Callable[[], None] = lambda: None) -> FeatureSet:
        """Return the features, computing what the cache lacks; `check` may raise between two batches.

        Raises:
            SettingsError: they do not fit into the cache.
            OSError: the cache cannot be written.
        """
        train, looks = self.views(sight)
        base, prefix = self.base(sight), self.prefix(sight)
        chosen = base.sets["train"]
        wanted = list(dict.fromkeys([*train, *looks]))
        limit_bytes = self.settings.cache_limit * 1e9
        needed = table_bytes(prefix, len(wanted) * len(chosen))
        lacking = [view for view in wanted if (sight.network, view) not in self._tensors]
        if lacking and (
            needed > limit_bytes or not claim_room(prefix, [(chosen, view) for view in wanted], limit_bytes)
        ):
            raise SettingsError(
                f"The features of {sight.name} take {needed / 1e9:.2g} GB, more than --cache-limit "
                f"{limit_bytes / 1e9:g} has room for: raise it."
            )

        def report(done: int, total: int) -> None:
            self.listener(FeaturesComputed(sight.name, done, total))
            check()

        known = len(chosen.bad)
        try:
            tables = {view: build_feature_table(prefix, chosen, view, report) for view in lacking}
        except OSError as error:
            raise CatdogError(
                f"The feature cache {str(cache_root())!r} cannot be used ({error.strerror or error}): set "
                f"CATDOG_CACHE to another folder, or free space."
            ) from error
        if len(chosen.bad) > known:
            self.listener(CorruptImagesFound(list(chosen.bad.values())[known:]))
            self._tensors = {key: rows for key, rows in self._tensors.items() if key[0] != sight.network}
            tables = {view: build_feature_table(prefix, chosen, view, report) for view in wanted}
        places = chosen.good_indices()
        for view, table in tables.items():
            self._tensors[sight.network, view] = table.take(places).float()
        found = FeatureSet(
            torch.stack([self._tensors[sight.network, view] for view in train]),
            torch.stack([self._tensors[sight.network, view] for view in looks]),
            chosen.labels[places],
            places,
            tuple(network.feature_dim for network in base.classifier.networks),
        )
        self._forget({(sight.network, view) for view in wanted})
        return found

    def _forget(self, used: set[tuple[tuple[str, int], View]]) -> None:
        """Keep no more tensors than memory should hold; the oldest go first, never those in use."""
        for key in [key for key in self._tensors if key not in used]:
            if len(self._tensors) <= HELD_TABLES:
                return
            del self._tensors[key]

    def _val_set(self, sight: Sight) -> ImageSet:
        return image_set(Images(self.whole, "val", self.base(sight).spec), self._val_keys)

    def val_cost_s(self, sight: Sight) -> float:
        """Return how long it takes to look at the validation images, as the last training will."""
        _, looks = self.views(sight)
        keys, prefix = set(self._val_set(sight).keys), self.prefix(sight)
        missing = sum(len(keys - self._stored(prefix, view)) for view in looks)
        return missing * self.picture_s(sight) if missing else 0.0

    def fill_val(self, sight: Sight, check: Callable[[], None]) -> None:
        """Compute the features of the validation images, whose labels nobody asks."""
        _, looks = self.views(sight)

        def report(done: int, total: int) -> None:
            self.listener(FeaturesComputed("val", done, total))
            check()

        for view in looks:
            build_feature_table(self.prefix(sight), self._val_set(sight), view, report)

    def _stored(self, prefix: AnyPrefix, view: View) -> set[str]:
        """Return the keys of the images whose features the cache has, of all networks."""
        found = [
            Store(store_folder(part.key, view), part.output_shape, part.dtype).rows.keys()
            for part in prefix.parts
        ]
        return set.intersection(*map(set, found))

    def num_parameters(self, sight: Sight) -> int:
        """Return the size of the network."""
        return sum(parameter.numel() for parameter in self.base(sight).classifier.parameters())
