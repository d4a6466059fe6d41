"""What short runs need: one thread, and a finished run to copy."""

import shutil

import pytest

from ..conftest import one_thread
from .runs import settings_for, train


@pytest.fixture(autouse=True, scope="package")
def _one_thread():
    """These networks are too small for two threads, which only wait for each other."""
    with one_thread():
        yield


@pytest.fixture(scope="package")
def finished(few, tmp_path_factory):
    """Return a folder with a run of two epochs in `run`, on the data in `data`; tests work on copies."""
    folder = tmp_path_factory.mktemp("finished")
    shutil.copytree(few, folder / "data")
    train(settings_for(folder / "data"), folder / "run")
    return folder
