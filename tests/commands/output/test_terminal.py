"""Words for the user's screen."""

import pytest

from catdog_cli.commands.output.info_text import _settings
from catdog_cli.commands.output.table import list_facts, list_rows
from catdog_cli.commands.output.terminal import counted
from catdog_cli.commands.output.train_progress import _size
from catdog_cli.evaluation.result import show_p


@pytest.mark.parametrize(
    ("number", "shown"), [(0, "0 epochs"), (1, "1 epoch"), (2, "2 epochs"), (1000, "1,000 epochs")]
)
def test_a_number_with_its_noun(number, shown):
    assert counted(number, "epoch") == shown


def test_a_plural_that_is_more_than_an_s():
    assert [counted(number, "batch", "batches") for number in (1, 2)] == ["1 batch", "2 batches"]


@pytest.mark.parametrize(
    ("num_bytes", "shown"), [(460_800, "461 kB"), (500_000, "500 kB"), (3_200_000, "3 MB"), (40, "1 kB")]
)
def test_a_few_features_are_not_none(num_bytes, shown):
    assert _size(num_bytes) == shown


@pytest.mark.parametrize(("chance", "shown"), [(0.0, "< 0.0001"), (3e-8, "< 0.0001"), (0.0034, "0.0034")])
def test_no_chance_is_shown_as_none(chance, shown):
    assert show_p(chance) == shown


def test_settings_without_a_value_are_left_out():
    ((_, text),) = _settings({"data": "pets", "exclude": "", "image_size": 0, "arch": "resnet18"})
    assert text == "data pets, image_size 0"


def test_a_table_in_a_pipe_is_whole_and_lined_up():
    long = "x" * 300
    lines = list_rows(("class", "train"), [("[red]日本", 1234), (f"{long}\n", 2)])
    assert lines[1] == "[red]日本" + " " * 295 + "1,234"  # two of its letters are two places wide
    assert lines[2] == f"{long}\\n      2"
    assert list_facts([("classes", long), ("temperature", 1)]) == [f"classes      {long}", "temperature  1"]
