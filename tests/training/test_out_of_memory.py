"""Out of memory: fewer pictures at once, the same batch. The device here holds as many as a test says."""

import dataclasses
import shutil

import pytest
import torch
from torch.nn import functional

from catdog_cli.errors import CatdogError
from catdog_cli.inference.predictor import Predictor
from catdog_cli.models.inference_form.inference_form import InferenceForm
from catdog_cli.models.zoo import simple_cnn
from catdog_cli.runtime.memory import MicroBatch, is_out_of_memory
from catdog_cli.settings import HeadSpec, Phase

from .in_several import without_norms
from .runs import Events, differences, load, resume, settings_for, train
from .test_loop import BAD

WHOLE = {"unfreeze": "all", "optimizer": "sgd", "batch_size": 5}
FULL = "CUDA out of memory. Tried to allocate 20.00 MiB."


def farthest(first, second):
    return max((first[name].double() - second[name].double()).abs().max().item() for name in first)


@pytest.fixture
def hold(monkeypatch):
    """Return a function that lets a training step hold `most` pictures; the sizes that were tried."""
    tried = []

    def limit(most, where="forward", error=torch.OutOfMemoryError):
        forward = functional.cross_entropy

        def cross_entropy(logits, *rest, **options):
            tried.append(len(logits))
            loss = forward(logits, *rest, **options)
            if len(logits) > most and where == "forward":
                raise error(FULL)
            if len(logits) > most:
                loss.register_hook(lambda gradient: _raise(error(FULL)))
            return loss

        monkeypatch.setattr(functional, "cross_entropy", cross_entropy)
        return tried

    return limit


def _raise(error):
    raise error


@pytest.fixture
def free_stages(monkeypatch):
    """Let pictures not depend on their batch."""
    monkeypatch.setattr(simple_cnn, "_stage", without_norms)


def plain(data, **fields):
    return settings_for(data, Phase("p", 2, 1e-2, **{**WHOLE, **fields}), head=HeadSpec((8,), 0.0))


@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"class_weights": "balanced", "label_smoothing": 0.1, "clip_norm": 0.1, "ema": 0.9},
        {"mixup": 0.4, "cutmix": 0.4},
        {"mixup": 0.4, "class_weights": "balanced", "label_smoothing": 0.1},
    ],
)
@pytest.mark.usefixtures("free_stages")
def test_micro_batches_train_as_the_whole_batch(rare, tmp_path, size, fields):
    settings = plain(rare, **fields)
    expected = train(settings, tmp_path / "whole")
    found = train(dataclasses.replace(settings, micro_batch_size=size), tmp_path / "parts")
    assert farthest(expected["state_dict"], found["state_dict"]) < 1e-6
    assert found["micro_batch_size"] == size
    for row, other in zip(expected["history"], found["history"], strict=True):
        assert row["train_loss"] == pytest.approx(other["train_loss"], abs=1e-6)
        assert row["train_accuracy"] == other["train_accuracy"]


@pytest.mark.usefixtures("free_stages")
def test_unreadable_pictures_count_for_no_part(few, tmp_path):
    data = shutil.copytree(few, tmp_path / "data")
    for name in BAD:
        (data / name).write_bytes(b"no picture")
    settings = dataclasses.replace(plain(data), max_bad_fraction=0.5)
    expected = train(settings, tmp_path / "whole")
    found = train(dataclasses.replace(settings, micro_batch_size=2), tmp_path / "parts")
    assert farthest(expected["state_dict"], found["state_dict"]) < 1e-6
    assert expected["history"][0]["num_bad"] == len(BAD)


@pytest.mark.parametrize("where", ["forward", "backward"])
def test_memory_that_runs_out_halves_the_pictures_once_a_size(few, tmp_path, hold, where):
    """With BatchNorm and dropout: what the attempt left behind is undone, to the last bit."""
    settings = settings_for(few, Phase("p", 2, 1e-2, unfreeze="all", batch_size=12))
    expected = train(dataclasses.replace(settings, micro_batch_size=3), tmp_path / "given")
    events, tried = Events(), hold(4, where)
    found = train(settings, tmp_path / "found", events)
    assert [(logged["what"], logged["size"]) for logged in events.of("memory")] == [
        ("training", 6),
        ("training", 3),
    ]
    assert tried[:6] == [12, 6, 3, 3, 3, 3]
    assert max(tried[6:]) == 3
    assert found["micro_batch_size"] == 3
    assert differences(expected["state_dict"], found["state_dict"]) == []


