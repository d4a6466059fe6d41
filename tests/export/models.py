"""Checkpoints of small networks with random weights, and what their graphs say beside them."""

from pathlib import Path

import numpy as np
import torch

from catdog_cli.export.job import Job
from catdog_cli.export.model import make_onnx, to_bytes
from catdog_cli.inference.predictor import OnnxModel, Predictor
from catdog_cli.inference.torch_predictor import TorchPredictor
from catdog_cli.known.conformal import SetScores
from catdog_cli.known.reference import fit_reference
from catdog_cli.models.classifier import build_classifier
from catdog_cli.models.tasks import MULTI_LABEL, SINGLE_LABEL
from catdog_cli.runs.checkpoint import LoadedModel, describe_model, save_checkpoint
from catdog_cli.settings import HeadSpec, InputSpec
from catdog_cli.settings_networks import join_specs, split_arch

CLASSES = ["cats", "dogs", "emus"]
KNOWN = 40  # images that strangers are told by


def build_model(
    arch: str = "simple_cnn",
    size: int = 32,
    head: HeadSpec | None = None,
    looks: str = "once",
    border: int = 0,
    several: bool = False,
    known: bool = True,
    interpolation: str = "bilinear",
    custom: torch.nn.Module | None = None,
) -> LoadedModel:
    """Return a classifier of three classes as a checkpoint would give it, its answers well apart."""
    head = head or HeadSpec()
    classifier = build_classifier(arch, len(CLASSES), head, custom_head=custom).eval()
    generator = torch.Generator().manual_seed(3)
    archs = split_arch(arch)
    specs = [
        InputSpec(size + 8 * k, size + 8 * k + 4, interpolation=interpolation) for k in range(len(archs))
    ]
    noise = [torch.randn(KNOWN, 3, spec.size, spec.size, generator=generator) for spec in specs]
    with torch.no_grad():
        features = classifier.backbone(noise[0] if len(archs) == 1 else tuple(noise))
        classifier.head.norm.fit(features)
        for parameter in classifier.head.parameters():
            parameter.mul_(3)
        seen = features
        if border:
            seen = classifier.prefix(border)(noise[0]).mean((2, 3))
    labels = np.arange(KNOWN) % len(CLASSES)
    name = classifier.blocks[border - 1][0] if border else ""
    scores = np.random.default_rng(0).dirichlet([1, 1, 1], KNOWN)
    return LoadedModel(
        classifier,
        list(CLASSES),
        join_specs(specs),
        head,
        temperature=1.5,
        task=MULTI_LABEL if several else SINGLE_LABEL,
        thresholds=[0.3, 0.5, 0.6] if several else None,
        looks=looks,
        reference=fit_reference(seen, labels, name, border) if known else None,
        sets=None if several else SetScores.measure(scores, labels),
    )


def write_model(model: LoadedModel, path: Path) -> Path:
    """Write what `build_model` returned as a checkpoint."""
    content = describe_model(
        model.classifier, model.head, model.class_names, model.input_spec, task=model.task, looks=model.looks
    )
    content |= {"temperature": model.temperature}
    content |= {"thresholds": model.thresholds} if model.thresholds else {}
    content |= {"unknown": model.reference.to_dict()} if model.reference else {}
    content |= {"sets": model.sets.to_dict()} if model.sets else {}
    save_checkpoint(content, path)
    return path


def job_of(model: LoadedModel, path: Path) -> Job:
    """Return what exporting a checkpoint at `path` is asked."""
    return Job(model, path, model.looks, path.with_suffix(".onnx"), None, 0.5, print, lambda *_: None)


def onnx_bytes(model: LoadedModel, path: Path) -> bytes:
    """Return a model as the content of an ONNX file; its checkpoint is written to `path`."""
    return to_bytes(make_onnx(job_of(model, write_model(model, path)), "float32"))


def predictors_of(model: LoadedModel, path: Path, **options) -> tuple[Predictor, Predictor]:
    """Return who answers with torch, in float32, and who does with onnxruntime."""
    own = TorchPredictor(model, device="cpu", precision="fp32", **options)
    return own, Predictor(OnnxModel("model.onnx", onnx_bytes(model, path)), **options)


def smooth_image(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Return an image with edges, colours and some noise, uint8 (height, width, 3)."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width]
    waves = [np.sin(rows / (3 + k) + columns / (5 + 2 * k)) for k in range(3)]
    image = 127 + 90 * np.stack(waves, -1) + rng.normal(0, 12, (height, width, 3))
    image[height // 3 : height // 2, width // 4 : width // 2] = (250, 10, 128)
    return image.clip(0, 255).astype(np.uint8)
