"""Phases and the only training loop: `train` makes a run directory, `resume` goes on with one.

Called by `commands.train`. Talk goes to a `report(kind, **facts)` callback, never to the screen.
"""

import contextlib
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..errors import CatdogError, InterruptedRunError, LostProcessError
from ..evaluation.calibration import fit_temperature
from ..evaluation.metrics import monitor_value, quick_metrics
from ..settings import Phase
from .batch_source import choose_sources
from .checkpointing import Progress, RunState, better
from .corrupt_images import check_bad, recall_bad
from .epoch import evaluate, train_epoch
from .lbfgs_head import solve_head
from .phase_run import EpochSums, PhaseRun
from .resume.checkpoint_validation import restore_phase
from .setup import Setup, fit_norm, open_phase
from .train_step import not_finite

Report = Callable[..., None]


@dataclass(frozen=True)
class RunResult:
    """What a finished run has to say; `best` is the best epoch's row of the history."""

    run_dir: Path
    best: dict[str, Any]
    history: list[dict[str, Any]]
    num_classes: int
    seconds: float


def run_phases(
    setup: Setup,
    run_dir: Path,
    report: Report,
    should_stop: Callable[[], bool] = lambda: False,
    resume: dict[str, Any] | None = None,
    progress: Progress | None = None,
) -> RunResult:
    """Train every phase that is left and return the result; `last.pt` is written after each epoch, and
    within it as `save_every` says.

    Args:
        setup: settings, data and network, as `prepare_run` makes them.
        resume: the content of last.pt to go on from, with `progress` rebuilt from it.
        should_stop: asked behind every batch; True saves and stops.

    Raises:
        InterruptedRunError: `should_stop` said so; last.pt is there to go on from.
        DataError: too many pictures cannot be read.
        CatdogError: the loss is not finite, or a checkpoint cannot be written.
    """
    started = time.monotonic()
    state = _open_state(setup, run_dir, resume, progress)
    try:
        for index in range(state.progress.phase, len(setup.settings.phases)):
            if index > state.progress.phase:
                state.progress.start_phase(index)
                resume = None
            _run_phase(setup, state, report, lambda: setup.group.any(should_stop()), resume)
    except LostProcessError as error:
        saved = "What is done is kept" if setup.group.is_main else "What the main process saved is there"
        raise LostProcessError(f"{error} {saved}; to go on: {_resume_command(state)}") from error
    return RunResult(
        run_dir,
        state.progress.best,
        state.progress.history,
        len(state.class_names),
        time.monotonic() - started,
    )


def _open_state(
    setup: Setup, run_dir: Path, resume: dict[str, Any] | None, progress: Progress | None
) -> RunState:
    state = RunState(
        run_dir,
        setup.settings,
        setup.classifier,
        setup.dataset.class_names,
        setup.spec,
        setup.fingerprint,
        progress or Progress(),
        setup.micro_batch,
        setup.group,
    )
    if resume is not None:
        state.best_state, state.temperature = resume.get("best_state"), resume.get("temperature", 1.0)
        recall_bad(setup, state.progress, resume)
    return state


def _run_phase(setup: Setup, state: RunState, report: Report, should_stop, resume: dict | None) -> None:
    phase = setup.settings.phases[state.progress.phase]
    run = _start_phase(setup, state, _stoppable(state, phase, report, should_stop), resume)
    for epoch in range(state.progress.epoch, phase.epochs):
        if _out_of_patience(phase, state.progress):
            report("early_stop", phase=phase.name, epoch=epoch, patience=phase.patience)
            break
        try:
            _run_epoch(setup, run, state, epoch, report, should_stop)
        except LostProcessError:  # the weights are those of the last whole step
            _check_weights(run)
            state.save(run.optimizer, run.average, force=True)
            raise
        state.save(run.optimizer, run.average)
    _finish_phase(setup, run, state, report)


def _stoppable(state: RunState, phase: Phase, report: Report, should_stop: Callable[[], bool]) -> Report:
    """Return `report` with a way out while features are computed, which may take minutes."""

    def logged(kind: str, **facts: Any) -> None:
        report(kind, **facts)
        if kind == "features" and should_stop():
            raise InterruptedRunError(
                f"Stopped while features for phase {phase.name!r} were computed; what is done is kept. To go "
                f"on: {_resume_command(state)}"
            )

    return logged


def _resume_command(state: RunState) -> str:
    return f"catdog train --resume {shlex.quote(str(state.run_dir))}"


def _start_phase(setup: Setup, state: RunState, report: Report, resume: dict | None) -> PhaseRun:
    """Freeze, split at the border, choose the sources, build or restore the optimizer."""
    progress, classifier = state.progress, setup.classifier
    phase = setup.settings.phases[progress.phase]
    split_at = classifier.unfreeze(phase.unfreeze)
    report(
        "phase",
        phase=phase,
        index=progress.phase,
        blocks=[name for name, _ in classifier.blocks[split_at:]],
        trainable=sum(p.numel() for _, p in classifier.trainable_parameters()),
        total=sum(p.numel() for p in classifier.parameters()),
        done=progress.epoch,
    )
    source, val_source = choose_sources(setup, phase, progress.phase, split_at, report)
    check_bad(setup, report, progress)
    if resume is None and progress.phase == 0 and split_at == len(classifier.blocks):
        fit_norm(setup, source)
    run = open_phase(setup, progress.phase, split_at, source, val_source)
    if resume is not None:
        restore_phase(run, resume, state.run_dir / "last.pt")
    return run


