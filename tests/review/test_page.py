"""The page of a review in a real browser: keys, mouse, undo, errors, groups, the matrix, a phone's width."""

import threading

import pytest

from catdog_cli.data.decisions import read_decisions
from catdog_cli.review.app import make_handler
from catdog_cli.serving.loopback import LoopbackServer
from tests.browser import find_chromium, open_browser
from tests.review.reviewed import PLANTED, paths, reopen, write_run

pytestmark = pytest.mark.skipif(find_chromium() is None, reason="there is no Chromium on this machine")
PATH = (
    "(document.querySelector('figure.chosen .path') ?? document.querySelector('figure .path'))?.textContent"
)
SHOWN = "document.querySelectorAll('figure img').length && [...document.images].every((one) => one.complete)"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def browser():
    with open_browser(find_chromium()) as page:
        yield page


@pytest.fixture
def served(made, tmp_path):
    review = reopen(*made, tmp_path / "reviewed.csv")
    server = LoopbackServer()
    thread = threading.Thread(target=server.run, args=(make_handler(review),))
    thread.start()
    yield review, server, thread
    server.stop()
    thread.join(60)


@pytest.fixture
def page(served, browser):
    browser.console.clear()
    browser.resize(1200, 900)
    browser.open(served[1].url)
    browser.wait(f"{PATH} && {SHOWN}")
    yield browser
    said = [each for each in browser.console if each.get("entry", {}).get("source") != "network"]
    assert said == []  # no error of the script, and nothing that the policy of the page forbids


def decisions(review):
    return [(row.path, row.decision, row.new_label) for row in read_decisions(review.log.path)]


def press(page, key, then):
    page.press(key)
    return page.wait(then)


def progress(text):
    return f"document.getElementById('progress')?.textContent === {text!r}"


def test_one_key_a_decision_and_undo(served, page):
    review, total = served[0], len(served[0].groups[0].cases)
    first, second = paths(review, review.groups[0].cases[:2])
    assert page.value(PATH).startswith(first)
    own = review.class_names.index(review.pictures[review.groups[0].cases[0].pictures[0]].text)
    press(page, str(2 - own), progress(f"1 of {total} looked at, 1 changed"))
    assert page.value(PATH).startswith(second)
    press(page, "x", progress(f"2 of {total} looked at, 2 changed"))
    other = review.class_names[1 - own]
    assert decisions(review) == [(first, "wrong", other), (second, "exclude", "")]
    press(page, "u", progress(f"1 of {total} looked at, 1 changed"))
    assert page.value(PATH).startswith(second)
    press(page, "Enter", progress(f"2 of {total} looked at, 1 changed"))
    assert decisions(review) == [(first, "wrong", other), (second, "right", "")]
    press(page, "ArrowLeft", f"{PATH}?.startsWith({second!r})")
    assert page.value("document.querySelector('.mark').textContent") == "right"


def test_a_new_class_is_typed_and_gets_a_key(served, page):
    review = served[0]
    press(page, "n", "document.getElementById('name').open")
    for letter in "a/x":  # keys of the page mean letters here
        page.press(letter)
    press(page, "Enter", "document.getElementById('name-problem').textContent.includes('cannot be the name')")
    page.value("document.getElementById('typed').value = 'foxes'")
    page.press("Enter")
    page.wait("!document.getElementById('name').open")
    assert decisions(review)[0][1:] == ("wrong", "foxes")
    assert page.value("document.querySelectorAll('#classes button')[2].innerText").endswith("foxes")


def test_the_mouse_does_it_too_and_enter_still_means_right(served, page):
    review, total = served[0], len(served[0].groups[0].cases)
    page.click("#exclude")
    page.wait(progress(f"1 of {total} looked at, 1 changed"))
    press(page, "Enter", progress(f"2 of {total} looked at, 1 changed"))
    assert [decision for _, decision, _ in decisions(review)] == ["exclude", "right"]
    page.click("#undo")
    page.wait(progress(f"1 of {total} looked at, 1 changed"))


