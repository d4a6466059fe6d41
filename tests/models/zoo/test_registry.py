"""The registry finds the source of an arch, and says which arch was meant by another word."""

import subprocess
import sys
from pathlib import Path

import pytest

from catdog_cli.errors import SettingsError
from catdog_cli.models.zoo.registry import (
    arch_names,
    check_arch,
    default_weights,
    first_class_archs,
    source_of,
)

FIRST_CLASS = ["alexnet", "vgg11", "vgg16", "resnet18", "resnet50", "mobilenet_v2", "simple_cnn"]


def test_names_begin_with_the_first_class_and_come_once():
    names = arch_names()
    assert names[: len(FIRST_CLASS)] == first_class_archs() == FIRST_CLASS
    assert len(names) == len(set(names)) > 70
    assert not [name for name in names if "quantized" in name]


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ("resnet19", r"Unknown arch 'resnet19': did you mean resnet1\S+ or .*`catdog info` lists all"),
        ("mobilenetv2", r"Unknown arch 'mobilenetv2': did you mean mobilenet_v2"),
        ("zzzz", r"Unknown arch 'zzzz': `catdog info` lists all of them"),
        ("", r"Unknown arch '': `catdog info`"),
        ("fasterrcnn_resnet50_fpn", r"Unknown arch 'fasterrcnn"),
    ],
)
def test_an_unknown_arch_is_refused(arch, message):
    with pytest.raises(SettingsError, match=message):
        check_arch(arch)


@pytest.mark.parametrize("arch", ["vgg16", "efficientnet_b0", "simple_cnn"])
def test_the_source_of_an_arch_has_it(arch):
    assert arch in source_of(arch).archs()


@pytest.mark.parametrize(
    ("arch", "weights"),
    [
        ("resnet18", "imagenet"),
        ("efficientnet_b0", "imagenet"),
        ("simple_cnn", "none"),
        ("resnet19", "imagenet"),  # unknown, which is said elsewhere
    ],
)
def test_weights_by_default_are_imagenets_where_there_are_such(arch, weights):
    assert default_weights(arch) == weights


def test_a_first_class_arch_is_found_without_importing_a_library():
    code = """
import sys
from catdog_cli.models.zoo import registry
for arch in registry.first_class_archs():
    registry.check_arch(arch)
    registry.default_weights(arch)
print([name for name in ("torch", "torchvision", "numpy") if name in sys.modules])
"""
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
