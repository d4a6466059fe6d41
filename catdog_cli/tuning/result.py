"""What a search found, as its caller gets it: for Python, for JSON and for a notebook."""

import html
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..runtime.text import show_percent

RESULT, PAGE, RECIPE, FOLDER = "result.json", "tuning.html", "tuned.toml", "tuning"
NAMES = {"accuracy": "accuracy", "loss": "loss", "f1": "F1", "auc": "AUC", "map": "mAP"}


@dataclass(frozen=True)
class TuneResult:
    """What a finished search has to say.

    `cross_validated` is the best trial's metric on held-out folds of the training images, `flattery` what it
    is worth on images that did not choose it (see `scores.Flattery`; None where there was one trial only),
    `validation` the metric of the last training on the validation images, which were asked once; intervals
    are of 95 %.
    """

    run_dir: Path
    metric: str
    stage: str
    params: dict[str, Any]
    cross_validated: float
    flattery: dict[str, Any] | None
    validation: float | None
    validation_interval: list[float] | None
    gap: dict[str, Any] | None  # cross-validated minus validation, with its interval
    num_trials: int
    num_given_up: int
    budget_s: float
    seconds: float
    advice: str

    @property
    def checkpoint(self) -> Path:
        """The checkpoint that predicts."""
        return self.run_dir / "best.pt"

    @property
    def recipe(self) -> Path:
        """The recipe that trains the same again."""
        return self.run_dir / RECIPE

    @property
    def page(self) -> Path:
        return self.run_dir / PAGE

    def to_dict(self) -> dict[str, Any]:
        """Return what `catdog tune --json` prints, as plain values."""
        paths = {name: str(getattr(self, name)) for name in ("run_dir", "checkpoint", "recipe", "page")}
        return {**vars(self), **paths}

    @classmethod
    def from_dict(cls, values: dict[str, Any], run_dir: Path) -> "TuneResult":
        """Return what `to_dict` gave, of a run that may have moved."""
        names = set(cls.__dataclass_fields__) - {"run_dir"}
        return cls(run_dir=run_dir, **{name: values[name] for name in names})

    def lines(self) -> list[str]:
        """Return the outcome in sentences."""
        name = NAMES[self.metric]
        found = [
            f"Cross-validated {name} {self.show(self.cross_validated)}, the best of {self.num_trials} trials."
        ]
        if self.flattery is not None:
            low, high = self.flattery["interval"]
            found.append(
                f"On pictures that did not choose it: {self.show(self.flattery['corrected'])} (95 % interval "
                f"{self.show(low)} to {self.show(high)}); choosing flattered it by "
                f"{self.show_gap(self.flattery['by'])}."
            )
        if self.validation is not None:
            interval = self.validation_interval
            between = f" ({self.show(interval[0])} to {self.show(interval[1])})" if interval else ""
            found.append(f"On the validation pictures, asked once: {self.show(self.validation)}{between}.")
        return [*found, self.advice]

    def show(self, value: float) -> str:
        """Return a value of the metric as people read it."""
        return show_percent(value) if self.metric == "accuracy" else f"{value:.4f}"

    def show_gap(self, value: float) -> str:
        """Return a difference of two values of the metric."""
        return f"{100 * value:.2f} points" if self.metric == "accuracy" else f"{value:.4f}"

    def __str__(self) -> str:
        return f"{self.run_dir}: " + " ".join(self.lines())

    def _repr_html_(self) -> str:
        """Return the sentences, for a notebook."""
        return "<div>" + "<br>".join(map(html.escape, self.lines())) + "</div>"
