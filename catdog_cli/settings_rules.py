"""Which option needs or excludes which: two tables, so that nothing is parsed and ignored.

OPTION_RULES are about what was given, before it becomes settings; RULES about the settings that a run begins
with, wherever they come from. And which options a resumed run takes.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from .errors import SettingsError, quote
from .settings import HeadSpec, Phase, TrainSettings, list_options, option_name
from .settings_networks import describe_weights, is_several, weights_of
from .settings_schema import settings_of

# What solving the head in one go (lbfgs) does not look at; a value other than the default would be ignored.
UNUSED_BY_LBFGS = (
    "learning_rate",
    "batch_size",
    "scheduler",
    "warmup_epochs",
    "sampler",
    "mixup",
    "cutmix",
    "layer_decay",
    "clip_norm",
    "ema",
    "patience",
    "min_delta",
)


class Rule(NamedTuple):
    """A combination that is refused, and the sentence that says why and what to do."""

    is_broken: Callable[[TrainSettings], bool]
    sentence: str


def in_a_phase(is_broken: Callable[[Phase], bool]) -> Callable[[TrainSettings], bool]:
    """Return the question whether a phase of a run is so."""
    return lambda settings: any(is_broken(phase) for phase in settings.phases)


def is_changed(phase: Phase, name: str) -> bool:
    """Say whether a field of a phase has another value than its default."""
    return bool(getattr(phase, name) != getattr(Phase, name))


def _is_solved(phase: Phase) -> bool:
    return phase.optimizer == "lbfgs"


def _ignored_by_lbfgs(name: str) -> Rule:
    return Rule(
        in_a_phase(lambda phase: _is_solved(phase) and is_changed(phase, name)),
        f"{option_name(name)} does nothing with --optimizer lbfgs, which solves the head in one go: leave it "
        f"out.",
    )


def _needs_hidden_layers(name: str) -> Rule:
    return Rule(
        lambda settings: (
            not settings.head.hidden_layers and getattr(settings.head, name) != getattr(HeadSpec, name)
        ),
        f"{option_name(name)} belongs to hidden layers, of which the head has none: add --hidden-layers N, "
        f"or leave it out.",
    )


def _only_the_head_trains(settings: TrainSettings) -> bool:
    return not any(phase.unfreeze for phase in settings.phases)


def _trains_none_of(settings: TrainSettings) -> bool:
    """Say whether --weights none of several networks leaves nothing that has learnt to see."""
    return is_several(settings.arch) and set(weights_of(settings.arch, settings.weights)) == {"none"}


RULES = (
    Rule(
        _trains_none_of,
        "--weights none trains a network from scratch, but several side by side stay frozen: give --weights "
        "imagenet, or one each, such as a.pth+b.pth.",
    ),
    Rule(
        lambda settings: is_several(settings.arch) and not _only_the_head_trains(settings),
        "--arch A+B trains one head on frozen networks: leave out --fine-tune-epochs, or choose a --recipe "
        "without fine-tuning, or one network.",
    ),
    *map(_ignored_by_lbfgs, UNUSED_BY_LBFGS),
    Rule(
        lambda settings: any(
            _is_solved(phase) and (phase.unfreeze or settings.head.hidden_layers) for phase in settings.phases
        ),
        "--optimizer lbfgs solves a linear head alone: leave out --hidden-layers and --unfreeze.",
    ),
    Rule(
        lambda settings: settings.head.is_custom and HeadSpec(head=settings.head.head) != settings.head,
        "--hidden-layers, --dropout, --activation and --head-norm build a head of catdog's own, but another "
        "was given: leave them out.",
    ),
    Rule(
        lambda settings: settings.head.head != "linear" and any(map(_is_solved, settings.phases)),
        "--optimizer lbfgs solves a linear head alone: leave out --head, or choose another --optimizer.",
    ),
    *map(_needs_hidden_layers, ("activation", "head_norm")),
    Rule(
        in_a_phase(lambda phase: _is_solved(phase) and phase.augment != "none" and not phase.views),
        "--optimizer lbfgs needs fixed views: add --views N to --augment.",
    ),
    Rule(
        in_a_phase(lambda phase: bool(phase.views) and phase.augment == "none"),
        "--views fixes augmented views: add --augment.",
    ),
    Rule(
        in_a_phase(lambda phase: phase.monitor == "last" and bool(phase.patience)),
        "--monitor last keeps the last epoch, and --patience ends where validation stops to gain: leave one "
        "of them out.",
    ),
    Rule(
        in_a_phase(lambda phase: bool(phase.warmup_epochs) and phase.scheduler == "one-cycle"),
        "--warmup-epochs does nothing with --scheduler one-cycle, which warms up by itself: leave it out.",
    ),
    Rule(
        lambda settings: (
            in_a_phase(lambda phase: is_changed(phase, "layer_decay"))(settings)
            and _only_the_head_trains(settings)
        ),
        "--layer-decay slows earlier layers down, but only the head trains: add --fine-tune-epochs N, or "
        "leave it out.",
    ),
    Rule(
        lambda settings: settings.compile and _only_the_head_trains(settings),
        "--compile speeds up what trains of the backbone, but only the head trains: add "
        "--fine-tune-epochs N, or leave it out.",
    ),
    Rule(
        lambda settings: not settings.cache and settings.cache_limit != TrainSettings.cache_limit,
        "--cache-limit does nothing with --no-cache: leave one of them out.",
    ),
    Rule(
        lambda settings: not settings.cache and any(map(_is_solved, settings.phases)),
        "--optimizer lbfgs needs the features of all pictures at hand, but --no-cache keeps none: leave it "
        "out, or choose another --optimizer.",
    ),
    Rule(
        lambda settings: bool(settings.label_delimiter and settings.label_columns),
        "--label-delimiter divides one column and --label-columns names several: give one of them.",
    ),
)


# What has no meaning where an image has several labels; asked once DATA is known.
SEVERAL_LABELS_RULES = (
    Rule(
        in_a_phase(lambda phase: phase.sampler == "balanced"),
        "--sampler balanced draws every class equally often, which pictures with several labels do not "
        "allow: use --class-weights balanced.",
    ),
    Rule(
        in_a_phase(lambda phase: phase.monitor == "accuracy"),
        "--monitor accuracy has no meaning where a picture has several labels: use map, f1, auc or loss.",
    ),
)
ONE_LABEL_RULES = (
    Rule(
        in_a_phase(lambda phase: phase.monitor == "map"),
        "--monitor map is of several labels a picture, and this data has one class a picture: use accuracy, "
        "f1, auc or loss.",
    ),
)


def check_labels(settings: TrainSettings, several: bool) -> None:
    """Refuse options that do nothing, or have no meaning, with the labels that DATA turned out to have.

    Raises:
        SettingsError: the sentence of the first rule that is broken.
    """
    for rule in SEVERAL_LABELS_RULES if several else ONE_LABEL_RULES:
        if rule.is_broken(settings):
            raise SettingsError(rule.sentence)


def check_combinations(settings: TrainSettings) -> None:
    """Refuse options that cannot go together, or that would be ignored; asked when a run begins.

    A run that resumes is not asked: what it began with is what it has.

    Raises:
        SettingsError: the sentence of the first rule that is broken.
    """
    for rule in RULES:
        if rule.is_broken(settings):
            raise SettingsError(rule.sentence)


class OptionRule(NamedTuple):
    """Options that cannot be given together, or not alone, and the sentence that says what to do."""

    is_broken: Callable[[Mapping[str, Any]], bool]
    sentence: str


OF_ONE_PHASE = ("name", "epochs", "learning_rate", "unfreeze")
OF_ALL_PHASES = tuple(name for name in settings_of(Phase) if name not in OF_ONE_PHASE)
OF_FIRST_PHASE = ("epochs", "learning_rate")
OF_SECOND_PHASE = {  # option: the field of the second phase that it sets
    "fine_tune_epochs": "epochs",
    "fine_tune_learning_rate": "learning_rate",
    "unfreeze": "unfreeze",
}


def _of_a_second_phase(name: str) -> OptionRule:
    return OptionRule(
        lambda given: "recipe" not in given and name in given and not given.get("fine_tune_epochs"),
        f"{option_name(name)} belongs to a second phase: add --fine-tune-epochs N.",
    )


OPTION_RULES = (
    OptionRule(
        lambda given: given.get("optimizer") == "lbfgs" and given.get("epochs", 1) != 1,
        "--optimizer lbfgs reaches the optimum in one epoch: leave out --epochs.",
    ),
    OptionRule(
        lambda given: (
            "dropout" in given and given.get("optimizer") == "lbfgs" and not given.get("fine_tune_epochs")
        ),
        "--dropout does nothing with --optimizer lbfgs, which solves the head in one go: leave it out.",
    ),
    *map(_of_a_second_phase, ("unfreeze", "fine_tune_learning_rate")),
)


def check_options(given: Mapping[str, Any]) -> None:
    """Refuse options that cannot be given together, before they become settings.

    Args:
        given: options by name, those alone that were given; `recipe` is among them where there is one.

    Raises:
        SettingsError: the sentence of the first rule that is broken.
    """
    for rule in OPTION_RULES:
        if rule.is_broken(given):
            raise SettingsError(rule.sentence)


def check_phase_number(phases: tuple[Phase, ...], number: int) -> None:
    """Raise SettingsError unless there is a phase `number`, counted from 1."""
    if not 1 <= number <= len(phases):
        there = "is 1 phase: add --fine-tune-epochs N" if len(phases) == 1 else f"are {len(phases)} phases"
        raise SettingsError(f"--phase {number}: there {there}.")


def refuse_on_resume(given: Mapping[str, Any], run: TrainSettings) -> None:
    """Refuse options that a resumed run may not change, unless they say what it does anyway.

    Args:
        given: options by name, None where not given.
        run: the settings of the run.

    Raises:
        SettingsError: the first that differs.
    """
    options = list_options()
    for name, value in given.items():
        if value is None or (name in options and options[name].on_resume):
            continue
        own = _values_in(run, name)
        if not own or any(not _is_same(name, value, each) for each in own):
            said = [describe_weights(each) if name == "weights" else each for each in own]
            shown = f", {' and '.join(dict.fromkeys(map(quote, said)))}" if own else ""
            raise SettingsError(
                f"{option_name(name)} cannot change on resume: the run keeps its own{shown}. Leave it out, "
                f"or start a new run."
            )


def _values_in(run: TrainSettings, name: str) -> list[Any]:
    """Return the values that a run has for an option: one, or one for each phase that looks at it."""
    first, *rest = run.phases
    if name in settings_of(HeadSpec):
        return [getattr(run.head, name)]
    if name in settings_of(TrainSettings) and name not in ("head", "phases"):
        return [getattr(run, name)]
    if name == "learning_rate":
        return [first.learning_rate]
    if name in ("unfreeze", "fine_tune_learning_rate"):
        return [getattr(phase, name.removeprefix("fine_tune_")) for phase in rest[:1]]
    if name not in settings_of(Phase):
        return []
    solved_looks = name not in UNUSED_BY_LBFGS
    phases = [phase for phase in run.phases if solved_looks or not _is_solved(phase)] or [first]
    if name in ("optimizer", "weight_decay") and _is_solved(first):
        phases = [first]  # the second phase has its own
    return [getattr(phase, name) for phase in phases]


def _is_same(name: str, given: Any, own: Any) -> bool:
    is_path = isinstance(given, str) and isinstance(own, str) and given and own
    if name in ("exclude", "decisions", "weights", "category_names") and is_path:
        return given == own or Path(given).absolute() == Path(own).absolute()
    if name == "monitor" and given == "auto":  # what the data has decided
        return True
    return bool(tuple(given) == own if isinstance(given, list) else given == own)
