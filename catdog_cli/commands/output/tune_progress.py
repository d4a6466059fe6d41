"""What a search and a cross-validation say while they work: a bar on a terminal, plain lines elsewhere."""

import time
from typing import Any

from ...runtime.text import show_percent
from .terminal import counted
from .train_progress import TrainReport

QUIET_S = 30.0  # between two lines where there is no terminal for a bar


class SearchReport(TrainReport):
    """A listener that prints: a method `on_KIND` for each kind of event, beside those of trainings."""

    def __init__(self, quiet: bool = False) -> None:
        super().__init__()
        self.quiet = quiet  # one of several processes, of which another one talks
        self._said_s = time.monotonic()

    def __call__(self, event: Any) -> None:
        if not self.quiet:
            super().__call__(event)

    def on_run_end(self, result: Any) -> None:
        """Say nothing of the last training by itself: what the search found comes next."""
        self._hide()

    def on_worked(self, step: str, done: int, total: int) -> None:
        self.bar.show(step, done, total)
        if done >= total:
            self._hide()

    def on_fold(self, row: dict[str, Any], done: int, total: int) -> None:
        name = "map" if "map" in row else "accuracy"
        said = f"{name} {_show(row[name], name)}, loss {_show(row['loss'], 'loss')}, {row['seconds']:.1f} s"
        self.log(f"fold {done} of {total}: {said}")

    def on_plan(self, rows: list[tuple[str, str, float]], budget_s: float, resumed: int) -> None:
        if resumed:
            self.log(f"Continuing a search with {counted(resumed, 'trial')}.")
        self.log(f"The plan for {describe_time(budget_s)}:")
        width = max(len(stage) for stage, _, _ in rows)
        for stage, what, seconds in rows:
            self.log(f"  {stage:{width}}  {describe_time(seconds):>7}  {what}", wrap=False)

    def on_stage(self, name: str, what: str) -> None:
        self._hide()
        self.log(f"{name}: {what}")

    def on_moved(self, stage: str, trials: int, best: float | None, used_s: float, budget_s: float) -> None:
        left = describe_time(max(0.0, budget_s - used_s))
        said = f"best {best:.4f}" if best is not None else "nothing scored yet"
        facts = [said, f"{trials} trials", f"{left} left"]
        self.bar.show(stage, round(used_s), round(budget_s), facts)
        now = time.monotonic()
        if not self.bar.is_shown and now - self._said_s > QUIET_S:
            self._said_s = now
            self.log(f"{stage}: {', '.join(facts)}")


def describe_time(seconds: float) -> str:
    """Return seconds as people say them: 45 s, 3.5 min, 2 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.3g} min" if seconds < 6000 else f"{seconds / 3600:.3g} h"


def _show(value: float | None, name: str) -> str:
    if value is None:
        return "-"
    return show_percent(value) if name == "accuracy" else f"{value:.4f}"
