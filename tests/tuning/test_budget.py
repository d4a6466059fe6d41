"""Times as people write them, and how much of one is used."""

import pytest

from catdog_cli.errors import SettingsError
from catdog_cli.tuning.budget import Clock, parse_budget


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("10m", 600), ("1h30m", 5400), ("1.5h", 5400), ("2 h", 7200), ("1d", 86400)],
)
def test_times(text, seconds):
    assert parse_budget(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "m", "10x", "-5m", "1h 30", None, 600, "10mm"])
def test_what_is_no_time(text):
    with pytest.raises(SettingsError, match="must be a time such as 90s"):
        parse_budget(text)


@pytest.mark.parametrize("text", ["1s", "0m", "400d"])
def test_too_short_and_too_long(text):
    with pytest.raises(SettingsError, match="from 5s to 365d"):
        parse_budget(text)


def test_time_of_earlier_sessions_counts():
    clock = Clock(100.0, before_s=40.0)
    assert 40 <= clock.used_s < 45
    assert clock.left_s == pytest.approx(60, abs=5)
    assert clock.slowness() > 0
