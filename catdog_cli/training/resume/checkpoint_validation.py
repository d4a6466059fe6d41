"""What a resumed run needs of its last.pt, and refusing one whose parts do not fit.

`runs.checkpoint.load_checkpoint` has looked at what predicting needs and at the counters; here is the rest.
"""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from ...errors import CheckpointError, quote
from ...models.classifier import Classifier
from ...models.tasks import SINGLE_LABEL, TASKS
from ..phase_run import EpochSums, PhaseRun

SLOTS = {  # what an optimizer keeps of each parameter; all but "step" have its shape
    "Adam": {"step", "exp_avg", "exp_avg_sq"},
    "AdamW": {"step", "exp_avg", "exp_avg_sq"},
    "SGD": {"momentum_buffer"},
}
FROM_SETTINGS = ("base_lr", "weight_decay", "betas", "eps", "momentum", "name")
ROW = {"phase": int, "phase_name": str, "epoch": int, "val_loss": float}


def check_progress(content: dict[str, Any], classifier: Classifier, path: Path) -> None:
    """Raise CheckpointError unless the best weights, the sums and the history of last.pt make sense."""
    score = f"val_{TASKS[content.get('task', SINGLE_LABEL.name)].headline}"
    checks: dict[str, Callable[[Any], str]] = {
        "best_state": lambda value: "" if value is None else _misfit(value, classifier.state_dict()),
        "best": lambda value: "" if value is None else _wrong_row(value, score),
        "phase_best": lambda value: "" if value is None else _wrong_row(value, score),
        "history": lambda rows: next((wrong for row in rows if (wrong := _wrong_row(row, score))), ""),
        "sums": _wrong_sums,
        "bad": _wrong_bad,
    }
    for name, check in checks.items():
        reason = check(content[name]) if name in content else ""  # what an older catdog did not write
        if reason:
            raise CheckpointError(_sentence(name, path, reason))


def restore_phase(run: PhaseRun, content: dict[str, Any], path: Path) -> None:
    """Load the optimizer and the averaged weights of last.pt into a phase.

    Raises:
        CheckpointError: they do not fit it.
    """
    if content["optimizer"] is None:
        return
    wrong = _wrong_optimizer(content["optimizer"], run.optimizer)
    if wrong:
        raise CheckpointError(_sentence("optimizer", path, wrong))
    run.optimizer.load_state_dict(content["optimizer"])
    if run.average is not None:
        wrong = _wrong_average(content.get("average"), run.average)
        if wrong:
            raise CheckpointError(_sentence("average", path, wrong))
        run.average.load_state_dict(content["average"])


def _sentence(name: str, path: Path, reason: str) -> str:
    return (
        f"The part {name!r} of {str(path)!r} does not fit the rest ({reason}): it is damaged; put back a "
        f"copy, or start a new run. best.pt beside it may still predict."
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _misfit(given: Any, wanted: dict[str, torch.Tensor]) -> str:
    """Say how tensors by name differ in names, shapes or kinds from those wanted; "" if not at all."""
    if not isinstance(given, dict) or set(given) != set(wanted):
        return "its names are others"
    for name, tensor in wanted.items():
        reason = _wrong_tensor(given[name], tensor.shape)
        if reason or given[name].dtype != tensor.dtype:
            return f"{name} {reason or f'is {given[name].dtype} instead of {tensor.dtype}'}"
        if not torch.isfinite(given[name]).all():
            return f"{name} holds numbers that are not finite"
    return ""


def _wrong_tensor(given: Any, shape: torch.Size) -> str:
    if not isinstance(given, torch.Tensor) or given.is_meta or given.layout != torch.strided:
        return "is not a tensor of numbers"
    if given.shape != shape:
        return f"is {tuple(given.shape)} instead of {tuple(shape)}"
    return ""


def _wrong_row(row: Any, score: str) -> str:
    if not isinstance(row, dict):
        return "an epoch is not a row of numbers"
    wrong = [key for key, kind in {**ROW, score: float}.items() if not isinstance(row.get(key), kind)]
    if wrong:
        return f"an epoch has no {wrong[0]}"
    odd = [key for key, value in row.items() if not isinstance(value, (int, float, str, type(None)))]
    return f"{quote(odd[0])} of an epoch is neither a number nor a text" if odd else ""


def _wrong_sums(sums: Any) -> str:
    if not isinstance(sums, dict) or (sums and set(sums) != set(vars(EpochSums()))):
        return "its names are others"
    return "" if all(map(_is_number, sums.values())) else "it holds something that is not a number"


def _wrong_bad(bad: Any) -> str:
    for entry in bad if isinstance(bad, list) else [None]:
        kinds = [type(part) for part in entry] if isinstance(entry, list) else []
        if entry is None or kinds != [str, int, str, str] or entry[0] not in ("train", "val") or entry[1] < 0:
            return "it is not a list of unreadable pictures"
    return ""


def _wrong_optimizer(given: Any, optimizer: torch.optim.Optimizer) -> str:
    try:
        return next(_optimizer_misfits(given, optimizer), "")
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        return f"it lacks {error}" if isinstance(error, KeyError) else "it is not the state of an optimizer"


def _optimizer_misfits(given: Any, optimizer: torch.optim.Optimizer) -> Iterator[str]:
    wanted = optimizer.state_dict()["param_groups"]
    groups = given["param_groups"]
    if [group["params"] for group in groups] != [group["params"] for group in wanted]:
        yield "its parameters are others"
    for group, own in zip(groups, wanted, strict=False):
        if not _is_number(group["lr"]):
            yield f"a rate is {quote(group['lr'])}"
        for name in FROM_SETTINGS:
            if name in group and name in own and _plain(group[name]) != _plain(own[name]):
                yield f"{name} is {quote(group[name])} instead of {own[name]!r}"
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    kind = type(optimizer).__name__
    for place, slots in given["state"].items():
        if not SLOTS[kind] <= set(slots):
            yield f"of parameter {place} it keeps {', '.join(map(str, slots))[:100] or 'nothing'}"
            continue
        for name in SLOTS[kind]:
            shape = torch.Size() if name == "step" else parameters[place].shape
            reason = "" if slots[name] is None and kind == "SGD" else _wrong_tensor(slots[name], shape)
            if reason:
                yield f"{name} of parameter {place} {reason}"


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _wrong_average(given: Any, average: Any) -> str:
    if not isinstance(given, dict) or type(given.get("steps")) is not int or given["steps"] < 0:
        return "it does not say its steps"
    return _misfit(given.get("kept"), average.kept)
