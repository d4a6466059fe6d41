"""Names as a terminal may show them, and percentages that do not round to certainty."""

import pytest

from catdog_cli.runtime.text import printable, show_percent


@pytest.mark.parametrize(
    ("text", "shown"), [("a\nb\x1b[1m", r"a\nb\x1b[1m"), ("caf\udce9.jpg", r"caf\udce9.jpg"), ("猫", "猫")]
)
def test_printable(text, shown):
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("fraction", "shown"),
    [(1.0, "100.00 %"), (0.99999, "> 99.99 %"), (0.5, "50.00 %"), (1e-9, "< 0.01 %"), (0.0, "0.00 %")],
)
def test_show_percent(fraction, shown):
    assert show_percent(fraction) == shown
