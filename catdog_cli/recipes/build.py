"""Options and recipes become settings: one phase, two, or those of a recipe."""

import operator
import os
from collections.abc import Mapping
from typing import Any, Literal

from ..errors import SettingsError, quote
from ..runtime.files import expand_home
from ..settings import FineTuneOptions, HeadSpec, Phase, TrainSettings
from ..settings_rules import UNUSED_BY_LBFGS, check_options
from ..settings_schema import check_range, settings_of
from . import load_recipe

FINE_TUNE_RATE_SHARE = 0.01  # of the head's learning rate
SCRATCH_EPOCHS, HEAD_EPOCHS = 20, 5

_PHASE_FIELDS = tuple(
    name for name in settings_of(Phase) if name not in ("name", "epochs", "learning_rate", "unfreeze")
)
_RUN_FIELDS = tuple(name for name in settings_of(TrainSettings) if name not in ("data", "head", "phases"))


def parse_layers(value: object) -> tuple[int, ...]:
    """Return the sizes of hidden layers from a list, or from text such as 512,256.

    Raises:
        SettingsError: it is neither.
    """
    if isinstance(value, (tuple, list)):
        return tuple(value)
    try:
        return tuple(int(part) for part in str(value).split(",") if part.strip())
    except ValueError as error:
        raise SettingsError(f"{quote(value)} is not a list of whole numbers such as 512,256.") from error


def parse_unfreeze(value: Any) -> int | Literal["all"]:
    """Return "all", or a number of layers.

    Raises:
        SettingsError: it is neither.
    """
    if value == "all":
        return "all"
    try:
        return int(value) if isinstance(value, str) else operator.index(value)
    except (ValueError, TypeError) as error:
        raise SettingsError(f"{quote(value)} is neither 'all' nor a number of layers.") from error


def build_settings(data: str, given: Mapping[str, Any], recipe: str | None = None) -> TrainSettings:
    """Turn options (None where not given) into settings; `recipe` (a name or a file) gives the phases.

    Raises:
        SettingsError: a value or a combination makes no sense.
    """
    chosen = {name: value for name, value in given.items() if value is not None}
    check_options(chosen if recipe is None else {**chosen, "recipe": recipe})
    phases = None
    if recipe is not None:
        loaded = load_recipe(recipe)
        phases, chosen = loaded.phases, {**loaded.options, **chosen}
    from ..models.zoo.registry import default_weights, resolve_arch  # not before: every --help comes by here

    chosen["arch"] = resolve_arch(chosen.get("arch", TrainSettings.arch))
    chosen.setdefault("weights", default_weights(chosen["arch"]))
    for name in ("weights", "exclude", "category_names"):
        if isinstance(chosen.get(name), (str, os.PathLike)):
            chosen[name] = expand_home(chosen[name])
    head = {name: chosen[name] for name in settings_of(HeadSpec) if name in chosen}
    if "hidden_layers" in head:
        head["hidden_layers"] = parse_layers(head["hidden_layers"])
    plain = {name: chosen[name] for name in _RUN_FIELDS if name in chosen}
    if type(plain.get("save_every")) is int:  # in an option file
        plain["save_every"] = str(plain["save_every"])
    if "image_size" in plain:  # 0, the weights' own, is what stands where nothing is given
        check_range("image size", plain["image_size"], 8, 4096, whole=True)
    if phases is None:
        phases = _phases(chosen, plain["weights"])
    if not any(phase.epochs for phase in phases):
        raise SettingsError("The recipe has no epochs, so that it trains nothing: give a phase at least 1.")
    return TrainSettings(data=expand_home(str(data)), head=HeadSpec(**head), phases=phases, **plain)


def _phases(chosen: dict[str, Any], weights: str) -> tuple[Phase, ...]:
    """Return one phase, or head and fine-tune; from scratch, one phase that trains everything."""
    second = FineTuneOptions(
        **{name: chosen[name] for name in settings_of(FineTuneOptions) if name in chosen}
    )
    common = {name: chosen[name] for name in _PHASE_FIELDS if name in chosen}
    scratch = weights == "none"
    solved = common.get("optimizer") == "lbfgs"
    epochs = chosen.get("epochs", 1 if solved else SCRATCH_EPOCHS if scratch else HEAD_EPOCHS)
    rate = chosen.get("learning_rate", 1e-3)
    used, first_rate = common, rate
    if solved and second.fine_tune_epochs:  # what only the second phase can use
        used = {name: value for name, value in common.items() if name not in UNUSED_BY_LBFGS}
        first_rate = Phase.learning_rate
    if not second.fine_tune_epochs:
        check_range("epochs", epochs, 1, whole=True)  # none at all would train nothing
    name = "scratch" if scratch else "head"
    first = Phase(name, epochs, first_rate, unfreeze="all" if scratch else 0, **used)
    if not second.fine_tune_epochs:
        return (first,)
    if solved:
        common = {**common, "optimizer": "adam", "weight_decay": 0.0}
    fine_rate = chosen.get("fine_tune_learning_rate", rate * FINE_TUNE_RATE_SHARE)
    unfreeze = parse_unfreeze(chosen.get("unfreeze", "all"))
    return first, Phase("fine-tune", second.fine_tune_epochs, fine_rate, unfreeze=unfreeze, **common)
