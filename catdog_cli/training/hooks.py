"""What hangs on the training loop, each with a name: stopping, saving within an epoch, patience, NaN checks.

The loop calls them at fixed places; none of them changes what is trained.
"""

import contextlib
import shlex
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from ..errors import CatdogError, InterruptedRunError, LostProcessError
from ..features.extractor import ImageSet
from ..runtime.distributed import processes
from ..runtime.text import show_percent
from ..settings import Phase
from .checkpointing import FAR_ABOVE_CHANCE, Progress, RunState, has_failed
from .corrupt_images import check_bad
from .events import Advised, Event, FeaturesComputed, Listener, StoppedEarly, Warned
from .phase_run import PhaseRun
from .setup import Setup

ShouldStop = Callable[[], bool]
EPOCHS_OPTIONS = ("--epochs", "--fine-tune-epochs")  # of the first phase, and of a later one on resume
WORTH_MORE_EPOCHS = 0.01  # of the validation loss: less is no improvement that more epochs would be worth


def resume_command(state: RunState) -> str:
    """Return what the user types to continue the run."""
    return f"catdog train --resume {shlex.quote(str(state.directory.path))}"


def stop_while_computing_features(state: RunState, listener: Listener, should_stop: ShouldStop) -> Listener:
    """Return `listener` with a way out while features are computed, which may take minutes."""
    name = state.settings.phases[state.progress.phase].name

    def listen(event: Event) -> None:
        listener(event)
        if isinstance(event, FeaturesComputed) and should_stop():
            raise InterruptedRunError(
                f"Stopped while features for phase {name!r} were computed; what is done is kept. To "
                f"resume: {resume_command(state)}"
            )

    return listen


def is_out_of_patience(run: PhaseRun, state: RunState, epoch: int, listener: Listener) -> bool:
    """Say whether the phase ends before `epoch`, because it has not improved for long enough."""
    if not run.phase.patience or state.progress.patience < run.phase.patience:
        return False
    listener(StoppedEarly(run.phase.name, epoch, run.phase.patience))
    return True


def save_or_stop(
    setup: Setup, run: PhaseRun, state: RunState, epoch: int, listener: Listener, should_stop: ShouldStop
) -> None:
    """After a step: save where `save_every` wants it, and stop where somebody asked for that.

    Raises:
        InterruptedRunError: the run stops; all is saved.
        CatdogError: the weights are not finite: such a checkpoint must not replace a good one.
    """
    stopping = should_stop()
    if state.is_save_due() or stopping:
        check_bad(setup, listener, state.progress)
        check_weights(run)
        state.save(run.optimizer, run.average, force=True)
    if stopping:
        raise InterruptedRunError(
            f"Stopped in epoch {epoch + 1} of phase {run.phase.name!r}, all is saved. To resume: "
            f"{resume_command(state)}"
        )


@contextlib.contextmanager
def save_on_lost_process(run: PhaseRun, state: RunState) -> Iterator[None]:
    """Save when another process ends within an epoch: the weights are those of the last whole step."""
    try:
        yield
    except LostProcessError:
        check_weights(run)
        state.save(run.optimizer, run.average, force=True)
        raise


@contextlib.contextmanager
def explain_lost_process(state: RunState) -> Iterator[None]:
    """Add to the error of a lost process what is kept, and how to continue."""
    try:
        yield
    except LostProcessError as error:
        saved = "What is done is kept" if processes().is_main else "What the main process saved is there"
        raise LostProcessError(f"{error} {saved}; to resume: {resume_command(state)}") from error


def phases_to_train(
    phases: Sequence[Phase], progress: Progress, listener: Listener
) -> Iterator[tuple[int, Phase]]:
    """Yield the phases that are left, with their numbers; whether one is skipped is asked when it comes."""
    for index in range(progress.phase, len(phases)):
        if not is_skipped(phases[index], progress.history, listener):
            yield index, phases[index]


def is_skipped(phase: Phase, history: list[dict[str, Any]], listener: Listener) -> bool:
    """Say whether a phase is left out, since the solved head before it leaves too little to gain.

    Only training images decide, on folds that were held out: those that choose the best epoch are not asked.
    """
    accuracy = history[-1].get("fold_accuracy", 0.0) if history else 0.0
    if not phase.skip_accuracy or accuracy < phase.skip_accuracy:
        return False
    listener(
        Advised(
            f"Phase {phase.name!r} is left out: on held-out folds of the training pictures the solved head "
            f"classifies {show_percent(accuracy)} correctly, and from {show_percent(phase.skip_accuracy)} on "
            f"training more of the network has gained nothing."
        )
    )
    return True


