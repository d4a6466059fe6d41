"""The time that a search has: said by the user, spent by stages, never exceeded."""

import re
import time
from dataclasses import dataclass, field

from ..errors import SettingsError, quote

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
LEAST_S = 5.0
FINISH_S = 7.0  # the last report, the page and leaving, where the machine does nothing else
RECENT_S = 30.0
CARE = 1.25  # times what something took before is what it may take next


def parse_budget(text: str) -> float:
    """Return the seconds of a time such as 90s, 10m, 1h30m or 2h.

    Raises:
        SettingsError: it is no time, or too short for anything.
    """
    parts = re.findall(r"(\d{1,6}(?:\.\d{1,6})?)\s*([smhd])", text) if isinstance(text, str) else []
    if not parts or "".join(number + unit for number, unit in parts) != re.sub(r"\s", "", text):
        raise SettingsError(f"budget is {quote(text)}, but must be a time such as 90s, 10m, 1h30m or 2h.")
    seconds = sum(float(number) * UNITS[unit] for number, unit in parts)
    if not LEAST_S <= seconds <= 365 * UNITS["d"]:
        raise SettingsError(f"budget is {quote(text)}, but must be from {LEAST_S:g}s to 365d.")
    return seconds


@dataclass
class Clock:
    """How much of a budget is used; `before_s` by sessions that were stopped, or by starting this one."""

    budget_s: float
    before_s: float = 0.0
    began_s: float = field(default_factory=time.monotonic)
    _marks: list[tuple[float, float]] = field(default_factory=list)  # (wall, processor), now and then

    def slowness(self) -> float:
        """Return the seconds that pass for a second of the processor: of late, or ever, what is more."""
        now = (time.monotonic(), time.process_time())
        self._marks = [mark for mark in self._marks if now[0] - mark[0] <= RECENT_S]
        if not self._marks or now[0] - self._marks[-1][0] >= 1:
            self._marks.append(now)
        first = self._marks[0]
        ever = (now[0] - self.began_s) / max(1e-3, now[1])
        late = (now[0] - first[0]) / max(1e-3, now[1] - first[1]) if now[0] - first[0] > 5 else 0.0
        return max(ever, late)

    @property
    def used_s(self) -> float:
        return self.before_s + time.monotonic() - self.began_s

    @property
    def left_s(self) -> float:
        return self.budget_s - self.used_s
