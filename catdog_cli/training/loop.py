"""The training loop: phases, epochs, steps, evaluate, keep the best, save.

`fit` reads from top to bottom as if there were one process. Below it stands one step, down to `backward()`: a
batch in micro-batches that fit into memory, and in shares where several processes train. What comes out is
what the whole batch at once would give: the gradients of its mean loss, and BatchNorm's running statistics as
`batchnorm` puts them together. (What BatchNorm makes of an image still depends on the part that it is in, as
it does wherever several GPUs train.)
"""

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from ..errors import CatdogError
from ..features.batches import Inputs
from ..runs.directory import RunDirectory
from ..runtime.distributed import processes
from ..runtime.memory import free_memory
from ..runtime.seeds import seed_torch
from .batch_source import choose_sources
from .batchnorm import RunningStatistics, elements_per_image, one_image_mode
from .checkpointing import Progress, RunState
from .corrupt_images import check_bad, recall_bad
from .epoch import (
    copy_weights_from_main,
    evaluate_features,
    measure,
    plan_epoch,
    step_threads,
    training_batches,
)
from .events import EpochEnded, HeadSolved, Listener, PhaseEnded, PhaseStarted, RunEnded, StepEnded
from .gradients import Share, drop_gradients, join_gradients, read_loss
from .hooks import (
    advise_more_epochs,
    explain_lost_process,
    is_out_of_patience,
    not_finite,
    phases_to_train,
    refuse_without_best,
    save_on_lost_process,
    save_or_stop,
    stop_while_computing_features,
    warn_if_far_above_chance,
)
from .known import fit_frozen, frozen_border
from .lbfgs_head import solve_in_main
from .mixup import mix_batch
from .phase_run import EpochSums, PhaseRun
from .result import RunResult
from .resume.checkpoint_validation import restore_phase
from .schedule import rate_factor, set_rates
from .setup import Setup, fit_norm, open_phase


def fit(
    setup: Setup,
    directory: RunDirectory,
    listener: Listener,
    should_stop: Callable[[], bool] = lambda: False,
    resume: dict[str, Any] | None = None,
    progress: Progress | None = None,
) -> RunResult:
    """Train every phase that is left; save after each epoch, and within it as `save_every` says.

    Args:
        setup: settings, data and network, as `prepare_run` makes them.
        resume: the content of last.pt to continue from, with `progress` rebuilt from it.
        should_stop: asked after every batch; True saves and stops.

    Raises:
        InterruptedRunError: `should_stop` said so; last.pt is there to continue from.
        DataError: too many images cannot be read.
        CatdogError: the loss is not finite, or far above chance in each epoch; or a checkpoint cannot be
            written.
    """
    began = time.monotonic()
    state = RunState.of(setup, directory, progress or Progress(), resume)
    progress, phases = state.progress, setup.settings.phases
    recall_bad(setup, progress, resume)

    def stop() -> bool:
        return processes().any(should_stop())

    with explain_lost_process(state):
        for index, phase in phases_to_train(phases, progress, listener):
            if index > progress.phase:
                progress.start_phase(index)
                resume = None
            run = start_phase(setup, state, stop_while_computing_features(state, listener, stop), resume)

            for epoch in range(progress.epoch, phase.epochs):
                if is_out_of_patience(run, state, epoch, listener):
                    break
                with save_on_lost_process(run, state):
                    epoch_began, sums = time.monotonic(), EpochSums(**progress.sums)
                    seen_before = sums.seen  # images of this epoch that a resumed run had trained on

                    if phase.optimizer == "lbfgs":
                        listener(HeadSolved(**solve_in_main(run, sums)))
                    else:
                        plan = plan_epoch(run, epoch)
                        with step_threads(run):
                            batches = training_batches(run, plan, epoch, progress.step)
                            for step in range(progress.step, len(plan)):
                                set_rates(
                                    run.optimizer, rate_factor(phase, epoch * len(plan) + step, len(plan))
                                )
                                train_step(run, epoch, step, batches, len(plan[step]), sums)
                                progress.step, progress.sums = step + 1, dict(vars(sums))
                                listener(StepEnded(step + 1, len(plan), phase, epoch + 1, **run.means(sums)))
                                save_or_stop(setup, run, state, epoch, listener, stop)
                    copy_weights_from_main(run)
                    check_bad(setup, listener, progress)
                    trained_s = time.monotonic() - epoch_began

                    # evaluate, and keep the weights if they are the best
                    metrics = measure(run, state, run.means(sums)["train_loss"])
                    check_bad(setup, listener, progress)

                    row = {
                        "phase": index,
                        "phase_name": phase.name,
                        "epoch": epoch + 1,
                        "learning_rate": run.optimizer.param_groups[-1]["lr"],
                        **run.means(sums),
                        **metrics,
                        "num_bad": sum(len(chosen.bad) for chosen in setup.sets.values()),
                        "pictures_per_s": (sums.seen - seen_before) / max(trained_s, 1e-9),
                        "seconds": time.monotonic() - epoch_began,
                    }
                    progress.history.append(row)
                    progress.epoch, progress.step, progress.sums = epoch + 1, 0, {}
                    listener(EpochEnded(row, phase.epochs, progress.best))
                    warn_if_far_above_chance(run, row, listener)
                state.save(run.optimizer, run.average)
            advise_more_epochs(run, state, listener)
            finish_phase(setup, run, state, listener)

    seconds = time.monotonic() - began
    result = RunResult(directory.path, progress.best, progress.history, len(state.class_names), seconds)
    listener(RunEnded(result))
    refuse_without_best(state)
    return result


