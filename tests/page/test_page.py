"""What the page shows and does, in a real browser, whoever answers: an engine of this test."""

import base64
import json
import shutil

import pytest

from catdog_cli.page import FILES
from tests.conftest import draw_image

from .folder_server import serving
from .test_modules import save

TOP = "[...document.querySelectorAll('#answer .line')].map((each) => each.innerText.split('\\n').join(' '))"
PICTURE = save(draw_image(0, 1, (400, 300)))
DROP = """(() => {
  const bytes = Uint8Array.from(atob(%s), (each) => each.charCodeAt(0));
  const files = new DataTransfer();
  files.items.add(new File([bytes], "<i>a</i>.png", { type: "image/png" }));
  const [kind, key] = %s;
  document.dispatchEvent(new (kind === "paste" ? ClipboardEvent : DragEvent)(
    kind, { [key]: files, bubbles: true, cancelable: true }));
})()"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stub")
    shutil.copytree(FILES, folder, dirs_exist_ok=True)
    shutil.copy(__file__.replace("test_page.py", "stub_engine.js"), folder / "engine.js")
    with serving(folder) as found:
        yield found


@pytest.fixture
def opened(server, browser, tmp_path):
    """Return what opens the page with globals of the engine set; at the end nothing may have gone wrong."""
    path = tmp_path / "cat.png"
    path.write_bytes(PICTURE)

    def start(answers=(), width=390, height=844, dark=False, **settings):
        browser.console.clear()
        browser.resize(width, height, dark)
        text = "".join(
            f"globalThis.{name} = {value};"
            for name, value in {"answers": json.dumps(answers), **settings}.items()
        )
        script = browser.call("Page.addScriptToEvaluateOnNewDocument", source=text)["identifier"]
        browser.open(server.url)
        browser.call("Page.removeScriptToEvaluateOnNewDocument", identifier=script)
        browser.wait(f"document.readyState === 'complete' && innerWidth === {width}")
        browser.path = path
        return browser

    yield start
    browser.value("document.querySelector('#camera[aria-pressed=true]')?.click()")
    said = [each for each in browser.console if each.get("entry", {}).get("level") != "info"]
    assert said == []


def row(probabilities, p=None, labels=None):
    classes = [
        {"class": name, "name": f"<b>{name}</b>", "probability": value}
        for name, value in probabilities.items()
    ]
    found = {"status": "ok", "error": None, "predictions": classes}
    if p is not None:
        found["known"] = {"p_value": p, "is_known": p > 0.01}
    if labels is not None:
        found["labels"] = [each for each in classes if each["class"] in labels]
    return found


CERTAIN = row({"b": 0.75, "a": 0.25})


def text_of(page, selector):
    return page.value(f"document.querySelector({selector!r}).textContent")


def is_shown(page, selector):
    return page.value(f"Boolean(document.querySelector({selector!r}).offsetHeight)")


def choose(page):
    page.choose("#file", page.path)
    page.wait("document.getElementById('answer').offsetHeight")


def test_a_chosen_picture_gets_its_classes(opened):
    page = opened([row({"b": 0.75, "a": 0.199, "c": 0.03, "d": 0.02, "e": 0.00099, "f": 0.00001})])
    choose(page)
    assert page.value("document.title") == text_of(page, "h1") == "A title"
    assert text_of(page, "#verdict") == "<b>b</b>"
    assert page.value(TOP) == [
        "<b>b</b> 75.00 %",
        "<b>a</b> 19.90 %",
        "<b>c</b> 3.00 %",
        "<b>d</b> 2.00 %",
        "<b>e</b> 0.10 %",
    ]
    assert page.value("document.querySelector('.bar span').style.width") == "75%"
    assert text_of(page, "#said") == "<b>b</b> 75.00 %"
    assert page.value("document.getElementById('picture').alt") == "cat.png"
    assert not is_shown(page, "#tools")  # this one has no maps


@pytest.mark.parametrize("given", [("drop", "dataTransfer"), ("paste", "clipboardData")])
def test_a_picture_can_be_dropped_and_pasted(opened, given):
    page = opened([CERTAIN])
    page.value(DROP % (json.dumps(base64.b64encode(PICTURE).decode()), json.dumps(given)))
    page.wait("document.getElementById('answer').offsetHeight")
    assert page.value("document.getElementById('picture').alt") == "<i>a</i>.png"
    assert page.value("document.querySelector('#look i')") is None


def test_what_is_unknown_is_said_and_no_class_stands_out(opened):
    page = opened([row({"b": 0.75, "a": 0.25}, p=0.0005)])
    choose(page)
    assert text_of(page, "#verdict") == "Unknown"
    assert "of which at most 0.05 % are as strange" in text_of(page, "#why-unknown")
    assert text_of(page, "#said") == "Unknown"
    assert page.value("document.querySelector('.said')") is None


def test_what_is_known_says_nothing_about_it(opened):
    page = opened([row({"b": 0.75, "a": 0.25}, p=0.4)])
    choose(page)
    assert text_of(page, "#verdict") == "<b>b</b>"
    assert not is_shown(page, "#why-unknown")


@pytest.mark.parametrize(
    ("labels", "verdict"), [(["b", "a"], "<b>b</b>, <b>a</b>"), ([], "None of the labels")]
)
def test_several_labels_are_all_said(opened, labels, verdict):
    page = opened([row({"b": 0.75, "a": 0.5, "c": 0.1}, labels=labels)], thresholds=1)
    choose(page)
    assert text_of(page, "#verdict") == verdict
    assert page.value("document.querySelectorAll('.line.said').length") == len(labels)
    assert page.value("document.querySelector('.bar i').style.left") == "25%"


def test_a_problem_is_said_and_goes_with_the_next_answer(opened):
    page = opened([{"problem": "This file is empty: choose another one."}, CERTAIN])
    page.choose("#file", page.path)
    page.wait("document.getElementById('problem').offsetHeight")
    assert text_of(page, "#problem") == "This file is empty: choose another one."
    assert not is_shown(page, "#answer")
    choose(page)
    assert not is_shown(page, "#problem")


def test_a_picture_chosen_before_the_network_is_there_waits_for_it(opened):
    page = opened([CERTAIN], held="new Promise((done) => { globalThis.letGo = done; })")
    assert text_of(page, "#loading-text") == "Loading the network: 1 of 4 MB"
    page.choose("#file", page.path)
    page.wait("document.getElementById('picture').offsetHeight")
    page.wait("document.getElementById('result').getAttribute('aria-busy') === 'true'")
    assert not is_shown(page, "#answer")
    page.value("letGo()")
    page.wait("document.getElementById('answer').offsetHeight")
    assert not is_shown(page, "#loading")
    assert page.value("document.getElementById('result').getAttribute('aria-busy')") == "false"


def test_an_older_answer_never_replaces_a_newer_one(opened):
    slow, fast = json.dumps(row({"a": 1.0})), json.dumps(row({"b": 1.0}))
    answers = f"[{{ ...{slow}, wait: new Promise((done) => {{ globalThis.letGo = done; }}) }}, {fast}]"
    page = opened()
    page.value(f"void (globalThis.answers = {answers})")
    page.choose("#file", page.path)
    page.wait("globalThis.pictures?.length === 1")
    choose(page)
    assert text_of(page, "#verdict") == "<b>b</b>"
    page.value("letGo()")
    page.value("new Promise((done) => setTimeout(done, 100))")
    assert text_of(page, "#verdict") == "<b>b</b>"


MAPS = """answers[0].maps = [{ values: new Float32Array(6 * 49).fill(1), rows: 7, columns: 7,
  box: { top: 0, left: 0, height: 1, width: 1 } }]"""


def with_maps(opened, **size):
    page = opened([row({"b": 0.75, "a": 0.25})], hasMaps=1, **size)
    page.value(f"void ({MAPS})")
    choose(page)
    return page


def pressed(page):
    return page.value(
        "[...document.querySelectorAll('[aria-pressed=true]')].map((each) => each.innerText.split('\\n')[0])"
    )


def test_the_map_is_laid_over_the_picture_and_taken_away(opened):
    page = with_maps(opened)
    page.click("#show-map")
    assert pressed(page) == ["Show why", "<b>b</b>"]
    assert page.value(
        "JSON.stringify(document.getElementById('map').getBoundingClientRect()) === "
        "JSON.stringify(document.getElementById('picture').getBoundingClientRect())"
    )
    colour = page.value("[...document.getElementById('map').getContext('2d').getImageData(9, 9, 1, 1).data]")
    assert colour[3] == 191  # of what speaks for the class everywhere: full colour, three quarters cover
    page.click("#show-map")
    assert pressed(page) == []
    assert not is_shown(page, "#map")


def test_a_class_is_mapped_by_its_line_with_the_keyboard(opened):
    page = with_maps(opened)
    page.value("document.querySelectorAll('.line')[1].focus()")
    page.press("Enter")
    page.wait("document.getElementById('map').offsetHeight")
    assert pressed(page) == ["Show why", "<b>a</b>"]
    page.press("Enter")
    assert pressed(page) == []


def test_the_keyboard_reaches_everything_in_order(opened):
    page = with_maps(opened, width=1280)
    page.value("document.body.focus()")
    reached = []
    for _ in range(6):
        page.press("Tab")
        reached.append(
            page.value("document.activeElement.id || document.activeElement.className.split(' ')[0]")
        )
    assert reached == ["show-map", "line", "line", "choose", "camera", "licences"]
    page.value("document.getElementById('choose').focus()")
    assert page.value("getComputedStyle(document.activeElement).outlineWidth") == "3px"


FRAMES = "globalThis.pictures?.filter((each) => each.isFrame).length"


def start_camera(page):
    page.click("#camera")
    page.wait(f"{FRAMES} > 1 && document.getElementById('answer').offsetHeight")


def test_the_camera_is_looked_at_until_it_is_stopped(opened):
    page = opened([CERTAIN])
    start_camera(page)
    assert is_shown(page, "#video")
    assert page.value("pictures[0].width") >= 640
    page.click("#camera")
    assert not is_shown(page, "#video")
    assert page.value("document.getElementById('video').srcObject") is None
    before = page.value(FRAMES)
    page.value("new Promise((done) => setTimeout(done, 300))")
    assert page.value(FRAMES) == before


def test_a_camera_is_read_out_no_faster_than_one_can_listen(opened):
    answers = [row({"a": 1.0}), *[row({"b": 1.0})] * 30]
    page = opened(answers, **{"performance.now": "() => 5"})
    start_camera(page)
    page.wait(f"{FRAMES} > 6")
    assert text_of(page, "#said") == "<b>a</b> 100.00 %"
    assert text_of(page, "#verdict") != "<b>a</b>"


def test_another_camera_can_be_taken(opened):
    page = opened([CERTAIN])
    start_camera(page)
    page.wait("document.getElementById('switch').offsetHeight")
    device = "document.getElementById('video').srcObject?.getVideoTracks()[0].getSettings().deviceId"
    first = page.value(device)
    page.click("#switch")
    second = page.wait(f"{device} !== {first!r} && {device}")
    page.wait("!document.getElementById('switch').disabled")
    page.click("#switch")
    assert page.wait(f"{device} !== {second!r} && {device}") == first
    page.wait("!document.getElementById('switch').disabled")


def test_the_camera_goes_off_when_nobody_sees_the_page(opened):
    page = opened([CERTAIN])
    start_camera(page)
    page.value("""(() => {
      globalThis.track = document.getElementById('video').srcObject.getVideoTracks()[0];
      Object.defineProperty(document, 'hidden', { value: true });
      document.dispatchEvent(new Event('visibilitychange'));
    })()""")
    assert page.value("track.readyState") == "ended"
    assert text_of(page, "#problem") == "The camera went off while the page was hidden."
    assert text_of(page, "#camera") == "Camera"


def test_what_the_camera_shows_is_held(opened):
    page = opened([CERTAIN])
    start_camera(page)
    page.click("#hold")
    page.wait("document.getElementById('picture').naturalWidth >= 640")
    page.wait("document.getElementById('answer').offsetHeight")
    assert not is_shown(page, "#video")
    assert page.value("pictures.at(-1) instanceof File && pictures.at(-1).type") == "image/png"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("NotAllowedError", "The camera is not allowed here"),
        ("NotFoundError", "There is no camera."),
        ("NotReadableError", "The camera is in use by another program"),
        ("OverconstrainedError", "The camera cannot be used (OverconstrainedError)."),
    ],
)
def test_a_camera_that_cannot_be_had_is_a_sentence(opened, name, sentence):
    page = opened([CERTAIN])
    page.value(
        f"void (navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', '{name}')))"
    )
    page.click("#camera")
    page.wait("document.getElementById('problem').offsetHeight")
    assert text_of(page, "#problem").startswith(sentence)
    assert is_shown(page, "#choose")


def test_a_page_from_http_is_told_why_it_gets_no_camera(opened):
    page = opened([CERTAIN])
    page.value("void Object.defineProperty(navigator, 'mediaDevices', { value: undefined })")
    page.click("#camera")
    page.wait("document.getElementById('problem').offsetHeight")
    assert "https" in text_of(page, "#problem")


SIZES = [(320, 568), (390, 844), (844, 390), (1280, 800)]
CONTRAST = """(() => {
  const light = ([red, green, blue]) => [red, green, blue].map((each) => each / 255)
    .map((each) => (each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4))
    .reduce((sum, each, at) => sum + each * [0.2126, 0.7152, 0.0722][at], 0);
  const colour = (text) => text.match(/[\\d.]+/g).map(Number);
  const behind = (element) => {
    for (; element; element = element.parentElement) {
      const found = colour(getComputedStyle(element).backgroundColor);
      if (found.length === 3 || found[3] === 1) return found;
    }
  };
  const shown = [...document.body.querySelectorAll("*")].filter((each) => each.offsetHeight
    && [...each.childNodes].some((node) => node.nodeType === 3 && node.data.trim()));
  return shown.map((each) => {
    const pair = [light(colour(getComputedStyle(each).color)), light(behind(each))].sort((a, b) => a - b);
    return [(pair[1] + 0.05) / (pair[0] + 0.05), each.id || each.className || each.tagName];
  }).sort((a, b) => a[0] - b[0])[0];
})()"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_it_fits_every_screen_and_every_finger(opened, width, height, dark):
    long = "averyveryverylongnamewithoutanyspace" * 3
    page = opened(width=width, height=height, dark=dark, hasMaps=1)
    answer = row({"b": 0.75, "a": 0.25}, p=0.001)
    answer["predictions"][0]["name"] = long
    page.value(f"void (globalThis.answers = [{json.dumps(answer)}], {MAPS})")
    choose(page)
    page.click("#show-map")
    assert page.value("document.documentElement.scrollWidth") <= width
    buttons = "[...document.querySelectorAll('button')].filter((each) => each.offsetHeight)"
    assert min(page.value(f"{buttons}.map((each) => each.offsetHeight)")) >= 44
    assert page.value(f"{buttons}.every((each) => each.textContent.trim())")
    worst, where = page.value(CONTRAST)
    assert worst >= 4.5, where
    paper = page.value("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(20, 23, 26)" if dark else "rgb(251, 251, 250)")
