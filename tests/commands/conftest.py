"""What the tests of several commands share beside `trained`."""

import pytest
import torch

from catdog_cli.settings import TrainSettings
from catdog_cli.training.resume import verify_resume as verify
from tests.training.runs import train


@pytest.fixture
def verified_here(monkeypatch):
    """Let verify-resume train here, not in processes; return parts of names, of runs to change once done."""
    changes = []

    def fake(settings: TrainSettings, run_dir, folder, kill_after=None):
        if kill_after is not None:
            return "in phase 'one', epoch 1 saved"
        train(settings, run_dir)
        if changes and run_dir.name in changes[0]:
            content = torch.load(run_dir / "last.pt", weights_only=True)
            content["patience"] += 1
            torch.save(content, run_dir / "last.pt")
        return None

    monkeypatch.setattr(verify, "_train", fake)
    return changes
