"""`Predictor`: a checkpoint that answers. One picture and a million go through the same code."""

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch

from ..data.loaders import map_in_order, split_batches, usable_cores
from ..explanation.class_maps import ClassMapper
from ..explanation.explanation import Explanation
from ..images.looks import ONCE, choose_looks, list_looks, load_looks
from ..images.read import ImageError
from ..images.transforms import normalise, split_images
from ..known.reference import pool
from ..models.inference_form.inference_form import form_name
from ..models.side_by_side import join_features
from ..models.tasks import Task
from ..runs.category_names import load_category_names
from ..runs.checkpoint import build_from_checkpoint, load_checkpoint
from ..runtime.devices import keep_busy, pick_device, pick_precision, to_cpu
from ..runtime.distributed import SOLO, Group
from ..runtime.memory import MicroBatch
from ..settings_networks import InputSpecs, specs_of
from .answer import Answer, ClassProbability, rank_classes
from .distributed import predict_in_shares
from .known import (
    UNKNOWN_RATE,
    build_forms,
    describe_known,
    describe_sets,
    make_chooser,
    pick_reference,
    refuse_sets_of_mean,
)
from .thresholds import fit_thresholds
from .urls import read_source

# Pictures that go through the network at once: as many as there are, filled with black up to one of these.
# Few sizes, because each has its own kernels. oneDNN's fused convolutions give the same bits in all of them;
# the head, whose sums do not, always gets the largest. One picture alone takes an eighth of the time of 16.
# Where the bits depend on the size there is but one.
BATCHES = {"onednn": (1, 4, 16), "plain": (4,)}
GPU_BATCHES = (32,)

Several = list[Any] | tuple[Any, ...]  # sources
Loaded = list[tuple[Any, torch.Tensor | str]]  # sources with their pixels, or why there are none


