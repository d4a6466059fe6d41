"""`catdog train` on tiny pictures: files, documents, option files, refusals, resume, signals."""

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

from catdog_cli.cli import run
from catdog_cli.features.store import cache_root
from catdog_cli.runs.directory import RunDirectory
from tests.commands.trained import call, train_tiny
from tests.conftest import PATIENCE_S, one_thread, save_network, write_images
from tests.training.runs import differences, load

TINY = ("--arch", "simple_cnn", "--weights", "none", "--image-size", "32", "--cpu")
FILES = {"settings.json", "history.jsonl", "split.csv", "curves.png", "last.pt", "best.pt", "reports"}


@pytest.fixture(autouse=True, scope="module")
def _no_mlflow():
    """Follow no server that an earlier test, or the user, has named."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
            patch.delenv(name)
        yield


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Give torch one thread, as the processes of the signal tests have."""
    with one_thread():
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    counts = {"train/cats": 6, "train/dogs": 6, "val/cats": 3, "val/dogs": 3}
    return write_images(tmp_path_factory.mktemp("data") / "pets", counts)


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """Return the run directory of a finished training; tests only read it."""
    return train_tiny(data, tmp_path_factory.mktemp("finished") / "run", "--epochs", "2")


def settings_of(run_dir):
    return json.loads((run_dir / "settings.json").read_text())


def error_of(capsys, *arguments, code=1) -> str:
    """Run a command that must fail with exit code `code` and one sentence, and return it."""
    capsys.readouterr()
    assert run([*map(str, arguments)]) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    return printed.err.splitlines()[-1]


