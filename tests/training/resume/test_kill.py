"""Killed at any moment, a run that goes on ends with the bits of one that nothing disturbed.

A kill is an exception that no code catches; what a process would have cleaned up stays as it was. Real kills
of real processes: `scripts/torture`, and its short form in tests/test_torture.py.
"""

import os
from pathlib import Path

import pytest
import torch

from catdog_cli.errors import CatdogError, CheckpointError
from catdog_cli.runs.checkpoint import load_checkpoint
from catdog_cli.settings import Phase
from catdog_cli.training import run
from catdog_cli.training.loop import train_step

from ..runs import Events, differences, load, resume, settings_for, train

PHASES = (
    Phase("head", 2, 1e-2, batch_size=5, ema=0.5),
    Phase("fine-tune", 2, 1e-3, unfreeze="all", batch_size=5, optimizer="sgd"),
)


class Killed(BaseException):
    """Stands for SIGKILL."""


@pytest.fixture(scope="module")
def straight(few, tmp_path_factory):
    """Return last.pt and best.pt of the undisturbed run, and its files."""
    folder = tmp_path_factory.mktemp("straight") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CATDOG_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(os, "fsync", lambda descriptor: None)
        last = train(settings_for(few, *PHASES), folder)
    return last, load(folder, "best.pt"), sorted(path.name for path in folder.iterdir())


def train_until(monkeypatch, settings, run_dir, batches: int):
    """Train until so many batches are done, then die."""
    done = []

    def report(event):
        done.append(event.kind) if event.kind == "batch" else None
        if len(done) == batches:
            raise Killed

    with pytest.raises(Killed):
        run.train(settings, run_dir, report)


def without_settings(content: dict) -> dict:
    return {name: value for name, value in content.items() if name != "settings"}


@pytest.mark.parametrize("save_every", ["1", "2b", "off"])
@pytest.mark.parametrize("batches", [2, 7, 11])
def test_a_kill_loses_at_most_what_was_not_saved(few, tmp_path, monkeypatch, straight, save_every, batches):
    settings = settings_for(few, *PHASES, save_every=save_every)
    train_until(monkeypatch, settings, tmp_path / "run", batches)
    last, best, files = straight
    assert differences(without_settings(last), without_settings(resume(tmp_path / "run"))) == []
    assert differences(best, load(tmp_path / "run", "best.pt")) == []
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == files


def test_save_every_so_many_batches_saves_within_an_epoch(few, tmp_path, monkeypatch):
    train_until(monkeypatch, settings_for(few, *PHASES, save_every="1"), tmp_path / "run", 3)
    assert load(tmp_path / "run")["step"] == 2
    events = Events()
    resume(tmp_path / "run", events)
    done = [facts["done"] for facts in events.of("batch")]
    assert done[0] == 3  # the third batch alone is made again


def test_save_every_so_much_time(few, tmp_path, monkeypatch):
    settings = settings_for(few, *PHASES, save_every="10m")
    now = [0.0]
    monkeypatch.setattr("catdog_cli.training.checkpointing.time.monotonic", lambda: now[0])
    saved = []

    def report(event):
        if event.kind == "batch":
            now[0] += {1: 599, 2: 1, 3: -5000}.get(event.done, 0)
            saved.append(load(tmp_path / "run")["step"] if (tmp_path / "run" / "last.pt").exists() else None)
            if event.epoch == 2:
                raise Killed

    with pytest.raises(Killed):
        run.train(settings, tmp_path / "run", report)
    assert saved == [None, None, 2, 0]  # at 600 s, then at the epoch's end


def test_best_is_written_only_when_it_changed(few, tmp_path, monkeypatch):
    written = []
    real = torch.save
    monkeypatch.setattr(torch, "save", lambda content, file: (written.append(file.name), real(content, file)))
    content = train(settings_for(few, *PHASES, save_every="1"), tmp_path / "run")
    improved = [row["val_loss"] for row in content["history"]]
    lasts = sum(Path(name).name.startswith(".last.pt") for name in written)
    bests = sum(Path(name).name.startswith(".best.pt") for name in written)
    assert lasts >= 12
    assert 1 <= bests <= len(improved)


# --- killed while it writes


class Saboteur:
    """Dies at the `at`-th step of writing files, leaving what a killed process leaves."""

    def __init__(self, monkeypatch, at: int):
        self.at, self.steps = at, 0
        real_save, real_replace, real_unlink = torch.save, Path.replace, Path.unlink

        def save(content, file):
            if self.step():
                file.write(b"PK half of a checkpoint")
                file.flush()
                raise Killed
            real_save(content, file)

        def replace(path, target):
            if self.step():
                raise Killed
            done = real_replace(path, target)
            if self.step():
                raise Killed
            return done

        def unlink(path, missing_ok=False):
            if self.steps < self.at:
                real_unlink(path, missing_ok=missing_ok)

        def sync(descriptor):
            if self.step():
                raise Killed

        monkeypatch.setattr(torch, "save", save)
        monkeypatch.setattr(Path, "replace", replace)
        monkeypatch.setattr(Path, "unlink", unlink)
        monkeypatch.setattr(os, "fsync", sync)

    def step(self) -> bool:
        """Count a step and say whether it is the one to die at."""
        self.steps += 1
        return self.steps == self.at