class Predictor:
    """A network with its class names and its way of looking at pictures, ready to predict.

    >>> predictor = Predictor("best.pt")
    >>> predictor("photo.jpg")[0].name
    """

    def __init__(
        self,
        model: Any,
        device: str = "auto",
        precision: str = "auto",
        calibrated: bool = True,
        category_names: str | Path | Mapping[str, Any] | None = None,
        mirror: bool | None = None,
        looks: str | None = None,
        group: Group = SOLO,
        on_shrink: Callable[[int], None] = lambda size: None,
        head: torch.nn.Module | None = None,
        unknown_rate: float = UNKNOWN_RATE,
        sure: float | None = None,
        sets: str = "lac",
    ):
        """Make a model ready.

        Args:
            model: a checkpoint file, a run directory, or what `build_from_checkpoint` returned.
            device: "auto", "cpu" or "gpu".
            precision: "auto", "fp32" or "bf16".
            calibrated: divide the logits by the checkpoint's temperature.
            category_names: a JSON file of names to show for classes, or such names; None: the checkpoint's.
            mirror: average each picture with its mirror image; None: as the checkpoint was trained to.
            looks: one of settings.LOOKS: "mirror" is the same; "whole" looks at the picture without its ends
                cut off, too, and at the mirror image of that.
            group: the processes that share the work.
            on_shrink: called with the number of pictures at once where memory runs out.
            head: a module like the one that was trained, where the checkpoint has a custom head.
            unknown_rate: at most this share of pictures of the trained kind is called unknown; 0: never.
            sure: give the classes that hold the right one at this rate, too.
            sets: how these are chosen: "lac" or "aps".

        Raises:
            SettingsError: the device is not there, or the names are none, or a rate cannot be had.
            CheckpointError: there is no checkpoint, or it cannot be used.
        """
        if isinstance(model, (str, os.PathLike)):
            model = build_from_checkpoint(load_checkpoint(Path(model)), Path(model), head)
        self.group, self.micro_batch = group, MicroBatch(on_shrink=on_shrink)
        self.class_names, self.input_spec = model.class_names, model.input_spec
        kept = model.category_names if category_names is None else {}
        self.category_names = kept or load_category_names(category_names, self.class_names)
        self.names = [self.category_names.get(name, name) for name in self.class_names]
        self.device = pick_device(device)
        self.dtype = pick_precision(precision, self.device)
        self.arch = model.classifier.arch
        self.looks = choose_looks(model.looks, looks, mirror)
        self.loaded = list_looks(self.input_spec, self.looks)
        self.task: Task = model.task
        self.calibrated = calibrated
        self.temperature = model.temperature if calibrated else 1.0
        self.thresholds = fit_thresholds(model.thresholds, model.temperature, self.temperature)
        self.label_delimiter: str = model.label_delimiter
        classifier = model.classifier
        on_cpu = self.device.type == "cpu"
        self.batches = BATCHES[form_name(self.device, self.dtype)] if on_cpu else GPU_BATCHES
        self.unknown_rate = unknown_rate
        self.reference = pick_reference(model.reference, unknown_rate)
        border = 0 if self.reference is None else self.reference.border
        self.front, self.backbones = build_forms(classifier, border, self.dtype, self.device)
        self.meter = None if self.reference is None else self.reference.meter(self.device)
        self.set_chooser = make_chooser(model, sure, sets)
        self.head = classifier.head.to(self.device).eval()
        self.num_prefix_tokens = [network.num_prefix_tokens for network in classifier.networks]
        self.mapper: ClassMapper | None = None  # made when something is explained

    @classmethod
    def load(
        cls, path: str | Path, *others: str | Path, head: torch.nn.Module | None = None, **options: Any
    ) -> "Predictor":
        """Load a checkpoint file or a run directory; `options` are those of the constructor.

        With `others`, checkpoints of the same classes, it answers with the mean of their calibrated
        probabilities. `head` is a module like the one that was trained, where `path` has a custom head.

        Raises:
            CheckpointError: one is missing, damaged, no checkpoint, or has a custom head that was not given.
            SettingsError: the device is not there, or the checkpoints have not the same classes.
        """
        if others:
            refuse_sets_of_mean(options.get("sure"))
        first = cls(path, head=head, **options)
        if not others:
            return first
        from .mean import MeanPredictor

        rest = [cls.load(each, **options) for each in others]
        return MeanPredictor([first, *rest], [path, *others])

    @overload
    def __call__(self, source: Several, top_k: int = 5) -> list[list[ClassProbability]]: ...

    @overload
    def __call__(self, source: Any, top_k: int = 5) -> list[ClassProbability]: ...

    def __call__(self, source: Any, top_k: int = 5) -> Any:
        """Return the `top_k` likeliest classes of a picture, best first; of several, a list of these lists.

        Args:
            source: a path, an address (http, https or file), the bytes of a file, a PIL image, a uint8 array
                (H, W, 3) or tensor (3, H, W); or a list or a tuple of them.

        Raises:
            ImageError: one cannot be read; `predict` goes on after it.
        """
        if isinstance(source, (list, tuple)):
            return [answer.top_k(top_k) for answer in self.predict(source, raise_errors=True)]
        _, found = next(self._run([source], self._logits, None, True))
        return self.rank(self._probabilities(self._split(found)[0])[0], top_k)

    def explain(self, source: Any, class_name: str | None = None, check: bool = True) -> Explanation:
        """Return why a picture gets its class: a map of how much each place speaks for it, and its proof.

        Args:
            source: one of those for calling it.
            class_name: the class to explain; None: the likeliest, or each label that the picture has.
            check: measure by how much the probability falls when the most important fifth is blurred.

        Raises:
            ImageError: it cannot be read.
            SettingsError: there is no such class, or this is the mean of several checkpoints.
        """
        from .explain import iterate_explanations

        return next(iterate_explanations(self, [source], class_name, check, raise_errors=True))

    def rank(self, probabilities: torch.Tensor, top_k: int = 5) -> list[ClassProbability]:
        """Return the `top_k` likeliest classes of probabilities (C,), never more than there are."""
        return rank_classes(probabilities, self.class_names, self.names, top_k)

    def predict(
        self,
        sources: Iterable[Any],
        raise_errors: bool = False,
        fetch: Callable[[Any], Any] | None = None,
    ) -> Iterator[Answer]:
        """Yield one answer for every source, in order, however many there are; memory does not grow.

        A picture that cannot be read gives an answer with `error`, or raises ImageError if asked to.
        `fetch` turns a source into what can be read, in the threads that also decode.
        """
        if self.group.size > 1 and not raise_errors:
            yield from predict_in_shares(self, sources, fetch)
        else:
            yield from self.predict_here(sources, fetch, raise_errors)

    def predict_here(
        self, sources: Iterable[Any], fetch: Callable[[Any], Any] | None, raise_errors: bool = False
    ) -> Iterator[Answer]:
        """As `predict`, in this process alone."""
        for loaded, found in self._run(sources, self._logits, fetch, raise_errors):
            yield from self._answers(loaded, found)

    @property
    def tells_unknown(self) -> bool:
        """Whether answers say if a picture is of the kind that was trained on."""
        return self.reference is not None

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

    def _probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(self.task.probabilities(logits.numpy(), self.temperature))

    def _answers(self, loaded: Loaded, found: torch.Tensor) -> Iterator[Answer]:
        logits, p_values = self._split(found)
        probabilities = self._probabilities(logits)
        sets = describe_sets(self, logits, probabilities)
        row = 0
        for source, image in loaded:
            if isinstance(image, str):
                yield Answer(source, error=image)
            else:
                yield Answer(
                    source,
                    logits[row],
                    probabilities[row],
                    None,
                    self.class_names,
                    self.names,
                    self.thresholds,
                    describe_known(p_values, row, self.unknown_rate),
                    sets[row],
                )
                row += 1
