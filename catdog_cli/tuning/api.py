"""`catdog_cli.tune`: the best network that a time allows, with a figure that the search does not flatter."""

import contextlib
import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..data.dataset import Dataset
from ..data.digests import fingerprint
from ..data.folds import draw_folds
from ..errors import CatdogError, CheckpointError, SettingsError
from ..evaluation.report import write_text
from ..models.tasks import task_of
from ..runs.directory import RunDirectory, create_folder
from ..runtime.distributed import processes
from ..runtime.files import expand_home, read_text
from ..runtime.progress import report_progress
from ..runtime.seeds import seed_of
from ..training.events import (
    Advised,
    Event,
    Listener,
    Reported,
    RunClosed,
    RunOpened,
    Warned,
    broadcast,
    report_steps,
)
from ..training.reports import ReportWriter
from ..training.run import read_data
from ..training.setup import check_settings, settle_task
from .budget import CARE, Clock
from .cross_validation import find_groups
from .events import SearchMoved, SearchPlanned
from .feature_bank import FeatureBank, Sight
from .fine_tuning import count_passes, fine_tune_s, numbers_of, search_fine_tuning
from .finish import finish
from .head_trials import Scope
from .journal import Journal, load_optuna
from .request import FOLDS, REQUEST, Request, build_request, read_request
from .result import FOLDER, RESULT, TuneResult
from .search import OutOfTimeError, Search
from .stages import FEATURES_SHARE, HEADS_SHARE, list_sights, search_heads, search_solved

BUDGET = "10m"
GRID_S = 5e-5  # an image, a class and a strength, of a thousand features in five folds: a guess, for the plan
TOO_LONG = 1.5  # times what is left: more than an estimate errs by


