"""More listeners to training: several at once, and one that writes event files for TensorBoard."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import require

BOARD_FOLDER = "tensorboard"


def tee(*listeners: Callable[..., None] | None) -> Callable[..., None]:
    """Return a report that tells every listener, in order; None is left out."""
    heard = [listener for listener in listeners if listener is not None]

    def report(kind: str, **facts: Any) -> None:
        for listener in heard:
            listener(kind, **facts)

    return report


def open_board(run_dir: Path, asked: bool | None, resuming: bool = False) -> "Board | None":
    """Return what writes event files, where it is asked for or a resumed run has some already.

    Raises:
        CatdogError: tensorboard is not installed.
    """
    if not asked and not (resuming and (run_dir / BOARD_FOLDER).is_dir()):
        return None
    require("tensorboard", "track")
    return Board(run_dir / BOARD_FOLDER)


class Board:
    """Writes every epoch's numbers into `folder`, a chart a metric; the step counts epochs of all phases."""

    def __init__(self, folder: Path):
        self.folder, self.step, self.writer = folder, 0, None

    def __call__(self, kind: str, **facts: Any) -> None:
        if kind == "resume":
            self.step = len(facts["progress"].history)
        elif kind == "setup":
            from torch.utils.tensorboard import SummaryWriter

            # epochs that a kill made undone are struck out
            self.writer = SummaryWriter(str(self.folder), purge_step=self.step + 1)
        elif kind == "epoch":
            self.step += 1
            self._write(facts["row"])

    def _write(self, row: dict[str, Any]) -> None:
        for name, value in row.items():
            if isinstance(value, (int, float)) and name not in ("phase", "epoch"):
                self.writer.add_scalar(name, value, self.step)
        self.writer.flush()

    def __enter__(self) -> "Board":
        return self

    def __exit__(self, *exception: Any) -> None:
        if self.writer is not None:
            self.writer.close()
