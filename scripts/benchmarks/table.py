"""Rows, and how they look: a Markdown table for people, plain containers for --json."""

import dataclasses
import statistics
from dataclasses import dataclass, field
from typing import Any

Rounds = dict[str, list[float]]  # name of a number: its value in each round
Found = dict[str, Rounds]  # by group of rows

HEADER = ("row", "what", "seconds (least to most)", "pictures/s", "accuracy", "peak MB", "compared")


@dataclass(frozen=True)
class Row:
    """One line of the table. Lists hold a value for each round; an empty one leaves its cell empty.

    `ratio` is this row's median over that of what `ratio_to` names.
    """

    group: str
    what: str
    seconds: list[float] = field(default_factory=list)
    pictures_per_s: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    peak_mb: list[float] = field(default_factory=list)
    ratio: float | None = None
    ratio_to: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields with the median of each list beside its values."""
        values = dataclasses.asdict(self)
        lists = [name for name, value in values.items() if isinstance(value, list)]
        return {**values, "median": {name: statistics.median(values[name]) for name in lists if values[name]}}

    def cells(self) -> tuple[str, ...]:
        """Return the row's texts, in HEADER's order."""
        compared = f"{self.ratio:.2f} x {self.ratio_to}" if self.ratio is not None else ""
        return (
            self.group,
            self.what,
            _seconds(self.seconds),
            _number(self.pictures_per_s, ".0f"),
            _number(self.accuracy, ".4f"),
            _number(self.peak_mb, ".0f"),
            compared,
        )


def ratio(over: list[float], under: list[float]) -> float:
    """Return the ratio of two medians."""
    return statistics.median(over) / statistics.median(under)


def gather(rounds: list[dict[str, float]]) -> Rounds:
    """Turn a dict a round into a list a name."""
    return {name: [values[name] for values in rounds] for name in rounds[0]}


def _number(values: list[float], form: str) -> str:
    return format(statistics.median(values), form) if values else ""


def _seconds(values: list[float]) -> str:
    if not values:
        return ""
    form = ".2f" if statistics.median(values) >= 0.1 else ".3f"
    median, least, most = (format(of(values), form) for of in (statistics.median, min, max))
    return median if len(values) == 1 else f"{median} ({least} to {most})"


def markdown(rows: list[Row]) -> str:
    """Return the rows as a Markdown table whose columns line up."""
    lines = [HEADER, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADER))]
    texts = ["| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines]
    texts.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(texts)
