"""Data folders and weights that the tests of training share; nothing writes into them."""

import os
import shutil

import pytest
import torch

from ..conftest import one_thread, write_images
from .runs import settings_for, train


@pytest.fixture(autouse=True, scope="package")
def _one_thread():
    """These networks are too small for two threads, which only wait for each other."""
    with one_thread():
        yield


@pytest.fixture(autouse=True)
def _no_sync(monkeypatch):
    """Let the system write when it likes: no test cuts the power, and syncing takes most of the time."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


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
def mobilenet_file(tmp_path_factory) -> str:
    """Return the path of a state_dict of a mobilenet_v2."""
    return str(save_network("mobilenet_v2", tmp_path_factory.mktemp("weights") / "mobilenet.pth"))


def save_network(arch, path):
    """Save a random torchvision network whose BatchNorms have seen something."""
    import torchvision

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = torchvision.models.get_model(arch)
        with torch.no_grad():
            model.train()(torch.randn(4, 3, 64, 64))
        torch.save(model.state_dict(), path)
    return path


@pytest.fixture(scope="package")
def finished(few, tmp_path_factory):
    """Return a folder with a run of two epochs in `run`, on the data in `data`; tests work on copies."""
    folder = tmp_path_factory.mktemp("finished")
    shutil.copytree(few, folder / "data")
    train(settings_for(folder / "data"), folder / "run")
    return folder
