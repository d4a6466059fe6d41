"""Ctrl-C and SIGTERM as a training hears them: the first ends it after its batch, the second at once."""

import contextlib
import os
import signal
import time
from typing import Any

from .output.terminal import echo_lines

TOGETHER_S = 2.0  # signals to one of several processes that are this close are one


class StopSignals:
    """A listener of training that notes signals while a run is open; `asked` says whether one came.

    Not `aloud`, in one of several processes: the launcher passes signals on, and sends its own SIGTERM to all
    when one process has ended, so that two that come together are one.
    """

    def __init__(self, aloud: bool) -> None:
        self.aloud = aloud
        self.times: list[float] = []
        self.owner = os.getpid()
        self.old: dict[signal.Signals, Any] = {}

    def __call__(self, event: Any) -> None:
        if event.kind == "open":
            with contextlib.suppress(ValueError):  # not in the main thread: somebody else handles signals
                self.old = {n: signal.signal(n, self._note) for n in (signal.SIGINT, signal.SIGTERM)}
        elif event.kind == "close":
            for number, handler in self.old.items():
                signal.signal(number, handler)

    def asked(self) -> bool:
        """Say whether the run should save and stop."""
        return bool(self.times)

    def _note(self, number: int, frame: Any) -> None:
        if os.getpid() != self.owner:  # a loading process, which ends with this one
            return
        now = time.monotonic()
        if self.times and (self.aloud or now - self.times[0] > TOGETHER_S):
            raise KeyboardInterrupt
        self.times.append(now)
        if self.aloud:
            echo_lines("\nStopping after this batch; once more to stop at once.", err=True)