@pytest.mark.plots
def test_a_run_directory_holds_exactly_these_files(finished):
    assert {path.name for path in finished.iterdir()} == FILES
    assert [path.name for path in (finished / "reports").iterdir()] == ["1-scratch"]
    rows = [json.loads(line) for line in (finished / "history.jsonl").read_text().splitlines()]
    assert [(row["phase_name"], row["epoch"]) for row in rows] == [("scratch", 1), ("scratch", 2)]
    assert {"train_loss", "val_loss", "val_accuracy", "learning_rate", "num_bad", "seconds"} <= set(rows[0])
    assert (finished / "split.csv").read_text().count("\n") >= 18
    assert (finished / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_json_is_one_document_and_the_talk_is_elsewhere(capsys, data, tmp_path):
    code, found, talk = call(capsys, "train", data, *TINY, "--epochs", 2, "--output", tmp_path / "run")
    assert code == 0
    assert set(found) == {"run_dir", "checkpoint", "best", "num_classes", "seconds"}
    assert found["run_dir"] == str(tmp_path / "run")
    assert Path(found["checkpoint"]).is_file()
    assert found["num_classes"] == 2
    assert found["seconds"] > 0
    best = load(tmp_path / "run", "best.pt")["best"]
    expected = {"phase": "scratch", "epoch": best["epoch"]}
    assert found["best"] == expected | {"accuracy": best["val_accuracy"], "loss": best["val_loss"]}
    assert "scratch 2/2" in talk
    assert f"catdog predict PICTURE {tmp_path / 'run'}" in talk


def test_runs_are_numbered_where_no_output_is_given(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in (1, 2):
        assert run(["train", str(data), *TINY, "--epochs", "1"]) == 0
        assert (tmp_path / "checkpoints" / f"simple_cnn-{number}" / "best.pt").is_file()


def test_a_number_is_taken_once_and_given_back_unused(capsys, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "simple_cnn-1").write_text("a file")
    taken = [RunDirectory.reserve(Path("checkpoints"), "simple_cnn").path.name for _ in range(2)]
    assert taken == ["simple_cnn-2", "simple_cnn-3"]
    assert "does not exist" in error_of(capsys, "train", tmp_path / "nothing", *TINY)
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {"simple_cnn-1", *taken}


def test_a_place_for_numbered_runs_that_cannot_be_made(capsys, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "checkpoints").write_text("a file")
    logged = error_of(capsys, "train", data, *TINY)
    assert "Cannot make the folder 'checkpoints' (File exists): choose another --output." in logged


def test_fine_tuning_defaults_to_a_hundredth_of_the_rate_and_everything(data, tmp_path):
    weights = save_network("resnet18", tmp_path / "resnet18.pth")
    options = ["--arch", "resnet18", "--weights", str(weights), "--image-size", "32", "--cpu"]
    more = ["--epochs", "1", "--learning-rate", "0.01", "--fine-tune-epochs", "1", "--precision", "fp32"]
    assert run(["train", str(data), *options, *more, "--output", str(tmp_path / "run")]) == 0
    head, fine = settings_of(tmp_path / "run")["phases"]
    assert (head["name"], head["unfreeze"], head["learning_rate"]) == ("head", 0, 0.01)
    assert (fine["name"], fine["unfreeze"]) == ("fine-tune", "all")
    assert fine["learning_rate"] == pytest.approx(1e-4)
    assert {path.name for path in (tmp_path / "run" / "reports").iterdir()} == {"1-head", "2-fine-tune"}


OPTIONS = {
    "hidden-layers": "16,8",
    "dropout": "0.3,0.1",
    "activation": "silu",
    "head-norm": "layer",
    "head": "cosine",
    "learning-rate": "0.02",
    "fine-tune-epochs": "1",
    "fine-tune-learning-rate": "0.003",
    "unfreeze": "4",
    "batch-size": "5",
    "optimizer": "sgd",
    "weight-decay": "0.001",
    "scheduler": "cosine",
    "warmup-epochs": "0.5",
    "label-smoothing": "0.1",
    "class-weights": "balanced",
    "sampler": "balanced",
    "augment": "light",
    "views": "2",
    "mixup": "0.2",
    "cutmix": "0.3",
    "layer-decay": "0.9",
    "clip-norm": "2",
    "ema": "0.5",
    "patience": "7",
    "min-delta": "0.001",
    "monitor": "f1",
    "seed": "3",
    "val-fraction": "0.3",
    "workers": "0",
    "cache-limit": "2",
    "max-bad-fraction": "0.2",
    "precision": "fp32",
    "save-every": "90s",
}


def test_every_option_reaches_the_settings(data, tmp_path):
    given = [part for name, value in OPTIONS.items() for part in (f"--{name}", value)]
    assert run(["train", str(data), *TINY, "--epochs", "1", *given, "--output", str(tmp_path / "run")]) == 0
    found = settings_of(tmp_path / "run")
    first, second = found["phases"]
    own = {**found, **found["head"], **first}
    for name in ("hidden_layers", "dropout"):
        own[name] = ",".join(map(str, own[name]))
    of_second = {
        "fine-tune-epochs": "epochs",
        "fine-tune-learning-rate": "learning_rate",
        "unfreeze": "unfreeze",
    }
    for name, value in OPTIONS.items():
        actual = second[of_second[name]] if name in of_second else own[name.replace("-", "_")]
        assert str(actual) == value or float(actual) == float(value), name
    assert (found["cache"], found["device"]) == (True, "cpu")


def test_option_file_and_the_command_line_wins(data, tmp_path):
    config = tmp_path / "options.toml"
    config.write_text(
        'arch = "simple_cnn"\nweights = "none"\nimage-size = 32\nhidden-layers = [4]\n'
        "epochs = 3\nbatch_size = 5\n"
        f'cache = false\nsave-every = 200\noutput = "{tmp_path / "run"}"\n'
    )
    assert run(["train", str(data), "--config", str(config), "--epochs", "1", "--cpu"]) == 0
    found = settings_of(tmp_path / "run")
    assert (found["arch"], found["image_size"], found["head"]["hidden_layers"]) == ("simple_cnn", 32, [4])
    assert (found["phases"][0]["epochs"], found["phases"][0]["batch_size"]) == (1, 5)
    assert found["cache"] is False
    assert found["save_every"] == "200"


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("epoch = 3", "has the unknown option 'epoch'"),
        ("epochs = ", "Cannot read the option file"),
        ('epochs = "three"', "epochs is 'three'"),
        ("epochs = 2.5", "epochs is 2.5"),
        ("cache = 1", "cache is 1"),
        ('hidden-layers = "a"', "'a' is not a list of whole numbers"),
        (None, "Cannot read the option file"),
    ],
)
def test_wrong_option_file(capsys, data, tmp_path, text, match):
    config = tmp_path / "options.toml"
    if text is not None:
        config.write_text(text)
    capsys.readouterr()
    code = run(["train", str(data), *TINY, "--config", str(config), "--output", str(tmp_path / "run")])
    assert code in (1, 2)
    assert match in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_dry_run_says_all_and_writes_nothing(capsys, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = sorted(path for path in data.rglob("*"))
    assert run(["train", str(data), *TINY, "--epochs", "2", "--dry-run"]) == 0
    printed = capsys.readouterr().out
    for fact in (
        "2 classes",
        "cats 6, dogs 6",
        "cats 3, dogs 3",
        "on cpu in ",
        "Memory about ",
        "Time about ",
    ):
        assert fact in printed
    code, facts, _ = call(capsys, "train", data, *TINY, "--epochs", 2, "--dry-run")
    assert code == 0
    assert facts["pictures"]["train"] == {"cats": 6, "dogs": 6}
    assert facts["seconds"] > 0
    assert facts["memory_bytes"] > 0
    assert list(tmp_path.iterdir()) == []
    assert sorted(path for path in data.rglob("*")) == before
    assert not cache_root().exists() or list(cache_root().iterdir()) == []


def test_dry_run_fails_as_the_run_would(capsys, tmp_path):
    one = write_images(tmp_path / "one", {"train/cats": 3, "val/cats": 2})
    assert "one class only" in error_of(capsys, "train", one, *TINY, "--dry-run")


def test_old_run_is_refused(capsys, data, finished):
    before = (finished / "last.pt").read_bytes()
    logged = error_of(capsys, "train", data, *TINY, "--output", finished)
    assert "holds a run already" in logged
    assert "--resume" in logged
    assert (finished / "last.pt").read_bytes() == before


@pytest.mark.parametrize("below", ["file", "file/run", "/proc/nowhere/run"])
def test_output_that_cannot_be_written(capsys, data, tmp_path, below):
    (tmp_path / "file").write_text("in the way")
    logged = error_of(capsys, "train", data, *TINY, "--epochs", 1, "--output", tmp_path / below)
    assert "choose another --output" in logged
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.skipif(torch.cuda.is_available() or torch.backends.mps.is_available(), reason="there is a GPU")
def test_gpu_where_there_is_none(capsys, data, tmp_path):
    logged = error_of(capsys, "train", data, *TINY[:-1], "--gpu", "--output", tmp_path / "run")
    assert "--gpu was given, but torch finds no usable GPU" in logged
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--epochs", "1"),
        ("DATA", "--no-such-option"),
        ("DATA", "--epochs", "many"),
        ("DATA", "--optimizer", "magic"),
        ("--resume", "RUN", "--dry-run"),
        ("--resume", "RUN", "--output", "other"),
    ],
)
def test_wrong_usage_exits_with_2(capsys, data, finished, arguments):
    known = {"DATA": str(data), "RUN": str(finished)}
    capsys.readouterr()
    assert run(["train", *(known.get(part, part) for part in arguments)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "Error" in printed.err


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (("--unfreeze", "all"), "--unfreeze belongs to a second phase: add --fine-tune-epochs"),
        (("--fine-tune-learning-rate", "1"), "--fine-tune-learning-rate belongs to a second phase"),
        (("--learning-rate", "-1"), "learning rate is -1"),
        (("--epochs", "0"), "epochs is 0, but must be a whole number of at least 1"),
        (("--epochs", "-1"), "epochs is -1, but must be a whole number of at least 1"),
        (("--dropout", "1.5"), "dropout is 1.5"),
        (("--arch", "resnet19"), "Unknown arch 'resnet19': did you mean resnet18"),
        (("--image-size", "4"), "image size is 4"),
        (("--image-size", "0"), "image size is 0, but must be a whole number from 8 to 4096"),
        (("--weights", "imagnet"), "No weights file 'imagnet'"),
        (("--recipe", "bset"), "No recipe 'bset': give a TOML file, or one of best"),
        (("--optimizer", "lbfgs", "--epochs", "2"), "lbfgs reaches the optimum in one epoch"),
    ],
)
def test_what_makes_no_sense_is_one_sentence_and_wrong_usage(capsys, data, tmp_path, options, match):
    assert match in error_of(capsys, "train", data, *TINY, "--output", tmp_path / "run", *options, code=2)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (("--weights", "missing.pth"), "missing.pth"),
        (("--recipe", "missing.toml"), "No recipe 'missing.toml'"),
        (("--config", "missing.toml"), "Cannot read the option file 'missing.toml'"),
        (("--learning-rate", "1e30", "--optimizer", "sgd"), "phase 'scratch'"),
    ],
)
def test_what_is_not_there_or_fails_is_one_sentence(capsys, data, tmp_path, options, match):
    assert match in error_of(capsys, "train", data, *TINY, "--output", tmp_path / "run", *options)


