"""The bar for Python users: in a notebook by itself, on a terminal where it is asked for."""

import io
import sys
import types

import pytest

from catdog_cli.runtime.progress import report_progress


class Screen(io.StringIO):
    """A stderr that is a terminal, or a file."""

    def __init__(self, terminal, encoding="utf-8"):
        super().__init__()
        self.terminal, self._encoding = terminal, encoding

    @property
    def encoding(self):
        return self._encoding

    def isatty(self):
        return self.terminal


def open_screen(monkeypatch, terminal=True, encoding="utf-8"):
    """Return a new stderr; pytest puts its own back between fixtures and tests."""
    monkeypatch.setattr(sys, "stderr", Screen(terminal, encoding))
    return sys.stderr


@pytest.fixture
def notebook(monkeypatch):
    """Return what a notebook shows, in order, with a kernel as Jupyter has."""
    shown = []

    class Handle:
        def update(self, item):
            shown.append((repr(item), item._repr_html_()))

    def display(item, display_id):
        assert display_id is True
        Handle().update(item)
        return Handle()

    shell = types.SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "IPython.display", types.SimpleNamespace(display=display))
    return shown


def work(show, on_progress=None, step="measuring <net>"):
    with report_progress(on_progress, show) as report:
        for done in range(3):
            report(step, done, 2)


def test_a_notebook_shows_a_bar_and_removes_it(notebook):
    work(None)
    first, last, end = notebook  # two drawings within a tenth of a second are one
    assert first[0] == "measuring <net>: 0 of 2"
    assert '<progress value="0" max="2"' in first[1]
    assert "measuring &lt;net&gt;: 0 of 2" in first[1]
    assert '<progress value="2" max="2"' in last[1]
    assert end == ("", "")


@pytest.mark.parametrize("show", [None, True])
def test_nothing_done_shows_nothing(notebook, show):
    with report_progress(None, show):
        pass
    assert notebook == []


def test_a_notebook_can_do_without(notebook):
    work(False)
    assert notebook == []


def test_ipython_in_a_terminal_is_no_notebook(notebook, monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: object()))
    screen = open_screen(monkeypatch)
    work(None)
    assert notebook == []
    assert screen.getvalue() == ""


def test_a_terminal_gets_one_line_that_goes(monkeypatch):
    screen = open_screen(monkeypatch)
    work(True, step="a\x1b[2Jb")
    assert screen.getvalue() == "\ra\\x1b[2Jb: 0% of 2\ra\\x1b[2Jb: 100% of 2\r" + 20 * " " + "\r"


@pytest.mark.parametrize(("terminal", "show"), [(True, None), (False, True)])
def test_there_is_no_line_unasked_or_in_a_file(monkeypatch, terminal, show):
    screen = open_screen(monkeypatch, terminal)
    work(show)
    assert screen.getvalue() == ""


def test_letters_that_a_terminal_has_not_are_spelled_out(monkeypatch):
    screen = open_screen(monkeypatch, encoding="ascii")
    work(True, step="猫")
    assert screen.getvalue().startswith("\r\\u732b: 0% of 2")


def test_the_callers_function_hears_everything_and_an_error_clears_the_bar(monkeypatch):
    heard, screen = [], open_screen(monkeypatch)
    work(True, lambda *given: heard.append(given))
    assert heard == [("measuring <net>", done, 2) for done in range(3)]

    def fail():
        with report_progress(None, True) as report:
            report("step", 1, 3)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert screen.getvalue().endswith("\r" + 14 * " " + "\r")
