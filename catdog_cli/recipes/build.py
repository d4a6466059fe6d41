"""Options and recipes become settings: one phase, two, or those of a recipe."""

import dataclasses
from typing import Any, Literal

from ..errors import SettingsError, quote
from ..settings import UNUSED_BY_LBFGS, HeadSpec, Phase, TrainSettings
from . import load_recipe

FINE_TUNE_RATE_SHARE = 0.01  # of the head's learning rate
SCRATCH_EPOCHS, HEAD_EPOCHS = 20, 5

_PHASE_FIELDS = tuple(
    item.name
    for item in dataclasses.fields(Phase)
    if item.name not in ("name", "epochs", "learning_rate", "unfreeze")
)
_RUN_FIELDS = tuple(
    item.name for item in dataclasses.fields(TrainSettings) if item.name not in ("data", "head", "phases")
)


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
        return int(value)
    except ValueError as error:
        raise SettingsError(f"{quote(value)} is neither 'all' nor a number of layers.") from error


def build_settings(data: str, given: dict[str, Any], recipe: str | None = None) -> TrainSettings:
    """Turn options (None where not given) into settings; `recipe` (a name or a file) gives the phases.

    Raises:
        SettingsError: a value or a combination makes no sense.
    """
    chosen = {name: value for name, value in given.items() if value is not None}
    phases = None
    if recipe is not None:
        _refuse_phase_options(chosen)
        loaded = load_recipe(recipe)
        phases, chosen = loaded.phases, {**loaded.options, **chosen}
    if "weights" not in chosen:
        from ..models.zoo.registry import default_weights  # not before: every command's help comes by here

        chosen["weights"] = default_weights(chosen.get("arch", TrainSettings.arch))
    head = {name: chosen[name] for name in ("hidden_layers", "dropout") if name in chosen}
    if "hidden_layers" in head:
        head["hidden_layers"] = parse_layers(head["hidden_layers"])
    plain = {name: chosen[name] for name in _RUN_FIELDS if name in chosen}
    if type(plain.get("save_every")) is int:  # in an option file
        plain["save_every"] = str(plain["save_every"])
    if phases is None:
        phases = _phases(chosen, plain["weights"])
    return TrainSettings(data=str(data), head=HeadSpec(**head), phases=phases, **plain)


def _phases(chosen: dict[str, Any], weights: str) -> tuple[Phase, ...]:
    """Return one phase, or head and fine-tune; from scratch, one phase that trains everything."""
    common = {name: chosen[name] for name in _PHASE_FIELDS if name in chosen}
    scratch = weights == "none"
    solved = common.get("optimizer") == "lbfgs"
    epochs = chosen.get("epochs", 1 if solved else SCRATCH_EPOCHS if scratch else HEAD_EPOCHS)
    if solved and epochs != 1:
        raise SettingsError("--optimizer lbfgs reaches the optimum in one epoch: leave out --epochs.")
    rate = chosen.get("learning_rate", 1e-3)
    used, first_rate = common, rate
    if solved and chosen.get("fine_tune_epochs"):  # what only the second phase can use
        used = {name: value for name, value in common.items() if name not in UNUSED_BY_LBFGS}
        first_rate = Phase.learning_rate
    name = "scratch" if scratch else "head"
    first = Phase(name, epochs, first_rate, unfreeze="all" if scratch else 0, **used)
    if not chosen.get("fine_tune_epochs"):
        _refuse_alone(chosen)
        return (first,)
    if solved:
        common = {**common, "optimizer": "adam", "weight_decay": 0.0}
    fine_rate = chosen.get("fine_tune_learning_rate", rate * FINE_TUNE_RATE_SHARE)
    unfreeze = parse_unfreeze(chosen.get("unfreeze", "all"))
    return first, Phase("fine-tune", chosen["fine_tune_epochs"], fine_rate, unfreeze=unfreeze, **common)


def _refuse_alone(chosen: dict[str, Any]) -> None:
    """Options of the second phase mean nothing without it: say so rather than ignore them."""
    for name in ("unfreeze", "fine_tune_learning_rate"):
        if name in chosen:
            option = "--" + name.replace("_", "-")
            raise SettingsError(f"{option} belongs to a second phase: add --fine-tune-epochs N.")


def _refuse_phase_options(chosen: dict[str, Any]) -> None:
    phase_names = ("epochs", "learning_rate", "fine_tune_epochs", "fine_tune_learning_rate", "unfreeze")
    for name in (*phase_names, *_PHASE_FIELDS):
        if name in chosen:
            option = "--" + name.replace("_", "-")
            raise SettingsError(
                f"{option} and --recipe both say how to train: put it into the recipe's file."
            )
