"""The end of a search: the best settings trained on all training images, a recipe, a page, a sentence."""

import json
import math
from typing import Any

import numpy as np

from ..errors import CatdogError
from ..evaluation.intervals import Z_95, wilson_interval
from ..evaluation.report import write_text
from ..runs.directory import RunDirectory
from ..runtime.seeds import seed_of
from ..settings import HeadSpec, Phase, TrainSettings
from ..training import run as runs
from ..training.events import Event, PhaseEnded, broadcast
from ..training.result import RunResult
from .events import StageStarted
from .fold_run import measure
from .journal import Trial
from .result import FOLDER, NAMES, RECIPE, RESULT, TuneResult
from .scores import Flattery, measure_flattery
from .search import Search
from .trials import as_settings, largest_batch

NEARLY = 0.25  # of the best network's interval: what a smaller one may lack to be worth a word


def finish(search: Search) -> TuneResult:
    """Train the best settings into the run directory, measure once on the validation images, write it down.

    Raises:
        CatdogError: there is no trial that was scored; or the training fails.
    """
    standing = search.best
    if standing is None:
        raise CatdogError(
            "The budget was over before one trial was scored: give a longer --budget, or fewer and smaller "
            "networks with --arch."
        )
    settings = best_settings(search)
    search.listener(StageStarted("training", f"{standing.sight.name}, on all training pictures"))
    ended, _ = train_best(search, settings)
    task = search.task
    probabilities = task.probabilities(ended.logits.double().cpu().numpy())
    labels = ended.labels.cpu().numpy()
    validation = measure(task, probabilities, labels)[search.metric]
    flattery = measure_flattery(
        search.metric, task, search.best_answers(), search.labels, seed_of(search.scope.seed, "flattery")
    )
    trials = [trial for trial in search.trials() if trial.ended]
    best_value = float(standing.trial.facts[search.metric])
    interval = _interval(search, validation, len(labels))
    result = TuneResult(
        run_dir=search.run_dir,
        metric=search.metric,
        stage=standing.trial.stage,
        params=standing.trial.params,
        cross_validated=best_value,
        flattery=None if flattery is None else flattery.to_dict(),
        validation=validation,
        validation_interval=interval,
        gap=_gap(search, best_value, validation, len(labels)),
        num_trials=len(trials),
        num_given_up=sum(trial.score is None for trial in trials),
        budget_s=search.clock.budget_s,
        seconds=search.clock.used_s,
        advice=advise(search, trials, flattery),
    )
    write_recipe(search.run_dir / RECIPE, settings, describe(result))
    from .page import write_page  # and with it matplotlib

    write_page(search, result, trials)
    document = {**result.to_dict(), "seconds": search.clock.used_s}
    write_text(search.run_dir / FOLDER / RESULT, json.dumps(document, indent=1, allow_nan=False) + "\n")
    return TuneResult.from_dict(document, search.run_dir)


def best_settings(search: Search) -> TrainSettings:
    """Return the settings of a run that does what the best trial did, on all training images."""
    standing = search.best
    assert standing is not None
    trial = standing.trial
    if trial.stage == "heads":
        inside = len(search.labels) * (search.request.folds - 1) // search.request.folds
        trial = Trial(
            trial.stage, trial.number, largest_batch(trial.params, inside), trial.score, trial.facts
        )
    return as_settings(search.request.settings, standing.sight, trial, search.bank.base(standing.sight))


def train_best(search: Search, settings: TrainSettings) -> tuple[PhaseEnded, RunResult]:
    """Train into the run directory, or resume there what was killed; return how its last phase ended."""
    directory, ended = RunDirectory(search.run_dir), []

    def listen(event: Event) -> None:
        if isinstance(event, PhaseEnded):
            ended.append(event)

    listener = broadcast(listen, search.listener)
    if directory.last.exists() or directory.best.exists():
        result = runs.resume(search.run_dir, runs.Changes(), listener, search.should_stop)
    else:
        result = runs.train(settings, search.run_dir, listener, search.should_stop)
    return ended[-1], result


def _interval(search: Search, value: float | None, count: int) -> list[float] | None:
    if value is None or search.metric != "accuracy" or not count:
        return None
    return wilson_interval(round(value * count), count)


def _gap(search: Search, best: float, value: float | None, count: int) -> dict[str, Any] | None:
    """Return how far the best cross-validated accuracy is above that on the validation images."""
    if value is None or search.metric != "accuracy" or not count:
        return None
    variance = sum(
        share * (1 - share) / number for share, number in ((best, len(search.labels)), (value, count))
    )
    half = Z_95 * math.sqrt(variance)
    return {"value": best - value, "interval": [best - value - half, best - value + half]}


