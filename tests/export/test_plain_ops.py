"""Each module and function that is written by hand does what torch's does."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from catdog_cli.export.builder import GraphBuilder
from catdog_cli.export.plain_ops import MODULES, UnknownOperationError, add_traced
from catdog_cli.models.heads import CosineLinear, Dropout, Standardise
from catdog_cli.models.inference_form.plain_modules import SamePad
from catdog_cli.models.pooling import MeanPool

IMAGES = torch.randn(2, 6, 9, 9, generator=torch.Generator().manual_seed(1)) * 4
ROWS = torch.randn(3, 8, generator=torch.Generator().manual_seed(2)) * 4


def standardise() -> Standardise:
    module = Standardise(8)
    module.fit(ROWS)
    return module


def seen(module: nn.Module, example: torch.Tensor) -> nn.Module:
    """Return a module that normalises, with statistics that are not the default."""
    module.train()(example)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.rand_like(parameter))
    return module


ON_IMAGES = [
    nn.Conv2d(6, 4, 3, stride=2, padding=1),
    nn.Conv2d(6, 6, (1, 3), padding=(0, 2), dilation=(1, 2), groups=3, bias=False),
    seen(nn.BatchNorm2d(6), IMAGES),
    nn.ReLU(),
    nn.ReLU6(),
    nn.Hardtanh(-1, 2),
    nn.LeakyReLU(0.2),
    nn.ELU(0.7),
    nn.SELU(),
    nn.Sigmoid(),
    nn.Tanh(),
    nn.Hardsigmoid(),
    nn.Hardswish(),
    nn.SiLU(),
    nn.GELU(),
    nn.Mish(),
    nn.MaxPool2d(3, 2, 1),
    nn.MaxPool2d(3, 2, ceil_mode=True),
    nn.AvgPool2d(3, 2, 1),
    nn.AvgPool2d(3, 2, 1, count_include_pad=False),
    nn.AdaptiveAvgPool2d(1),
    nn.AdaptiveAvgPool2d(9),  # which they have already
    MeanPool(),
    nn.Flatten(),
    nn.Dropout(),
    nn.Dropout2d(),
    nn.Identity(),
    nn.Sequential(SamePad(nn.Conv2d(6, 4, 3, stride=2)), nn.Conv2d(6, 4, 3, stride=2)),
    nn.Sequential(nn.LayerNorm(9), nn.Linear(9, 5)),
]
ON_ROWS = [
    nn.Linear(8, 3),
    nn.Linear(8, 3, bias=False),
    seen(nn.BatchNorm1d(8), ROWS),
    seen(nn.LayerNorm(8), ROWS),
    standardise(),
    CosineLinear(8, 3),
    Dropout(0.5),
]


class Functions(nn.Module):
    """What networks call beside their modules."""

    def forward(self, x):
        y = F.relu(x) + x * 0.5 - torch.sigmoid(x)
        y = torch.cat([y, F.relu6(x), x.mean((2, 3), keepdim=True) * x], 1)
        y = F.silu(y).mul(2).add(F.hardswish(y))
        y += F.hardsigmoid(y)
        return torch.flatten(F.adaptive_avg_pool2d(F.dropout(y, training=False), (1, 1)), 1)


def compute(module: nn.Module, example: torch.Tensor) -> np.ndarray:
    graph = GraphBuilder("x", "y")
    graph.rename(add_traced(graph, module.eval(), "x", example), "y")
    info, kind = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    with torch.no_grad():
        shape = ["N", *module(example).shape[1:]]
    model = graph.model([info("x", kind, ["N", *example.shape[1:]])], [info("y", kind, shape)], {})
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": example.numpy()})[0]


CASES = [*((each, IMAGES) for each in ON_IMAGES), *((each, ROWS) for each in ON_ROWS), (Functions(), IMAGES)]


@pytest.mark.parametrize(("module", "example"), CASES, ids=lambda each: type(each).__name__)
def test_it_computes_what_torch_does(module, example):
    with torch.no_grad():
        wanted = module.eval()(example).numpy()
    found = compute(module, example)
    assert found.shape == wanted.shape
    assert np.allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_every_module_of_the_table_is_tried():
    tried = {type(part) for module, _ in CASES for part in module.modules()}
    assert set(MODULES) <= tried


class Branch(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


@pytest.mark.parametrize(
    "module",
    [
        nn.Conv2d(6, 4, 3, padding="same"),
        nn.Conv2d(6, 4, 3, padding=1, padding_mode="reflect"),
        nn.GELU("tanh"),
        nn.AvgPool2d(3, 2, ceil_mode=True),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(2),
        nn.Softmax(1),
        nn.LayerNorm([9, 9]),
        nn.BatchNorm2d(6, track_running_stats=False),
        Branch(),
    ],
    ids=lambda each: type(each).__name__,
)
def test_what_is_not_in_the_tables_is_left_to_torchs_exporter(module):
    with pytest.raises(UnknownOperationError, match=r"."):
        add_traced(GraphBuilder(), module.eval(), "x", IMAGES)
