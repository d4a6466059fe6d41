"""What a run has reached, as its caller gets it: for Python, for JSON and for a notebook."""

import html
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..runs.directory import RunDirectory
from ..runtime.html import data_uri

SCORE_NAMES = {"accuracy": "accuracy", "map": "mAP", "subset_accuracy": "subset accuracy"}


@dataclass(frozen=True)
class RunResult:
    """What a finished run has to say; `best` is the best epoch's row of the history."""

    run_dir: Path
    best: dict[str, Any] | None
    history: list[dict[str, Any]]
    num_classes: int
    seconds: float

    @property
    def checkpoint(self) -> Path:
        """The checkpoint that predicts."""
        return RunDirectory(self.run_dir).best

    @property
    def _score(self) -> str:
        """What the best epoch is told by: accuracy, or map where images have several labels."""
        return "map" if self.best is not None and "val_map" in self.best else "accuracy"

    def to_dict(self) -> dict[str, Any]:
        """Return what `catdog train --json` prints, as plain values."""
        best = self.best and {
            "phase": self.best["phase_name"],
            "epoch": self.best["epoch"],
            self._score: self.best[f"val_{self._score}"],
            "loss": self.best["val_loss"],
        }
        return {
            "run_dir": str(self.run_dir),
            "checkpoint": str(self.checkpoint),
            "best": best,
            "num_classes": self.num_classes,
            "seconds": self.seconds,
        }

    def __str__(self) -> str:
        if self.best is None:
            return f"{self.run_dir}: nothing was trained"
        score = f"{SCORE_NAMES[self._score]} {100 * self.best[f'val_{self._score}']:.2f} %"
        return (
            f"{self.run_dir}: best {self.best['phase_name']} epoch {self.best['epoch']}, validation {score}, "
            f"loss {self.best['val_loss']:.4f}; {self.seconds:.1f} s"
        )

    def _repr_html_(self) -> str:
        """Return the sentence and the curves, for a notebook."""
        curves = RunDirectory(self.run_dir).curves
        image = ""
        if curves.is_file():
            image = f'<br><img alt="curves" style="max-width:100%" src="{data_uri(curves.read_bytes())}">'
        return f"<div>{html.escape(str(self))}{image}</div>"
