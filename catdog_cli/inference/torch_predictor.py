"""A checkpoint that answers, with torch. See `Predictor` for what it is asked."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import SettingsError
from ..explanation.class_maps import ClassMapper
from ..images.looks import ONCE
from ..images.read import ImageError
from ..images.transforms import load_looks, normalise, split_images
from ..known.reference import pool
from ..models.classifier import Classifier
from ..models.inference_form.inference_form import InferenceForm, form_name
from ..models.side_by_side import join_features
from ..runs.checkpoint import LoadedModel, build_from_checkpoint, load_checkpoint
from ..runtime.devices import keep_busy, pick_device, pick_precision, to_cpu
from ..runtime.memory import MicroBatch
from ..runtime.parallel import map_in_order, split_batches, usable_cores
from ..settings_networks import InputSpecs, specs_of
from .predictor import Explains, Judged, Predictor
from .urls import read_source

# Pictures that go through the network at once: as many as there are, filled with black up to one of these.
# Few sizes, because each has its own kernels. oneDNN's fused convolutions give the same bits in all of them;
# the head, whose sums do not, always gets the largest. One picture alone takes an eighth of the time of 16.
# Where the bits depend on the size there is but one.
BATCHES = {"onednn": (1, 4, 16), "plain": (4,)}
GPU_BATCHES = (32,)

Loaded = list[tuple[Any, torch.Tensor | str]]  # sources with their pixels, or why there are none


class TorchPredictor(Predictor):
    """A checkpoint's network, made ready by torch, on a CPU or a GPU."""

    def _open(self, model: Any, head: torch.nn.Module | None) -> LoadedModel:
        if isinstance(model, LoadedModel):
            return model
        return build_from_checkpoint(load_checkpoint(Path(model)), Path(model), head)

    def _prepare(
        self, model: LoadedModel, device: str, precision: str, on_shrink: Callable[[int], None]
    ) -> None:
        self.micro_batch = MicroBatch(on_shrink=on_shrink)
        self.device = pick_device(device)
        self.dtype = pick_precision(precision, self.device)
        classifier = model.classifier
        on_cpu = self.device.type == "cpu"
        self.batches = BATCHES[form_name(self.device, self.dtype)] if on_cpu else GPU_BATCHES
        border = 0 if self.reference is None else self.reference.border
        self.front, self.backbones = build_forms(classifier, border, self.dtype, self.device)
        self.meter = None if self.reference is None else self.reference.meter(self.device)
        self.head = classifier.head.to(self.device).eval()
        self.num_prefix_tokens = [network.num_prefix_tokens for network in classifier.networks]
        self.mapper: ClassMapper | None = None  # made when something is explained

    def _judge_all(
        self, sources: Iterable[Any], fetch: Callable[[Any], Any] | None, raise_errors: bool
    ) -> Iterator[Judged]:
        for loaded, found in self._run(sources, self._logits, fetch, raise_errors):
            yield loaded, *self._split(found)

    def explainer(self, class_name: str | None = None, check: bool = True) -> Explains:
        """Return what explains images; see `Predictor.explainer`."""
        from .torch_explainer import Explainer

        return Explainer(self, class_name, check)

    @property
    def runs_on(self) -> str:
        """What computes, and in which precision: cpu, float32."""
        return f"{self.device.type}, {str(self.dtype).removeprefix('torch.')}"

    @property
    def known_by(self) -> tuple[int, str]:
        """How many blocks come up to what pictures are known by, 0 for what the head gets, and its name."""
        return (0, "") if self.reference is None else (self.reference.border, self.reference.block)

    def features(self, sources: Iterable[Any]) -> Iterator[torch.Tensor | None]:
        """Yield what the backbone makes of every source, in order: float32 (D,), None if it is unreadable."""
        for loaded, rows in self._run(sources, lambda rows: self._embed(self._unpack(rows)), None, False):
            each = iter(rows)
            for _, image in loaded:
                yield None if isinstance(image, str) else next(each)

    def logits_and_seen(self, sources: Iterable[Any]) -> Iterator[tuple[torch.Tensor, torch.Tensor] | str]:
        """Yield the logits (C,) of every source and what it is known by (D,), or why it cannot be read."""

        def network(rows: torch.Tensor) -> torch.Tensor:
            return torch.cat(self._logits_and_seen(self._unpack(rows)), 1)

        for loaded, found in self._run(sources, network, None, False):
            each = iter(found)
            for _, image in loaded:
                if isinstance(image, str):
                    yield image
                else:
                    row = next(each)
                    yield row[: len(self.class_names)], row[len(self.class_names) :]

    def _run(
        self,
        sources: Iterable[Any],
        network: Callable[[torch.Tensor], torch.Tensor],
        fetch: Callable[[Any], Any] | None,
        raise_errors: bool,
    ) -> Iterator[tuple[Loaded, torch.Tensor]]:
        """Yield each part as loaded, and what `network` gives of its readable pictures."""
        on_cpu = self.device.type == "cpu"

        def load(part: list[Any]) -> tuple[Loaded, torch.Tensor]:
            loaded = [self._load(source, fetch, raise_errors) for source in part]
            rows = self._stack([image for _, image in loaded if isinstance(image, torch.Tensor)])
            return loaded, self._forward(rows, network) if on_cpu else rows

        parts = split_batches(sources, self.batches[-1])
        head = list(itertools.islice(parts, usable_cores()))  # no more threads than there is work for
        # At least 2, or it would run here, on all cores, and the last bits depend on their number too.
        found = map_in_order(load, itertools.chain(head, parts), max(2, len(head)))
        if not on_cpu:
            found = keep_busy((loaded, to_cpu(self._forward(rows, network))) for loaded, rows in found)
        for loaded, rows in found:
            yield loaded, rows[: sum(isinstance(image, torch.Tensor) for _, image in loaded)]

    def _load(
        self, source: Any, fetch: Callable[[Any], Any] | None, raise_errors: bool
    ) -> tuple[Any, torch.Tensor | str]:
        try:
            return source, load_looks((fetch or read_source)(source), self.loaded)
        except ImageError as error:
            reason = str(error)
            if isinstance(source, str):  # an address, behind which bytes were
                reason = reason.replace("given as bytes", repr(source), 1)
            if raise_errors:
                raise ImageError(reason) from error
            return source, reason

    def _stack(self, images: list[torch.Tensor]) -> torch.Tensor:
        """Return B pictures, filled up with black to one of `batches`, as uint8 (batch, size, size, 3).

        Of several networks or looks they are (batch, values), all in a row.
        """
        count = next(size for size in (0, *self.batches) if size >= len(images))
        specs, pin = tuple(spec for spec, _ in self.loaded), self.device.type == "cuda"
        several, size = len(specs) > 1, specs[0].size
        shape = (sum(InputSpecs(specs).num_values),) if several else (size, size, 3)
        rows = torch.zeros(count, *shape, dtype=torch.uint8, pin_memory=pin)
        for row, image in zip(rows, images, strict=False):
            row.copy_(image if image.ndim == 1 else image.permute(1, 2, 0))
        return rows

    @torch.no_grad()
    def _forward(self, rows: torch.Tensor, network: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        """Return what `network` gives of pictures (B, size, size, 3), on its device; none of none."""

        def run(rows: torch.Tensor) -> torch.Tensor:
            return network(rows.to(self.device, non_blocking=True))

        return self.micro_batch.run(run, rows) if len(rows) else torch.empty(0, 1)

    def _unpack(self, rows: torch.Tensor) -> Sequence[torch.Tensor]:
        """Return what `_stack` made as each look's pictures: uint8 (B, 3, size, size), channels-last."""
        specs = tuple(spec for spec, _ in self.loaded)
        return split_images(rows, InputSpecs(specs)) if len(specs) > 1 else (rows.permute(0, 3, 1, 2),)

    def _logits(self, rows: torch.Tensor) -> torch.Tensor:
        return self._judge(self._unpack(rows))

    def _judge(self, pictures: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the logits (B, C) of each look's pictures (B, 3, size, size), uint8: their mean over looks.

        Behind them stand distances (B, 2) to what was trained on, where `tells_unknown`: of the first look
        alone.
        """
        logits, seen = self._logits_and_seen(pictures)
        if self.meter is None:
            return logits
        return torch.cat([logits, self.meter(self._fill(seen))[: len(seen)]], 1)

    def _logits_and_seen(self, pictures: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the logits (B, C) of each look's pictures, and what the first look is known by (B, D)."""
        own = len(specs_of(self.input_spec))
        looks = [pictures[start : start + own] for start in range(0, len(pictures), own)]
        features, seen = self._look(looks[0])
        scores = [self._score(features)]
        if self.looks != ONCE:
            scores.append(self._score(self._embed(looks[0], mirrored=True)))
        scores += [self._score(self._embed(look, turned)) for look in looks[1:] for turned in (False, True)]
        return scores[0] if len(scores) == 1 else sum(scores[1:], scores[0]) / len(scores), seen

    def _embed(self, pictures: Sequence[torch.Tensor], mirrored: bool = False) -> torch.Tensor:
        """Return the features (B, D), float32, of each network's pictures, the first look at them."""
        return self._look(pictures[: len(specs_of(self.input_spec))], mirrored)[0]

    def _look(
        self, pictures: Sequence[torch.Tensor], mirrored: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the features (B, D), float32, and what pictures are known by: these, or a block's."""
        inputs = self._normalise(pictures, mirrored)
        if self.front is None:
            features = join_features(self.backbones, inputs).float()
            return features, features
        middle = self.front(inputs[0])
        return self.backbones[0](middle).float(), pool(middle)

    def _normalise(self, pictures: Sequence[torch.Tensor], mirrored: bool) -> list[torch.Tensor]:
        """Return each network's input (B, 3, H, W) of its pictures."""
        pairs = zip(pictures, specs_of(self.input_spec), strict=True)
        inputs = [normalise(batch, own, self.dtype) for batch, own in pairs]
        return [batch.flip(3) for batch in inputs] if mirrored else inputs

    def _fill(self, rows: torch.Tensor) -> torch.Tensor:
        """Return rows (B, D) filled up with 0 to the largest batch, for sums that have the same bits."""
        return torch.nn.functional.pad(rows, (0, 0, 0, self.batches[-1] - len(rows)))

    def _score(self, rows: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self._fill(rows))
        return logits[: len(rows)]

    def _split(self, found: torch.Tensor) -> tuple[torch.Tensor, np.ndarray | None]:
        """Return logits (N, C) and p-values (N,), None of those where nothing tells strangers."""
        logits, distances = found[:, : len(self.class_names)], found[:, len(self.class_names) :]
        tells = self.tells_unknown and len(found) > 0  # of no readable image there are no distances
        return logits, self._p_values(distances.numpy()) if tells else None

    def _p_values(self, distances: np.ndarray) -> np.ndarray:
        assert self.reference is not None
        return self.reference.p_values(distances)

    def _probabilities(self, logits: Any) -> Any:
        return torch.from_numpy(super()._probabilities(logits))


def require_checkpoint(predictor: Predictor, purpose: str) -> TorchPredictor:
    """Return a predictor that is a checkpoint's.

    Raises:
        SettingsError: an exported file was given; `purpose` begins the sentence.
    """
    if isinstance(predictor, TorchPredictor):
        return predictor
    raise SettingsError(
        f"{purpose} needs a checkpoint, for an ONNX file holds no more than its answers: give the checkpoint "
        f"that it was made from."
    )


def build_forms(
    classifier: Classifier, border: int, dtype: torch.dtype, device: torch.device
) -> tuple[InferenceForm | None, list[InferenceForm]]:
    """Return the fast forms of a classifier's networks; with a border, of what is before and behind it."""
    if not border:
        return None, [InferenceForm(network.whole(), dtype, device) for network in classifier.networks]
    front = classifier.prefix(border)
    rest = torch.nn.Sequential(*(block for _, block in classifier.blocks[border:]))
    return InferenceForm(front, dtype, device), [InferenceForm(rest, dtype, device)]
