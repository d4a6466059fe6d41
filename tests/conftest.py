"""Small pictures and shared fixtures; no test reaches a network."""

import contextlib
import io
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

TESTS = Path(__file__).resolve().parent
SHARED = TESTS.parents[1] / "shared"
PATIENCE_S = 600  # a process that has not ended by then hangs: it is not just slow, or short of cores
LONG_FIRST = (
    *("test_end_to_end.py", "training/test_distributed.py", "runtime/test_vision.py"),
    *("training/resume/test_resume.py", "runtime/test_startup.py", "tracking/test_mlflow.py"),
    *("models/zoo/test_source.py", "models/zoo/test_timm_source.py", "commands/test_train.py"),
    *("commands/test_evaluate.py", "commands/test_verify_resume.py", "commands/test_info.py"),
    *("test_plots.py", "test_faults.py", "test_hostile_files.py", "data/test_loaders.py"),
    *("training/test_option_pairs.py", "training/resume/test_kill.py", "training/test_side_by_side.py"),
    *("training/test_loop.py", "commands/test_compare.py", "test_pipelines.py"),
)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of real photographs and weights, or skip."""
    if not (SHARED / "weights").is_dir():
        pytest.skip("../shared with real photographs and weights is not here")
    return SHARED


@pytest.fixture(autouse=True, scope="session")
def _start_method():
    """Start loading processes as CATDOG_TEST_START_METHOD says: spawn, as on macOS and Windows."""
    method = os.environ.get("CATDOG_TEST_START_METHOD")
    if method:
        multiprocessing.set_start_method(method, force=True)


@pytest.fixture(autouse=True, scope="session")
def _own_temporary_files(tmp_path_factory):
    """Let what other programs leave behind, torchrun and torch's compiler above all, go with the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(tmp_path_factory.mktemp("t")))
        patch.setattr(tempfile, "tempdir", None)  # which is asked for once
        yield


@pytest.fixture(autouse=True, scope="session")
def _no_sync():
    """Let the system write when it likes: no test cuts the power, and syncing takes most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    """Keep every test away from the user's feature cache."""
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("CATDOG_CACHE", str(cache))
    yield
    shutil.rmtree(cache, ignore_errors=True)


def pytest_collection_modifyitems(items):
    """Begin with the longest files where several processes take one after the other: they end together."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        ranks = {name: rank for rank, name in enumerate(LONG_FIRST)}
        items.sort(key=lambda item: ranks.get(item.path.relative_to(TESTS).as_posix(), len(ranks)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """Leave the plots of trainings and reports blank, but in tests marked `plots`.

    Drawing them takes nine tenths of a small training. The hook reaches fixtures of whole modules, too.
    """
    drawn = item.get_closest_marker("plots")
    with contextlib.nullcontext() if drawn else blank_plots():
        return (yield)


@contextlib.contextmanager
def blank_plots() -> Iterator[None]:
    """Let the plots of trainings and reports be files of the right format with nothing on them."""
    from matplotlib.figure import Figure

    from catdog_cli import plots
    from catdog_cli.plots.canvas import save_figure

    def save_blank(*args, **_):
        (place,) = (arg for arg in args if isinstance(arg, (Path, io.BytesIO)))
        save_figure(Figure((0.1, 0.1)), place)

    with pytest.MonkeyPatch.context() as patch:
        names = ("calibration", "confusion", "curves", "mistakes", "roc")
        of_labels = ("label_calibration", "label_mistakes", "label_scores", "precision_recall")
        for name in (*names, *of_labels):
            patch.setattr(plots, f"plot_{name}", save_blank)
        yield


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Give torch one thread: small networks lose much by two where other work fills the cores."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def draw_image(label: int, number: int, size: tuple[int, int] = (40, 32)) -> Image.Image:
    """Return a noisy RGB picture of `size` (width, height) px whose colour tells its label."""
    rng = np.random.default_rng([label, number])
    noise = rng.integers(0, 120, (size[1], size[0], 3))
    noise[..., label % 3] += 100
    return Image.fromarray(noise.astype(np.uint8))


def write_images(root: Path, counts: dict[str, int], size: tuple[int, int] = (40, 32)) -> Path:
    """Write `counts[folder]` PNGs under root/folder, its last name giving the label; return root."""
    names = sorted({Path(folder).name for folder in counts})
    for folder, count in counts.items():
        target = root / folder
        target.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            key = sum(folder.encode()) * 1000 + number  # other pictures in train than in val
            draw_image(names.index(Path(folder).name), key, size).save(target / f"{number}.png")
    return root


@pytest.fixture
def pets(tmp_path) -> Path:
    """Return a data folder with train/ and val/ of two easily told classes: 24 and 12 pictures."""
    counts = {"train/cats": 12, "train/dogs": 12, "val/cats": 6, "val/dogs": 6}
    return write_images(tmp_path / "pets", counts)


@pytest.fixture(scope="session")
def few(tmp_path_factory):
    """Return a data folder of two easily told classes: 12 pictures to train, 6 to measure."""
    counts = {"train/cats": 6, "train/dogs": 6, "val/cats": 3, "val/dogs": 3}
    return write_images(tmp_path_factory.mktemp("few"), counts)


@pytest.fixture(scope="session")
def rare(tmp_path_factory):
    """Return a data folder where one class has nine times the pictures of the other."""
    counts = {"train/cats": 27, "train/dogs": 3, "val/cats": 3, "val/dogs": 3}
    return write_images(tmp_path_factory.mktemp("rare"), counts)


@pytest.fixture(scope="session")
def resnet_file(tmp_path_factory) -> str:
    """Return the path of a state_dict of a resnet18, random but with statistics that are not the default."""
    return str(save_network("resnet18", tmp_path_factory.mktemp("weights") / "resnet18.pth"))


@pytest.fixture(scope="session")
def squeezenet_file(tmp_path_factory) -> str:
    """Return the path of a state_dict of a squeezenet1_1, a sixteenth of a resnet18 to save and load."""
    return str(save_network("squeezenet1_1", tmp_path_factory.mktemp("weights") / "squeezenet.pth"))


def save_network(arch, path):
    """Save a random network whose BatchNorms have seen something."""
    import torch

    from catdog_cli.models.zoo.registry import source_of

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = source_of(arch).build(arch)
        with torch.no_grad():
            model.train()(torch.randn(4, 3, 64, 64))
        torch.save(model.state_dict(), path)
    return path
