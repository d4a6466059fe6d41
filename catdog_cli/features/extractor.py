"""What the frozen prefix makes of every picture: computed once, in its fast form, and kept in the cache."""

import functools
import hashlib
import json
import platform
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from ..data.digests import content_keys
from ..data.loaders import Batch, CorruptImage, Images, collate
from ..images.looks import WHOLE
from ..images.transforms import normalise, pixel_versions, split_images
from ..models.classifier import Classifier
from ..models.inference_form.inference_form import InferenceForm, form_name
from ..models.side_by_side import join_features
from ..runtime.devices import keep_busy, to_cpu
from ..runtime.files import cache_root
from ..runtime.memory import MicroBatch
from ..runtime.parallel import map_in_order, usable_cores
from ..runtime.seeds import seed_of
from ..settings import InputSpec
from ..settings_networks import AnySpec, InputSpecs
from .store import KeptRows, stored_shape

# Pictures at once; the result depends on their number in the last bits at most. 8 to 16 stay in a processor's
# cache; a GPU would spend more time on being told what to do than on doing it.
FORWARD_BATCH = 16
GPU_BATCH = 64


@dataclass(frozen=True)
class View:
    """One way to look at every picture: plain, or augmented with numbers drawn from `seed` and content.

    A `mirrored` one is turned left to right when it is ready for the network; a `whole` one is not cut.
    """

    augment: str = "none"
    seed: int = 0
    mirrored: bool = False
    whole: bool = False

    def seed_for(self, key: str) -> int:
        """Return the seed of one picture's view; 0 for the plain one."""
        return 0 if self.augment == "none" else seed_of(self.seed, key)


@dataclass(eq=False)
class ImageSet:
    """One split as the training sees it: pictures, labels, content keys, and those found unreadable."""

    images: Images
    keys: list[str]  # 32 hexadecimal digits each
    bad: dict[int, CorruptImage] = field(default_factory=dict)

    @property
    def labels(self) -> torch.Tensor:
        return self.images.labels

    def __len__(self) -> int:
        return len(self.keys)

    def good_indices(self) -> torch.Tensor:
        """Return the places of all pictures not known to be unreadable: int64."""
        return torch.tensor([i for i in range(len(self)) if i not in self.bad], dtype=torch.int64)

    def note_bad(self, found: list[CorruptImage]) -> list[CorruptImage]:
        """Remember unreadable pictures; return those that are news."""
        news = [image for image in found if image.index not in self.bad]
        self.bad.update({image.index: image for image in news})
        return news


def image_set(images: Images, contents: list[str] | None = None) -> ImageSet:
    """Return the set of pictures, hashed where `contents`, what `content_keys` gives, is not at hand."""
    if contents is None:
        contents = content_keys(images.dataset, images.split)
    return ImageSet(images, _sample_keys(images, contents))


def _sample_keys(images: Images, keys: list[str]) -> list[str]:
    """Return 32 hexadecimal digits for each picture, from what its pixels are made of."""
    pixels = images.dataset.pixels
    form = "" if pixels is None else f"{pixels.shape[1:]} {pixels.dtype} "
    if not form and all(len(key) == 32 for key in keys):
        return keys
    texts = ((form + key).encode("utf-8", "surrogateescape") for key in keys)
    return [hashlib.blake2b(text, digest_size=16).hexdigest() for text in texts]


@dataclass(eq=False)
class FeatureTable:
    """A prefix's outputs: `take` gives rows for places in the split."""

    rows: torch.Tensor | KeptRows  # (R, *shape)
    places: torch.Tensor  # int64 (N,): the row of each picture, -1 where it is unreadable

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one picture's output."""
        return tuple(self.rows.shape[1:])

    def take(self, indices: torch.Tensor) -> torch.Tensor:
        """Return the outputs for pictures `indices` (B,): (B, *shape)."""
        places = self.places[indices]
        # of a tensor, in half the time of indexing
        return self.rows.index_select(0, places) if isinstance(self.rows, torch.Tensor) else self.rows[places]


@dataclass(eq=False)
class JoinedTable:
    """The tables of several networks side by side, as one."""

    parts: list[FeatureTable]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one picture's output: the features of all networks in a row."""
        return (sum(part.shape[0] for part in self.parts),)

    @property
    def places(self) -> torch.Tensor:
        """int64 (N,): -1 where a picture is unreadable."""
        return torch.stack([part.places for part in self.parts]).amin(0)

    def take(self, indices: torch.Tensor) -> torch.Tensor:
        """Return the outputs for pictures `indices` (B,): (B, D)."""
        return torch.cat([part.take(indices) for part in self.parts], 1)


