"""Templates: what comes from the user is escaped, and a forgotten value is an error."""

import pytest
from jinja2 import UndefinedError

from catdog_cli.runtime.html import data_uri, render


def test_values_are_escaped_and_neighbours_imported(tmp_path):
    (tmp_path / "parts.html").write_text("{% macro bold(text) %}<b>{{ text }}</b>{% endmacro %}")
    (tmp_path / "page.html").write_text("{% from 'parts.html' import bold %}\n{{ bold(name) }}{{ name }}\n")
    page = render(tmp_path / "page.html", name="<i>'&\udcff")
    assert page == "<b>&lt;i&gt;&#39;&amp;\udcff</b>&lt;i&gt;&#39;&amp;\udcff\n"


def test_a_forgotten_value_is_an_error(tmp_path):
    (tmp_path / "page.html").write_text("{{ name }}")
    with pytest.raises(UndefinedError, match="'name' is undefined"):
        render(tmp_path / "page.html")


def test_an_image_is_its_own_address():
    assert data_uri(b"\x00\xff", "jpeg") == "data:image/jpeg;base64,AP8="
