"""What a GPU is given and asked: pinned, ahead of its answers, repeatable. Some tests need one."""

import dataclasses

import pytest
import torch
from torch.nn import functional
from torch.utils.data._utils.pin_memory import pin_memory

from catdog_cli.data.loaders import Batch, CorruptImage, Images
from catdog_cli.data.scan import scan_dataset
from catdog_cli.errors import SettingsError
from catdog_cli.features.extractor import GPU_BATCH, FrozenPrefix, View, image_set, run_prefix
from catdog_cli.inference.predictor import Predictor
from catdog_cli.runtime.devices import keep_busy, repeat_exactly, to_cpu
from catdog_cli.runtime.memory import MicroBatch
from catdog_cli.settings import InputSpec, Phase

from .runs import differences, load, resume, settings_for, train

SPEC = InputSpec(32, 36)
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


class StandIn(str):
    """A device that torch takes for the CPU and catdog for a GPU."""

    type = "cuda"


GPU = StandIn("cpu")


@pytest.fixture
def pinned(monkeypatch):
    """Return a list that gets the shape of every tensor that is pinned, which needs a GPU."""
    shapes = []
    zeros = torch.zeros

    def pin(tensor):
        shapes.append(tuple(tensor.shape))
        return tensor

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)

    def make(*shape, pin_memory=False, **options):
        return pin(zeros(*shape, **options)) if pin_memory else zeros(*shape, **options)

    monkeypatch.setattr(torch, "zeros", make)
    return shapes


def test_a_loader_pins_the_pictures_of_a_batch(pinned):
    bad = [CorruptImage(1, "a.png", "it is empty")]
    batch = Batch(torch.ones(2, 3, 4, 4, dtype=torch.uint8), torch.tensor([0, 2]), bad)
    found = pin_memory(batch)
    assert pinned == [(2, 3, 4, 4)]
    assert torch.equal(found.images, batch.images)
    assert (found.indices.tolist(), found.bad) == ([0, 2], bad)
    nothing = Batch(torch.empty(0, 3, 1, 1, dtype=torch.uint8), torch.empty(0, dtype=torch.int64), bad)
    assert pin_memory(nothing).bad == bad


def test_a_gpu_is_kept_busy_while_its_answers_are_waited_for():
    said = []

    def compute(number):
        said.append(f"given {number}")
        return lambda: said.append(f"taken {number}") or torch.tensor(number)

    found = [(item, int(values)) for item, values in keep_busy((n, compute(n)) for n in range(4))]
    assert found == [(number, number) for number in range(4)]
    assert said[:5] == ["given 0", "given 1", "given 2", "taken 0", "given 3"]


def test_the_frozen_pass_of_a_gpu_is_that_of_a_cpu(few, pinned):
    chosen = image_set(Images(scan_dataset(few), "train", SPEC))
    places = list(range(12)) * 6
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
    found = {}
    for device in (torch.device("cpu"), GPU):
        prefix = FrozenPrefix(network, SPEC, torch.float32, device)
        parts = list(run_prefix(prefix, chosen, places, View(), lambda values: values.mean((2, 3))))
        found[str(device), type(device)] = [torch.cat(each) for each in list(zip(*parts, strict=True))[:2]]
    for one, other in zip(*found.values(), strict=True):
        assert torch.allclose(one.double(), other.double(), atol=1e-5)
    assert sorted(shape[0] for shape in pinned) == [len(places) - GPU_BATCH, GPU_BATCH]


def test_prediction_on_a_gpu_is_that_on_a_cpu(few, tmp_path, pinned):
    train(settings_for(few), tmp_path / "run")
    sources = [*sorted(few.rglob("*.png")), tmp_path / "nothing.png"] * 3
    predictor = Predictor.load(tmp_path / "run", device="cpu", precision="fp32")
    expected = list(predictor.predict(sources))
    predictor.device, predictor.batches = GPU, (32,)
    for one, other in zip(expected, predictor.predict(sources), strict=True):
        assert (one.source, one.error) == (other.source, other.error)
        assert one.logits is None or torch.allclose(one.logits, other.logits, atol=1e-5)
    assert set(pinned) == {(32, 32, 32, 3)}


