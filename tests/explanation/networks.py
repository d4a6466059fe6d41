"""Classifiers with random weights, and their forms that predict."""

import torch

from catdog_cli.explanation.class_maps import ClassMapper
from catdog_cli.models.classifier import Classifier, build_classifier
from catdog_cli.models.inference_form.inference_form import InferenceForm
from catdog_cli.settings import HeadSpec

CPU = torch.device("cpu")


def build(arch: str, head: HeadSpec | None = None, custom=None) -> Classifier:
    """Return a classifier of three classes whose head standardises by something."""
    classifier = build_classifier(arch, 3, head or HeadSpec(), custom_head=custom).eval()
    generator = torch.Generator().manual_seed(5)
    features = torch.randn(50, classifier.feature_dim, generator=generator) * 2 + 1
    classifier.head.norm.fit(features)
    return classifier


def forms_of(classifier: Classifier, dtype: torch.dtype = torch.float32) -> list[InferenceForm]:
    return [InferenceForm(network.whole(), dtype, CPU) for network in classifier.networks]


def mapper_of(classifier: Classifier, *sizes: int, dtype: torch.dtype = torch.float32) -> ClassMapper:
    prefixes = [network.num_prefix_tokens for network in classifier.networks]
    return ClassMapper([[form] for form in forms_of(classifier, dtype)], prefixes, sizes, classifier.head)


def noise(size: int, count: int = 1) -> torch.Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))
