"""Rows of predictions for people, as JSON, and as a picture."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ...errors import SettingsError
from .terminal import echo, echo_json, printable

MOST_ERRORS = 20
MOST_DRAWN = 30
BAR = 24  # characters for a probability of 1


def show_percent(fraction: float) -> str:
    """Return a fraction as a percentage that is 100 or 0 only if it is."""
    if 0.99995 <= fraction < 1:
        return "> 99.99 %"
    return "< 0.01 %" if 0 < fraction < 0.00005 else f"{100 * fraction:.2f} %"


class Tally:
    """Counts what went by; names the first bad pictures on stderr."""

    def __init__(self, log: Callable[[str], None] = lambda text: echo(text, err=True)):
        self.log = log
        self.total = self.errors = 0
        self.by_class: dict[str, int] = {}

    def watch(self, answers: Iterable[tuple[Any, dict[str, Any]]]) -> Iterator[dict[str, Any]]:
        """Pass the rows of `predict_rows` on, counting them."""
        for _, row in answers:
            self.count(row)
            yield row

    def count(self, row: dict[str, Any], aloud: bool = True) -> None:
        """Take note of one row; `aloud` names it on stderr if it is bad."""
        self.total += 1
        if row["status"] == "ok":
            name = row["predictions"][0]["class"]
            self.by_class[name] = self.by_class.get(name, 0) + 1
            return
        self.errors += 1
        if aloud and self.errors <= MOST_ERRORS:
            self.log(row["error"])

    def finish(self) -> int:
        """Say how many more were bad; return the exit code: 1 if any was, or there was none at all."""
        if not self.total:
            self.log("Nothing was predicted: the inputs name no picture.")
            return 1
        if self.errors > MOST_ERRORS:
            echo(f"{self.errors - MOST_ERRORS} more could not be read.", err=True)
        if self.errors and self.total > 1:
            echo(f"{self.errors} of {self.total} inputs could not be predicted.", err=True)
        return 1 if self.errors else 0


def print_text(rows: Iterable[dict[str, Any]]) -> None:
    """Print each picture's likeliest classes; on a terminal with a bar beside each."""
    with_bars = sys.stdout.isatty()
    for row in rows:
        if row["status"] == "error":
            continue
        echo(row["path"])
        names = [printable(each["name"]) for each in row["predictions"]]
        width = max(map(len, names))
        for name, each in zip(names, row["predictions"], strict=True):
            bar = "  " + _bar(each["probability"]) if with_bars else ""
            echo(f"  {name:{width}}  {show_percent(each['probability']):>9}{bar}".rstrip())


def _bar(fraction: float) -> str:
    block = "█" if (sys.stdout.encoding or "").lower().startswith("utf") else "#"
    return block * round(BAR * fraction)


def print_json(rows: Iterable[dict[str, Any]]) -> None:
    """Print one JSON list, row by row, whole even if the rows break off."""
    start = "["
    try:
        for row in rows:
            echo_json(row, start, end="")
            start = ",\n"
    finally:
        echo("[]" if start == "[" else "]")


class Drawing:
    """Keeps the first pictures for the plot, reading them again whole: what predicting sees is cropped."""

    def __init__(self, path: str):
        self.path = path
        self.items: list[dict[str, Any]] = []
        self.more = 0
        self._old = os.path.realpath(path) if os.path.exists(path) else None  # noqa: PTH110

    def watch(self, rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Pass the rows on, keeping what the plot needs.

        Raises:
            SettingsError: the plot would replace one of the pictures.
        """
        for row in rows:
            if self._old and os.path.realpath(row["path"]) == self._old:
                raise SettingsError(f"--plot {self.path!r} is one of the pictures: give another name.")
            if row["status"] == "ok" and len(self.items) == MOST_DRAWN:
                self.more += 1
            elif row["status"] == "ok":
                self.items.append(self._item(row))
            yield row

    def _item(self, row: dict[str, Any]) -> dict[str, Any]:
        from ...images.read import read_image
        from ...inference.inputs import fetch_input

        image = read_image(fetch_input(row["path"]), shorter_side=600)
        return {
            "image": image.permute(1, 2, 0).numpy(),
            "title": os.path.basename(row["path"]),  # noqa: PTH119
            "names": [each["name"] for each in row["predictions"]],
            "probabilities": [each["probability"] for each in row["predictions"]],
        }

    def save(self) -> None:
        """Draw them; nothing if no picture could be read, which has been said."""
        if not self.items:
            return
        from ...plots import plot_predictions

        plot_predictions(self.items + self.items[-1:] * self.more, self.path)  # counted, not drawn
        echo(f"Drawn: {self.path}", err=True)