@pytest.fixture
def _afterwards():
    """Let torch be as it was."""
    yield
    torch.set_deterministic_debug_mode("default")
    torch.utils.deterministic.fill_uninitialized_memory = True


@pytest.fixture
def unrepeatable(monkeypatch):
    """Let every step use an operation that torch cannot repeat on any device."""
    cross_entropy = functional.cross_entropy

    def other(logits, *rest, **options):
        torch.zeros(2).put_(torch.tensor([0]), torch.ones(1))
        return cross_entropy(logits, *rest, **options)

    monkeypatch.setattr(functional, "cross_entropy", other)


@pytest.mark.usefixtures("_afterwards", "unrepeatable")
def test_what_cannot_repeat_itself_is_refused_if_asked_to(few, tmp_path):
    settings = settings_for(few)
    train(settings, tmp_path / "as ever")
    with pytest.raises(
        SettingsError, match=r"^--deterministic was given, but '\S*put_\S*', which this network"
    ):
        train(dataclasses.replace(settings, deterministic=True), tmp_path / "run")


@pytest.mark.usefixtures("_afterwards")
def test_what_cannot_repeat_itself_is_refused_in_passes_too():
    repeat_exactly()
    with pytest.raises(SettingsError, match=r"^--deterministic was given, but "):
        MicroBatch().run(lambda values: values.put_(torch.tensor([0]), torch.ones(1)), torch.zeros(2))


@pytest.mark.usefixtures("_afterwards")
def test_a_cpu_computes_the_same_with_it_and_a_resume_keeps_it(few, tmp_path):
    settings = settings_for(few)
    expected = train(settings, tmp_path / "as ever")
    found = train(dataclasses.replace(settings, deterministic=True), tmp_path / "run")
    assert differences(expected["state_dict"], found["state_dict"]) == []
    torch.set_deterministic_debug_mode("default")
    resume(tmp_path / "run", epochs=3)
    assert torch.are_deterministic_algorithms_enabled()


@needs_gpu
@pytest.mark.usefixtures("_afterwards")
@pytest.mark.parametrize("unfreeze", [0, 6, "all"])
def test_on_a_gpu_a_resumed_run_is_that_of_one_go(few, resnet_file, tmp_path, unfreeze):
    settings = settings_for(
        few,
        Phase("p", 3, 1e-2, unfreeze=unfreeze, batch_size=5, ema=0.9),
        arch="resnet18",
        weights=resnet_file,
        device="gpu",
        precision="auto",
        deterministic=True,
        workers=2,
    )
    expected = train(settings, tmp_path / "straight")
    stops = iter([False, False, True])
    with pytest.raises(Exception, match="To resume"):
        train(settings, tmp_path / "stopped", should_stop=lambda: next(stops, True))
    assert differences(expected, resume(tmp_path / "stopped")) == []
    best = [load(tmp_path / name, "best.pt") for name in ("straight", "stopped")]
    assert differences(*best) == []


@needs_gpu
def test_on_a_gpu_memory_that_runs_out_halves(few):
    micro_batch = MicroBatch()
    found = micro_batch.run(
        lambda values: torch.empty(len(values), 2**30, dtype=torch.uint8, device="cuda")[:, :1].clone(),
        torch.arange(1024),
    )
    assert len(found) == 1024
    assert 0 < micro_batch.size < 1024


@needs_gpu
def test_on_a_gpu_the_frozen_pass_gives_the_numbers_of_a_cpu(few):
    chosen = image_set(Images(scan_dataset(few), "train", SPEC))
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
    parts = []
    for device in ("cpu", "cuda"):
        prefix = FrozenPrefix(network, SPEC, torch.float32, torch.device(device))
        parts.append(
            torch.cat([values for _, values, _ in run_prefix(prefix, chosen, [0, 1, 2] * 60, View())])
        )
    assert torch.allclose(*parts, atol=1e-2)  # TF32


@needs_gpu
def test_on_a_gpu_what_comes_back_is_what_was_computed():
    values = torch.arange(24.0, device="cuda").view(2, 3, 2, 2).contiguous(memory_format=torch.channels_last)
    waits = [to_cpu(values + number) for number in range(50)]
    for number, wait in enumerate(waits):
        assert torch.equal(wait(), torch.arange(24.0).view(2, 3, 2, 2) + number)
