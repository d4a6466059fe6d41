"""The page that `catdog export --to web` writes: the same answers, offline, and nothing sent."""

import json
import shutil

import pytest

import catdog_cli
from catdog_cli.export.web.page_folder import write_page
from catdog_cli.inference.predictor import Predictor
from tests.conftest import draw_image
from tests.serving.served import running

from .folder_server import FolderServer, serving
from .test_modules import PICTURES

BOUND = (
    1e-5  # of a probability: the same graph, and pixels that differ by one level where they are transparent
)
READY = "document.getElementById('where')?.textContent && document.getElementById('loading').hidden"
ASK = """(async () => {
  const { Engine } = await import("./engine.js");
  if (!globalThis.engine) {
    globalThis.engine = new Engine();
    await globalThis.engine.start(() => {});
  }
  const [file] = document.querySelector("#file").files;
  return await globalThis.engine.ask(file).catch((error) => error.message);
})()"""
HOLD_FILES = (
    "document.querySelector('#file').addEventListener('change', (e) => e.stopImmediatePropagation(), true)"
)


def ask(page, path):
    """Return the row of a picture that was chosen, or the sentence about it."""
    page.value(HOLD_FILES)
    page.choose("#file", path)
    return page.value(ASK)


def forget(page, server):
    """Take away what pages of a server have left in the browser."""
    page.call("Storage.clearDataForOrigin", origin=server.url.rstrip("/"), storageTypes="all")


def open_again(page, server):
    """Load the page another time, without what tests have left in it."""
    page.value("void (globalThis.before = true)")
    page.open(server.url)
    page.wait(f"!globalThis.before && {READY}")


@pytest.fixture(scope="module")
def opened(folder, browser):
    with serving(folder) as server:
        browser.console.clear()
        browser.resize(390, 844)
        browser.open(server.url)
        browser.wait(READY)
        yield browser, server
        forget(browser, server)


def test_the_page_says_what_predict_says(opened, network, tmp_path):
    page, _ = opened
    predictor = Predictor(network)
    for name, (content, _) in PICTURES.items():
        path = tmp_path / f"{name}.png"
        path.write_bytes(content)
        found, (answer,) = ask(page, path), predictor.predict([path])
        assert found["status"] == "ok"
        wanted = dict(zip(predictor.class_names, answer.probabilities, strict=True))
        for each in found["predictions"]:
            assert each["probability"] == pytest.approx(wanted[each["class"]], abs=BOUND), name
        assert [each["class"] for each in found["predictions"]] == [
            each.class_name for each in answer.top_k(9)
        ]
        if answer.known is not None:
            assert found["known"]["is_known"] == answer.known.is_known
            assert found["known"]["p_value"] == pytest.approx(answer.known.p_value, abs=0.1)


def test_what_it_shows_is_what_was_answered(opened, network, tmp_path):
    page, server = opened
    open_again(page, server)
    path = tmp_path / "cat.png"
    draw_image(0, 1).save(path)
    page.choose("#file", path)
    page.wait("document.getElementById('answer').offsetHeight")
    best = Predictor(network)(path)[0]
    assert (
        page.value("document.querySelector('.line .percent').textContent")
        == f"{100 * best.probability:.2f} %"
    )
    assert page.value("document.getElementById('title').textContent") == "Cats or dogs"
    assert page.console == [] or all(each.get("entry", {}).get("level") == "info" for each in page.console)


def test_an_unreadable_picture_is_a_sentence_and_the_next_one_is_answered(opened, tmp_path):
    page, _ = opened
    (tmp_path / "notes.png").write_text("no picture")
    draw_image(0, 1).save(tmp_path / "cat.png")
    assert ask(page, tmp_path / "notes.png").startswith("This is not a picture that a browser reads")
    assert ask(page, tmp_path / "cat.png")["status"] == "ok"


def test_the_camera_is_answered(opened):
    page, server = opened
    open_again(page, server)
    page.click("#camera")
    page.wait("document.getElementById('answer').offsetHeight")
    assert page.value("document.getElementById('verdict').textContent")
    page.click("#camera")


def test_it_works_with_the_server_gone(folder, browser, tmp_path):
    server, page = FolderServer(folder), browser
    page.open(server.url)
    page.wait(READY)
    assert page.value("document.getElementById('offline').offsetHeight")
    before = set(server.asked)
    server.stop()
    open_again(page, server)
    draw_image(1, 1).save(tmp_path / "dog.png")
    page.choose("#file", tmp_path / "dog.png")
    page.wait("document.getElementById('answer').offsetHeight")
    assert set(server.asked) == before
    page.open(server.url + "index.html?from=home")  # as other links may come
    page.wait(READY)
    forget(page, server)


