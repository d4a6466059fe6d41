"""An exported file that answers, with onnxruntime. See `Predictor` for what it is asked.

Each image is run by itself, in as many threads as there are cores: they have different sizes, and one alone
takes no longer in a convolutional network than its share of a batch.
"""

import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import CheckpointError, SettingsError, UnavailableError, quote
from ..images.read import ImageError, read_pixels
from ..runtime.files import expand_home
from ..runtime.onnx_packages import import_runtime
from ..runtime.parallel import map_in_order, usable_cores
from ..settings_networks import specs_of
from .onnx_metadata import IMAGES, KEY, KNOWN, LOGITS, PROBABILITIES, Metadata, read_metadata
from .predictor import Explains, Judged, OnnxModel, Predictor
from .urls import read_source

if TYPE_CHECKING:
    from torch import nn

QUIET = 4  # of onnxruntime: what it says of a file goes into an error
MOST_BYTES = 2**31  # of a file of ONNX
CPU, GPU = "CPUExecutionProvider", "CUDAExecutionProvider"
AHEAD = 16  # images that each thread has been given at once


class OnnxPredictor(Predictor):
    """An exported network, run by onnxruntime; torch is not needed."""

    batches = (1, AHEAD)

    def _open(self, model: Any, head: "nn.Module | None") -> Metadata:
        if head is not None:
            raise SettingsError("A head was given for an ONNX file, which has its own: leave out head=.")
        self.file = model if isinstance(model, OnnxModel) else read_file(model)
        self.session = start(self.file, "cpu", 1)
        found = self.session.get_modelmeta().custom_metadata_map.get(KEY)
        if found is None:
            raise CheckpointError(
                f"{self.file.path!r} is an ONNX file, but not one of catdog: it does not say what its "
                f"classes are, nor how images are prepared for it; make one with `catdog export CKPT`."
            )
        self.metadata = read_metadata(found, self.file.path)
        self._check_outputs()
        return self.metadata

    def _prepare(
        self, model: Metadata, device: str, precision: str, on_shrink: Callable[[int], None]
    ) -> None:
        if self.looks != model.looks:
            raise SettingsError(
                f"looks is {self.looks}, but {self.file.path!r} was exported with {model.looks}: leave it "
                f"out, or export the checkpoint again with --looks {self.looks}."
            )
        if precision == "bf16":
            raise SettingsError(
                f"precision is bf16, but {self.file.path!r} has its own ({model.weights}): leave it out."
            )
        if device == "gpu":
            self.session = start(self.file, device, 1)
        self.side = max(spec.resize for spec in specs_of(self.input_spec))  # px that reading has to leave
        self.wanted = [LOGITS] if self.reference is None else [LOGITS, KNOWN]

    def explainer(self, class_name: str | None = None, check: bool = True) -> Explains:
        """Return what explains images; see `Predictor.explainer`."""
        from .onnx_explainer import OnnxExplainer

        return OnnxExplainer(self, class_name, check)

    @property
    def runs_on(self) -> str:
        """What computes, and in which precision: onnxruntime, cpu, float32."""
        provider = self.session.get_providers()[0]
        return f"onnxruntime, {'cpu' if provider == CPU else 'gpu'}, {self.metadata.weights}"

    def _check_outputs(self) -> None:
        """Raise CheckpointError unless the graph is the one that its metadata tell of."""
        inputs = {each.name: each.type for each in self.session.get_inputs()}
        outputs = {each.name: each.shape for each in self.session.get_outputs()}
        wanted = [LOGITS, PROBABILITIES]
        wanted += [] if self.metadata.reference is None else [KNOWN]
        wanted += [] if self.metadata.maps is None else [each.name for each in self.metadata.maps.outputs]
        missing = [name for name in wanted if name not in outputs]
        classes = len(self.metadata.class_names)
        if inputs != {IMAGES: "tensor(uint8)"} or missing or outputs[LOGITS][1:] != [classes]:
            raise CheckpointError(
                f"{self.file.path!r} is damaged: its graph does not fit what it says of itself; export the "
                f"checkpoint again."
            )

    def run(self, pixels: np.ndarray, names: list[str]) -> list[np.ndarray]:
        """Return outputs of the graph, by name, of images of one size: uint8 (N, H, W, 3).

        Raises:
            CheckpointError: it cannot be run.
        """
        try:
            found: list[np.ndarray] = self.session.run(names, {IMAGES: pixels})
        except Exception as error:  # of all kinds: a file may hold any graph
            raise CheckpointError(
                f"{self.file.path!r} fails on an image ({_reason(error)}): export the checkpoint again."
            ) from error
        return found

    def _judge_all(
        self, sources: Iterable[Any], fetch: Callable[[Any], Any] | None, raise_errors: bool
    ) -> Iterator[Judged]:
        def judge(source: Any) -> Judged:
            try:
                pixels = self.read((fetch or read_source)(source))
            except ImageError as error:
                reason = str(error)
                if isinstance(source, str):  # an address, behind which bytes were
                    reason = reason.replace("given as bytes", repr(source), 1)
                if raise_errors:
                    raise ImageError(reason) from error
                return [(source, reason)], np.empty((0, len(self.class_names)), np.float32), None
            logits, *known = self.run(pixels[None], self.wanted)
            return [(source, None)], logits, known[0] if known else None

        each = iter(sources)
        head = list(itertools.islice(each, usable_cores()))  # no more threads than there is work for
        yield from map_in_order(judge, itertools.chain(head, each), len(head))

    def read(self, source: Any) -> np.ndarray:
        """Return the pixels of an image as the graph takes them: uint8 (H, W, 3).

        Raises:
            ImageError: it cannot be read.
        """
        return read_pixels(source, self.side)


