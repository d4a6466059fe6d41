"""`Predictor`: a checkpoint, or what `catdog export` made of one, that answers.

One picture and a million go through the same code. Nothing here imports torch: an ONNX file answers without.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, overload

import numpy as np

from ..errors import SettingsError, quote
from ..images.looks import choose_looks, list_looks
from ..models.tasks import Task
from ..runs.category_names import load_category_names
from ..runtime.distributed import SOLO, Group
from ..runtime.text import name_some
from ..settings_networks import AnySpec
from .answer import Answer, ClassProbability, rank_classes
from .distributed import predict_in_shares
from .known import (
    UNKNOWN_RATE,
    describe_known,
    describe_sets,
    make_chooser,
    pick_reference,
    refuse_sets_of_mean,
)
from .thresholds import fit_thresholds

if TYPE_CHECKING:
    from torch import nn

    from ..explanation.explanation import ClassMap, Explanation

ONNX_SUFFIX = ".onnx"


class OnnxModel(NamedTuple):
    """The content of an exported file; its path is for messages."""

    path: str
    content: bytes


Several = list[Any] | tuple[Any, ...]  # sources
Judged = tuple[list[tuple[Any, Any]], Any, np.ndarray | None]
"""Sources with None, or why one could not be read; logits (N, C) of the others and their p-values (N,)."""


class Explains(Protocol):
    """Says what the answers for images rest on."""

    def explain(self, source: Any) -> "tuple[ClassMap, ...]":
        """Return the maps of what can be read: of one class, or of each label that it has."""


class Predictor:
    """A network with its class names and its way of looking at pictures, ready to predict.

    >>> predictor = Predictor("best.pt")
    >>> predictor("photo.jpg")[0].name

    What is made is a `TorchPredictor` of a checkpoint, an `OnnxPredictor` of a file that ends in .onnx.
    """

    batches: tuple[int, ...]  # pictures that go through the network at once, the largest last

    def __new__(cls, model: Any = None, *_: Any, **__: Any) -> "Predictor":
        """Make one of the kind that `model` needs."""
        return super().__new__(_kind_of(model) if cls is Predictor else cls)

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
        head: "nn.Module | None" = None,
        unknown_rate: float = UNKNOWN_RATE,
        sure: float | None = None,
        sets: str = "lac",
    ):
        """Make a model ready.

        Args:
            model: a checkpoint file, a run directory, what `build_from_checkpoint` returned, or a file that
                `catdog export` wrote.
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
            SettingsError: the device is not there, or the names are none, or a rate cannot be had; or an
                exported file was made with other looks.
            CheckpointError: there is no checkpoint, or it cannot be used.
        """
        model = self._open(model, head)
        self.group = group
        self.class_names: list[str] = model.class_names
        self.input_spec: AnySpec = model.input_spec
        kept = model.category_names if category_names is None else {}
        self.category_names = kept or load_category_names(category_names, self.class_names)
        self.names: list[str] = [self.category_names.get(name, name) for name in self.class_names]
        self.arch: str = model.arch
        self.looks = choose_looks(model.looks, looks, mirror)
        self.loaded = list_looks(self.input_spec, self.looks)
        self.task: Task = model.task
        self.calibrated = calibrated
        self.temperature = model.temperature if calibrated else 1.0
        self.thresholds = fit_thresholds(model.thresholds, model.temperature, self.temperature)
        self.label_delimiter: str = model.label_delimiter
        self.unknown_rate = unknown_rate
        self.reference = pick_reference(model.reference, unknown_rate)
        self.set_chooser = make_chooser(model, sure, sets)
        self._prepare(model, device, precision, on_shrink)

    def _open(self, model: Any, head: "nn.Module | None") -> Any:
        """Return what a file holds, with the fields of a `LoadedModel`; what was loaded already as it is."""
        raise NotImplementedError

    def _prepare(self, model: Any, device: str, precision: str, on_shrink: Callable[[int], None]) -> None:
        """Make what computes."""
        raise NotImplementedError

    def _judge_all(
        self, sources: Iterable[Any], fetch: Callable[[Any], Any] | None, raise_errors: bool
    ) -> Iterator[Judged]:
        """Yield what there is to say of the sources, part by part, in order."""
        raise NotImplementedError

    def explainer(self, class_name: str | None = None, check: bool = True) -> Explains:
        """Return what explains images one by one, in any thread; the arguments are those of `explain`.

        Raises:
            SettingsError: there is no such class, or no map.
        """
        raise NotImplementedError

    @property
    def runs_on(self) -> str:
        """What computes, and in which precision, in words."""
        raise NotImplementedError

    @classmethod
    def load(
        cls, path: str | Path, *others: str | Path, head: "nn.Module | None" = None, **options: Any
    ) -> "Predictor":
        """Load a checkpoint file, a run directory or an exported file; `options` as for the constructor.

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
        if any(map(is_onnx, (path, *others))):
            raise SettingsError(
                "A mean of several files needs checkpoints, and one of these is an ONNX file: give the "
                "checkpoints that they were made from."
            )
        from .mean import mean_of

        return mean_of([first, *(cls.load(each, **options) for each in others)], [path, *others])

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
        _, logits, _ = next(self._judge_all([source], None, True))
        return self.rank(self._probabilities(logits)[0], top_k)

    def explain(self, source: Any, class_name: str | None = None, check: bool = True) -> "Explanation":
        """Return why a picture gets its class: a map of how much each place speaks for it, and its proof.

        Args:
            source: one of those for calling it.
            class_name: the class to explain; None: the likeliest, or each label that the picture has.
            check: measure by how much the probability falls when the most important fifth is blurred.

        Raises:
            ImageError: it cannot be read.
            SettingsError: as of `explainer`.
        """
        from .explain import iterate_explanations

        return next(iterate_explanations(self, [source], class_name, check, raise_errors=True))

    def find_class(self, name: str) -> int:
        """Return the index of the class with a folder or display name.

        Raises:
            SettingsError: there is none, or several are shown by that name.
        """
        if name in self.class_names:
            return self.class_names.index(name)
        found = [index for index, each in enumerate(self.names) if each == name]
        if len(found) != 1:
            problem = "several are shown by that name" if found else "the checkpoint does not know it"
            raise SettingsError(
                f"Cannot explain the class {quote(name)}: {problem}; give one of "
                f"{name_some(self.class_names)}."
            )
        return found[0]

    def rank(self, probabilities: Any, top_k: int = 5) -> list[ClassProbability]:
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
        for loaded, logits, p_values in self._judge_all(sources, fetch, raise_errors):
            yield from self._answers(loaded, logits, p_values)

    @property
    def tells_unknown(self) -> bool:
        """Whether answers say if a picture is of the kind that was trained on."""
        return self.reference is not None

    def _probabilities(self, logits: Any) -> Any:
        """Return probabilities, float64 (N, C), of logits (N, C)."""
        return self.task.probabilities(np.asarray(logits), self.temperature)

    def _answers(
        self, loaded: list[tuple[Any, Any]], logits: Any, p_values: np.ndarray | None
    ) -> Iterator[Answer]:
        probabilities = self._probabilities(logits)
        sets = describe_sets(self, logits, probabilities)
        row = 0
        for source, error in loaded:
            if isinstance(error, str):
                yield Answer(source, error=error)
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


def is_onnx(model: Any) -> bool:
    """Say whether a model is a file that ends in .onnx, or the content of one."""
    if isinstance(model, (str, os.PathLike)):
        return str(model).lower().endswith(ONNX_SUFFIX)
    return isinstance(model, OnnxModel)


def _kind_of(model: Any) -> type[Predictor]:
    if is_onnx(model):
        from .onnx_predictor import OnnxPredictor

        return OnnxPredictor
    from .torch_predictor import TorchPredictor

    return TorchPredictor