def test_a_fraction_that_changes_nothing_is_said(capsys, data, tmp_path):
    options = (*TINY, "--epochs", "1", "--dry-run")
    logged = [call(capsys, "train", data, *options, "--val-fraction", share)[2] for share in ("0.2", "0.4")]
    assert "changes nothing" not in logged[0]
    assert f"Warning: {str(data)!r} has val already: --val-fraction 0.4 changes nothing." in logged[1]


def test_data_that_is_not_there(capsys, tmp_path):
    assert "does not exist" in error_of(capsys, "train", tmp_path / "nothing", *TINY)


@pytest.mark.parametrize(
    "option",
    [
        ("--arch", "resnet18"),
        ("--weights", "imagenet"),
        ("--hidden-layers", "4"),
        ("--dropout", "0.1"),
        ("--image-size", "64"),
        ("--learning-rate", "0.1"),
        ("--batch-size", "2"),
        ("--seed", "1"),
        ("--precision", "bf16"),
        ("--recipe", "partial"),
    ],
)
def test_resume_refuses_by_name_what_would_change_the_run(capsys, finished, option):
    logged = error_of(capsys, "train", "--resume", finished, *option, code=2)
    assert logged.startswith(f"Error: {option[0]} cannot change on resume")


def test_resume_takes_the_command_line_of_the_run(capsys, finished, tmp_path):
    copy = shutil.copytree(finished, tmp_path / "run")
    same = ("--arch", "Simple-CNN", "--weights", "none", "--learning-rate", "0.001", "--seed", "0")
    code, found, talk = call(capsys, "train", "--resume", copy, *TINY, *same, "--epochs", "2")
    assert (code, found["run_dir"]) == (0, str(copy))
    assert "all epochs are done" in talk


