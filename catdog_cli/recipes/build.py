"""Options and recipes become settings: one phase, two, or those of a recipe."""

import csv
import dataclasses
import io
import operator
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from ..errors import SettingsError, quote
from ..runtime.files import expand_home
from ..settings import FineTuneOptions, HeadSpec, Phase, TrainSettings, option_name
from ..settings_networks import Weights, is_several, parse_weights
from ..settings_rules import (
    OF_ALL_PHASES,
    OF_FIRST_PHASE,
    OF_SECOND_PHASE,
    UNUSED_BY_LBFGS,
    check_options,
)
from ..settings_schema import check_range, check_value, settings_of
from . import Recipe, load_recipe

FINE_TUNE_RATE_SHARE = 0.01  # of the head's learning rate
SCRATCH_EPOCHS, FRESH_EPOCHS = 20, 5
# A head on kept features trains until it has not improved for so long: an epoch costs hundredths of a second.
MOST_EPOCHS, PATIENCE = 100, 5

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


def parse_dropout(value: object) -> float | tuple[float, ...]:
    """Return one number, or one a hidden layer, from a number, a list, or text such as 0.3,0.2.

    Raises:
        SettingsError: it is none of these.
    """
    if isinstance(value, (tuple, list)):
        return tuple(value)
    if not isinstance(value, str):
        return value  # type: ignore[return-value]  # the settings check it
    try:
        found = tuple(float(part) for part in value.split(","))
    except ValueError as error:
        raise SettingsError(f"{quote(value)} is neither a number nor a list such as 0.3,0.2.") from error
    return found if len(found) > 1 else found[0]


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