class FrozenPrefix:
    """The blocks before the border in their fast form, with the key under which its outputs are kept."""

    def __init__(
        self,
        module: nn.Module,
        spec: InputSpec,
        dtype: torch.dtype,
        device: torch.device,
        micro_batch: MicroBatch | None = None,
    ):
        self.module, self.spec, self.dtype, self.device = module, spec, dtype, device
        self.micro_batch = micro_batch or MicroBatch()
        self.batch = FORWARD_BATCH if device.type == "cpu" else GPU_BATCH
        self.key = _prefix_key(module, spec, dtype, device)

    @property
    def parts(self) -> "list[FrozenPrefix]":
        """The prefixes whose outputs are kept, each under its own key."""
        return [self]

    def __call__(self, images: torch.Tensor, mirrored: bool = False) -> torch.Tensor:
        """Return the outputs for uint8 pictures (B, 3, size, size), or for their mirror images."""
        return self.micro_batch.run(functools.partial(self._forward, mirrored), images)

    def _forward(self, mirrored: bool, images: torch.Tensor) -> torch.Tensor:
        inputs = normalise(images.to(self.device, non_blocking=True), self.spec, self.dtype)
        return self.fast(inputs.flip(3) if mirrored else inputs)

    @functools.cached_property
    def fast(self) -> InferenceForm:
        """The fast form; built when it is needed first, which is never where all outputs are kept."""
        return InferenceForm(self.module, self.dtype, self.device)

    @functools.cached_property
    def output_shape(self) -> tuple[int, ...]:
        """Return the shape of one picture's output, as a store says, or by trying it."""
        known = stored_shape(store_folder(self.key, View()))
        if known is not None:
            return known
        probe = torch.zeros(1, 3, self.spec.size, self.spec.size, dtype=torch.uint8)
        return tuple(self(probe).shape[1:])


class JoinedPrefix:
    """Several whole networks side by side as one prefix; what each makes is kept as if it were alone."""

    def __init__(self, parts: list[FrozenPrefix]):
        self.parts, first = parts, parts[0]
        self.spec = InputSpecs(tuple(part.spec for part in parts))
        self.dtype, self.device, self.batch = first.dtype, first.device, first.batch

    def __call__(self, images: torch.Tensor, mirrored: bool = False) -> torch.Tensor:
        """Return the outputs (B, D) for uint8 pictures (B, values), those of all networks in a row."""
        networks = [functools.partial(part, mirrored=mirrored) for part in self.parts]
        return join_features(networks, split_images(images, self.spec))

    @functools.cached_property
    def fast(self) -> list[InferenceForm]:
        """The fast forms; built when they are needed first."""
        return [part.fast for part in self.parts]

    @property
    def output_shape(self) -> tuple[int, ...]:
        """The shape of one picture's output."""
        return (sum(part.output_shape[0] for part in self.parts),)


AnyPrefix = FrozenPrefix | JoinedPrefix


def frozen_prefix(
    classifier: Classifier,
    split_at: int,
    spec: AnySpec,
    dtype: torch.dtype,
    device: torch.device,
    micro_batch: MicroBatch | None = None,
) -> AnyPrefix:
    """Return the blocks of a classifier before `split_at` as a prefix; several networks are frozen whole."""
    if isinstance(spec, InputSpec):
        return FrozenPrefix(classifier.prefix(split_at), spec, dtype, device, micro_batch)
    return JoinedPrefix(
        [
            FrozenPrefix(network.whole(), own, dtype, device, micro_batch)
            for network, own in zip(classifier.networks, spec.parts, strict=True)
        ]
    )


def store_folder(key: str, view: View) -> Path:
    """Return where the cache keeps a view's outputs of the prefix with this key."""
    seed = f"-{view.seed:x}" if view.augment != "none" else ""
    kind = f"{'-whole' if view.whole else ''}{'-mirrored' if view.mirrored else ''}"
    return cache_root() / f"{key}-{view.augment}{seed}{kind}"


def _prefix_key(module: nn.Module, spec: InputSpec, dtype: torch.dtype, device: torch.device) -> str:
    digest = hashlib.blake2b(digest_size=12)
    capability = torch.backends.cpu.get_cpu_capability()
    machine = (
        f"{torch.__version__} {device.type} {platform.machine()} {capability} {form_name(device, dtype)}"
    )
    digest.update(json.dumps([spec.to_dict(), str(dtype), machine, pixel_versions()]).encode())
    for name, tensor in module.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def run_prefix(
    prefix: AnyPrefix,
    chosen: ImageSet,
    indices: list[int],
    view: View,
    after: Callable[[torch.Tensor], torch.Tensor] | None = None,
) -> Generator[tuple[torch.Tensor, torch.Tensor, list[CorruptImage]], None, None]:
    """Yield (indices (B,), outputs (B, ...) on the CPU, unreadable pictures) for the chosen places, in order.

    `after` is applied to the prefix's outputs. On a CPU every core decodes and forwards its own batches; on
    a GPU threads decode and copies go to and fro while it computes.
    """
    augment = WHOLE if view.whole else view.augment
    images = Images(chosen.images.dataset, chosen.images.split, prefix.spec, augment)
    _ = prefix.fast  # built once, here, and not by every thread

    def forward(batch: Batch) -> torch.Tensor:
        if not len(batch.indices):
            return torch.empty(0)
        outputs = prefix(batch.images, view.mirrored)
        return outputs if after is None else after(outputs)

    def load(places: list[int]) -> Batch:
        batch = collate([images[place, view.seed_for(chosen.keys[place])] for place in places])
        return batch.pin_memory() if prefix.device.type == "cuda" else batch

    def load_and_forward(places: list[int]) -> tuple[Batch, torch.Tensor]:
        batch = load(places)
        return batch, forward(batch)

    parts = [indices[start : start + prefix.batch] for start in range(0, len(indices), prefix.batch)]
    threads = min(usable_cores(), len(parts))
    if prefix.device.type == "cpu":
        computed = map_in_order(load_and_forward, parts, threads)
    else:
        loaded = map_in_order(load, parts, threads)
        computed = keep_busy((batch, to_cpu(forward(batch))) for batch in loaded)
    for batch, outputs in computed:
        yield batch.indices, outputs, batch.bad