def test_a_resumed_run_remembers_what_fits(few, tmp_path, hold):
    tried = hold(4)
    settings = settings_for(few, Phase("p", 1, 1e-2, unfreeze="all", batch_size=12))
    train(settings, tmp_path / "run")
    tried.clear()
    events = Events()
    resume(tmp_path / "run", events, epochs=2)
    assert max(tried) == 3
    assert events.of("memory") == []
    tried.clear()
    resume(tmp_path / "run", epochs=3, micro_batch_size=2)
    assert max(tried) == 2


def test_a_checkpoint_from_before_knows_no_size(few, tmp_path):
    settings = plain(few)
    train(settings, tmp_path / "run")
    content = load(tmp_path / "run")
    del content["micro_batch_size"], content["settings"]["micro_batch_size"]
    torch.save(content, tmp_path / "run" / "last.pt")
    assert resume(tmp_path / "run", epochs=3)["micro_batch_size"] == 0


def test_one_picture_that_does_not_fit_is_a_sentence(few, tmp_path, hold):
    hold(0)
    with pytest.raises(CatdogError, match=r"with one picture at a time: give a smaller --image-size"):
        train(plain(few), tmp_path / "run")


def test_other_errors_are_not_taken_for_it(few, tmp_path, hold):
    hold(0, error=lambda text: RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        train(plain(few), tmp_path / "run")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("x"), True),
        (torch.cuda.OutOfMemoryError("x"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("CUDA error: device-side assert"), False),
        (MemoryError(), False),
    ],
)
def test_what_counts_as_out_of_memory(error, expected):
    assert is_out_of_memory(error) == expected


@pytest.mark.parametrize(
    ("size", "count", "lengths"),
    [(0, 5, [5]), (4, 5, [3, 2]), (4, 9, [3, 3, 3]), (5, 5, [5]), (1, 2, [1, 1]), (4, 0, [0])],
)
def test_parts_are_as_equal_as_they_can_be(size, count, lengths):
    """A lone picture at the end would have no variance for BatchNorm."""
    assert [len(part) for part in MicroBatch(size).parts(count)] == lengths


@pytest.fixture
def hold_passes(monkeypatch):
    """Let a pass without gradients hold 3 pictures."""
    original = InferenceForm.forward

    def forward(self, inputs):
        if len(inputs) > 3:
            raise torch.OutOfMemoryError(FULL)
        return original(self, inputs)

    return lambda: monkeypatch.setattr(InferenceForm, "forward", forward)


@pytest.mark.parametrize(
    ("unfreeze", "cache"), [(0, True), (0, False), ("all", True)], ids=["features", "fresh", "evaluation"]
)
def test_passes_without_gradients_take_fewer_pictures_too(
    few, tmp_path, monkeypatch, hold_passes, unfreeze, cache
):
    settings = settings_for(few, Phase("p", 2, 1e-2, unfreeze=unfreeze, batch_size=12), cache=cache)
    monkeypatch.setenv("CATDOG_CACHE", str(tmp_path / "first"))
    expected = train(settings, tmp_path / "whole")
    monkeypatch.setenv("CATDOG_CACHE", str(tmp_path / "second"))
    hold_passes()
    events = Events()
    found = train(settings, tmp_path / "parts", events)
    assert farthest(expected["state_dict"], found["state_dict"]) < 1e-5
    sizes = [logged["size"] for logged in events.of("memory")]
    assert sizes == sorted(set(sizes), reverse=True)
    assert sizes[-1] <= 3


def test_prediction_takes_fewer_pictures_too(few, tmp_path, hold_passes):
    train(plain(few), tmp_path / "run")
    sources = sorted(few.rglob("*.png"))
    logged = []
    predictor = Predictor.load(tmp_path / "run", device="cpu", precision="fp32", on_shrink=logged.append)
    expected = [answer.logits for answer in predictor.predict(sources)]
    hold_passes()
    found = [answer.logits for answer in predictor.predict(sources)]
    assert torch.allclose(torch.stack(expected), torch.stack(found), atol=1e-5)
    assert logged == sorted(set(logged), reverse=True)
    assert logged[-1] == 2