def tune(
    data: str | Path | None = None,
    *,
    budget: str = BUDGET,
    arch: str | Sequence[str] | None = None,
    weights: str | Sequence[Any] | None = None,
    space: str | Path | Mapping[str, Any] | None = None,
    metric: str | None = None,
    trials: int | None = None,
    folds: int = FOLDS,
    group_by: str | None = None,
    output: str | Path | None = None,
    resume: str | Path | None = None,
    listeners: Iterable[Listener] = (),
    log: Callable[[str], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    progress: bool | None = None,
    age_s: float = 0.0,
    **options: Any,
) -> TuneResult:
    """Search for the best network and settings within a budget, and train with them, as `catdog tune` does.

    Trials are scored by cross-validation on the training images; the validation images are asked once, at the
    end. Needs the extra `tune`.

    Args:
        data: as for `train`.
        budget: the time that all of it may take, such as "90s", "10m" or "2h".
        arch: networks to search among, a list or a text with commas; None: those whose weights are here.
        weights: of these networks, one for all or one each.
        space: a TOML file, or a table, that narrows or widens what is searched.
        metric: accuracy, loss, f1, auc or map; None: accuracy, or map with several labels.
        trials: most heads with hidden layers to try, and most to fine-tune; None: by time.
        folds: of the cross-validation.
        group_by: a regular expression; images whose paths match in the same text stay together.
        output: the run directory; where a search is under way there, this one joins it. None:
            checkpoints/tune-N.
        resume: the directory of a search that was stopped or killed; all else is what it was asked.
        listeners: called with each event, see `training.events` and `tuning.events`.
        log: gets the plan, warnings and what was found, a sentence each.
        should_stop: asked between batches; True ends it, and what is done is kept.
        progress: show a bar; None: in a notebook alone.
        age_s: seconds of the budget that are gone already, such as those in which a program was started.
        options: of `train`, those of data and machine; `looks`, `image_size`, `augment` and `class_weights`
            fix what is searched otherwise.

    Raises:
        CatdogError: data, networks or options cannot be used; InterruptedRunError: `should_stop` said so.
    """
    clock = Clock(0.0, age_s)
    load_optuna()
    say = log or (lambda text: None)
    with report_progress(None, progress) as report:
        listener = broadcast(_speaker(say), _reporter(report), *listeners)
        if resume is not None:
            request, directory = read_request(Path(expand_home(resume)) / FOLDER), Path(expand_home(resume))
            return run_search(request, directory, clock, listener, should_stop, joins=True)
        if data is None:
            raise SettingsError("There is no data: give a folder with pictures, or resume=DIRECTORY.")
        request = build_request(
            str(data), budget, arch, weights, space, metric, trials, folds, group_by, options
        )
        with RunDirectory.chosen(output, "tune", processes().from_main) as chosen:
            return run_search(request, chosen.path, clock, listener, should_stop, joins=output is not None)


def _speaker(say: Callable[[str], None]) -> Listener:
    def listen(event: Event) -> None:
        if isinstance(event, Warned):
            say(f"Warning: {event.text}")
        elif isinstance(event, (Advised, Reported)):
            say(event.text)

    return listen


def _reporter(report: Callable[[str, int, int], None]) -> Listener:
    steps = report_steps(report)

    def listen(event: Event) -> None:
        steps(event)
        if isinstance(event, SearchMoved):
            best = "" if event.best is None else f", best {event.best:.4f}"
            report(f"{event.stage}, {event.trials} trials{best}", round(event.used_s), round(event.budget_s))

    return listen


def run_search(
    request: Request,
    run_dir: Path,
    clock: Clock,
    listener: Listener,
    should_stop: Callable[[], bool],
    joins: bool,
) -> TuneResult:
    """Search in a run directory, alone or with whoever works there already, and end with a trained network.

    Args:
        joins: go on where a search lies in the directory; else that is an error.

    Raises:
        CatdogError: as `tune`.
    """
    clock.budget_s = request.budget_s
    folder = run_dir / FOLDER
    for arch, weights in request.networks:
        check_settings(_of_network(request, arch, weights))
    resuming = _open_folder(request, run_dir, folder, joins)
    error: BaseException | None = None
    try:
        listener(RunOpened(run_dir, resuming))
        with _explained(run_dir):
            journal = Journal(folder, request.settings.seed)
            try:
                return _search(request, run_dir, folder, clock, journal, _with_reports(listener), should_stop)
            finally:
                journal.close()
    except BaseException as caught:
        error = caught
        raise
    finally:
        listener(RunClosed(error))


@contextlib.contextmanager
def _explained(run_dir: Path) -> Iterator[None]:
    """Turn what the system says of the journal and its locks into a sentence."""
    try:
        yield
    except OSError as error:
        raise CatdogError(
            f"Cannot write into {str(run_dir / FOLDER)!r} ({error.strerror or error}): free space or fix its "
            f"permissions, then `catdog tune --resume {run_dir}`."
        ) from error


def _of_network(request: Request, arch: str, weights: Any) -> Any:
    return dataclasses.replace(request.settings, arch=arch, weights=weights)


def _with_reports(listener: Listener) -> Listener:
    return broadcast(ReportWriter(lambda text: listener(Reported(text))), listener)


def _open_folder(request: Request, run_dir: Path, folder: Path, joins: bool) -> bool:
    """Make the folder of a search, or check that the one there is the same; say whether it was there."""
    path = folder / REQUEST
    if path.exists():
        if (folder / RESULT).exists():
            raise CatdogError(
                f"The search in {str(run_dir)!r} has ended: its network is in best.pt, its page in "
                f"tuning.html. Give another --output to search again."
            )
        if not joins or _comparable(read_request(folder)) != _comparable(request):
            raise SettingsError(
                f"{str(run_dir)!r} holds a search that was asked something else: continue it with `catdog "
                f"tune --resume {run_dir}`, or give another --output."
            )
        return True
    RunDirectory(run_dir).refuse_old_run()
    create_folder(run_dir)
    write_text(path, json.dumps(request.to_dict(), indent=1) + "\n")
    return False


def _comparable(request: Request) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(request.to_dict()))
    return found


def _search(
    request: Request,
    run_dir: Path,
    folder: Path,
    clock: Clock,
    journal: Journal,
    listener: Listener,
    should_stop: Callable[[], bool],
) -> TuneResult:
    search = _prepare(request, run_dir, folder, clock, journal, listener, should_stop)
    with contextlib.suppress(OutOfTimeError):
        _run_stages(search, _plan(search))
    with journal.alone("finish", wait=True):
        if (folder / RESULT).exists():  # another process was here first
            return read_result(run_dir)
        search.recall()
        tell_trials(search)
        return finish(search)


def read_result(run_dir: Path) -> TuneResult:
    """Return what a search that has ended found.

    Raises:
        CheckpointError: it cannot be read.
    """
    path = run_dir / FOLDER / RESULT
    try:
        return TuneResult.from_dict(json.loads(read_text(path)), run_dir)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"Cannot read {str(path)!r} ({str(error)[:200]}).") from error


