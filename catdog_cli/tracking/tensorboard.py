"""More listeners to training: several at once, and one that writes event files for TensorBoard."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import require
from ..runtime.startup import quiet_threads

EVENTS_FOLDER = "tensorboard"
Log = Callable[[str], None]


def tee(*listeners: Callable[..., None] | None) -> Callable[..., None]:
    """Return a report that tells every listener, in order; None is left out."""
    heard = [listener for listener in listeners if listener is not None]

    def report(kind: str, **facts: Any) -> None:
        for listener in heard:
            listener(kind, **facts)

    return report


def open_event_writer(
    run_dir: Path, asked: bool | None, log: Log, resuming: bool = False
) -> "EventWriter | None":
    """Return what writes event files, where it is asked for or a resumed run has some already.

    Raises:
        CatdogError: tensorboard is not installed.
    """
    if not asked and not (resuming and (run_dir / EVENTS_FOLDER).is_dir()):
        return None
    require("tensorboard", "track")
    return EventWriter(run_dir / EVENTS_FOLDER, log)


class EventWriter:
    """Writes every epoch's numbers into `folder`, a chart a metric; the step counts epochs of all phases.

    Where it cannot write, it says so once and lets the training go on.
    """

    def __init__(self, folder: Path, log: Log):
        self.folder, self.log, self.step, self.writer = folder, log, 0, None

    def __call__(self, kind: str, **facts: Any) -> None:
        if kind == "resume":
            self.step = len(facts["progress"].history)
        elif kind == "setup":
            self._attempt(self._open)
        elif kind == "epoch":
            self.step += 1
            self._attempt(lambda: self._write(facts["row"]))

    def _attempt(self, action: Callable[[], None]) -> None:
        try:
            action()
        except OSError as error:
            self.writer = None
            self.log(
                f"Warning: TensorBoard's files in {str(self.folder)!r} cannot be written "
                f"({error.strerror or error}): training goes on without them."
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
