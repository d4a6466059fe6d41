"""Fifty real photographs in the page of a real network: what it says is what `catdog predict` says."""

import io
import shutil

import numpy as np
import pytest
from PIL import Image

from catdog_cli.cli import run
from catdog_cli.export.api import export
from catdog_cli.export.formats import FORMATS
from catdog_cli.inference.predictor import Predictor
from tests.browser import find_chromium, open_browser

from .conftest import CAMERAS
from .folder_server import serving
from .test_export import READY, ask, forget

pytestmark = [pytest.mark.real, pytest.mark.slow]
SAME_GRAPH = 1e-5  # what a probability may be off from the same file run by onnxruntime


def choose_photos(shared, split, count):
    """Return the first photographs of each class, half of them each."""
    folder = shared / "data" / "cats_dogs" / split
    return [path for name in ("cats", "dogs") for path in sorted((folder / name).iterdir())[: count // 2]]


@pytest.fixture(scope="module")
def trained(shared, tmp_path_factory):
    """Return a run that has learned from a hundred photographs."""
    data, run_dir = tmp_path_factory.mktemp("photos"), tmp_path_factory.mktemp("runs") / "real"
    for split, count in (("train", 100), ("val", 20)):
        for path in choose_photos(shared, split, count):
            place = data / split / path.parent.name
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)
    weights = shared / "weights" / "mobilenet_v2-imagenet.pth"
    network = ["--arch", "mobilenet_v2", "--weights", str(weights), "--cpu"]
    assert run(["train", str(data), *network, "--output", str(run_dir)]) == 0
    return run_dir


@pytest.fixture(scope="module")
def page(trained, runtime, tmp_path_factory):
    """Return the folder of its page."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("catdog_cli.export.job.load_runtime", lambda *_: runtime)
        return export(trained, "web", output=tmp_path_factory.mktemp("page") / "page").path


def test_the_page_says_of_fifty_photographs_what_predict_says(shared, trained, page, browser):
    photos = choose_photos(shared, "val", 50)
    with serving(page) as server:
        browser.open(server.url)
        browser.wait(READY)
        rows = [ask(browser, path) for path in photos]
        forget(browser, server)
    predictor, file = Predictor(trained), Predictor(page / "model.onnx")
    for one, bound in ((predictor, FORMATS["web"].bound), (file, SAME_GRAPH)):
        answers = list(one.predict(photos))
        names = one.class_names
        said = [{each["class"]: each["probability"] for each in row["predictions"]} for row in rows]
        found = np.array([[each[name] for name in names] for each in said])
        wanted = np.array([each.probabilities for each in answers])
        assert np.abs(found - wanted).max() <= bound
        assert [row["predictions"][0]["class"] for row in rows] == [each.class_name for each in answers]
    assert [row["known"]["is_known"] for row in rows] == [each.known.is_known for each in answers]
    maps = np.array([np.reshape(list(row["maps"][0]["values"].values()), (2, 7, 7)) for row in rows])
    logits = np.array([each.logits for each in answers])
    np.testing.assert_allclose(maps.mean((2, 3)) + file.metadata.maps.bias, logits, atol=1e-4)


def test_the_camera_says_of_a_photograph_what_predict_says(shared, page, tmp_path):
    photo = choose_photos(shared, "val", 2)[1]
    frame = Image.open(photo).convert("RGB").resize((640, 480))
    content = io.BytesIO()
    frame.save(content, "JPEG", quality=95)
    (tmp_path / "camera.mjpeg").write_bytes(content.getvalue() * 30)
    (tmp_path / "frame.jpg").write_bytes(content.getvalue())
    flags = (*CAMERAS[1:], "--use-fake-device-for-media-stream")
    video = f"--use-file-for-fake-video-capture={tmp_path / 'camera.mjpeg'}"
    best = Predictor(page / "model.onnx")(tmp_path / "frame.jpg")[0]
    with serving(page) as server, open_browser(find_chromium(), *flags, video) as browser:
        browser.open(server.url)
        browser.wait(READY)
        browser.click("#camera")
        browser.wait("document.getElementById('answer').offsetHeight")
        assert browser.value("document.querySelector('.line .name').textContent") == best.name
        shown = browser.value("document.querySelector('.line .percent').textContent")
        assert float(shown.strip("<>% ")) == pytest.approx(
            100 * best.probability, abs=5
        )  # video is not exact
