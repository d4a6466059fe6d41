"""A listener that writes event files for TensorBoard."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import require
from ..runs.directory import TENSORBOARD
from ..runtime.startup import quiet_threads
from ..training.events import EpochEnded, Event, RunResumed, RunStarted

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

Log = Callable[[str], None]


def open_event_writer(
    run_dir: Path, asked: bool | None, log: Log, resuming: bool = False
) -> "EventWriter | None":
    """Return what writes event files, where it is asked for or a resumed run has some already.

    Raises:
        CatdogError: tensorboard is not installed.
    """
    if not asked and not (resuming and (run_dir / TENSORBOARD).is_dir()):
        return None
    require("tensorboard", "track")
    return EventWriter(run_dir / TENSORBOARD, log)


class EventWriter:
    """Writes every epoch's numbers into `folder`, a chart a metric; the step counts epochs of all phases.

    Where it cannot write, it says so once and lets the training continue.
    """

    def __init__(self, folder: Path, log: Log):
        self.folder, self.log, self.step = folder, log, 0
        self.writer: SummaryWriter | None = None

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunResumed):
            self.step = len(event.progress.history)
        elif isinstance(event, RunStarted):
            self._attempt(self._open)
        elif isinstance(event, EpochEnded):
            self.step += 1
            self._attempt(lambda: self._write(event.row))

    def _attempt(self, action: Callable[[], None]) -> None:
        try:
            action()
        except OSError as error:
            self.writer = None
            self.log(
                f"Warning: TensorBoard's files in {str(self.folder)!r} cannot be written "
                f"({error.strerror or error}): training continues without them."
            )

    def _open(self) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # epochs that a kill made undone are struck out
        self.writer = SummaryWriter(str(self.folder), purge_step=self.step + 1)

    def _write(self, row: dict[str, Any]) -> None:
        if self.writer is None:
            return
        for name, value in row.items():
            if isinstance(value, (int, float)) and name not in ("phase", "epoch"):
                self.writer.add_scalar(name, value, self.step)
        self.writer.flush()

    def __enter__(self) -> "EventWriter":
        self._threads = quiet_threads("tensorboard")
        self._threads.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        if self.writer is not None:
            self._attempt(self.writer.close)
        self._threads.__exit__(None, None, None)