def count_steps(few, tmp_path, settings) -> int:
    train(settings, tmp_path / "first")  # fills the cache, which is written to, too
    with pytest.MonkeyPatch.context() as patch:
        counter = Saboteur(patch, at=10**9)
        train(settings, tmp_path / "counted")
    return counter.steps


def test_killed_at_any_step_of_writing(few, tmp_path, straight, monkeypatch):
    monkeypatch.setattr("catdog_cli.training.checkpointing.SAVE_SHARE", 1e9)  # no save is left out
    settings = settings_for(few, *PHASES, save_every="2")
    steps = count_steps(few, tmp_path, settings)
    last, best, files = straight
    tried = range(1, steps, max(1, steps // 10))
    for at in tried:
        run_dir = tmp_path / str(at)
        with pytest.MonkeyPatch.context() as patch:
            Saboteur(patch, at)
            with pytest.raises(Killed):
                run.train(settings, run_dir, Events())
        for path in run_dir.glob("*.pt"):
            load_checkpoint(path, resume=path.name == "last.pt")
        if not (run_dir / "settings.json").exists():
            ours = train(settings, run_dir)
        else:
            ours = resume(run_dir)
        assert differences(without_settings(last), without_settings(ours)) == [], at
        assert differences(best, load(run_dir, "best.pt")) == [], at
        assert sorted(path.name for path in run_dir.iterdir() if path.name != ".lock") == files, at
    assert len(tried) >= 10


# --- before the first save


def test_a_run_that_saved_nothing_begins_again(few, tmp_path, monkeypatch, straight):
    settings = settings_for(few, *PHASES, save_every="off")
    train_until(monkeypatch, settings, tmp_path / "run", 1)
    assert not (tmp_path / "run" / "last.pt").exists()
    events = Events()
    ours = resume(tmp_path / "run", events)
    assert len(events.of("begin_again")) == 1
    assert differences(without_settings(straight[0]), without_settings(ours)) == []


def test_the_same_command_works_again_where_nothing_was_saved(few, tmp_path, monkeypatch, straight):
    settings = settings_for(few, *PHASES, save_every="off")
    train_until(monkeypatch, settings, tmp_path / "run", 1)
    ours = train(settings, tmp_path / "run")
    assert differences(without_settings(straight[0]), without_settings(ours)) == []


def test_a_run_that_lost_its_last_checkpoint_is_not_written_over(few, tmp_path):
    train(settings_for(few), tmp_path / "run")
    (tmp_path / "run" / "last.pt").unlink()
    best = (tmp_path / "run" / "best.pt").read_bytes()
    with pytest.raises(CheckpointError, match=r"has lost its last\.pt, without which it cannot be resumed"):
        resume(tmp_path / "run")
    with pytest.raises(CatdogError, match="holds a run already"):
        train(settings_for(few), tmp_path / "run")
    assert (tmp_path / "run" / "best.pt").read_bytes() == best


def test_settings_that_cannot_be_read(tmp_path):
    (tmp_path / "settings.json").write_text('{"data": ')
    with pytest.raises(CheckpointError, match=r"Cannot read .*settings\.json.* start a new run"):
        resume(tmp_path)


def test_what_a_killed_process_left_is_swept_away(few, tmp_path):
    train(settings_for(few), tmp_path / "run")
    (tmp_path / "run" / "reports").mkdir()
    left_over = [tmp_path / "run" / ".last.pt.123.tmp", tmp_path / "run" / "reports" / ".a.png.4.tmp"]
    for path in left_over:
        path.write_bytes(b"half")
    (tmp_path / "run" / ".notes.tmp").write_text("the user's")
    resume(tmp_path / "run")
    assert not any(path.exists() for path in left_over)
    assert (tmp_path / "run" / ".notes.tmp").exists()


def test_ruined_weights_are_not_saved_over_good_ones(few, tmp_path, monkeypatch):
    real, steps = train_step, []

    def ruin(run, *arguments):
        real(run, *arguments)
        steps.append(1)
        if len(steps) == 2:
            run.classifier.head.output.bias.data.fill_(float("inf"))

    monkeypatch.setattr("catdog_cli.training.loop.train_step", ruin)
    settings = settings_for(few, *PHASES, save_every="1")
    with pytest.raises(CatdogError, match=r"The weights became NaN in phase 'head': lower the learning rate"):
        train(settings, tmp_path / "run")
    assert load_checkpoint(tmp_path / "run", "last.pt", resume=True)["step"] == 1
