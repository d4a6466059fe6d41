"""Options from a file: names as on the command line."""

import pytest

from catdog_cli.commands.options import read_config
from catdog_cli.errors import SettingsError


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