def _join_names(names: Sequence[Any]) -> str:
    """Return names as a line of CSV, as the command line gives them."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(names)
    return text.getvalue()


def build_settings(
    data: str,
    given: Mapping[str, Any],
    recipe: str | None = None,
    log: Callable[[str], None] = lambda text: None,
) -> TrainSettings:
    """Turn options (None where not given) into settings; `recipe` (a name or a file) gives the phases.

    Args:
        log: gets a sentence on what options change of the recipe.

    Raises:
        SettingsError: a value or a combination makes no sense.
    """
    chosen = {name: value for name, value in given.items() if value is not None}
    check_options(chosen if recipe is None else {**chosen, "recipe": recipe})
    phases = None
    if recipe is not None:
        loaded = load_recipe(recipe)
        fitting = _fit_recipe(recipe, loaded, chosen, log)
        phases = _change_recipe(recipe, fitting, chosen, log)
        chosen = {**loaded.options, **chosen}
    from ..models.zoo.registry import default_weights, resolve_arch  # not before: every --help comes by here

    check_value(settings_of(TrainSettings)["arch"], chosen.get("arch", TrainSettings.arch))
    chosen["arch"] = resolve_arch(chosen.get("arch", TrainSettings.arch))
    chosen.setdefault("weights", default_weights(chosen["arch"]))
    chosen["weights"] = _expand_weights(parse_weights(chosen["arch"], chosen["weights"]))
    for name in ("exclude", "decisions", "category_names"):
        if isinstance(chosen.get(name), (str, os.PathLike)):
            chosen[name] = expand_home(chosen[name])
    head = {name: chosen[name] for name in settings_of(HeadSpec) if name in chosen}
    for name, parse in (("hidden_layers", parse_layers), ("dropout", parse_dropout)):
        if name in head:
            head[name] = parse(head[name])
    plain = {name: chosen[name] for name in _RUN_FIELDS if name in chosen}
    if isinstance(plain.get("label_columns"), (list, tuple)):  # from Python, or in an option file
        plain["label_columns"] = _join_names(plain["label_columns"])
    if type(plain.get("save_every")) is int:  # in an option file
        plain["save_every"] = str(plain["save_every"])
    if "image_size" in plain:  # 0, the weights' own, is what stands where nothing is given
        check_range("image size", plain["image_size"], 8, 4096, whole=True)
    if phases is None:
        phases = _phases(chosen, plain["weights"])
    if not any(phase.epochs for phase in phases):
        raise SettingsError("The recipe has no epochs, so that it trains nothing: give a phase at least 1.")
    return TrainSettings(data=expand_home(str(data)), head=HeadSpec(**head), phases=phases, **plain)


def _expand_weights(weights: Any) -> Any:
    """Return weights with ~ as the home folder; what is no text is left to the settings to refuse."""
    if isinstance(weights, tuple):
        return tuple(map(_expand_weights, weights))
    return expand_home(weights) if isinstance(weights, (str, os.PathLike)) else weights


def _phases(chosen: dict[str, Any], weights: Weights) -> tuple[Phase, ...]:
    """Return one phase, or head and fine-tune; from scratch, one phase that trains everything."""
    second = FineTuneOptions(
        **{name: chosen[name] for name in settings_of(FineTuneOptions) if name in chosen}
    )
    common = {name: chosen[name] for name in OF_ALL_PHASES if name in chosen}
    scratch = weights == "none"
    solved = common.get("optimizer") == "lbfgs"
    rate = chosen.get("learning_rate", 1e-3)
    check_value(settings_of(Phase)["learning_rate"], rate)  # the first phase may not see it
    used, first_rate = common, rate
    if solved and second.fine_tune_epochs:  # what only the second phase can use
        used = {name: value for name, value in common.items() if name not in UNUSED_BY_LBFGS}
        first_rate = Phase.learning_rate
    if not second.fine_tune_epochs and "epochs" in chosen:
        check_range("epochs", chosen["epochs"], 1, whole=True)  # none at all would train nothing
    lasting = {"epochs": chosen["epochs"]} if "epochs" in chosen else _default_length(chosen, scratch, solved)
    name = "scratch" if scratch else "head"
    first = Phase(name, learning_rate=first_rate, unfreeze="all" if scratch else 0, **{**lasting, **used})
    if not second.fine_tune_epochs:
        return (first,)
    if solved:
        common = {**common, "optimizer": "adam", "weight_decay": 0.0}
    fine_rate = chosen.get("fine_tune_learning_rate", rate * FINE_TUNE_RATE_SHARE)
    unfreeze = parse_unfreeze(chosen.get("unfreeze", "all"))
    return first, Phase("fine-tune", second.fine_tune_epochs, fine_rate, unfreeze=unfreeze, **common)


def _default_length(chosen: dict[str, Any], scratch: bool, solved: bool) -> dict[str, int]:
    """Return epochs and patience of a first phase whose epochs were not given."""
    if solved:
        return {"epochs": 1}
    if scratch:
        return {"epochs": SCRATCH_EPOCHS}
    is_fresh = chosen.get("augment", "none") != "none" and not chosen.get("views")
    kept = chosen.get("cache", True) and chosen.get("monitor") != "last"
    if is_fresh or not kept:  # every epoch goes through the whole network, or none is chosen
        return {"epochs": FRESH_EPOCHS}
    return {"epochs": MOST_EPOCHS, "patience": PATIENCE}


def _fit_recipe(
    recipe: str, loaded: Recipe, chosen: dict[str, Any], log: Callable[[str], None]
) -> tuple[Phase, ...]:
    """Return a recipe's phases as far as they are possible with what was given, and say what is not.

    A head that cannot be solved in one go is trained instead; of several networks only the head trains.
    """
    options = {**loaded.options, **chosen}
    head_alone = not options.get("hidden_layers") and options.get("head", "linear") == "linear"
    solvable = "optimizer" in chosen or (head_alone and options.get("cache", True))
    phases, said = [], []
    for phase in loaded.phases:
        if phase.unfreeze and is_several(str(options.get("arch", ""))) and len(loaded.phases) > 1:
            said.append(f"phase {phase.name!r} is left out, for of several networks only the head trains")
            continue
        if phase.optimizer == "lbfgs" and not solvable:
            length: dict[str, Any] = {**_default_length(options, False, False)}
            said.append(f"phase {phase.name!r} trains a head that cannot be solved in one go")
            phase = dataclasses.replace(phase, optimizer=Phase.optimizer, **length)
        phases.append(phase)
    if said:
        log(f"Changed in the recipe {recipe!r}: {', '.join(said)}.")
    return tuple(phases)


def _change_recipe(
    recipe: str, phases: tuple[Phase, ...], chosen: dict[str, Any], log: Callable[[str], None]
) -> tuple[Phase, ...]:
    """Return a recipe's phases with what was given on the command line, and say what that changes.

    Epochs and rate are the first phase's, those of fine-tuning the second's, all else every phase's.

    Raises:
        SettingsError: the recipe has no second phase to change.
    """
    of_second = {field: option for option, field in OF_SECOND_PHASE.items() if option in chosen}
    if of_second and len(phases) < 2:
        option = option_name(next(iter(of_second.values())))
        raise SettingsError(f"{option} belongs to a second phase, which the recipe {recipe!r} does not have.")
    changed, said = [], []
    for number, phase in enumerate(phases):
        values = {name: chosen[name] for name in OF_ALL_PHASES if name in chosen}
        if number == 0:
            values |= {name: chosen[name] for name in OF_FIRST_PHASE if name in chosen}
        if number == 1:
            values |= {field: chosen[option] for field, option in of_second.items()}
        if "unfreeze" in values:
            values["unfreeze"] = parse_unfreeze(values["unfreeze"])
        changed.append(dataclasses.replace(phase, **values))
        said += [
            f"{name.replace('_', ' ')} of phase {phase.name!r} {getattr(phase, name)} -> {value}"
            for name, value in values.items()
            if value != getattr(phase, name)
        ]
    if said:
        log(f"Changed in the recipe {recipe!r}: {', '.join(said)}.")
    return tuple(changed)
