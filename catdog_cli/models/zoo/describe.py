"""What `catdog info` says of a network: its size, its input, and its layers as `--unfreeze` counts them.

All from empty networks: no weights are read or downloaded.
"""

from collections.abc import Iterable
from typing import Any

from torch import nn

from ...errors import SettingsError
from ...settings import HeadSpec
from ..classifier import Classifier, build_classifier
from ..meta import meta_networks
from .registry import source_called, source_of


def describe_arch(arch: str) -> dict[str, Any]:
    """Return a network's name, parameters (with the library's last Linear), feature_dim, input and counts.

    Raises:
        SettingsError: no such arch.
    """
    source, classifier = source_of(arch), _build(arch)
    with meta_networks():
        whole = source.build(arch)
    return {
        "arch": arch,
        "first_class": arch in source.first_class,
        "parameters": count_parameters(whole.parameters()),
        "feature_dim": classifier.feature_dim,
        "input_spec": source.input_spec(arch, "imagenet").to_dict(),
        "num_layers": len(classifier.layers()),
        "num_blocks": len(classifier.blocks),
        "imagenet_weights": source.has_weights(arch),
        "source": source.name,
        "tag": source.tag(arch) if source.has_weights(arch) else "",
        "licence": source.licence(arch),
    }


def list_archs(wanted: str) -> list[dict[str, Any]]:
    """Return name, weights, licence and input size of a source's networks, from the first letter on.

    Args:
        wanted: SOURCE, or SOURCE/PATTERN with * and ? as for files; a pattern without them is any part of a
            name. A pattern with a dot asks for names with their pretrained weights, as in resnet50.a1_in1k.

    Raises:
        SettingsError: no such source, or none of its networks is called like that.
        CatdogError: the source is a library that is not installed.
    """
    name, _, pattern = wanted.partition("/")
    source = source_called(name)
    found = source.find(pattern if any(sign in pattern for sign in "*?[") else f"*{pattern}*")
    if not found:
        raise SettingsError(
            f"No network of {name} is called like {pattern!r}: `catdog info --archs {name}` lists them all."
        )
    return [
        {
            "arch": arch,
            "tag": source.tag(arch) if source.has_weights(arch) else "",
            "licence": source.licence(arch),
            "image_size": source.input_spec(arch, "imagenet").size,
            "imagenet_weights": source.has_weights(arch),
        }
        for arch in found
    ]


def list_layers(arch: str) -> list[dict[str, Any]]:
    """Return the layers of a backbone from the first to the last, as `unfreeze` counts them from the end.

    `--unfreeze N` trains the layer whose `unfreeze` is N and all after it: `trained` backbone parameters.

    Raises:
        SettingsError: no such arch.
    """
    classifier = _build(arch)
    homes = {id(part): name for name, block in classifier.blocks for part in block.modules()}
    rows, trained = [], 0
    for count, (name, module) in enumerate(reversed(classifier.layers()), 1):
        parameters = count_parameters(module.parameters(recurse=False))
        trained += parameters
        rows.append(
            {
                "unfreeze": count,
                "block": homes.get(id(module), ""),
                "name": name or arch,
                "type": type(module).__name__,
                "parameters": parameters,
                "trained": trained,
            }
        )
    return rows[::-1]


def _build(arch: str) -> Classifier:
    with meta_networks():
        return build_classifier(arch, 2, HeadSpec())


def count_parameters(parameters: Iterable[nn.Parameter]) -> int:
    """Return how many numbers are trained."""
    return sum(parameter.numel() for parameter in parameters)
