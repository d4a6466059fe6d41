"""Options from a file: names as on the command line."""

import dataclasses
import re

import pytest

from catdog_cli.cli import run
from catdog_cli.commands.options import read_config
from catdog_cli.commands.train import train
from catdog_cli.errors import CatdogError, SettingsError
from catdog_cli.recipes.build import build_settings
from catdog_cli.settings import HeadSpec, Phase, TrainSettings
from catdog_cli.settings_schema import settings_of

FIELDS = [
    item
    for kind in (HeadSpec, Phase, TrainSettings)
    for item in dataclasses.fields(kind)
    if settings_of(kind)[item.name].group
]
SAID_OTHERWISE = {
    "category_names",
    "data",
    "epochs",
    "image_size",
    "unfreeze",
    "workers",
    "device",
    "precision",
    "label_delimiter",
    "label_columns",
    "exclude",
    "decisions",
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


FILE_VALUES = (
    *("3", "-1", "1.5", "nan", '"text"', '"~"', '""'),
    *("true", "[]", "[1]", '["x"]', "{}", "2026-11-25"),
)
NO_FILE_OPTIONS = {"data", "config", "resume", "dry_run", "as_json", "accept_changed_data", "budget"}
FILE_OPTIONS = sorted({option.name for option in train.params if option.expose_value} - NO_FILE_OPTIONS)


def is_taken(file):
    """Say whether an option file becomes settings; False where it is refused by a sentence of one line."""
    try:
        given = read_config(str(file), set(FILE_OPTIONS))
        build_settings("pets", given, given.pop("recipe", None))
    except CatdogError as error:
        return "\n" in str(error)
    return True


@pytest.mark.parametrize("name", FILE_OPTIONS)
def test_an_option_file_with_a_value_of_any_kind_ends_in_a_sentence(tmp_path, name):
    """`output = 3` was a traceback; whatever a file holds is taken, or refused by an error of catdog."""
    file, taken = tmp_path / "options.toml", set()
    for value in FILE_VALUES:
        for more in ("", "\nfine-tune-epochs = 2", "\nfine-tune-epochs = 2\noptimizer = 'lbfgs'"):
            file.write_text(f"{name.replace('_', '-')} = {value}{more}")
            taken |= {value} if is_taken(file) else set()
    assert len(taken) < len(FILE_VALUES)
    assert not taken & {"{}", "2026-11-25"}


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("output = 3", r"In the option file '.*', output is 3, but must be a text"),
        ("tensorboard = 'yes'", "tensorboard is 'yes', but must be true or false"),
        ("cpu = 'no'", "cpu is 'no', but must be true or false"),
        ("recipe = []", r"recipe is \[\], but must be a text"),
        ("mlflow-model = 3", "mlflow-model is 3, but must be a text"),
        ("exclude = 3", "exclude is 3, but must be a text"),
        ("unfreeze = 1.5\nfine-tune-epochs = 1", "1.5 is neither 'all' nor a number of layers"),
        ("batch-sise = 3", "unknown option 'batch_sise': did you mean 'batch-size'"),
        ("arch = 3", "arch is 3, but must be a text"),
        ("arch = []", r"arch is \[\], but must be a text"),
    ],
)
def test_wrong_kinds_in_an_option_file_are_named_by_the_command(tmp_path, capsys, text, match):
    (tmp_path / "options.toml").write_text(text)
    assert run(["train", str(tmp_path), "--config", str(tmp_path / "options.toml")]) == 2
    assert re.search(f"^Error: .*{match}", capsys.readouterr().err)
