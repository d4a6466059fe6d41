"""Recipes: lists of phases with a name, as TOML files; those shipped lie beside this file.

Read by `commands.train` and `commands.info`. A recipe has `description`, any of OPTIONS, a
`[head]` table whose keys are the fields of `settings.HeadSpec`, and `[[phase]]` tables whose keys are those
of `settings.Phase`.
"""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import SettingsError, UnavailableError, quote
from ..runtime.files import expand_home, read_text
from ..settings import HeadSpec, Phase
from ..settings_schema import check_kind, settings_of

HEAD_OPTIONS = tuple(settings_of(HeadSpec))
OPTIONS = ("arch", "weights", *HEAD_OPTIONS, "image_size", "looks", "save_every")


@dataclass(frozen=True)
class Recipe:
    """Phases in order, and options that the recipe wants where the command line says nothing."""

    name: str
    description: str
    phases: tuple[Phase, ...]
    options: dict[str, Any] = field(default_factory=dict)


def recipe_names() -> list[str]:
    """Return the names of the recipes that come with catdog."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.toml"))


def load_recipe(name: str) -> Recipe:
    """Return a shipped recipe by name, or one from a TOML file.

    Raises:
        SettingsError: no such recipe or file, or what it says makes no sense.
    """
    check_kind("recipe", name, str, "a name or a file")
    if name == "auto":
        raise SettingsError(
            "The recipe 'auto' is a search: call catdog_cli.tune, or `catdog train DATA --recipe auto`."
        )
    shipped = name in recipe_names()
    path = Path(__file__).parent / f"{name}.toml" if shipped else Path(expand_home(name))
    try:
        content = tomllib.loads(read_text(path))
    except FileNotFoundError as error:
        raise (UnavailableError if path.suffix else SettingsError)(
            f"No recipe {name!r}: give a TOML file, or one of {', '.join(recipe_names())}."
        ) from error
    except (OSError, ValueError, RecursionError) as error:  # ValueError: no TOML, no UTF-8, too large
        reason = getattr(error, "strerror", None) or str(error)[:200]
        raise UnavailableError(f"Cannot read the recipe {name!r} ({reason}).") from error
    return _build(path.stem, name, content)


def _build(stem: str, given: str, content: dict[str, Any]) -> Recipe:
    tables = content.pop("phase", None)
    description = str(content.pop("description", ""))
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise SettingsError(f"The recipe {given!r} has no phases: write a [[phase]] table for each.")
    head = content.pop("head") if isinstance(content.get("head"), dict) else {}
    options = {name.replace("-", "_"): value for name, value in content.items()}
    options |= _head_options(head, options, given)
    for name in options:
        if name not in OPTIONS:
            raise SettingsError(
                f"The recipe {given!r} has the unknown option {quote(name)}: known are {', '.join(OPTIONS)}."
            )
    try:
        phases = tuple(_phase(number, table) for number, table in enumerate(tables, 1))
    except SettingsError as error:
        raise SettingsError(f"In the recipe {given!r}: {error}") from error
    return Recipe(stem, description, phases, options)


def _head_options(table: dict[str, Any], options: dict[str, Any], given: str) -> dict[str, Any]:
    """Return what the `[head]` table says, as options."""
    named = {name.replace("-", "_"): value for name, value in table.items()}
    for name in named:
        if name not in HEAD_OPTIONS:
            raise SettingsError(
                f"The [head] of the recipe {given!r} has the unknown option {quote(name)}: known are "
                f"{', '.join(HEAD_OPTIONS)}."
            )
        if name in options:
            raise SettingsError(f"The recipe {given!r} says {name} twice: leave it out of one place.")
    return named


def _phase(number: int, table: dict[str, Any]) -> Phase:
    values = {name.replace("-", "_"): value for name, value in table.items()}
    if values.get("optimizer") == "lbfgs":
        values.setdefault("epochs", 1)
    return Phase.from_dict({"name": f"phase {number}", **values})
