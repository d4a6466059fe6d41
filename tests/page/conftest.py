"""A browser with two cameras that show a pattern, and the page of a tiny network to open in it."""

import pytest

from catdog_cli.export.api import export
from catdog_cli.export.web.onnxruntime_web import PACKAGE, read_cache
from catdog_cli.export.web.page_folder import write_page
from tests.browser import find_chromium, open_browser
from tests.commands.trained import train_tiny

CAMERAS = ("--use-fake-device-for-media-stream=device-count=2", "--use-fake-ui-for-media-stream")


@pytest.fixture(scope="package")
def browser():
    if find_chromium() is None:
        pytest.skip("there is no Chromium on this machine")
    with open_browser(find_chromium(), *CAMERAS) as page:
        yield page


@pytest.fixture(scope="session")
def runtime():
    """Return the files of onnxruntime-web out of the user's own cache: no test reaches a network."""
    found = read_cache()
    if found is None:
        pytest.skip(f"{PACKAGE} is not in the cache: run `catdog export CKPT --to web` once")
    return found


@pytest.fixture(scope="package")
def tiny_run(few, tmp_path_factory):
    """Return the run of a tiny network."""
    return train_tiny(few, tmp_path_factory.mktemp("runs") / "tiny")


@pytest.fixture(scope="package")
def network(tiny_run):
    """Return the same as an ONNX file."""
    return export(tiny_run).path


@pytest.fixture(scope="package")
def folder(network, runtime, tmp_path_factory):
    """Return the page of the tiny network."""
    place = tmp_path_factory.mktemp("page")
    write_page(place, network.read_bytes(), runtime)
    return place
