"""What a search may try: choices and ranges by name; a TOML file narrows or widens them."""

import dataclasses
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import SettingsError, UnavailableError, quote
from ..runtime.files import expand_home, read_text
from ..settings import HeadSpec, Phase, TrainSettings
from ..settings_schema import check_value, settings_of

STAGES = ("solved", "heads", "fine-tune")


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, evenly or by their logarithms."""

    low: float
    high: float
    log: bool = False
    whole: bool = False


Choices = tuple[Any, ...]
Dimension = Choices | Range

VIEWS: dict[str, Dimension] = {  # how images are looked at; what costs features
    "looks": ("once", "mirror", "whole"),
    "image_size": (0,),  # the weights' own
    "augment": ("none", "light"),
    "views": (2,),  # of each image, where it is augmented
}
SOLVED: dict[str, Dimension] = {
    "l2": (1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3),
    "class_weights": ("none",),
}
HEADS: dict[str, Dimension] = {
    "hidden_layers": ((32,), (64,), (128,), (64, 32)),
    "dropout": Range(0.0, 0.6),
    "activation": ("relu", "gelu", "silu", "tanh"),
    "head_norm": ("none", "batch", "layer"),
    "optimizer": ("adam", "adamw", "sgd"),
    "learning_rate": Range(3e-4, 3e-2, log=True),
    "weight_decay": Range(1e-6, 1e-1, log=True),
    "label_smoothing": (0.0, 0.05, 0.1),
    "scheduler": ("constant", "cosine", "one-cycle"),
    "batch_size": (64, 128, 256),
    "epochs": Range(2, 12, log=True, whole=True),
}
FINE_TUNE: dict[str, Dimension] = {
    "blocks": (1, 2, 3, 4, 6),
    "fine_tune_learning_rate": Range(3e-5, 1e-3, log=True),
    "fine_tune_epochs": (2, 3, 5, 8),
    "layer_decay": (0.7, 0.85, 1.0),
    "fine_tune_augment": ("none", "light"),
    "ema": (0.0, 0.99),
}
GROUPS = {"views": VIEWS, "solved": SOLVED, "heads": HEADS, "fine-tune": FINE_TUNE}
_CHECKED_AS = {  # name here: the setting whose bounds count
    "l2": "weight_decay",
    "fine_tune_learning_rate": "learning_rate",
    "fine_tune_epochs": "epochs",
    "fine_tune_augment": "augment",
}


@dataclass(frozen=True)
class Space:
    """The dimensions of each stage by name, and the stages that are searched."""

    views: dict[str, Dimension]
    solved: dict[str, Dimension]
    heads: dict[str, Dimension]
    fine_tune: dict[str, Dimension]
    stages: tuple[str, ...] = STAGES
    arch: tuple[str, ...] = ()

    def choices(self, name: str) -> Choices:
        """Return the choices of a dimension of the views or of solved heads."""
        found = {**self.views, **self.solved}[name]
        assert isinstance(found, tuple)
        return found


def default_space() -> Space:
    """Return what is searched where nobody says otherwise."""
    return Space(dict(VIEWS), dict(SOLVED), dict(HEADS), dict(FINE_TUNE))


def read_space(given: str | Path | Mapping[str, Any] | None) -> Space:
    """Return the space that a TOML file, or a table, makes of the default one.

    A list gives choices, {low, high, log} a range, a single value fixes a dimension. `stages` lists those to
    search, `arch` the networks.

    Raises:
        UnavailableError: the file cannot be read.
        SettingsError: a name is not known, or a value not possible.
    """
    table = given if isinstance(given, Mapping) else read_table(given)
    where = f"The space {quote(str(given))}" if isinstance(given, (str, Path)) else "The space"
    found: dict[str, dict[str, Dimension]] = {group: dict(values) for group, values in GROUPS.items()}
    stages: tuple[str, ...] = STAGES
    arch: tuple[str, ...] = ()
    for key, value in table.items():
        name = key.replace("-", "_")
        if name == "stages":
            stages = _stages(value, where)
            continue
        if name == "arch":
            arch = _texts(value, where)
            continue
        group = next((group for group, values in GROUPS.items() if name in values), None)
        if group is None:
            known = ", ".join(["stages", "arch", *(name for values in GROUPS.values() for name in values)])
            raise SettingsError(f"{where} has the unknown name {quote(key)}: known are {known}.")
        found[group][name] = _dimension(name, value, GROUPS[group][name], where)
    return Space(found["views"], found["solved"], found["heads"], found["fine-tune"], stages, arch)


def read_table(path: str | Path | None) -> dict[str, Any]:
    """Return what a TOML file says, {} for none.

    Raises:
        UnavailableError: it cannot be read.
    """
    if path is None:
        return {}
    try:
        return tomllib.loads(read_text(expand_home(path)))
    except (OSError, ValueError, RecursionError) as error:  # ValueError: no TOML, no UTF-8, too large
        reason = getattr(error, "strerror", None) or str(error)[:200]
        raise UnavailableError(
            f"Cannot read the space {str(path)!r} ({reason}): give a TOML file."
        ) from error


def _stages(value: Any, where: str) -> tuple[str, ...]:
    found = _texts(value, where)
    wrong = [name for name in found if name not in STAGES]
    if wrong or not found:
        raise SettingsError(f"{where} has stages {quote(value)}: choose some of {', '.join(STAGES)}.")
    return tuple(name for name in STAGES if name in found)


def _texts(value: Any, where: str) -> tuple[str, ...]:
    found = (value,) if isinstance(value, str) else value
    if not isinstance(found, (list, tuple)) or not all(isinstance(each, str) for each in found):
        raise SettingsError(f"{where} has {quote(value)} where a list of texts is wanted.")
    return tuple(found)


def _dimension(name: str, value: Any, default: Dimension, where: str) -> Dimension:
    """Return a dimension from what a file says of it, each value checked as the option would be."""
    if isinstance(value, Mapping):
        return _range(name, value, default, where)
    values = value if isinstance(value, (list, tuple)) else (value,)
    if name == "hidden_layers":
        values = [tuple(each) if isinstance(each, (list, tuple)) else (each,) for each in values]
    if not values:
        raise SettingsError(f"{where} has no values for {name}: give at least one, or leave it out.")
    for each in values:
        _check(name, each, where)
    return tuple(values)


def _range(name: str, value: Mapping[str, Any], default: Dimension, where: str) -> Range:
    base = default if isinstance(default, Range) else None
    low: Any = value.get("low")
    high: Any = value.get("high")
    odd = set(value) - {"low", "high", "log"}
    if base is None or odd or not _is_number(low) or not _is_number(high):
        kind = "{low, high, log}" if base is not None else "a list: it has choices, no range"
        raise SettingsError(f"{where} has {quote(dict(value))} for {name}, which must be {kind}.")
    log = bool(value.get("log", base.log))
    for each in (low, high):
        _check(name, int(each) if base.whole else float(each), where)
    if low > high or (log and low <= 0):
        raise SettingsError(
            f"{where} has {name} from {low} to {high}: low must be at most high, and above 0."
        )
    return dataclasses.replace(base, low=low, high=high, log=log)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _check(name: str, value: Any, where: str) -> None:
    if name == "blocks":
        if type(value) is not int or value < 1:
            raise SettingsError(f"{where} has {quote(value)} for blocks, which must be whole, at least 1.")
        return
    known = {**settings_of(TrainSettings), **settings_of(HeadSpec), **settings_of(Phase)}
    try:
        check_value(known[_CHECKED_AS.get(name, name)], value)
    except SettingsError as error:
        raise SettingsError(f"{where}, {name}: {error}") from error
