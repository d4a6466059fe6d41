"""A command as one of several processes: who talks, and how all end.

`torchrun --nproc-per-node 2 -m catdog_cli train ...` starts the command twice. Only the main process prints;
where they fail, the first to fail says why, and the others end without a word.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, TypeVar

import click

from ..errors import CatdogError, InterruptedRunError, LostProcessError
from ..runtime.distributed import SOLO, Group, is_launched, open_group
from .output.terminal import echo

if TYPE_CHECKING:
    from ..inference.predictor import Predictor

T = TypeVar("T")
QUIET_S = 1.0  # a silent process ends a little later than the one that talks


class EndedError(KeyboardInterrupt):
    """SIGTERM came: as with Ctrl-C, nothing that catches errors may swallow it."""


@contextlib.contextmanager
def several(device: str | None) -> Iterator[Group]:
    """Yield the processes that a launcher started with this one; SOLO where it is alone.

    Args:
        device: as `--cpu` and `--gpu` give it.

    Raises:
        click.exceptions.Exit: another process has said what went wrong.
    """
    if not is_launched():
        yield SOLO
        return
    group = None
    try:
        group = _meet(device)
        signal.signal(signal.SIGTERM, _end)  # not before: who waits for the others to come hears no signal
        with _only_main_talks(group):
            yield group
    except (CatdogError, KeyboardInterrupt) as error:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the launcher ends all as soon as one has ended
        if not _may_talk(group, error):
            time.sleep(QUIET_S)
            stopped = isinstance(error, (InterruptedRunError, KeyboardInterrupt))
            raise click.exceptions.Exit(130 if stopped else getattr(error, "exit_code", 1)) from error
        if isinstance(error, EndedError):
            raise LostProcessError(f"{error}.") from error
        raise
    except Exception:
        if group is not None:
            group.first_to_fail()  # by a traceback
        raise
    group.close()


def share_out(predictor: "Predictor", work: Callable[[], T]) -> T | None:
    """Return what `work` returns in the main process; the others predict for it, and return None."""
    if predictor.group.is_main:
        result = work()
        if predictor.group.size > 1:
            from ..inference.distributed import dismiss

            dismiss(predictor.group)
        return result
    from ..inference.distributed import answer_shares

    answer_shares(predictor)
    return None


def log_memory(size: int) -> None:
    """Say that prediction continues with fewer images at once."""
    from ..runtime.memory import describe_shrink

    echo(describe_shrink(size), err=True)


def _meet(device: str | None) -> Group:
    """Open the group, with this process's part of the cores for torch.

    torchrun sets OMP_NUM_THREADS to 1 where nobody else has set it.
    """
    import torch

    from ..runtime.parallel import usable_cores

    if os.environ.get("OMP_NUM_THREADS", "1") == "1":
        torch.set_num_threads(usable_cores())
    return open_group(cpu=device == "cpu" or not torch.cuda.is_available())


def _end(number: int, frame: FrameType | None) -> None:
    raise EndedError("Ended by SIGTERM, from `kill` or from the launcher because another process has ended")


def _may_talk(group: Group | None, error: BaseException) -> bool:
    """Say whether this process is the one to say what went wrong."""
    if group is None:  # they have not met
        return os.environ.get("RANK", "0") == "0"
    if isinstance(error, KeyboardInterrupt) and not group.is_main:  # the main process knows what is kept
        return False
    return group.first_to_fail()


@contextlib.contextmanager
def _only_main_talks(group: Group) -> Iterator[None]:
    """Leave stdout and stderr to the main process; what ends this one is said behind the block."""
    if group.is_main:
        yield
        return
    with (
        Path(os.devnull).open("w", encoding="utf-8") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        yield