def test_resume_extends_a_run_by_its_directory_and_by_its_checkpoint(capsys, data, tmp_path):
    straight = train_tiny(data, tmp_path / "straight", "--epochs", "3")
    stopped = train_tiny(data, tmp_path / "stopped", "--epochs", "1")
    code, found, talk = call(capsys, "train", "--resume", stopped, "--epochs", 2)
    assert (code, found["run_dir"]) == (0, str(stopped))
    assert "2 (given now) wins over 1" in talk
    assert "all epochs are done" not in talk
    code, _, _ = call(
        capsys, "train", "--resume", stopped / "last.pt", "--epochs", 3, "--cpu", "--workers", 0
    )
    assert code == 0
    _, _, talk = call(capsys, "train", "--resume", stopped)
    assert "all epochs are done: --epochs N with more than 3 makes the run longer" in talk
    ours, theirs = load(straight), load(stopped)
    for part in ("state_dict", "history", "optimizer", "best", "patience"):
        assert differences(ours[part], theirs[part], part) == []
    assert {path.name for path in stopped.iterdir()} == FILES
    assert settings_of(stopped)["phases"][0]["epochs"] == 3


@pytest.mark.parametrize(
    ("path", "match"),
    [("nothing", "No checkpoint at"), (".", r"No last.pt in"), ("damaged.pt", "damaged")],
)
def test_resume_of_nothing(capsys, tmp_path, path, match):
    (tmp_path / "damaged.pt").write_bytes(b"PK\x03\x04 not a checkpoint")
    assert match in error_of(capsys, "train", "--resume", tmp_path / path)


