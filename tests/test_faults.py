"""Full disks, read-only ones, lost folders, broken clocks: one sentence, exit 1, and nothing is lost."""

import errno
import itertools
import os
import random
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from catdog_cli import plots
from catdog_cli.cli import run
from catdog_cli.runs.checkpoint import load_checkpoint
from catdog_cli.runs.compare_runs import compare_runs, find_damage
from catdog_cli.runtime import startup
from catdog_cli.training import reports
from tests.conftest import one_thread, write_images

TINY = ("--image-size", "32", "--cpu", "--workers", "0", "--batch-size", "5", "--save-every", "2")
RECIPES = {
    "scratch": ("--arch", "simple_cnn", "--epochs", "3"),
    "head": ("--arch", "simple_cnn", "--weights", "WEIGHTS", "--epochs", "3", "--fine-tune-epochs", "1"),
}
NOBODY = 65534
EVERYBODYS = tempfile.gettempdir()  # asked at import: that of the tests is root's alone
WRITE_REPORT, PLOT_CURVES = reports.write_phase_report, plots.plot_curves


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Keep one thread for the undisturbed runs, too: two add up in another order."""
    with one_thread():
        yield


@pytest.fixture(scope="module", autouse=True)
def _no_reports():
    """Write no reports: they take longer than all the rest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reports, "write_phase_report", lambda *arguments: None)
        yield


@pytest.fixture(scope="module")
def place(_no_reports, _one_thread):
    """Return a folder with the data, weights, and an undisturbed run of each recipe, named as it."""
    with tempfile.TemporaryDirectory(prefix="catdog-test-", dir=EVERYBODYS) as folder:
        Path(folder).chmod(0o755)  # for whoever a test becomes
        yield fill_place(Path(folder))


def fill_place(folder: Path) -> Path:
    counts = {"train/cats": 12, "train/dogs": 12, "val/cats": 6, "val/dogs": 6}
    write_images(folder / "data", counts)
    save_network_of_simple_cnn(folder / "weights.pth")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CATDOG_CACHE", str(folder / "cache"))
        for recipe in RECIPES:
            assert run(words(folder, recipe, folder / recipe)) == 0
    return folder


def save_network_of_simple_cnn(path: Path) -> None:
    import torch

    from catdog_cli.models.zoo.registry import source_of

    torch.manual_seed(1)
    torch.save(source_of("simple_cnn").build("simple_cnn").state_dict(), path)


def words(folder: Path, recipe: str, run_dir: Path, *more: str) -> list[str]:
    """Return the arguments of `catdog` that train a recipe."""
    options = [str(folder / "weights.pth") if word == "WEIGHTS" else word for word in RECIPES[recipe]]
    return ["train", str(folder / "data"), *options, *TINY, *more, "--output", str(run_dir)]


def at(monkeypatch, kind: str, number: int, action) -> None:
    """Let `action` happen the `number`-th time that training sends `kind`, before any listener gets it."""
    real, times = reports.ReportWriter.__call__, itertools.count(1)

    def wrapped(self, event):
        if event.kind == kind and next(times) == number:
            action()
        return real(self, event)

    monkeypatch.setattr(reports.ReportWriter, "__call__", wrapped)


def error_of(capsys, arguments: list[str]) -> str:
    """Run what must fail with exit code 1 and one sentence, and return that."""
    capsys.readouterr()
    assert run(arguments) == 1
    logged = capsys.readouterr().err
    assert "Traceback" not in logged
    return logged[logged.index("Error: ") :]


def check_whole(run_dir: Path) -> None:
    """See that nothing is half-written, nor left over."""
    assert find_damage(run_dir) == []
    assert [path.name for path in run_dir.rglob(".*") if path.name != ".lock"] == []


def check_goes_on(capsys, monkeypatch, place: Path, recipe: str, run_dir: Path) -> None:
    """See that the run goes on to what it would have been."""
    monkeypatch.undo()
    monkeypatch.setenv("CATDOG_CACHE", str(place / "cache"))
    assert run(["train", "--resume", str(run_dir)]) == 0
    assert compare_runs(place / recipe, run_dir) == []
    capsys.readouterr()


# --- disks