def warn_if_far_above_chance(run: PhaseRun, row: dict[str, Any], listener: Listener) -> None:
    """Say that a loss of an epoch is far above that of guessing, and whether the epoch can be the best."""
    chance = run.task.chance_loss(run.classifier.num_classes)
    losses = row["train_loss"], row["val_loss"]
    if max(losses) <= FAR_ABOVE_CHANCE * chance:
        return
    kind = "training" if losses[0] == max(losses) else "validation"
    end = "; it is not kept as the best" if has_failed(*losses, chance) else ""
    listener(
        Warned(
            f"In epoch {row['epoch']} of phase {run.phase.name!r} the {kind} loss was {max(losses):.3g}, far "
            f"above the {chance:.2g} of guessing{end}. Lower the learning rate "
            f"({run.phase.learning_rate:g}) or clip gradients."
        )
    )


def advise_more_epochs(run: PhaseRun, state: RunState, listener: Listener) -> None:
    """Say that a phase was still improving when its epochs were over, and how to train for longer."""
    progress, phase = state.progress, run.phase
    rows = [row for row in progress.history if row["phase"] == progress.phase]
    best = progress.phase_best
    if phase.optimizer == "lbfgs" or len(rows) < 2 or best is None or best["epoch"] != rows[-1]["epoch"]:
        return
    last, before = rows[-1], rows[:-1]
    score = f"val_{run.task.headline}"
    gains = last[score] > max(row[score] for row in before)
    falls = last["val_loss"] < (1 - WORTH_MORE_EPOCHS) * min(row["val_loss"] for row in before)
    if not (gains or falls) or len(rows) < phase.epochs:  # stopped by patience, or it is over
        return
    option = EPOCHS_OPTIONS[min(progress.phase, 1)]
    if progress.phase == len(state.settings.phases) - 1:
        how = f"to train for longer: {resume_command(state)} {option} {2 * phase.epochs}"
    else:
        how = "give it more epochs in a new run"
        how += f" ({option} {2 * phase.epochs})" if progress.phase < 2 else ""
    listener(Advised(f"Phase {phase.name!r} was still improving in its last epoch, {phase.epochs}; {how}"))


def refuse_without_best(state: RunState) -> None:
    """Raise CatdogError where epochs were trained, but none of them can be kept as the best."""
    if state.progress.history and state.progress.best is None:
        raise CatdogError(
            f"No epoch of this run can be used: the loss of each was far above that of guessing, so there is "
            f"no best checkpoint in {str(state.directory.path)!r}. Start again with a lower --learning-rate."
        )


def check_logits(run: PhaseRun, logits: torch.Tensor) -> None:
    """Raise CatdogError if the last steps of an epoch ruined the weights, which the loss has not seen."""
    wrong = (~torch.isfinite(logits).all(1)).nonzero().flatten()
    if len(wrong):
        chosen = run.val_source.chosen
        indices = chosen.good_indices()[wrong[:4]].tolist()
        raise CatdogError(not_finite(run, chosen, indices, "The scores of validation pictures became NaN"))


def check_weights(run: PhaseRun) -> None:
    """Raise CatdogError if the last step ruined the weights: what is saved must be good to resume from."""
    if not all(torch.isfinite(parameter).all() for _, parameter in run.classifier.trainable_parameters()):
        raise CatdogError(not_finite(run, run.source.chosen, [], "The weights became NaN"))


def not_finite(run: PhaseRun, chosen: ImageSet, indices: list[int], what: str) -> str:
    """Return a sentence that says `what` went wrong, at which images, in which phase, and what to do."""
    paths = chosen.images.dataset.splits[chosen.images.split].paths
    names = ", ".join(repr(paths[i]) for i in indices)
    where = f", at a batch with {names}" if names else ""
    return (
        f"{what} in phase {run.phase.name!r}{where}: lower the learning rate "
        f"({run.phase.learning_rate:g}) or clip gradients; the last good checkpoint is kept."
    )