def _out_of_patience(phase, progress: Progress) -> bool:
    return bool(phase.patience) and progress.patience >= phase.patience


def _run_epoch(setup: Setup, run: PhaseRun, state: RunState, epoch: int, report: Report, should_stop) -> None:
    """Train one epoch, or what is left of it, then evaluate and note what was reached."""
    started, progress = time.monotonic(), state.progress
    sums = EpochSums(**progress.sums)
    seen_before = sums.seen

    def after_step(done: int, total: int, sums: EpochSums) -> None:
        progress.step, progress.sums = done, dict(vars(sums))
        report("batch", done=done, total=total, phase=run.phase, epoch=epoch + 1, **sums.mean())
        stopping = should_stop()
        if state.is_save_due() or stopping:
            check_bad(setup, report, progress)
            _check_weights(run)
            state.save(run.optimizer, run.average, force=True)
        if stopping:
            raise InterruptedRunError(
                f"Stopped in epoch {epoch + 1} of phase {run.phase.name!r}, all is saved. To go on: "
                f"{_resume_command(state)}"
            )

    if run.phase.optimizer == "lbfgs":
        report("solved", **_solve(run, sums))
    else:
        train_epoch(run, epoch, progress.step, sums, after_step)
    run.group.copy_from_main(run.classifier.moving_tensors())
    check_bad(setup, report, progress)
    trained_s = time.monotonic() - started
    row = _measure(run, state)
    check_bad(setup, report, progress)
    row = {
        "phase": progress.phase,
        "phase_name": run.phase.name,
        "epoch": epoch + 1,
        "learning_rate": run.optimizer.param_groups[-1]["lr"],
        **sums.mean(),
        **row,
        "num_bad": sum(len(chosen.bad) for chosen in setup.sets.values()),
        "pictures_per_s": (sums.seen - seen_before) / max(trained_s, 1e-9),
        "seconds": time.monotonic() - started,
    }
    progress.history.append(row)
    progress.epoch, progress.step, progress.sums = epoch + 1, 0, {}
    report("epoch", row=row, epochs=run.phase.epochs, best=progress.best)


def _solve(run: PhaseRun, sums: EpochSums) -> dict[str, Any]:
    """Solve the head in the main process; all get its sums, and its weights at the end of the epoch."""
    facts, found = run.group.from_main(lambda: (solve_head(run, sums), dict(vars(sums))))
    vars(sums).update(found)
    return facts


def _measure(run: PhaseRun, state: RunState) -> dict[str, float]:
    """Evaluate, with averaged weights where there are any, and keep the weights if they are the best."""
    monitor, progress = run.phase.monitor, state.progress
    with run.average.applied() if run.average is not None else contextlib.nullcontext():
        logits, labels = evaluate(run)
        _check_finite(run, logits)
        metrics = run.group.from_main(lambda: _score(logits, labels, monitor))
        row = {"phase": progress.phase, "phase_name": run.phase.name, "epoch": progress.epoch + 1, **metrics}
        improved = better(row, progress.phase_best, monitor, run.phase.min_delta)
        progress.patience = 0 if improved else progress.patience + 1
        state.note_best(row, monitor, improved)
        if improved and state.unsaved_best:
            state.temperature = fit_temperature(logits.numpy(), labels.numpy())
    return metrics


def _score(logits: torch.Tensor, labels: torch.Tensor, monitor: str) -> dict[str, float]:
    probabilities = logits.softmax(1).numpy()
    metrics = {f"val_{name}": value for name, value in quick_metrics(probabilities, labels.numpy()).items()}
    if f"val_{monitor}" not in metrics:
        metrics[f"val_{monitor}"] = monitor_value(monitor, probabilities, labels.numpy())
    return metrics


def _check_finite(run: PhaseRun, logits: torch.Tensor) -> None:
    """Raise CatdogError if the last steps of an epoch ruined the weights, which the loss has not seen."""
    wrong = (~torch.isfinite(logits).all(1)).nonzero().flatten()
    if len(wrong):
        chosen = run.val_source.chosen
        places = chosen.good_indices()[wrong[:4]].tolist()
        raise CatdogError(not_finite(run, chosen, places, "The scores of validation pictures became NaN"))


def _check_weights(run: PhaseRun) -> None:
    """Raise CatdogError if the last step ruined the weights: what is saved must be good to go on from."""
    if not all(torch.isfinite(parameter).all() for _, parameter in run.classifier.trainable_parameters()):
        raise CatdogError(not_finite(run, run.source.chosen, [], "The weights became NaN"))


def _finish_phase(setup: Setup, run: PhaseRun, state: RunState, report: Report) -> None:
    """Save the last weights, go back to the phase's best, and say what the phase reached."""
    last_phase = state.progress.phase == len(setup.settings.phases) - 1
    state.save(run.optimizer, run.average, force=True)  # before: extending the run starts from the last
    if state.best_state is not None and state.progress.phase_best is not None:
        setup.classifier.load_state_dict(state.best_state)
    logits, labels = evaluate(run)
    if len(setup.settings.phases) > 1 and state.progress.phase_best is not None:
        state.save_phase_best(logits, labels)
    setup.group.from_main(  # the others have time
        lambda: report(
            "phase_end",
            index=state.progress.phase,
            phase=run.phase,
            best=state.progress.phase_best,
            logits=logits,
            labels=labels,
            indices=run.val_source.chosen.good_indices(),
            last=last_phase,
        )
    )
