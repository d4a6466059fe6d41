"""Networks with cheap random numbers: torchvision's own initialisation of VGG takes seconds."""

import pytest
import torch
from torch import nn

from catdog_cli.models.classifier import Classifier, build_classifier
from catdog_cli.models.meta import compute_buffers, meta_networks
from catdog_cli.models.zoo.registry import first_class_archs
from catdog_cli.settings import HeadSpec
from tests.conftest import one_thread


def fill(model: nn.Module) -> None:
    """Give every number of an empty network a value that keeps activations in a sane range."""
    model.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(0)
    for name, tensor in model.state_dict().items():
        if name.endswith(("running_var", "std")):
            tensor.uniform_(0.5, 1.5, generator=generator)
        elif tensor.dim() > 1:
            tensor.uniform_(-1, 1, generator=generator).mul_((3 / tensor[0].numel()) ** 0.5)
        elif tensor.is_floating_point():
            tensor.uniform_(0.5, 1, generator=generator) if name.endswith("weight") else tensor.fill_(0.1)
        else:
            tensor.zero_()


def make_classifier(arch: str, num_classes: int = 3, head: HeadSpec | None = None) -> Classifier:
    """Build a classifier in eval mode quickly, with the same numbers each time."""
    with meta_networks():
        classifier = build_classifier(arch, num_classes, head or HeadSpec())
    fill(classifier)
    compute_buffers(arch, classifier.backbone)
    return classifier.eval()


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Small pictures gain nothing from threads, and lose much where other work fills the cores."""
    with one_thread():
        yield


@pytest.fixture(scope="session", params=first_class_archs())
def built(request) -> Classifier:
    return make_classifier(request.param)


@pytest.fixture
def classifier(built) -> Classifier:
    """Return each first-class arch in turn, in eval mode; tests leave its numbers as they are."""
    return built.eval()


@pytest.fixture(scope="session")
def images() -> torch.Tensor:
    """Return (2, 3, 64, 64), about as normalised pictures are."""
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
