"""Recipes: those shipped, own files, and what is wrong with a file said in one sentence."""

import dataclasses

import pytest

from catdog_cli.errors import SettingsError
from catdog_cli.recipes import load_recipe, recipe_names
from catdog_cli.recipes.build import MOST_EPOCHS, PATIENCE, build_settings
from catdog_cli.settings import HeadSpec
from catdog_cli.settings_rules import check_combinations


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


def test_options_change_a_recipe_and_what_they_change_is_said():
    said = []
    given = {"epochs": 3, "batch_size": 8, "fine_tune_learning_rate": 0.5, "unfreeze": "all", "dropout": 0.3}
    before = load_recipe("partial").phases
    phases = build_settings("pets", given, "partial", said.append).phases
    assert [(phase.epochs, phase.batch_size) for phase in phases] == [(3, 8), (before[1].epochs, 8)]
    assert [phase.learning_rate for phase in phases] == [before[0].learning_rate, 0.5]
    assert [phase.unfreeze for phase in phases] == [0, "all"]
    assert said == [
        "Changed in the recipe 'partial': batch size of phase 'head' 32 -> 8, epochs of phase 'head' 5 -> 3, "
        "batch size of phase 'fine-tune' 32 -> 8, learning rate of phase 'fine-tune' 1e-05 -> 0.5, "
        "unfreeze of phase 'fine-tune' 20 -> all."
    ]
    assert build_settings("pets", {"epochs": 5}, "partial", said.append).phases == before
    assert len(said) == 1  # nothing differs, so nothing is said


def test_best_solves_the_head_and_fits_what_is_given():
    """What the solver cannot do is trained instead; of several networks the head alone; both are said."""
    said = []
    settings = build_settings("pets", {}, "best", said.append)
    head, fine = settings.phases
    assert (head.optimizer, head.epochs, fine.skip_accuracy, settings.looks) == ("lbfgs", 1, 0.95, "whole")
    assert build_settings("pets", {"looks": "once"}, "best", said.append).looks == "once"
    assert said == []
    for given in ({"hidden_layers": (8,)}, {"head": "cosine"}, {"cache": False}):
        trained, unchanged = build_settings("pets", given, "best", said.append).phases
        length = (5, 0) if "cache" in given else (MOST_EPOCHS, PATIENCE)
        assert (trained.optimizer, trained.epochs, trained.patience) == ("adam", *length)
        assert unchanged == fine
        check_combinations(build_settings("pets", given, "best"))
    assert (
        said
        == ["Changed in the recipe 'best': phase 'head' trains a head that cannot be solved in one go."] * 3
    )
    said.clear()
    assert build_settings("pets", {"arch": "resnet18+resnet34"}, "best", said.append).phases == (head,)
    assert said == [
        "Changed in the recipe 'best': phase 'fine-tune' is left out, for of several networks only the head "
        "trains."
    ]


def test_a_recipe_of_one_phase_has_no_second_one_to_change():
    with pytest.raises(
        SettingsError, match=r"--fine-tune-epochs belongs to a second phase, which the recipe"
    ):
        build_settings("pets", {"fine_tune_epochs": 3}, "feature-extraction")


def test_the_length_that_a_first_phase_has_by_itself():
    """On kept features it ends when nothing improves; where each epoch takes its time it is short."""

    def length(**given):
        phase = build_settings("pets", given).phases[0]
        return phase.epochs, phase.patience

    assert (
        length() == length(views=2, augment="light") == length(fine_tune_epochs=2) == (MOST_EPOCHS, PATIENCE)
    )
    assert length(cache=False) == length(augment="light") == (5, 0)
    assert length(weights="none") == (20, 0)
    assert length(optimizer="lbfgs") == (1, 0)
    assert length(epochs=7) == (7, 0)
    assert length(patience=3) == (MOST_EPOCHS, 3)


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


def test_a_recipe_says_its_head_in_a_table(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(
        'arch = "resnet50"\n[head]\nhidden-layers = [8, 4]\ndropout = [0.3, 0.1]\nactivation = "gelu"\n'
        'head-norm = "layer"\nhead = "cosine"\n[[phase]]\nepochs = 2'
    )
    wanted = HeadSpec((8, 4), (0.3, 0.1), "gelu", "layer", "cosine")
    assert build_settings("pets", {}, str(file)).head == wanted
    assert build_settings("pets", {"activation": "tanh"}, str(file)).head == dataclasses.replace(
        wanted, activation="tanh"
    )
    file.write_text('head = "cosine"\n[[phase]]\nepochs = 2')
    assert build_settings("pets", {}, str(file)).head == HeadSpec(head="cosine")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (
            "[head]\nlayers = 3\n[[phase]]\nepochs = 1",
            r"The \[head\] of the recipe .* unknown option 'layers'",
        ),
        (
            "dropout = 0.1\n[head]\ndropout = 0.3\n[[phase]]\nepochs = 1",
            "says dropout twice: leave it out of one place",
        ),
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