def test_unreadable_pictures_are_named(capsys, data, tmp_path):
    copy = shutil.copytree(data, tmp_path / "data")
    (copy / "train" / "cats" / "3.png").write_bytes(b"nothing")
    arguments = ["train", copy, *TINY, "--epochs", 1, "--output"]
    code, _, talk = call(capsys, *arguments, tmp_path / "run", "--max-bad-fraction", 0.1)
    assert code == 0
    assert "Skipped: " in talk
    assert "3.png" in talk
    capsys.readouterr()
    assert run([*map(str, arguments), str(tmp_path / "strict")]) == 1
    logged = capsys.readouterr().err
    assert "1 of 18 pictures cannot be read, more than --max-bad-fraction 0.01 allows" in logged
    assert "cats/3.png" in logged


def test_imbalance_is_pointed_out(capsys, tmp_path):
    counts = {"train/cats": 12, "train/dogs": 3, "val/cats": 2, "val/dogs": 2}
    uneven = write_images(tmp_path / "uneven", counts)
    _, _, talk = call(capsys, "train", uneven, *TINY, "--epochs", 1, "--output", tmp_path / "run")
    assert "--class-weights balanced or --sampler balanced" in " ".join(talk.split())


@pytest.fixture(scope="module")
def stopped(data, tmp_path_factory):
    """Start two trainings in processes of their own, send each a signal, return what became of them."""
    folder = tmp_path_factory.mktemp("stopped")
    settings = {"OMP_NUM_THREADS": "1", "GLIBC_TUNABLES": "", "CATDOG_CACHE": str(folder / "cache")}
    started = {}
    for name in ("SIGINT", "SIGTERM"):
        options = [*TINY, "--epochs", "100000", "--batch-size", "4", "--output", str(folder / name)]
        command = [sys.executable, "-m", "catdog_cli", "train", str(data), *options]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started[name] = subprocess.Popen(command, env={**os.environ, **settings}, **pipes)
    found = {}
    for name, process in started.items():
        deadline = time.monotonic() + PATIENCE_S
        while not (folder / name / "history.jsonl").exists() and time.monotonic() < deadline:
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        process.send_signal(getattr(signal, name))
        out, err = process.communicate(timeout=PATIENCE_S)
        found[name] = (folder / name, process.returncode, out, err)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_signal_finishes_the_batch_and_a_resume_gives_the_undisturbed_run(data, tmp_path, stopped, name):
    run_dir, code, out, err = stopped[name]
    assert (code, out) == (130, "")
    assert "Stopping after this batch" in err
    assert err.splitlines()[-1].endswith(f"catdog train --resume {run_dir}")
    assert "Traceback" not in err
    epochs = load(run_dir)["epoch"] + 1
    assert run(["train", "--resume", str(run_dir), "--epochs", str(epochs)]) == 0
    options = ["--epochs", str(epochs), "--batch-size", "4"]
    straight = train_tiny(data, tmp_path / "straight", *options)
    assert differences(load(straight), load(run_dir)) == []
    assert differences(load(straight, "best.pt"), load(run_dir, "best.pt")) == []
