"""Pictures that come from worker processes."""

import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import torch

from catdog_cli.data import loaders, shared_memory
from catdog_cli.data.loaders import Images, load_batches
from catdog_cli.data.scan import scan_dataset
from catdog_cli.errors import DataError
from catdog_cli.settings import InputSpec

from ..conftest import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]
SPEC = InputSpec(size=32)
PLAN = [[(i, 10 * batch + i) for i in range(8)] for batch in range(4)]
SMALL = """
import sys
from catdog_cli.data.shared_memory import describe_shortage
from tests.data.test_loaders import sum_large
print(sum_large(sys.argv[1], 2))
print(describe_shortage(2, 16, 400))
"""


def sum_large(data, workers):
    """Return the sum of all values of six batches of pictures of 400 px."""
    images = Images(scan_dataset(data, leaks=False), "train", InputSpec(400, 400), "light")
    plan = [[(i % len(images), i) for i in range(16)] for _ in range(6)]
    return sum(int(batch.images.long().sum()) for batch in load_batches(images, plan, workers))


def test_workers_hand_over_pictures_where_the_temporary_folder_has_a_long_name(few, tmp_path, monkeypatch):
    """The path of a socket has at most 107 bytes; a loader whose worker cannot open one waits for ever."""
    folder = tmp_path / ("long" * 25)
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    images = Images(scan_dataset(few), "train", InputSpec(size=32))
    for batch in load_batches(images, [[(0, 0), (1, 0)]] * 2, workers=1):
        assert batch.indices.tolist() == [0, 1]
        assert batch.images.shape == (2, 3, 32, 32)
    assert tempfile.gettempdir() == str(folder)


def load_small(few, size):
    """Return what a process prints that loads pictures with a /dev/shm of `size`."""
    mount = f'mount -t tmpfs -o size={size} tmpfs /dev/shm && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", mount, "sh", sys.executable, "-c", SMALL, str(few)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


@pytest.mark.parametrize("size", ["8m", "4k"])  # batches need 46 MB; 4 kB is no room for a queue
def test_a_small_shared_memory_neither_hangs_nor_changes_a_picture(few, size):
    if not shutil.which("unshare"):
        pytest.skip("unshare is not here: no small /dev/shm can be mounted")
    probe = subprocess.run(
        ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/dev/shm"], capture_output=True, check=False
    )
    if probe.returncode:
        pytest.skip(f"a small /dev/shm cannot be mounted here: {probe.stderr.decode().strip()}")
    done = load_small(few, size)
    assert (done.returncode, done.stderr) == (0, "")
    total, said = done.stdout.splitlines()
    assert int(total) == sum_large(few, 0)
    way = {"8m": "hand over pictures through pipes", "4k": "there are none"}[size]
    assert way in said
    assert "docker run --shm-size" in said


def test_batches_through_pipes_are_the_same(few, monkeypatch):
    images = Images(scan_dataset(few), "train", SPEC, "light")
    plan = [*PLAN, [(0, 1)]]
    shared = list(load_batches(images, plan, 2))
    monkeypatch.setattr(shared_memory, "free_bytes", lambda: 200_000)
    piped = list(load_batches(images, plan, 2))
    for one, other in zip(shared, piped, strict=True):
        assert torch.equal(one.images, other.images)
        assert one.images.stride() == other.images.stride()
        assert torch.equal(one.indices, other.indices)
        assert one.bad == other.bad


def test_a_batch_of_bad_pictures_goes_through_a_pipe(tmp_path, monkeypatch):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.png").write_bytes(b"no picture")
    monkeypatch.setattr(shared_memory, "free_bytes", lambda: 150_000)
    images = Images(scan_dataset(tmp_path), "all", InputSpec(128, 128))
    batches = list(load_batches(images, [[(0, 0), (1, 0)]] * 2, 1))
    assert [len(batch.indices) for batch in batches] == [0, 0]
    assert [bad.path for batch in batches for bad in batch.bad] == ["a/x.png", "b/x.png"] * 2


@pytest.mark.parametrize(("batches", "expected"), [(0, 0), (1, 0), (2, 2), (4, 3)])
@pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker processes")
def test_no_process_is_started_without_work(few, monkeypatch, batches, expected):
    started = []
    original = loaders.iterate_loader
    monkeypatch.setattr(
        loaders, "iterate_loader", lambda loader: started.append(loader.num_workers) or original(loader)
    )
    found = list(load_batches(Images(scan_dataset(few), "train", SPEC), PLAN[:batches], 3))
    assert [len(batch.indices) for batch in found] == [8] * batches
    assert started == [expected]


def work_on(batches):
    """Take every batch, and 0.3 s for it."""
    for _ in batches:
        ready = time.monotonic() + 0.3
        while time.monotonic() < ready:
            pass


class Stuck(Images):
    """Images of which one never comes, or takes its process with it."""

    def __getitem__(self, item):
        if item[1] == -1:
            os.kill(os.getpid(), signal.SIGKILL)
        if item[1] == -2:
            time.sleep(3600)
        return super().__getitem__(item)


@pytest.mark.skipif(os.environ.get("CATDOG_TEST_START_METHOD") == "spawn", reason="takes 2 s to start one")
@pytest.mark.parametrize(
    ("seed", "message"),
    [
        (-1, r"One of the 2 processes .* was killed.*fewer --workers"),
        (-2, r"did not answer for minutes: resume"),
    ],
)
def test_a_dead_or_silent_worker_ends_in_a_sentence(few, monkeypatch, seed, message):
    monkeypatch.setattr(loaders, "LEAST_TIMEOUT_S", 2.0)
    monkeypatch.setattr(loaders, "SLOWEST_IMAGE_S", 0.0)
    images = Stuck(scan_dataset(few), "train", SPEC)
    plan = [*PLAN, [(0, seed)], *itertools.repeat([(1, 1)], 3)]
    for _ in range(2):  # what was said once is not in the way of a second try
        batches = load_batches(images, plan, 2)
        with pytest.raises(DataError, match=message):  # here, though the worker dies in between
            work_on(batches)
    assert len(list(load_batches(images, PLAN, 2))) == 4


@pytest.mark.parametrize(("room", "short"), [(10**9, False), (64 * 10**6, True), (float("inf"), False)])
def test_a_shortage_is_seen_before(monkeypatch, room, short):
    monkeypatch.setattr(shared_memory, "free_bytes", lambda: room)
    assert (shared_memory.describe_shortage(8, 32, 224) is not None) == short
    assert shared_memory.describe_shortage(0, 32, 224) is None
