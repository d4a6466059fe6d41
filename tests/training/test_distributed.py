"""Several processes give what one gives, write once, and end together. Real ones, started by torchrun."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from catdog_cli.errors import InterruptedRunError
from catdog_cli.features.store import list_stores
from catdog_cli.inference.predictor import Predictor
from catdog_cli.models.zoo import simple_cnn
from catdog_cli.training import run

from ..conftest import PATIENCE_S
from .in_several import describe_runs, without_norms
from .runs import Events, differences, load, resume, train
from .test_loop import BAD

ROOT = Path(__file__).resolve().parents[2]
LAUNCH = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m")


def environment(**changes):
    """Return this environment without what another launcher or allocator left in it."""
    left = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    return {**left, "PYTHONPATH": str(ROOT), **changes}


@pytest.fixture(scope="module")
def damaged(few, tmp_path_factory):
    """Return a copy of the data where four pictures cannot be read."""
    data = shutil.copytree(few, tmp_path_factory.mktemp("damaged") / "data")
    for name in BAD:
        (data / name).write_bytes(b"\x89PNG\r\n\x1a\n no picture")
    return data


@pytest.fixture(scope="module")
def settings(few, damaged, squeezenet_file):
    return describe_runs(few, damaged, squeezenet_file)


@pytest.fixture(scope="module")
def several(few, damaged, squeezenet_file, settings, tmp_path_factory):
    """Return the folder in which two processes have played all scenarios."""
    folder = tmp_path_factory.mktemp("several")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simple_cnn, "_stage", without_norms)
        _stop_after(settings["resumed"], folder / "resumed", 4)
    arguments = ["tests.training.in_several", *map(str, (folder, few, damaged, squeezenet_file))]
    ended = subprocess.run(
        [*LAUNCH, *arguments],
        env=environment(CATDOG_CACHE=str(folder / "cache")),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert ended.returncode == 0, ended.stderr
    return folder


def _stop_after(chosen, run_dir, steps):
    asked = []
    with pytest.raises(InterruptedRunError):
        train(chosen, run_dir, should_stop=lambda: len(asked.append(1) or asked) == steps)


@pytest.fixture
def alone(settings, tmp_path, monkeypatch):
    """Return a function that trains a scenario in this process: its last.pt."""
    monkeypatch.setattr(simple_cnn, "_stage", without_norms)
    return lambda name: train(settings[name], tmp_path / name)


def logged(folder, name):
    return [json.loads((folder / f"{name}-{rank}.json").read_text()) for rank in (0, 1)]


def farthest(first, second):
    """Return the largest difference of any weight."""
    return max((first[name].double() - second[name].double()).abs().max().item() for name in first)


@pytest.mark.parametrize("name", ["head", "solved", "damaged_head", "side_by_side"])
def test_a_head_on_kept_features_is_the_same_to_the_last_bit(several, alone, name):
    expected, found = alone(name), load(several / name)
    assert differences(expected["state_dict"], found["state_dict"]) == []
    assert differences(expected["history"], found["history"]) == []
    assert differences(expected["bad"], found["bad"]) == []


@pytest.mark.parametrize("name", ["whole", "rich", "uncached", "damaged", "memory", "resumed"])
def test_shared_steps_are_those_of_one_process(several, alone, name):
    """Batches of 5, 5 and 2: the last is too small for two processes, unreadable pictures leave holes."""
    expected, found = alone(name), load(several / name)
    assert farthest(expected["state_dict"], found["state_dict"]) < 1e-6
    for row, other in zip(expected["history"], found["history"], strict=True):
        assert row["train_loss"] == pytest.approx(other["train_loss"], abs=1e-5)
        assert row["train_accuracy"] == other["train_accuracy"]
        assert (row["val_accuracy"], row["num_bad"]) == (other["val_accuracy"], other["num_bad"])


def test_mixing_trains(several):
    assert len(load(several / "mixed")["history"]) == 2


def test_running_statistics_are_those_of_the_whole_batch(several, settings, tmp_path):
    """Of the first BatchNorm: those behind it see what the shares made of it."""
    found = load(several / "norms")["state_dict"]
    expected = train(settings["norms"], tmp_path / "norms")["state_dict"]
    (first,) = [
        name
        for name in expected
        if name.endswith("0.0.1.running_mean") or name.endswith("features.0.1.running_mean")
    ][:1]
    assert not torch.equal(expected[first], torch.zeros_like(expected[first]))
    assert torch.allclose(expected[first], found[first], atol=1e-6)
    variance = first.replace("running_mean", "running_var")
    parts = [10 * (each[variance] - 0.9) for each in (expected, found)]  # what the step alone has seen
    torch.testing.assert_close(parts[1], parts[0], rtol=2.5e-5, atol=0)  # 4e-5 without what lies between
    counter = first.replace("running_mean", "num_batches_tracked")
    assert expected[counter] == found[counter] == 1


def test_every_machine_gets_all_features_into_its_own_cache(several, monkeypatch):
    sizes = []
    for rank in (0, 1):
        monkeypatch.setenv("CATDOG_CACHE", str(several / f"cache-{rank}"))
        sizes.append(sorted(store["rows"] for store in list_stores()))
    assert sizes == [[18], [18]]


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("too_damaged", "DataError: 3 of 18 pictures cannot be read, more than --max-bad-fraction 0.1"),
        ("fails", "CatdogError: The disk of process 2 is on fire"),
        ("no_memory", "CatdogError: Out of memory with one picture at a time: give a smaller --image-size"),
        ("stopped", "InterruptedRunError: Stopped in epoch 2 of phase 'p', all is saved."),
    ],
)
def test_what_ends_one_process_ends_all_with_its_reason(several, name, error):
    assert [each["error"][: len(error)] for each in logged(several, name)] == [error, error]


def test_a_bug_in_one_process_is_named_in_the_others(several):
    first, second = logged(several, "breaks")
    assert second["error"] == "ValueError: a bug"
    assert first["error"] == "CatdogError: Process 2 of 2 failed (ValueError: a bug): see what it printed."


def test_memory_of_one_process_is_known_to_all(several):
    assert [each["sizes"] for each in logged(several, "memory")] == [[1], [1]]
    assert load(several / "memory")["micro_batch_size"] == 1


def test_two_stop_and_one_goes_on(several, alone, tmp_path):
    run_dir = shutil.copytree(several / "stopped", tmp_path / "copy")
    assert load(run_dir)["step"] == 1
    assert farthest(alone("stopped")["state_dict"], resume(run_dir)["state_dict"]) < 1e-6


def test_prediction_in_shares_is_the_same_to_the_last_bit(several, few):
    predictor = Predictor.load(several / "norms", device="cpu", precision="fp32")
    answers = predictor.predict([*sorted(few.rglob("*.png")), "missing.png"])
    expected = [answer.error or answer.probabilities.tolist() for answer in answers]
    assert json.loads((several / "answers.json").read_text()) == expected
    assert "missing.png" in expected[-1]


@pytest.mark.parametrize("rank", [1])
def test_a_killed_process_ends_the_run_which_goes_on_where_it_was(few, tmp_path, rank):
    """The main process saves what the last whole step left; one process alone can go on with it."""
    tiny = ["--arch", "simple_cnn", "--image-size", "32", "--cpu", "--precision", "fp32", "--batch-size", "5"]
    command = ["catdog_cli", "train", str(few), *tiny, "--epochs", "1000", "--output", str(tmp_path / "run")]
    with (tmp_path / "talk").open("w+") as talk:
        launcher = subprocess.Popen(
            [*LAUNCH, *command], env=environment(), stderr=talk, start_new_session=True
        )
        try:
            _wait_for(lambda: "scratch 2/1000" in (tmp_path / "talk").read_text(), launcher)
            os.kill(_child(launcher.pid, rank), signal.SIGKILL)
            assert launcher.wait(PATIENCE_S) == 1
        finally:
            launcher.kill()
    said = (tmp_path / "talk").read_text()
    assert said.count("\nError: ") == 1
    assert f"to resume: catdog train --resume {tmp_path / 'run'}" in said
    content = load(tmp_path / "run")
    done = content["epoch"]
    assert done >= 2
    events = Events()
    run.resume(tmp_path / "run", run.Changes(epochs=done + 1), events)
    assert [row["epoch"] for row in load(tmp_path / "run")["history"]] == list(range(1, done + 2))


def _wait_for(condition, process, seconds=PATIENCE_S):
    for _ in range(seconds * 20):
        if condition():
            return
        assert process.poll() is None
        time.sleep(0.05)
    raise AssertionError("nothing came")


def _child(launcher: int, rank: int) -> int:
    """Return the process that `launcher` started as number `rank`."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == launcher and f"\0RANK={rank}\0" in (path / "environ").read_text():
                return int(path.name)
        except (OSError, UnicodeDecodeError):
            continue
    raise AssertionError(f"no process has rank {rank}")
