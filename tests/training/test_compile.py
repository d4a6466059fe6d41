"""--compile: torch.compile gets what trains of the backbone, changes no weights, fails with a sentence."""

import dataclasses
import functools

import pytest
import torch

from catdog_cli.errors import SettingsError
from catdog_cli.settings import Phase

from .runs import differences, settings_for, train

WHOLE = Phase("whole", 1, 1e-2, unfreeze="all", batch_size=9)
compile_for_real = torch.compile


@pytest.fixture
def compiled(monkeypatch):
    """Compile to torch's own kernels, which takes no minute; return the networks that were compiled."""
    found = []

    def compile_eagerly(network, **options):
        found.append(network)
        return compile_for_real(network, backend="eager", **options)

    monkeypatch.setattr(torch, "compile", compile_eagerly)
    yield found
    torch._dynamo.reset()


def test_a_compiled_network_trains_to_the_same_weights(few, tmp_path, compiled):
    settings = settings_for(few, WHOLE)
    expected = train(settings, tmp_path / "plain")
    assert compiled == []
    found = train(dataclasses.replace(settings, compile=True), tmp_path / "compiled")
    assert len(compiled) == 1
    assert differences(expected["state_dict"], found["state_dict"]) == []


def test_a_head_alone_is_not_compiled(few, tmp_path, compiled):
    phases = (Phase("head", 1, batch_size=8), Phase("fine-tune", 0, unfreeze="all"))
    train(dataclasses.replace(settings_for(few, *phases), compile=True), tmp_path)
    assert len(compiled) == 1  # that of the second phase


def test_a_compiler_that_fails_is_said(few, tmp_path, monkeypatch):
    def fail(graph, inputs):
        raise ValueError("no C++ compiler was found")

    monkeypatch.setattr(torch, "compile", functools.partial(compile_for_real, backend=fail))
    with pytest.raises(SettingsError, match=r"torch\.compile fails here .*no C\+\+ compiler.*leave out"):
        train(dataclasses.replace(settings_for(few, WHOLE), compile=True), tmp_path)
    torch._dynamo.reset()