def test_look_alikes_stand_beside_each_other(served, page):
    press(page, "]", "document.querySelectorAll('figure.several').length === 2")
    assert page.value(PATH).startswith("train/cats/0.png")
    press(page, "ArrowDown", f"{PATH}?.startsWith('val/cats/copy.png')")
    press(page, "x", f"{PATH}?.startsWith('train/cats/0.png')")  # the other one is left
    assert page.value("document.getElementById('progress').textContent") == "0 of 1 looked at, 1 changed"
    press(page, "Enter", "!document.getElementById('end').hidden")
    assert decisions(served[0]) == [("val/cats/copy.png", "exclude", ""), ("train/cats/0.png", "right", "")]


def test_a_damaged_picture_says_why(page):
    page.press("]")
    press(page, "]", "document.querySelector('figure .broken') !== null")
    assert "truncated" in page.value("document.getElementById('why').textContent")


def test_a_cell_of_the_matrix_shows_its_pictures(served, page):
    review = served[0]
    page.click("#tabs button:last-child")
    page.wait("document.querySelector('#matrix table')")
    counts = review.confusion.counts()
    row, column = next((r, c) for r in range(2) for c in range(2) if counts[r][c])
    page.click(f"#matrix tbody tr:nth-child({row + 1}) td:nth-of-type({column + 1}) button")
    page.wait(progress(f"0 of {counts[row][column]} looked at, 0 changed"))
    press(page, "x", progress(f"1 of {counts[row][column]} looked at, 1 changed"))
    assert len(decisions(review)) == 1


def test_what_cannot_be_written_is_said_and_not_shown_as_taken(served, page, monkeypatch):
    review, total = served[0], len(served[0].groups[0].cases)

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("catdog_cli.data.decision_log.os.fsync", fail)
    page.press("x")
    said = page.wait(
        "!document.getElementById('problem').hidden && document.getElementById('problem').textContent"
    )
    assert "No space left on device): the decision is not taken" in said
    assert page.value(progress(f"0 of {total} looked at, 0 changed"))
    assert decisions(review) == []
    monkeypatch.undo()
    press(page, "x", progress(f"1 of {total} looked at, 1 changed"))
    assert page.value("document.getElementById('problem').hidden")


def test_a_review_continues_where_it_was(served, page, made, tmp_path):
    review, total = served[0], len(served[0].groups[0].cases)
    press(page, "x", progress(f"1 of {total} looked at, 1 changed"))
    page.value("window.before = true")
    page.open(served[1].url)
    page.wait(f"!window.before && {progress(f'1 of {total} looked at, 1 changed')}")
    assert page.value(PATH).startswith(paths(review, review.groups[0].cases[1:2])[0])


def test_a_server_that_is_gone_is_said(served, page):
    served[1].stop()
    served[2].join(60)
    page.press("x")
    said = page.wait(
        "!document.getElementById('problem').hidden && document.getElementById('problem').textContent"
    )
    assert "catdog no longer answers" in said


@pytest.mark.parametrize(
    ("width", "height", "dark"), [(1200, 900, False), (390, 844, True)], ids=["desktop", "phone"]
)
def test_nothing_sticks_out_and_all_buttons_have_names(page, width, height, dark):
    page.resize(width, height, dark)
    page.wait(f"innerWidth === {width}")
    assert page.value("document.documentElement.scrollWidth") <= width
    sizes = page.value("[...document.querySelectorAll('#actions button')].map((one) => one.offsetHeight)")
    assert min(sizes) >= 44  # of a finger
    assert page.value(
        "[...document.querySelectorAll('button')].every((b) => b.textContent.trim() || b.ariaLabel)"
    )
    light = page.value("getComputedStyle(document.body).backgroundColor") == "rgb(251, 251, 250)"
    assert light is not dark


def test_help_lists_the_keys(page):
    press(page, "?", "document.getElementById('keys').open")
    page.press("x")  # does nothing there
    assert page.value("document.getElementById('progress').textContent").startswith("0 of")
    page.press("Escape")
    page.wait("!document.getElementById('keys').open")


def test_planted_labels_are_the_first_that_one_sees(page):
    assert page.value(PATH).split(",")[0] in PLANTED
