"""Options from a file: names as on the command line."""

import dataclasses
import re

import pytest

from catdog_cli.commands.options import read_config
from catdog_cli.commands.train import train
from catdog_cli.errors import SettingsError
from catdog_cli.settings import HeadSpec, Phase, TrainSettings

FIELDS = [item for kind in (HeadSpec, Phase, TrainSettings) for item in dataclasses.fields(kind)]
SAID_OTHERWISE = {
    "category_names",
    "data",
    "epochs",
    "image_size",
    "unfreeze",
    "workers",
    "device",
    "precision",
    "exclude",
    "compile",
    "cache",
    "deterministic",
}


def default_said(name: str) -> str:
    """Return the first word of the default that the help of --NAME tells, nothing where it tells none."""
    option = next(each for each in train.params if each.name == name)
    found = re.search(r"\[default: ([^\s,;:\]]+)", option.help)
    return found.group(1) if found else ""


@pytest.mark.parametrize(
    "item",
    [i for i in FIELDS if i.name in {o.name for o in train.params} - SAID_OTHERWISE],
    ids=lambda i: i.name,
)
def test_help_tells_the_default_that_the_settings_have(item):
    said = default_said(item.name)
    if isinstance(item.default, float | int):
        assert float(said) == item.default
    else:
        assert said == (item.default or "none")


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("batch-size = 8", {"batch_size": 8}),
        ("cpu = true", {"device": "cpu"}),
        ("gpu = true", {"device": "gpu"}),
        ("gpu = false", {}),
    ],
)
def test_a_file_of_options(tmp_path, text, values):
    file = tmp_path / "options.toml"
    file.write_text(text)
    assert read_config(str(file), {"batch_size", "device"}) == values


@pytest.mark.parametrize(
    ("text", "match"),
    [("batch = 8", "unknown option 'batch'"), ("batch-size = ", "Cannot read the option file")],
)
def test_a_wrong_file_of_options(tmp_path, text, match):
    file = tmp_path / "options.toml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=match):
        read_config(str(file), {"batch_size", "device"})