def describe(result: TuneResult) -> str:
    """Return the description of the recipe."""
    name = NAMES[result.metric]
    return f"Found by `catdog tune`: cross-validated {name} {result.show(result.cross_validated)}."


def advise(search: Search, trials: list[Trial], flattery: Flattery | None) -> str:
    """Return what a person can do with the outcome, in a sentence or two."""
    standing = search.best
    assert standing is not None
    what = {
        "solved": "a solved head",
        "heads": "a head with hidden layers",
        "fine-tune": "fine-tuning its last blocks",
    }[standing.trial.stage]
    said = f"Take {standing.sight.arch} with {what}: it is trained in {search.run_dir}"
    said += f", and again by `catdog train DATA --recipe {search.run_dir / RECIPE}`."
    smaller = find_smaller(search, trials)
    if smaller is not None:
        arch, share, behind = smaller
        lacks = f"{100 * behind:.2f} points" if search.metric == "accuracy" else f"{behind:.4f}"
        said += (
            f" {arch} has {share:.0%} of its size and lacks {lacks}, which so few pictures cannot tell from "
            f"nothing: take it where size or speed count."
        )
    elif flattery is not None and flattery.compared > 1 and abs(flattery.by) < 1e-12:
        said += " The trials hardly differ: more pictures would help more than more time."
    return said


def find_smaller(search: Search, trials: list[Trial]) -> tuple[str, float, float] | None:
    """Return a smaller network that is not certainly worse: name, share of the size, what it lacks."""
    standing = search.best
    assert standing is not None
    own_size = search.bank.num_parameters(standing.sight)
    found: dict[str, tuple[float, Trial]] = {}
    for trial in trials:
        sight = search.sight_of(trial)
        if trial.score is None or sight is None or sight.arch == standing.sight.arch:
            continue
        if sight.arch not in found or trial.score > (found[sight.arch][1].score or 0.0):
            found[sight.arch] = (search.bank.num_parameters(sight), trial)
    for arch, (size, trial) in sorted(found.items(), key=lambda item: item[1][0]):
        answers = search.load_answers(trial.key)
        if size >= 0.9 * own_size or answers is None:
            continue
        behind = _behind(search, answers)
        if behind is not None:
            return arch, size / own_size, behind
    return None


def _behind(search: Search, answers: np.ndarray) -> float | None:
    """Return what answers lack of the best ones in the metric; None where they are certainly worse."""
    standing = search.best
    assert standing is not None
    both = np.isfinite(answers).all(1) & np.isfinite(standing.answers).all(1)
    task, labels = search.task, search.labels[both]
    losses = task.log_losses(answers[both], labels) - task.log_losses(standing.answers[both], labels)
    losses = np.nan_to_num(losses)
    error = losses.std(ddof=1) / math.sqrt(max(2, len(losses)))
    if losses.mean() > Z_95 * error:
        return None
    values = [measure(task, each[both], labels)[search.metric] for each in (standing.answers, answers)]
    if values[0] is None or values[1] is None:
        return None
    return abs(values[0] - values[1])


def write_recipe(path: Any, settings: TrainSettings, description: str) -> None:
    """Write settings as a recipe that `--recipe FILE` takes: network, weights, head and phases."""
    lines = [f"description = {_toml(description)}", f"arch = {_toml(settings.arch)}"]
    weights = settings.weights if isinstance(settings.weights, str) else list(settings.weights)
    lines.append(f"weights = {_toml(weights)}")
    lines += [
        f"{name} = {_toml(value)}"
        for name, value in (("image_size", settings.image_size), ("looks", settings.looks))
        if value and value != getattr(TrainSettings, name)
    ]
    head = _changed(settings.head.to_dict(), HeadSpec().to_dict())
    if head:
        lines += ["", "[head]", *(f"{name} = {_toml(value)}" for name, value in head.items())]
    for phase in settings.phases:
        lines += ["", "[[phase]]", f"name = {_toml(phase.name)}"]
        values = _changed(phase.to_dict(), Phase(phase.name, 0).to_dict())
        lines += [f"{name} = {_toml(value)}" for name, value in values.items()]
    write_text(path, "\n".join(lines) + "\n")


def _changed(values: dict[str, Any], default: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value != default[name]}


def _toml(value: Any) -> str:
    """Return a value as TOML writes it: JSON's texts, numbers and lists are TOML's, too."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, (int, float)):
        return repr(value)
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