def _prepare(
    request: Request,
    run_dir: Path,
    folder: Path,
    clock: Clock,
    journal: Journal,
    listener: Listener,
    should_stop: Callable[[], bool],
) -> Search:
    """Read the data, draw the folds, and take up what earlier sessions have found."""
    dataset = read_data(request.settings, listener)
    settings = settle_task(request.settings, dataset)
    train = Dataset(
        dataset.root, dataset.class_names, {"train": dataset.splits["train"]}, images=dataset.images
    )
    groups = find_groups(train, request.group_by, listener)
    labels = dataset.splits["train"].labels
    folds = draw_folds(labels, groups, request.folds, seed_of(settings.seed, "folds") % 2**32)
    scope = Scope(task_of(dataset.has_several_labels), len(dataset.class_names), folds, settings.seed)
    search = Search(
        request,
        folder,
        run_dir,
        FeatureBank(settings, dataset, listener),
        scope,
        labels,
        clock,
        journal,
        listener,
        should_stop,
        groups,
        list_sights(request),
    )
    digest = fingerprint(dataset)["digest"]
    if search.solved.note("data", digest) != digest:
        raise CatdogError(
            f"The pictures of {request.settings.data!r} have changed since the search in {str(run_dir)!r} "
            f"began: put them back, or start another search."
        )
    clock.before_s += float(search.solved.noted("used_s") or 0.0)
    search.recall()
    tell_trials(search)
    return search


def tell_trials(search: Search) -> None:
    """Tell of all trials that have ended: of earlier sessions, and of other processes."""
    for trial in search.trials():
        if trial.ended:
            search.listener(search.describe(trial, trial.facts.get("seconds", 0.0), is_best=False))


def _plan(search: Search) -> dict[str, float]:
    """Say what is going to be done; return until when, in seconds of the budget, each stage may work."""
    request, bank = search.request, search.bank
    networks = [Sight(arch, weights) for arch, weights in request.networks]
    looks = max({"once": 1, "mirror": 2, "whole": 4}[each] for each in request.space.choices("looks"))
    features_s = sum(bank.cost_s(each) for each in networks)
    least_s = min(map(bank.cost_s, networks))
    if search.best is None and least_s and least_s > TOO_LONG * search.left_s():
        raise CatdogError(
            f"What the smallest network makes of the pictures takes about {least_s:.0f} s to compute, of a "
            f"budget of {request.budget_s:.0f} s: give a --budget of at least {math.ceil(least_s / 60) + 1}m."
        )
    further_s = sum(sorted(bank.cost_s(each) for each in networks)[-2:]) * (looks - 1)
    left_s = search.left_s()
    sights = len(networks) + min(2, len(networks)) * (len(request.space.choices("looks")) - 1)
    grid_s = (
        sights * GRID_S * len(search.labels) * search.scope.num_classes * len(request.space.choices("l2"))
    )
    solved_s = min(features_s + further_s + grid_s, max(features_s, FEATURES_SHARE * request.budget_s))
    rest_s = max(0.0, left_s - solved_s)
    stages = request.space.stages
    tuned_s = _guess_fine_tuning(search, networks) if "fine-tune" in stages else 0.0
    tunes = "fine-tune" in stages and rest_s * (1 - HEADS_SHARE) > tuned_s
    heads_s = rest_s * (HEADS_SHARE if tunes else 1.0) if "heads" in stages else 0.0
    rows = [
        ("solved heads", f"{len(networks)} networks, {len(request.space.choices('l2'))} strengths", solved_s),
        ("hidden layers", "heads by Optuna's sampler on the best three ways to look", heads_s),
    ]
    if tunes:
        rows.append(("fine-tuning", "last blocks of the best network", rest_s - heads_s))
    elif "fine-tune" in stages:
        rows.append(("fine-tuning", f"left out: one trial takes about {tuned_s:.0f} s", 0.0))
    rows.append(
        ("training", "the best on all training pictures, and the page", search.reserve_s(search.best))
    )
    search.listener(SearchPlanned(rows, request.budget_s, search.ended))
    return {"heads_share": HEADS_SHARE if tunes else 1.0}


def _guess_fine_tuning(search: Search, networks: list[Any]) -> float:
    if search.best is not None:
        return fine_tune_s(search)
    pictures = len(search.labels)
    epochs = min(numbers_of(search.request.space.fine_tune["fine_tune_epochs"]))
    passes = count_passes(epochs, search.request.folds)
    return pictures * search.request.folds * passes * search.bank.picture_s(networks[0])


def _run_stages(search: Search, plan: dict[str, float]) -> None:
    request, stages = search.request, search.request.space.stages
    search_solved(search)
    if search.best is not None:
        search.bank.fill_val(search.best.sight, search.check_time)
    if "heads" in stages:
        until_s = search.clock.used_s + plan["heads_share"] * search.left_s()
        search_heads(search, until_s, request.trials)
    if "fine-tune" in stages and search.left_s() > CARE * fine_tune_s(search):
        search_fine_tuning(search, search.clock.used_s + search.left_s(), request.trials)
    if "heads" in stages:  # what time is left
        search_heads(search, search.clock.budget_s, request.trials)