@pytest.fixture
def small_disk(tmp_path):
    """Mount a file system of 40 MB and return its folder."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root, where it may mount, can make a small disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path, leave_bytes: int = 0) -> None:
    """Fill a disk up to so many bytes."""
    with (folder / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            file.truncate(max(0, file.tell() - leave_bytes))


@pytest.mark.parametrize(
    ("kind", "number", "leave_bytes"), [("setup", 1, 100_000), ("batch", 8, 0), ("epoch", 3, 100_000)]
)
def test_a_full_disk(capsys, monkeypatch, place, small_disk, kind, number, leave_bytes):
    run_dir = small_disk / "run"
    at(monkeypatch, kind, number, lambda: fill(small_disk, leave_bytes))
    logged = error_of(capsys, words(place, "scratch", run_dir))
    assert "pt' (No space left on device): free space or choose another --output" in logged
    check_whole(run_dir)
    if kind != "setup":
        assert "what was saved before is intact" in logged
        load_checkpoint(run_dir, "last.pt", resume=True)
    (small_disk / "filler").unlink()
    check_goes_on(capsys, monkeypatch, place, "scratch", run_dir)


def test_a_disk_that_is_full_before_it_begins(capsys, monkeypatch, place, small_disk):
    fill(small_disk)
    logged = error_of(capsys, words(place, "scratch", small_disk / "run"))
    assert "split.csv' (No space left on device): choose another place" in logged
    (small_disk / "filler").unlink()
    assert run(words(place, "scratch", small_disk / "run")) == 0
    assert compare_runs(place / "scratch", small_disk / "run") == []


def test_a_report_that_cannot_be_written_is_a_warning(capsys, monkeypatch, place, small_disk):
    run_dir = small_disk / "run"
    monkeypatch.setattr(reports, "write_phase_report", WRITE_REPORT)
    monkeypatch.setattr(plots, "plot_curves", PLOT_CURVES)
    at(monkeypatch, "phase_end", 1, lambda: fill(small_disk))
    assert run(words(place, "scratch", run_dir)) == 0
    logged = capsys.readouterr().err
    assert "Warning: no report of phase 'scratch': Cannot write the picture" in logged
    assert "Warning: no curves: Cannot write the picture" in logged
    check_whole(run_dir)
    (small_disk / "filler").unlink()
    shutil.rmtree(run_dir / "reports")
    assert compare_runs(place / "scratch", run_dir) == ["curves.png: only in one of the runs"]


@pytest.mark.parametrize(("kind", "number"), [("setup", 1), ("epoch", 2)])
def test_event_files_that_cannot_be_written_are_a_warning(
    capsys, monkeypatch, place, small_disk, tmp_path, kind, number
):
    pytest.importorskip("tensorboard")
    monkeypatch.delenv(startup.PLAIN, raising=False)
    monkeypatch.setenv(startup.ENABLED, "1")  # or the thread that writes would print a traceback
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    (small_disk / "tensorboard").mkdir()
    (run_dir / "tensorboard").symlink_to(small_disk / "tensorboard")
    at(monkeypatch, kind, number, lambda: fill(small_disk))
    assert run(words(place, "scratch", run_dir, "--tensorboard")) == 0
    logged = capsys.readouterr().err
    assert "Warning: TensorBoard's files in " in logged or kind == "epoch"  # one page may be left to write to
    assert "Traceback" not in logged
    load_checkpoint(run_dir, "last.pt", resume=True)


@pytest.mark.parametrize("number", [1, 2])
def test_a_limit_of_the_size_of_files(capsys, monkeypatch, place, tmp_path, number):
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    limited = (200_000, before[1])
    at(monkeypatch, "epoch", number, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limited))
    try:
        logged = error_of(capsys, words(place, "scratch", tmp_path / "run"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "pt' (File too large): free space or choose another --output; what was saved before" in logged
    check_whole(tmp_path / "run")
    check_goes_on(capsys, monkeypatch, place, "scratch", tmp_path / "run")


def test_a_disk_that_becomes_read_only(capsys, monkeypatch, place, small_disk):
    run_dir = small_disk / "run"
    run_dir.mkdir()

    def forbid():
        subprocess.run(["mount", "--bind", str(run_dir), str(run_dir)], check=True)
        subprocess.run(["mount", "-o", "remount,ro,bind", str(run_dir)], check=True)

    at(monkeypatch, "epoch", 2, forbid)
    logged = error_of(capsys, words(place, "scratch", run_dir))
    assert "pt' (Read-only file system): free space or choose another --output; what was saved" in logged
    logged = error_of(capsys, ["train", "--resume", str(run_dir)])
    assert f"Cannot write into '{run_dir}' (Read-only file system): choose another --output, or fix" in logged
    assert run(["info", str(run_dir)]) == 0
    subprocess.run(["umount", str(run_dir)], check=True)
    check_whole(run_dir)
    check_goes_on(capsys, monkeypatch, place, "scratch", run_dir)


# --- permissions


@pytest.fixture
def open_place(place):
    """Return a folder that everybody may go through, of which the run directory will be taken away."""
    if os.geteuid():
        pytest.skip("only root can become somebody else")
    with tempfile.TemporaryDirectory(prefix="catdog-test-", dir=EVERYBODYS) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)
        os.seteuid(0)


def test_a_permission_that_is_taken_away(capsys, monkeypatch, place, open_place):
    run_dir = open_place / "run"
    at(monkeypatch, "epoch", 2, lambda: os.seteuid(NOBODY))
    logged = error_of(capsys, words(place, "scratch", run_dir))
    assert "pt' (Permission denied): free space or choose another --output; what was saved before" in logged
    logged = error_of(capsys, ["train", "--resume", str(run_dir)])
    assert f"Cannot write into '{run_dir}' (Permission denied)" in logged
    os.seteuid(0)
    check_whole(run_dir)
    check_goes_on(capsys, monkeypatch, place, "scratch", run_dir)


def test_a_folder_that_nobody_may_look_into(capsys, place, open_place):
    closed = open_place / "closed"
    closed.mkdir(mode=0o700)
    shutil.copytree(place / "data", open_place / "data")
    os.seteuid(NOBODY)
    call = ["train", str(open_place / "data"), *RECIPES["scratch"], *TINY, "--output", str(closed / "run")]
    assert "(Permission denied): choose another --output" in error_of(capsys, call)
    assert "(Permission denied): check the path" in error_of(
        capsys, ["train", "--resume", str(closed / "run")]
    )


# --- folders that go away


def test_a_run_directory_that_is_deleted(capsys, monkeypatch, place, tmp_path):
    at(monkeypatch, "epoch", 2, lambda: shutil.rmtree(tmp_path / "run"))
    logged = error_of(capsys, words(place, "scratch", tmp_path / "run"))
    assert "(No such file or directory): free space or choose another --output." in logged
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("kind", "number"), [("features", 1), ("features", 2), ("epoch", 1), ("phase_end", 1)]
)
def test_a_cache_that_is_deleted(capsys, monkeypatch, place, tmp_path, kind, number):
    monkeypatch.setenv("CATDOG_CACHE", str(tmp_path / "cache"))
    at(monkeypatch, kind, number, lambda: shutil.rmtree(tmp_path / "cache"))
    assert run(words(place, "head", tmp_path / "run")) == 0
    assert compare_runs(place / "head", tmp_path / "run") == []


def test_a_cache_on_a_full_disk(capsys, monkeypatch, place, small_disk, tmp_path):
    monkeypatch.setenv("CATDOG_CACHE", str(small_disk / "cache"))
    fill(small_disk, leave_bytes=12_000)
    assert run(words(place, "head", tmp_path / "run")) == 0
    logged = capsys.readouterr().err
    assert "cannot be used (No space left on device). Set CATDOG_CACHE to another folder" in logged
    assert compare_runs(place / "head", tmp_path / "run") == []


def test_pictures_that_are_deleted(capsys, monkeypatch, place, tmp_path):
    aside = place / "aside"
    at(monkeypatch, "epoch", 1, lambda: (place / "data").rename(aside))
    try:
        logged = error_of(capsys, words(place, "scratch", tmp_path / "run"))
    finally:
        aside.rename(place / "data")
    assert f"The data folder '{place / 'data'}' no longer exists: bring it back and resume" in logged
    check_whole(tmp_path / "run")
    check_goes_on(capsys, monkeypatch, place, "scratch", tmp_path / "run")


def test_some_pictures_that_are_deleted(capsys, monkeypatch, place, tmp_path):
    gone = [place / "data" / "train" / "cats" / f"{number}.png" for number in range(3)]
    content = [path.read_bytes() for path in gone]
    at(monkeypatch, "epoch", 1, lambda: [path.unlink() for path in gone])
    try:
        logged = error_of(capsys, words(place, "scratch", tmp_path / "run"))
    finally:
        [path.write_bytes(data) for path, data in zip(gone, content, strict=True)]
    assert "of 36 pictures cannot be read, more than --max-bad-fraction 0.01 allows" in logged
    check_whole(tmp_path / "run")
    check_goes_on(capsys, monkeypatch, place, "scratch", tmp_path / "run")


# --- clocks and errors of the system


def test_clocks_that_jump(capsys, monkeypatch, place, tmp_path):
    rng = random.Random(0)
    monkeypatch.setattr(time, "time", lambda: rng.uniform(0, 2e9))
    monkeypatch.setattr(time, "monotonic", lambda: rng.uniform(0, 2e9))
    arguments = words(place, "head", tmp_path / "run")
    assert run([*arguments[:-2], "--save-every", "5m", *arguments[-2:]]) == 0
    found = [text for text in compare_runs(place / "head", tmp_path / "run") if "save_every" not in text]
    assert found == []


ERRORS = (errno.EIO, errno.EDQUOT, errno.ENOSPC, errno.EROFS, errno.EACCES, errno.ESTALE)


@pytest.mark.parametrize("step", [1, 4, 9, 25])
def test_any_step_of_writing_may_fail(capsys, monkeypatch, place, tmp_path, step):
    number = ERRORS[step % len(ERRORS)]
    count = itertools.count(1)

    def fail_at(real):
        def wrapped(*arguments, **options):
            if next(count) == step:
                raise OSError(number, os.strerror(number))
            return real(*arguments, **options)

        return wrapped

    at(monkeypatch, "setup", 1, lambda: monkeypatch.setattr(os, "fsync", fail_at(os.fsync)))
    at(monkeypatch, "phase", 1, lambda: monkeypatch.setattr(Path, "replace", fail_at(Path.replace)))
    code = run(words(place, "scratch", tmp_path / "run"))
    logged = capsys.readouterr().err
    assert "Traceback" not in logged
    assert code == 0 or f"({os.strerror(number)})" in logged  # a folder that cannot be synced is let be
    check_whole(tmp_path / "run")
    check_goes_on(capsys, monkeypatch, place, "scratch", tmp_path / "run")
