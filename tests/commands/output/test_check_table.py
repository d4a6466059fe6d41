"""What `catdog data check` prints: what is well is counted, what is long says where the rest is."""

from pathlib import Path

from catdog_cli.commands.output.check_table import SHOWN, describe_check
from catdog_cli.data.quality.check import CheckReport, Finding


def make_report(kind: str, count: int, root: str = "my pets") -> CheckReport:
    findings = [Finding(f"cats/{number}.jpg", "all", "cats", kind, "a detail") for number in range(count)]
    return CheckReport(Path(root), 90, {"all": {"cats": 50, "dogs": 40}}, findings)


def test_turned_pictures_are_counted_and_not_listed():
    lines = list(describe_check(make_report("rotated", 54)))
    assert "54 rotated: turned upright when read, as their Exif orientation says" in lines
    assert not any("cats/" in line for line in lines)


def test_a_long_list_says_where_all_of_it_is():
    lines = list(describe_check(make_report("flawed", SHOWN + 34)))
    assert f"{SHOWN + 34} flawed" in lines
    assert "  cats/0.jpg  a detail" in lines
    assert lines[-1] == "  ... and 34 more; the full list: catdog data check 'my pets' --json"
    assert sum("cats/" in line for line in lines) == SHOWN


def test_a_short_list_is_whole():
    assert not any("full list" in line for line in describe_check(make_report("blank", SHOWN)))
