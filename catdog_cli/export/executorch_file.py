"""A checkpoint as a .pte file of ExecuTorch, for people who write apps: the package is optional.

Other than an ONNX file it holds no resizing, for its inputs have one size:

- inputs, one for each network at each look: uint8 (1, size, size, 3), RGB, upright: the image with its
  shorter side resized to `resize` px (antialiased), the central size x size px cut out, as `input_specs` in
  the metadata say. Of the look "whole" also the image resized to size x size.
- outputs: probabilities, float32 (1, C); and logits, float32 (1, C), before the temperature.

What strangers are told by is not in it. The metadata lie beside it as JSON; see `inference.onnx_metadata`.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import nn

from ..errors import CatdogError, require
from ..images.looks import ONCE, list_looks
from ..images.read import ImageError
from ..images.transforms import load_looks, split_images
from ..inference.answer import Answer
from ..models.inference_form.inference_form import InferenceForm
from ..models.side_by_side import join_features
from ..runs.checkpoint import LoadedModel
from ..runtime.native_stderr import Quiet
from ..settings_networks import InputSpecs, specs_of
from .job import Job
from .parity import Answers

CPU = torch.device("cpu")


class Core(nn.Module):
    """What a .pte file computes: views, uint8 (1, size, size, 3) each -> probabilities and logits (1, C)."""

    def __init__(self, model: LoadedModel, looks: str):
        super().__init__()
        networks = model.classifier.networks
        forms = [InferenceForm(each.whole(), torch.float32, CPU, plain=True).body for each in networks]
        # channels-first, as the compiler of XNNPACK wants weights
        self.networks = nn.ModuleList(forms).to(memory_format=torch.contiguous_format)
        self.head = model.classifier.head.eval()
        self.mirrored = looks != ONCE
        self.temperature, self.several = model.temperature, model.task.several
        for place, spec in enumerate(specs_of(model.input_spec)):
            mean, std = torch.tensor([spec.mean, spec.std])
            self.register_buffer(f"shift{place}", (-mean / std).view(3, 1, 1))
            self.register_buffer(f"scale{place}", (1 / (255 * std)).view(3, 1, 1))

    def forward(self, *views: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        own = len(self.networks)
        scores = []
        for start in range(0, len(views), own):
            inputs = [
                view.permute(0, 3, 1, 2).float() * getattr(self, f"scale{place}")
                + getattr(self, f"shift{place}")
                for place, view in enumerate(views[start : start + own])
            ]
            scores.append(self.head(join_features(self.networks, inputs)))
            if self.mirrored:
                scores.append(self.head(join_features(self.networks, [each.flip(3) for each in inputs])))
        logits = scores[0] if len(scores) == 1 else sum(scores[1:], scores[0]) / len(scores)
        scaled = logits / self.temperature
        return scaled.sigmoid() if self.several else scaled.softmax(1), logits


def require_executorch() -> None:
    """Make sure that ExecuTorch is there.

    Raises:
        CatdogError: it is not installed.
    """
    require("executorch.exir", "executorch")


def make_pte(job: Job) -> bytes:
    """Return the content of a .pte file, compiled for XNNPACK, which phones and boards compute with.

    Raises:
        CatdogError: ExecuTorch is not installed, or cannot compile the network.
    """
    exir = require("executorch.exir", "executorch")
    xnnpack = require("executorch.backends.xnnpack.partition.xnnpack_partitioner", "executorch")
    core = Core(job.model, job.looks).eval()
    views = [
        torch.zeros(1, spec.size, spec.size, 3, dtype=torch.uint8)
        for spec, _ in list_looks(job.model.input_spec, job.looks)
    ]
    try:
        with torch.no_grad(), Quiet():
            program = torch.export.export(core, tuple(views))
            lowered = exir.to_edge_transform_and_lower(program, partitioner=[xnnpack.XnnpackPartitioner()])
            return bytes(lowered.to_executorch().buffer)
    except Exception as error:  # of code that is not ours, and of all kinds
        reason = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
        raise CatdogError(
            f"ExecuTorch cannot compile {job.model.arch} ({reason}): export --to onnx."
        ) from error


def answer_pte(job: Job, content: bytes) -> Answers:
    """Return what answers with the content of a .pte file, by ExecuTorch's runtime for Python."""
    return _Runner(job, content)


class _Runner:
    """Asks a .pte file about images, one by one."""

    def __init__(self, job: Job, content: bytes):
        self.model = job.model
        self.loaded = list_looks(job.model.input_spec, job.looks)
        with Quiet():  # it tells what it looks for on other processors
            runtime = require("executorch.runtime", "executorch").Runtime.get()
            self.method = runtime.load_program(content).load_method("forward")

    def predict(self, sources: Iterable[Any]) -> Iterator[Answer]:
        """Yield an answer for every source, in order."""
        for source in sources:
            try:
                views = self._split(load_looks(source, self.loaded))
            except ImageError as error:
                yield Answer(source, error=str(error))
                continue
            with Quiet():
                probabilities, logits = (found[0].clone() for found in self.method.execute(list(views)))
            model = self.model
            yield Answer(
                source,
                logits,
                probabilities,
                None,
                model.class_names,
                model.class_names,
                model.thresholds,
            )

    def _split(self, image: torch.Tensor) -> Sequence[torch.Tensor]:
        specs = tuple(spec for spec, _ in self.loaded)
        parts = (image[None],) if len(specs) == 1 else split_images(image[None], InputSpecs(specs))
        return [part.permute(0, 2, 3, 1).contiguous() for part in parts]
