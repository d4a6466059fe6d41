"""What --arch A+B and --weights A+B mean, and which of them is refused in one sentence."""

import pytest

from catdog_cli.errors import SettingsError
from catdog_cli.models.zoo.registry import check_arch, default_weights, resolve_arch
from catdog_cli.recipes.build import build_settings
from catdog_cli.settings import InputSpec, TrainSettings
from catdog_cli.settings_networks import (
    InputSpecs,
    describe_sizes,
    memory_side,
    parse_weights,
    read_spec,
    weights_of,
)
from catdog_cli.settings_rules import check_combinations
from catdog_cli.training.setup import check_settings

BOTH = "mobilenet_v2+resnet18"


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("imagenet", "imagenet"),
        ("none+imagenet", ("none", "imagenet")),
        ("a.pth+b.pth", ("a.pth", "b.pth")),
        (["a+b.pth", "none"], ("a+b.pth", "none")),
        ("imagenet+imagenet", "imagenet"),
        ("a.pth+a.pth", ("a.pth", "a.pth")),
        (3, 3),
    ],
)
def test_weights_of_several_networks(given, found):
    assert parse_weights(BOTH, given) == found
    assert parse_weights("resnet18", "a+b.pth") == "a+b.pth"


def test_a_file_name_may_hold_the_sign_that_joins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a+b.pth", "c.pth"):
        (tmp_path / name).touch()
    assert parse_weights(BOTH, "a+b.pth+c.pth") == ("a+b.pth", "c.pth")
    assert parse_weights(BOTH, "none+a+b.pth") == ("none", "a+b.pth")


def test_weights_go_through_json_and_stay_a_text_of_one_network():
    settings = build_settings("pets", {"arch": BOTH, "weights": "a.pth+none"})
    assert settings.weights == ("a.pth", "none")
    assert TrainSettings.from_dict(settings.to_dict()) == settings
    assert build_settings("pets", {"arch": BOTH}).weights == "imagenet"
    assert weights_of(BOTH, "imagenet") == ("imagenet", "imagenet")


def test_names_are_spelled_and_checked_one_by_one():
    assert resolve_arch("MobileNet-V2+ResNet18") == BOTH
    check_arch(BOTH)
    assert default_weights(BOTH) == "imagenet"
    with pytest.raises(SettingsError, match="Unknown arch 'resnet19': did you mean resnet18"):
        check_arch("mobilenet_v2+resnet19")
    with pytest.raises(
        SettingsError, match=r"'resnet18\+resnet18' names a network twice, .*: name each of them"
    ):
        check_arch("resnet18+resnet18")
    with pytest.raises(SettingsError, match="Unknown arch ''"):
        check_arch("resnet18+")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"weights": "none"}, "--weights none trains a network from scratch, but several side by side stay"),
        ({"weights": "none+none"}, "--weights none trains a network from scratch"),
        (
            {"fine_tune_epochs": 2},
            r"--arch A\+B trains one head on frozen networks: leave out --fine-tune-epo",
        ),
        ({"recipe": "scratch", "weights": "imagenet"}, r"--arch A\+B trains one head on frozen networks"),
        (
            {"weights": "a.pth+b.pth+c.pth"},
            r"weights are 3, 'a.pth\+b.pth\+c.pth', but --arch names 2 networks",
        ),
        ({"weights": "imagenet+gone.pth"}, "No weights file 'gone.pth': check the path"),
        ({"weights": "imagenet+3"}, "No weights file '3'"),
        ({"weights": ["imagenet", 3]}, "weights is 3, but must be a text, or one for each"),
        ({"image_size": 16, "arch": "mobilenet_v2+vgg11"}, "vgg11 takes no pictures of 16 px"),
    ],
)
def test_what_several_networks_cannot_do_is_refused(options, match):
    given = {"arch": BOTH, **options}
    with pytest.raises(SettingsError, match=match):
        check_settings(build_settings("pets", given, given.pop("recipe", None)))


def test_a_head_on_frozen_networks_may_be_solved_or_look_through_views():
    for options in ({"optimizer": "lbfgs"}, {"augment": "light", "views": 2}, {"augment": "strong"}):
        check_combinations(build_settings("pets", {"arch": BOTH, **options}))


def test_inputs_of_several_networks():
    specs = InputSpecs((InputSpec(224, 256), InputSpec(260, 298)))
    assert read_spec(specs.to_dict()) == specs
    assert read_spec(InputSpec().to_dict()) == InputSpec()
    assert [part.size for part in specs.with_size(96).parts] == [96, 96]
    assert describe_sizes(specs) == "224+260"
    assert memory_side(specs) == 344
    assert memory_side(InputSpec(64, 64)) == 64
    with pytest.raises(SettingsError, match=r"must be names with values"):
        read_spec([224, 260])
