"""What scripts/benchmarks/strangers.py compares with is what others understand by these names."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

FOLDER = Path(__file__).parents[2] / "scripts" / "benchmarks"


def test_baselines_are_those_of_pytorch_ood(monkeypatch):
    detector = pytest.importorskip("pytorch_ood.detector", reason="pytorch-ood is the oracle")
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.delitem(sys.modules, "strangers", raising=False)
    import strangers

    generator = torch.Generator().manual_seed(0)
    features, new = (torch.randn(n, 12, generator=generator).double() for n in (80, 30))
    weight, bias = torch.randn(3, 12, generator=generator), torch.randn(3, generator=generator)
    logits = new.float() @ weight.T + bias
    softmax = detector.MaxSoftmax.score(logits).numpy()
    np.testing.assert_allclose(strangers.max_softmax(logits.numpy()), softmax, atol=1e-6)
    free = detector.EnergyBased.score(logits).numpy()
    np.testing.assert_allclose(strangers.energy(logits.numpy()), free, atol=1e-5)
    theirs = detector.ViM(None, d=5, w=weight, b=bias)
    theirs.fit_features(features.float(), torch.zeros(80))
    ours = strangers.ViM(features.numpy(), weight.double().numpy(), bias.double().numpy(), 5)
    np.testing.assert_allclose(
        ours(new.numpy()), theirs.predict_features(new.float()).numpy(), rtol=1e-3, atol=1e-3
    )