def start_phase(setup: Setup, state: RunState, listener: Listener, resume: dict[str, Any] | None) -> PhaseRun:
    """Freeze, split the network, choose where batches come from, build or restore the optimizer."""
    progress, classifier = state.progress, setup.classifier
    phase = setup.settings.phases[progress.phase]
    split_at = classifier.unfreeze(phase.unfreeze)
    listener(
        PhaseStarted(
            phase=phase,
            index=progress.phase,
            blocks=[name for name, _ in classifier.blocks[split_at:]],
            trainable=sum(p.numel() for _, p in classifier.trainable_parameters()),
            total=sum(p.numel() for p in classifier.parameters()),
            done=progress.epoch,
        )
    )
    source, val_source = choose_sources(setup, phase, progress.phase, split_at, listener)
    check_bad(setup, listener, progress)
    if resume is None and progress.phase == 0 and split_at == len(classifier.blocks):
        fit_norm(setup, source, listener)
    border = frozen_border(setup, progress.phase)
    state.start_features(
        fit_frozen(setup, source, split_at, border, (resume or {}).get("unknown")), not border
    )
    check_bad(setup, listener, progress)
    run = open_phase(setup, progress.phase, split_at, source, val_source)
    if resume is not None:
        restore_phase(run, resume, state.directory.last)
    return run


def finish_phase(setup: Setup, run: PhaseRun, state: RunState, listener: Listener) -> None:
    """Save the last weights, go back to the phase's best, and say what the phase reached."""
    progress, num_phases = state.progress, len(setup.settings.phases)
    state.save(run.optimizer, run.average, force=True)  # before: extending the run starts from the last
    if state.best_state is not None and progress.phase_best is not None:
        setup.classifier.load_state_dict(state.best_state)
    logits, labels, features = evaluate_features(run, keep=state.learns_features)
    if num_phases > 1 and progress.phase_best is not None:
        state.save_phase_best(logits, labels, features, run.task)
    indices, last = run.val_source.chosen.good_indices(), progress.phase == num_phases - 1
    ended = PhaseEnded(progress.phase, run.phase, progress.phase_best, logits, labels, indices, last)
    processes().from_main(lambda: listener(ended))  # the others wait for the reports


def train_step(
    run: PhaseRun, epoch: int, step: int, batches: Iterator[Inputs], planned: int, sums: EpochSums
) -> None:
    """Train on the next batch: forward, backward, clip, step; an error leaves the weights as they were.

    Args:
        batches: gives this process's share of each batch.
        planned: how many images the whole batch has, unreadable ones included.
        sums: of the epoch, to which the batch is added.

    Raises:
        CatdogError: the loss is not a finite number, or not even one image fits into memory.
        LostProcessError: another process has ended.
    """
    together = run.step_processes
    statistics = RunningStatistics(run.training_norms)
    drop_gradients(run)
    try:
        shares = together.gather(
            lambda: backward(run, (epoch, step, together.rank), next(batches), planned, statistics)
        )
        for share in shares:
            run.source.chosen.note_bad(share.bad)
            run.micro_batch.lower(share.micro_batch)
        weight, seen = sum(share.weight for share in shares), sum(share.seen for share in shares)
        if not seen or not weight:  # not one image of the batch can be read, or no label of them is known
            return
        join_gradients(run, planned / weight, statistics)
    except BaseException:
        statistics.undo()
        raise
    if run.phase.clip_norm:
        torch.nn.utils.clip_grad_norm_(run.parameters, run.phase.clip_norm)
    run.optimizer.step()
    if run.average is not None:
        run.average.update()
    sums.loss += sum(share.loss for share in shares) * (planned / weight) * seen
    sums.correct += sum(share.correct for share in shares)
    sums.seen += seen


def backward(
    run: PhaseRun, key: tuple[int, ...], inputs: Inputs, planned: int, statistics: RunningStatistics
) -> Share:
    """Leave the gradients of this share's losses over `planned` in place; in smaller parts until they fit.

    Args:
        key: (epoch, step, process), from which dropout and mixing draw.
        inputs: values (B, ...), labels (B,) or (B, C).
    """
    if not len(inputs.indices):
        return Share(bad=inputs.bad, micro_batch=run.micro_batch.size)
    while True:
        parts = run.micro_batch.parts(len(inputs.values))
        divided = len(parts) > 1 or run.step_processes.size > 1
        elements = elements_per_image(run, inputs.values) if divided else []
        seed_torch(run.seed, run.index, *key, "step")  # dropout, mixing
        num_classes = run.classifier.num_classes
        values, targets = mix_batch(inputs.values, inputs.labels, num_classes, run.task, run.phase)
        share = Share(bad=inputs.bad, micro_batch=run.micro_batch.size, seen=len(values))
        try:
            for part in parts:
                rows = slice(part.start, part.stop)
                with one_image_mode(run.classifier, len(part)), run.autocast(values):
                    logits = run.suffix(values[rows])  # (b, num_classes)
                logits = logits.float()
                smoothing = run.phase.label_smoothing
                summed = run.task.loss(logits, targets[rows], run.class_weights, smoothing, reduction="sum")
                loss = summed / planned
                value, weight, correct = read_loss(run, loss, logits, targets[rows], inputs.labels[rows])
                if not math.isfinite(value):
                    indices = inputs.indices[rows][:4].tolist()
                    raise CatdogError(not_finite(run, run.source.chosen, indices, f"The loss became {value}"))
                loss.backward()
                share.add(value, weight, correct)
                if divided:
                    statistics.take(len(part), elements)
            return share
        except RuntimeError as error:
            run.micro_batch.shrink(error, len(parts[0]))
        statistics.undo()
        drop_gradients(run)
        free_memory()
