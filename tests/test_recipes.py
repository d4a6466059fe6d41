"""Recipes: those shipped, own files, and what is wrong with a file said in one sentence."""

import pytest

from catdog_cli.errors import SettingsError
from catdog_cli.recipes import load_recipe, recipe_names
from catdog_cli.recipes.build import build_settings


def test_the_shipped_ones_are_described_and_load():
    assert {"best", "feature-extraction", "partial", "scratch", "two-phase"} <= set(recipe_names())
    for name in recipe_names():
        recipe = load_recipe(name)
        assert recipe.name == name
        assert recipe.description.endswith(".")
        assert build_settings("pets", {}, name).phases == recipe.phases


def test_the_command_line_wins_over_a_recipes_options():
    assert build_settings("pets", {}, "scratch").arch == "simple_cnn"
    assert build_settings("pets", {}, "partial").head.hidden_layers == (256,)
    assert build_settings("pets", {"hidden_layers": (8,)}, "partial").head.hidden_layers == (8,)


def test_options_of_phases_are_refused_beside_a_recipe():
    with pytest.raises(SettingsError, match="--epochs and --recipe both say how to train"):
        build_settings("pets", {"epochs": 3}, "partial")


def test_an_own_file_names_its_phases_and_takes_hyphens(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(
        "hidden-layers = [4]\nsave-every = 9\n"
        '[[phase]]\noptimizer = "lbfgs"\n[[phase]]\nlearning-rate = 0.5\nepochs = 2'
    )
    recipe = load_recipe(str(file))
    assert [phase.name for phase in recipe.phases] == ["phase 1", "phase 2"]
    assert [phase.epochs for phase in recipe.phases] == [1, 2]
    assert recipe.phases[1].learning_rate == 0.5
    assert recipe.options == {"hidden_layers": [4], "save_every": 9}
    assert build_settings("pets", {}, str(file)).save_every == "9"


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "has no phases"),
        ("phase = 3", "has no phases"),
        ("[[phase]]\nepochs = 'two'", r"In the recipe .*epochs is 'two'"),
        ("[[phase]]\nepoch = 2", r"Unknown setting 'epoch'; did you mean 'epochs'\?"),
        ("colour = 1\n[[phase]]\nepochs = 1", "unknown option 'colour'"),
        ("[[phase]]\nname = 'x'", "Incomplete Phase"),
        ("[[phase", "Cannot read the recipe"),
    ],
)
def test_a_wrong_file(tmp_path, text, match):
    file = tmp_path / "wrong.toml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=match):
        load_recipe(str(file))


def test_no_such_recipe_names_those_there_are():
    with pytest.raises(SettingsError, match="No recipe 'bset': give a TOML file, or one of best"):
        load_recipe("bset")
