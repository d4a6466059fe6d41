"""The page of a search: what came of it, how sure that is, what mattered, what it cost."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..evaluation.report import write_text
from ..plots import plot_search, plot_slices
from ..runtime.html import data_uri, render
from .importances import rank_settings
from .journal import FIRST_SCORE, Trial
from .result import NAMES, PAGE, RECIPE, TuneResult
from .search import Search

TEMPLATE = Path(__file__).with_name("templates") / "tuning.html"
STAGES = {"solved": "solved heads", "heads": "heads with hidden layers", "fine-tune": "fine-tuning"}
MOST_LISTED = 20  # trials
LEAST_VALUES = 2  # of a setting, to be drawn


def write_page(search: Search, result: TuneResult, trials: list[Trial]) -> None:
    """Write tuning.html into the run directory.

    Raises:
        CatdogError: it cannot be written.
    """
    scored = [trial for trial in trials if trial.score is not None]
    measured = [trial for trial in trials if trial.facts.get(search.metric) is not None]
    slices = list_slices(search, [trial for trial in measured if trial.stage == "heads"])
    page = render(
        TEMPLATE,
        title=f"{search.run_dir.name}: {len(trials)} trials on {search.request.settings.data}",
        lines=result.lines(),
        metric=NAMES[result.metric],
        figures=list_figures(result),
        search_image=_image(plot_search, list_points(search, scored), NAMES[result.metric]),
        stages=list_stages(result, trials),
        importances=list_importances(trials),
        slices_image=_image(plot_slices, slices, NAMES[result.metric]) if slices else "",
        best=list_best(result, scored),
        recipe=(search.run_dir / RECIPE).read_text("utf-8"),
    )
    write_text(search.run_dir / PAGE, page)


def _image(draw: Any, numbers: Any, metric: str) -> str:
    png = io.BytesIO()
    draw(numbers, metric, png)
    return data_uri(png.getvalue())


def list_figures(result: TuneResult) -> list[tuple[str, str, str, str]]:
    """Return (name, value, interval, what it is) rows of the three figures and the gap."""

    def between(pair: Sequence[float] | None, show: Any) -> str:
        return "" if pair is None else f"{show(pair[0])} to {show(pair[1])}"

    rows = [
        (
            "cross-validated, the best trial",
            result.show(result.cross_validated),
            "",
            "chosen by this very figure, so it is flattered",
        )
    ]
    if result.flattery is not None:
        rows.append(
            (
                "the same, corrected",
                result.show(result.flattery["corrected"]),
                between(result.flattery["interval"], result.show),
                f"on images that did not choose; answers of {result.flattery['compared']} trials, resampled",
            )
        )
    if result.validation is not None:
        rows.append(
            (
                "validation pictures",
                result.show(result.validation),
                between(result.validation_interval, result.show),
                "asked once, by the network that was trained last; they chose nothing",
            )
        )
    if result.gap is not None:
        rows.append(
            (
                "cross-validated minus validation",
                result.show_gap(result.gap["value"]),
                between(result.gap["interval"], result.show_gap),
                "around 0 where nothing was flattered",
            )
        )
    return rows


def list_points(search: Search, trials: list[Trial]) -> list[dict[str, Any]]:
    """Return what `plot_search` draws."""
    best = search.best
    points = []
    for trial in trials:
        sight = search.sight_of(trial)
        if sight is None:
            continue
        points.append(
            {
                "stage": trial.stage,
                "at_s": float(trial.facts.get("at_s", 0.0)),
                "value": float(trial.facts[search.metric]),
                "network": sight.arch,
                "parameters": search.bank.num_parameters(sight),
                "is_best": best is not None and trial.key == best.trial.key,
            }
        )
    return points


def list_stages(result: TuneResult, trials: list[Trial]) -> list[tuple[str, ...]]:
    """Return (stage, trials, given up, seconds, best) rows as text."""
    rows: list[tuple[str, ...]] = []
    for stage, name in STAGES.items():
        own = [trial for trial in trials if trial.stage == stage]
        if not own:
            continue
        scored = [trial for trial in own if trial.score is not None]
        top = max(scored, key=lambda trial: trial.score or 0.0, default=None)
        seconds = sum(float(trial.facts.get("seconds", 0.0)) for trial in own)
        shown = "-" if top is None else result.show(float(top.facts[result.metric]))
        rows.append((name, f"{len(own):,}", f"{len(own) - len(scored):,}", f"{seconds:.1f}", shown))
    return rows


def list_importances(trials: list[Trial]) -> list[tuple[str, list[tuple[str, float]]]]:
    """Return, by stage, the settings with their share in how much scores differ, the largest first.

    Of heads it is the score on the first folds, which those that were given up have, too.
    """
    found = []
    for stage in ("solved", "heads"):
        own = [(trial, trial.facts.get(FIRST_SCORE, trial.score)) for trial in trials if trial.stage == stage]
        known = [(trial, score) for trial, score in own if score is not None]
        shares = rank_settings([trial for trial, _ in known], [score for _, score in known])
        shown = sorted(shares.items(), key=lambda item: -item[1])
        if shown:
            found.append((STAGES[stage], [(_setting(name), share) for name, share in shown]))
    return found


def _setting(name: str) -> str:
    return "network and looks" if name == "sight" else name.replace("_", " ")


def list_slices(search: Search, trials: list[Trial]) -> dict[str, list[tuple[Any, float]]]:
    """Return, by each setting that trials vary in, its value and the metric of each trial."""
    names = list(dict.fromkeys(name for trial in trials for name in trial.params))
    found = {}
    for name in names:
        pairs = [
            (trial.params[name], float(trial.facts[search.metric]))
            for trial in trials
            if name in trial.params
        ]
        if len({str(value) for value, _ in pairs}) >= LEAST_VALUES:
            found[name] = pairs
    return found


def list_best(result: TuneResult, scored: list[Trial]) -> list[tuple[str, str, str, str]]:
    """Return (trial, metric, loss, settings) rows of the best trials as text."""
    ranked = sorted(scored, key=lambda trial: -(trial.score or 0.0))[:MOST_LISTED]
    return [
        (
            trial.key,
            result.show(float(trial.facts[result.metric])),
            "-" if trial.facts.get("loss") is None else f"{trial.facts['loss']:.4f}",
            ", ".join(f"{name.replace('_', ' ')} {_show(value)}" for name, value in trial.params.items()),
        )
        for trial in ranked
    ]


def _show(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return "-".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