def test_everything_is_asked_for_once_and_nothing_elsewhere(folder, browser):
    with serving(folder) as server:
        browser.call("Network.enable")
        browser.heard = []
        browser.open(server.url)
        browser.wait(READY)
        hosts = {
            each["request"]["url"].split("/")[2] for each in browser.heard_of("Network.requestWillBeSent")
        }
        browser.call("Network.disable")
        large = [path for path in server.asked if path.endswith((".wasm", ".onnx"))]
        assert sorted(large) == ["/model.onnx", "/ort/ort-wasm-simd-threaded.wasm"]
        forget(browser, server)
    assert hosts == {server.url.split("/")[2]}


def test_a_new_version_is_offered_and_taken(folder, browser, network, runtime, tmp_path):
    place = tmp_path / "page"
    shutil.copytree(folder, place)
    with serving(place) as server:
        browser.open(server.url)
        browser.wait(READY)
        write_page(place, network.read_bytes().replace(b'"cats"', b'"pets"'), runtime)
        browser.open(server.url)
        browser.wait(f"{READY} && document.getElementById('update').offsetHeight")
        title = "document.getElementById('title').textContent"
        assert browser.value(title) == "Cats or dogs"  # all files are of one version
        browser.value("void (globalThis.before = true)")
        browser.click("#take-update")
        browser.wait(f"!globalThis.before && {READY}")
        assert browser.value(title) == "Pets or dogs"
        assert browser.value("caches.keys().then((names) => names.length)") == 1
        forget(browser, server)


def test_without_a_service_worker_it_works_with_a_network(folder, browser, tmp_path):
    """Private windows, or a file of another version in the folder."""
    place = tmp_path / "page"
    shutil.copytree(folder, place)
    with (place / "sw.js").open("a") as file:
        file.write("throw new Error();")
    draw_image(0, 1).save(tmp_path / "cat.png")
    with serving(place) as server:
        browser.open(server.url)
        browser.wait(READY)
        assert not browser.value("document.getElementById('offline').offsetHeight")
        browser.choose("#file", tmp_path / "cat.png")
        browser.wait("document.getElementById('answer').offsetHeight")
        forget(browser, server)
        browser.console.clear()


def test_a_model_that_is_not_the_one_of_the_folder_is_said(folder, browser, tmp_path):
    place = tmp_path / "page"
    shutil.copytree(folder, place)
    (place / "sw.js").unlink()
    (place / "model.onnx").write_bytes(b"half of it")
    with serving(place) as server:
        browser.open(server.url)
        browser.wait("document.getElementById('problem')?.offsetHeight")
        said = browser.value("document.getElementById('problem').textContent")
        assert "model.onnx has 10 bytes of" in said
        forget(browser, server)
        browser.console.clear()


def test_a_browser_that_changes_pixels_is_refused(folder, browser, tmp_path):
    place = tmp_path / "page"
    shutil.copytree(folder, place)
    (place / "sw.js").unlink()
    text = (place / "pixels.js").read_text()
    noisy = "const get = OffscreenCanvasRenderingContext2D.prototype.getImageData;" + (
        "OffscreenCanvasRenderingContext2D.prototype.getImageData = function (...all) {"
        "const found = get.apply(this, all); found.data[5] ^= 1; return found; };"
    )
    (place / "pixels.js").write_text(text + noisy)
    with serving(place) as server:
        browser.open(server.url)
        browser.wait("document.getElementById('problem')?.offsetHeight")
        assert "changes what pages read of pictures" in browser.value(
            "document.getElementById('problem').textContent"
        )
        forget(browser, server)
        browser.console.clear()


def test_what_it_says_of_itself_is_what_the_file_says(folder, network):
    about = json.loads((folder / "model.json").read_text())
    metadata = Predictor(network).metadata
    assert [each["class"] for each in about["classes"]] == metadata.class_names
    assert about["bytes"] == network.stat().st_size
    assert sorted(about["files"]) == sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )


def test_a_service_shows_it_under_its_own_policy_too(folder, tiny_run, browser, tmp_path):
    draw_image(0, 1).save(tmp_path / "cat.png")
    with running(catdog_cli.app(tiny_run, page=folder, device="cpu")) as served:
        browser.console.clear()
        browser.open(f"http://127.0.0.1:{served.port}/")
        browser.wait(READY)
        assert (
            browser.value("document.getElementById('where').textContent") == "Pictures stay on this device."
        )
        assert browser.value("document.getElementById('offline').offsetHeight")
        browser.choose("#file", tmp_path / "cat.png")
        browser.wait("document.getElementById('answer').offsetHeight")
        assert [each for each in browser.console if each.get("entry", {}).get("level") != "info"] == []
        origin = f"http://127.0.0.1:{served.port}"
        browser.call("Storage.clearDataForOrigin", origin=origin, storageTypes="all")