def start(file: OnnxModel, device: str, threads: int) -> Any:
    """Return onnxruntime's session of a file.

    Raises:
        CheckpointError: it is not an ONNX file that can be run.
        UnavailableError: there is no GPU that onnxruntime can use.
    """
    runtime = import_runtime()
    options = runtime.SessionOptions()
    options.log_severity_level = QUIET
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # int8 products whose sums fit: without it, x86 processors without VNNI cut them off, and answer otherwise
    options.add_session_config_entry("session.x64quantprecision", "1")
    providers = _providers(runtime, device)
    try:
        return runtime.InferenceSession(file.content, options, providers=providers)
    except Exception as error:  # of all kinds, none of which is told in the documentation
        raise CheckpointError(
            f"{file.path!r} cannot be run as an ONNX file ({_reason(error)}): export the checkpoint again."
        ) from error


def read_file(path: str | os.PathLike[str]) -> OnnxModel:
    """Return the bytes of an ONNX file; they cannot name other files to be read with it.

    Raises:
        CheckpointError: there is none, or it is too large.
    """
    place = Path(expand_home(os.fspath(path)))
    try:
        if not place.is_file():
            what = "is a folder" if place.is_dir() else "is not there"
            raise CheckpointError(f"{str(place)!r} {what}: give a file that `catdog export` wrote.")
        if place.stat().st_size > MOST_BYTES:
            raise CheckpointError(f"{str(place)!r} is larger than any ONNX file: give another one.")
        content = place.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(f"Cannot read {quote(str(place))} ({reason}): check it.") from error
    if not content:
        raise CheckpointError(f"{str(place)!r} is empty (0 bytes): export the checkpoint again.")
    return OnnxModel(str(place), content)


def _providers(runtime: Any, device: str) -> list[str]:
    if device != "gpu":
        return [CPU]
    if GPU not in runtime.get_available_providers():
        raise UnavailableError(
            "--gpu was given, but this onnxruntime cannot use one: install onnxruntime-gpu in its place, or "
            "leave --gpu out."
        )
    return [GPU, CPU]


def _reason(error: Exception) -> str:
    """Return what onnxruntime says, without its own names in front."""
    text = " ".join(str(error).split())
    return text.rpartition("] : ")[2][:200].rstrip(".") or type(error).__name__
