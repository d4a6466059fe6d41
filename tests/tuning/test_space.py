"""What a search may try, and what a file makes of it."""

import pytest

from catdog_cli.errors import SettingsError, UnavailableError
from catdog_cli.tuning.space import HEADS, Range, default_space, read_space


def test_nothing_said_is_the_default():
    assert read_space(None) == default_space()


def test_a_file_narrows_fixes_and_widens(tmp_path):
    path = tmp_path / "space.toml"
    path.write_text(
        'arch = ["resnet18", "mobilenet_v2"]\nstages = ["heads", "solved"]\nlooks = "mirror"\n'
        "hidden-layers = [[512, 128], 64]\nlearning_rate = {low = 0.001, high = 0.01}\n"
        "epochs = {low = 2, high = 9}\n"
    )
    space = read_space(path)
    assert space.arch == ("resnet18", "mobilenet_v2")
    assert space.stages == ("solved", "heads")
    assert space.views["looks"] == ("mirror",)
    assert space.heads["hidden_layers"] == ((512, 128), (64,))
    assert space.heads["learning_rate"] == Range(0.001, 0.01, log=True)
    assert space.heads["epochs"] == Range(2, 9, log=True, whole=True)
    assert space.heads["dropout"] == HEADS["dropout"]


@pytest.mark.parametrize(
    ("table", "match"),
    [
        ({"lerning_rate": 1}, "unknown name 'lerning_rate': known are stages, arch"),
        ({"stages": ["all"]}, r"stages \['all'\]: choose some of solved, heads"),
        ({"stages": []}, "choose some of"),
        ({"looks": "twice"}, "looks is 'twice', but must be one of"),
        ({"looks": []}, "no values for looks"),
        ({"looks": {"low": 1, "high": 2}}, "must be a list"),
        ({"dropout": {"low": 0}}, r"must be \{low, high, log\}"),
        ({"dropout": {"low": 0.5, "high": 0.1}}, "low must be at most high"),
        ({"learning_rate": {"low": 0, "high": 0.1}}, "above 0"),
        ({"dropout": {"low": 0, "high": 7}}, "from 0 to 0.99"),
        ({"l2": [-1]}, "weight decay is -1"),
        ({"blocks": [0]}, "whole, at least 1"),
        ({"hidden_layers": [["x"]]}, "hidden layers is 'x'"),
        ({"arch": 3}, "a list of texts is wanted"),
    ],
)
def test_what_makes_no_sense_is_refused(table, match):
    with pytest.raises(SettingsError, match=match):
        read_space(table)


def test_a_file_that_cannot_be_read(tmp_path):
    (tmp_path / "bad.toml").write_text("looks = ")
    for name in ("bad.toml", "gone.toml"):
        with pytest.raises(UnavailableError, match="Cannot read the space"):
            read_space(tmp_path / name)
