"""`catdog info`: networks, a network's layers, what a checkpoint holds, the feature cache."""

import os
from collections.abc import Callable, Iterable
from typing import Any

import click

from .options import PATH, json_option
from .output import info_text
from .output.terminal import echo, echo_json


@click.command()
@click.argument("target", required=False, type=PATH, metavar="[ARCH|CKPT]")
@click.option(
    "--all", "all_archs", is_flag=True, help="Details of all networks, not only of the first-class ones."
)
@click.option(
    "--archs",
    metavar="SOURCE[/PATTERN]",
    help="List networks of timm, torchvision or catdog by name; timm/resnet50.* shows their weights.",
)
@click.option("--recipes", is_flag=True, help="Describe the recipes that come with catdog.")
@click.option(
    "--cache", "cache", is_flag=True, help="Show the cache of what frozen networks made of pictures."
)
@click.option("--clear-cache", is_flag=True, help="Empty that cache; the next run fills it again.")
@json_option
def info(
    target: str | None,
    all_archs: bool,
    archs: str | None,
    recipes: bool,
    cache: bool,
    clear_cache: bool,
    as_json: bool,
) -> None:
    """List networks or recipes, show a network's layers, or say what a checkpoint, run or export holds.

    \b
    Examples:
      catdog info
      catdog info resnet18
      catdog info checkpoints/resnet18-1
      catdog info --archs 'timm/*efficientnet*'
      catdog info --recipes
      catdog info --cache
    """
    asked = [bool(target), all_archs, archs is not None, recipes, cache or clear_cache]
    if sum(asked) > 1:
        raise click.UsageError(
            "ARCH or CKPT, --all, --archs, --recipes, the cache are different questions: ask one at a time."
        )
    if clear_cache:
        _print(_clear_cache(), as_json, info_text.format_cleared)
    elif cache:
        _print(_describe_cache(), as_json, info_text.format_cache)
    elif recipes:
        _print(_describe_recipes(), as_json, info_text.format_recipes)
    elif archs is not None:
        _print(_list_archs(archs), as_json, info_text.format_names)
    elif target is None:
        _print(_describe_archs(all_archs), as_json, info_text.format_archs)
    elif _is_arch(target := _resolve(target)):
        _print(_describe_arch(target), as_json, info_text.format_arch)
    elif target.lower().endswith(".onnx"):
        from .info_export import describe_export, format_export

        _print(describe_export(target), as_json, format_export)
    else:
        from .info_checkpoint import describe_checkpoint

        _print(describe_checkpoint(target), as_json, info_text.format_checkpoint)


def _print(facts: dict[str, Any], as_json: bool, describe: Callable[[dict[str, Any]], Iterable[str]]) -> None:
    if as_json:
        echo_json(facts)
    else:
        for line in describe(facts):
            echo(line)


def _resolve(target: str) -> str:
    """Return a network's name as its source spells it, where the target is not the path of something."""
    from ..models.zoo.registry import resolve_arch

    return target if os.sep in target or os.path.lexists(target) else resolve_arch(target)


def _is_arch(target: str) -> bool:
    """Say whether a network is meant, not a path: its name, or a word that names no file.

    A file or folder called like a network is reached as ./resnet18.
    """
    from ..models.zoo.registry import arch_names, first_class_archs, is_of_large_source

    if target in first_class_archs():
        return True
    if not os.path.lexists(target) and is_of_large_source(target):
        return True
    looks_like_path = os.sep in target or "." in target or not target
    return not looks_like_path and (not os.path.lexists(target) or target in arch_names())


def _describe_archs(all_archs: bool) -> dict[str, Any]:
    from ..models.zoo.describe import describe_arch
    from ..models.zoo.registry import arch_names, first_class_archs, large_sources

    names = arch_names()
    detailed = names if all_archs else first_class_archs()
    others = [name for name in names if name not in detailed]
    return {
        "archs": [describe_arch(name) for name in detailed],
        "others": others,
        "large_sources": {source.name: source.is_installed() for source in large_sources()},
    }


def _list_archs(wanted: str) -> dict[str, Any]:
    from ..models.zoo.describe import list_archs

    return {"archs": list_archs(wanted)}


def _describe_arch(arch: str) -> dict[str, Any]:
    from ..models.zoo.describe import describe_arch, list_layers

    return {**describe_arch(arch), "layers": list_layers(arch)}


def _describe_recipes() -> dict[str, Any]:
    from ..recipes import load_recipe, recipe_names

    loaded = [load_recipe(name) for name in recipe_names()]
    return {
        recipe.name: {
            "description": recipe.description,
            **recipe.options,
            "phases": [phase.to_dict() for phase in recipe.phases],
        }
        for recipe in loaded
    }


def _describe_cache() -> dict[str, Any]:
    from ..data.sources.unpacked import unpacked_bytes
    from ..features.store import list_stores
    from ..runtime.files import cache_root

    stores, unpacked = list_stores(), unpacked_bytes()
    return {
        "root": str(cache_root()),
        "bytes": sum(store["bytes"] for store in stores) + unpacked,
        "unpacked_bytes": unpacked,  # of archives that were given as DATA
        "stores": stores[::-1],  # last used first
    }


def _clear_cache() -> dict[str, Any]:
    """Empty the cache; what could not be deleted counts as left, not as freed."""
    from ..features.store import clear_cache

    before = _describe_cache()
    clear_cache()
    after = _describe_cache()
    return {
        "root": before["root"],
        "freed_bytes": before["bytes"] - after["bytes"],
        "left_bytes": after["bytes"],
    }
