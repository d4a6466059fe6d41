"""The learning-rate range test: raise the rate batch by batch, watch the loss."""

import copy
import dataclasses
import html
import io
import math
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..data.scan import describe_scan
from ..errors import CatdogError, SettingsError
from ..recipes.build import build_settings
from ..runs.directory import RunDirectory
from ..runtime.html import data_uri
from ..runtime.progress import report_progress
from ..settings import TrainSettings
from ..settings_rules import check_phase_number
from .batch_source import choose_sources
from .epoch import plan_epoch
from .events import Advised, Listener, StepEnded, broadcast, ignore, report_steps
from .loop import fit, train_step
from .phase_run import EpochSums, PhaseRun
from .run import read_data
from .schedule import set_rates
from .setup import Setup, check_settings, fit_norm, open_phase, prepare_run, separate_head

LOWEST, HIGHEST, STEPS = 1e-6, 10.0, 100
SMOOTHING = 0.9
EXPLODED = 4.0  # times the least loss


@dataclass(frozen=True)
class RateTest:
    """Rates and smoothed losses of each step; the suggestion and the rate of least loss."""

    rates: list[float] = field(repr=False)
    losses: list[float] = field(repr=False)
    suggestion: float
    steepest: float
    least: float

    def to_dict(self) -> dict[str, float]:
        """Return the rates that `catdog lr-find --json` prints."""
        return {"suggestion": self.suggestion, "steepest": self.steepest, "least": self.least}

    @property
    def reason(self) -> str:
        """Why this rate is suggested, as a sentence."""
        return (
            f"The loss falls most steeply at {self.steepest:.1e} and is least at {self.least:.1e}; suggested "
            "is the smaller of the first and a tenth of the second (Smith, arXiv 1506.01186)."
        )

    def __str__(self) -> str:
        return f"learning rate {self.suggestion:.1e}. {self.reason}"

    def _repr_html_(self) -> str:
        """Return the sentence and the curve, for a notebook."""
        from ..plots import plot_lr_find

        png = io.BytesIO()
        plot_lr_find(self.rates, self.losses, self.suggestion, png, self.steepest)
        image = f'<img alt="loss by learning rate" style="max-width:100%" src="{data_uri(png.getvalue())}">'
        return f"<div>{html.escape(str(self))}<br>{image}</div>"


def find_learning_rate(
    data: str | Path,
    *,
    phase: int = 1,
    recipe: str | None = None,
    listener: Listener = ignore,
    progress: bool | None = None,
    **options: Any,
) -> RateTest:
    """Suggest a learning rate for a phase (from 1) of a training as `train` does it; leaves no files.

    The phases before it are trained first, so that its rate is that of the network which it would get.

    Args:
        listener: called with each event, see `training.events`.
        progress: show a bar; None: in a notebook alone.
        options: as for `train`.

    Raises:
        CatdogError: the data or the options cannot be used, or the loss never fell.
    """
    options["head"], head = separate_head(options.get("head"))
    settings = build_settings(str(data), options, recipe)
    with report_progress(None, progress) as report:
        return measure_rates(settings, phase, broadcast(listener, report_steps(report)), head)


def measure_rates(
    settings: TrainSettings, phase: int, listener: Listener = ignore, head: torch.nn.Module | None = None
) -> RateTest:
    """Run the test for phase number `phase` (from 1) of a training with these settings."""
    check_phase_number(settings.phases, phase)
    check_settings(settings)
    dataset = read_data(settings, listener)
    for text in describe_scan(dataset):
        listener(Advised(text))
    return find_rate(prepare_run(settings, dataset, head=head), phase - 1, listener)


def find_rate(setup: Setup, index: int, listener: Listener, steps: int = STEPS) -> RateTest:
    """Run the test for one phase, after training those before it, and leave the network as it was.

    The rate rises exponentially from LOWEST until the smoothed loss explodes (Smith, arXiv 1506.01186,
    3.3). Suggested is the rate of the steepest fall, or a tenth of the rate of least loss, where
    that is smaller: the two rules of fastai's `lr_find`, of which the more careful is taken.

    Raises:
        CatdogError: the loss never fell.
        SettingsError: the phase has no rate to find.
    """
    phase = setup.settings.phases[index]
    if phase.optimizer == "lbfgs":
        raise SettingsError("Optimizer lbfgs has no rate to find: choose another --optimizer.")
    if not phase.learning_rate:
        raise SettingsError("A rate of 0 cannot be scaled: leave out --learning-rate.")
    before = copy.deepcopy(setup.classifier.state_dict())
    try:
        if index:
            _train_before(setup, index, listener)
        split_at = setup.classifier.unfreeze(phase.unfreeze)
        source, val_source = choose_sources(setup, phase, index, split_at, listener)
        if split_at == len(setup.classifier.blocks) and index == 0:
            fit_norm(setup, source, listener)
        run = open_phase(setup, index, split_at, source, val_source)
        return _suggest(*_raise_rate(run, steps, listener))
    finally:
        setup.classifier.load_state_dict(before)


def _train_before(setup: Setup, index: int, listener: Listener) -> None:
    """Train the phases before `index` as a run would, into a folder that goes away again."""
    phases = setup.settings.phases[:index]
    shorter = dataclasses.replace(setup, settings=dataclasses.replace(setup.settings, phases=phases))
    with tempfile.TemporaryDirectory(prefix="catdog-lr-find-") as folder:
        fit(shorter, RunDirectory(Path(folder)), listener)


def _raise_rate(run: PhaseRun, steps: int, listener: Listener) -> tuple[list[float], list[float]]:
    run.classifier.train_unfrozen()
    rates: list[float] = []
    losses: list[float] = []
    smooth, step, epoch = 0.0, 0, 0
    while step < steps:
        for inputs in run.source.batches(plan_epoch(run, epoch)[: steps - step], epoch):
            if not len(inputs.indices):  # all of them unreadable
                continue
            rate = LOWEST * (HIGHEST / LOWEST) ** (step / (steps - 1))
            set_rates(run.optimizer, rate / run.phase.learning_rate)
            sums = EpochSums()
            try:
                train_step(run, epoch, step, iter([inputs]), len(inputs.indices), sums)
            except CatdogError:  # not finite: it has exploded
                return rates, losses
            step += 1
            smooth = SMOOTHING * smooth + (1 - SMOOTHING) * sums.loss / max(1, sums.seen)
            rates.append(rate)
            losses.append(smooth / (1 - SMOOTHING**step))
            listener(StepEnded(step, steps, run.phase, 1, **run.means(sums)))
            if losses[-1] > EXPLODED * min(losses) and step > steps // 5:
                return rates, losses
        epoch += 1
        if not step:  # not one picture can be read
            break
    return rates, losses


def _suggest(rates: list[float], losses: list[float]) -> RateTest:
    skip = max(1, len(losses) // 10)  # the smoothed loss has not settled before
    values = torch.tensor(losses[skip:])
    if len(values) < 3 or values.min() >= values[0]:
        raise CatdogError(
            "The loss never fell while the rate rose, so no rate can be suggested: check the labels, or "
            "choose --learning-rate yourself."
        )
    lowest = int(values.argmin())
    slopes = torch.gradient(values, spacing=math.log(rates[1] / rates[0]))[0]
    steepest = rates[skip + int(slopes[: lowest + 1].argmin())]
    least = rates[skip + lowest]
    return RateTest(rates, losses, min(steepest, least / 10), steepest, least)
