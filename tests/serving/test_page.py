"""The page of the service in a real browser: a picture, an unreadable file, a token, and its description."""

import base64
import json

import pytest

import catdog_cli
from tests.browser import find_chromium, open_browser

from .served import running

pytestmark = pytest.mark.skipif(find_chromium() is None, reason="there is no Chromium on this machine")
# A file reaches the page as if somebody had dropped it there.
DROP = """(() => {
  const bytes = Uint8Array.from(atob(%s), (each) => each.charCodeAt(0));
  const files = new DataTransfer();
  files.items.add(new File([bytes], %s, { type: %s }));
  document.dispatchEvent(new DragEvent("drop", { dataTransfer: files, bubbles: true, cancelable: true }));
})()"""
FAKE_CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
BARS = (
    "document.getElementById('answer').hidden ? '' : "
    "[...document.querySelectorAll('#answer .percent')].map((each) => each.textContent).join()"
)
NAMES = "[...document.querySelectorAll('#answer .name')].map((each) => each.textContent)"
READY = "document.getElementById('where')?.textContent && document.getElementById('loading').hidden"
PROBLEM = "document.getElementById('problem').hidden ? '' : document.getElementById('problem').textContent"


@pytest.fixture(scope="module")
def browser():
    with open_browser(find_chromium(), *FAKE_CAMERA) as page:
        yield page


def drop(page, content, name="<b>a</b>.png", kind="image/png"):
    page.value(DROP % tuple(map(json.dumps, (base64.b64encode(content).decode(), name, kind))))


def complaints(page):
    return [each for each in page.console if each.get("entry", {}).get("source") != "network"]


def test_a_picture_gets_its_bars_and_others_a_sentence(browser, checkpoint, pictures):
    with running(catdog_cli.app(checkpoint, device="cpu")) as served:
        browser.console.clear()
        browser.resize(390, 844)
        browser.open(f"http://127.0.0.1:{served.port}/")
        browser.wait(READY)
        drop(browser, pictures[0])
        shown = browser.wait(BARS)
        row = served.predict(pictures[0])[1][0]
        assert shown == ",".join(f"{100 * each['probability']:.2f} %" for each in row["predictions"])
        assert browser.value(NAMES) == [each["name"] for each in row["predictions"]]
        assert browser.value("document.getElementById('picture').naturalWidth") == 40
        assert browser.value("document.body.scrollWidth <= innerWidth")
        drop(browser, b"nothing", "notes.txt", "text/plain")
        assert "it is not a picture" in browser.wait(PROBLEM)
        assert browser.value(BARS) == ""
        assert complaints(browser) == []  # nothing that the policy forbids


def test_a_token_is_asked_for_once(browser, checkpoint, pictures):
    with running(catdog_cli.app(checkpoint, models={"second": checkpoint}, token="long enough")) as served:
        browser.console.clear()
        browser.open(f"http://127.0.0.1:{served.port}/")
        browser.wait(READY)
        drop(browser, pictures[1])
        browser.wait("!document.getElementById('ask-token').hidden")
        assert browser.value("document.getElementById('problem').hidden")
        browser.value("document.getElementById('token').value = 'another one'")
        browser.click("#ask-token button")
        assert browser.wait(PROBLEM) == "This is not the token: type it again."
        browser.value("document.getElementById('token').value = 'long enough'")
        browser.click("#ask-token button")
        assert browser.wait(BARS)
        assert browser.value("document.getElementById('ask-token').hidden")
        assert browser.wait("document.getElementById('models').offsetHeight")
        assert browser.value("[...document.getElementById('model').options].map((each) => each.value)") == [
            "default",
            "second",
        ]
        assert complaints(browser) == []


def test_what_is_unknown_is_said(browser, checkpoint, pictures, monkeypatch):
    from catdog_cli.inference.answer import ClassProbability, Known
    from catdog_cli.inference.prediction import Prediction

    found = Prediction("-", None, (ClassProbability("cats", "<i>Cat</i>", 0.7),), None, Known(0.004, False))
    with running(catdog_cli.app(checkpoint, device="cpu")) as served:
        monkeypatch.setattr(served.service.batcher, "run", lambda *_: [found])
        browser.open(f"http://127.0.0.1:{served.port}/")
        browser.wait(READY)
        drop(browser, pictures[2])
        assert "Unknown" in browser.wait("document.querySelector('#verdict.unknown')?.textContent")
        assert browser.value(NAMES) == ["<i>Cat</i>"]


def test_the_camera_is_asked_again_and_again(browser, checkpoint):
    records = []
    with running(catdog_cli.app(checkpoint, device="cpu", on_request=records.append)) as served:
        browser.console.clear()
        browser.open(f"http://127.0.0.1:{served.port}/")
        browser.wait(READY)
        browser.click("#camera")
        assert browser.wait(BARS)
        assert browser.value("document.getElementById('camera').getAttribute('aria-pressed')") == "true"
        assert browser.value("document.getElementById('video').videoWidth") > 0
        frames = len(records)
        browser.wait("new Promise((done) => setTimeout(() => done(true), 1500))")
        asked = [record for record in records if record.path == "/predict"]
        assert len(records) > frames
        assert {record.status for record in asked} == {200}
        browser.click("#camera")
        assert browser.value("document.getElementById('video').hidden")
        assert browser.value("document.getElementById('video').srcObject") is None
        assert complaints(browser) == []


def test_the_description_is_shown_without_the_internet(browser, checkpoint):
    with running(catdog_cli.app(checkpoint, device="cpu")) as served:
        browser.console.clear()
        browser.open(f"http://127.0.0.1:{served.port}/docs")
        browser.wait("document.querySelectorAll('#operations h2').length > 4")
        text = browser.value("document.body.innerText")
        assert "POST /predict" in text
        assert f"--data-binary @photo.jpg http://127.0.0.1:{served.port}/predict" in text
        assert complaints(browser) == []
