"""Predictions for people, as JSON, and as a picture."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ...errors import SettingsError
from .terminal import echo, echo_json

if TYPE_CHECKING:
    from ...explanation.explanation import Explanation
    from ...inference.prediction import Prediction
    from ...inference.predictor import Predictor

MOST_ERRORS = 20
MOST_DRAWN = 30
BAR = 24  # characters for a probability of 1


class Tally:
    """Counts what went by; names the first bad pictures on stderr."""

    def __init__(self, log: Callable[[str], None] = lambda text: echo(text, err=True)):
        self.log = log
        self.total = self.errors = self.none = self.unknown = 0  # none: of several labels
        self.by_class: dict[str, int] = {}

    def watch(self, predictions: Iterable["Prediction"]) -> Iterator["Prediction"]:
        """Pass predictions on, counting them."""
        for prediction in predictions:
            self.count(prediction)
            yield prediction

    def count(self, prediction: "Prediction", aloud: bool = True) -> None:
        """Take note of one; `aloud` names it on stderr if it is bad."""
        self.count_error(prediction.error, aloud)
        if prediction.error is not None:
            return
        if prediction.known is not None and not prediction.known.is_known:
            self.unknown += 1
            return
        said = prediction.predictions[:1] if prediction.labels is None else prediction.labels
        self.none += not said
        for each in said:
            self.by_class[each.class_name] = self.by_class.get(each.class_name, 0) + 1

    def count_error(self, error: str | None, aloud: bool = True) -> None:
        """Take note of one input, and of what is wrong with it."""
        self.total += 1
        if error is not None:
            self.errors += 1
            if aloud and self.errors <= MOST_ERRORS:
                self.log(error)

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


def print_text(predictions: Iterable["Prediction"], ranked: bool = False) -> None:
    """Print each picture's likeliest classes, or its labels; on a terminal with a bar beside each.

    Args:
        ranked: of several labels, print the likeliest and mark those that the picture has.
    """
    from ...inference.prediction import list_lines

    with_bars = sys.stdout.isatty()
    for prediction in predictions:
        if prediction.error is not None:
            continue
        several = prediction.labels is not None
        shown = prediction.predictions if ranked or prediction.labels is None else prediction.labels
        echo(str(prediction).split("\n")[0])
        for line in prediction.list_first():
            echo(line)
        for line, each in zip(list_lines(shown), shown, strict=True):
            mark = ("  *" if each in (prediction.labels or ()) else "   ") if several and ranked else ""
            echo(
                f"{line}{mark}  {_bar(each.probability)}".rstrip() if with_bars else f"{line}{mark}".rstrip()
            )
        for line in [*prediction.list_rest(), *prediction.list_reasons()]:
            echo(line)


def _bar(fraction: float) -> str:
    block = "█" if (sys.stdout.encoding or "").lower().startswith("utf") else "#"
    return block * round(BAR * fraction)


def print_json(predictions: "Iterable[Prediction | Explanation]") -> None:
    """Print one JSON list, row by row, whole even if the predictions break off."""
    start = "["
    try:
        for prediction in predictions:
            echo_json(prediction.to_dict(), start, end="")
            start = ",\n"
    finally:
        echo("[]" if start == "[" else "]")


class Drawing:
    """Keeps the first pictures for the plot, reading them again whole: what predicting sees is cropped."""

    def __init__(self, path: str, predictor: "Predictor"):
        self.path, self.predictor = path, predictor
        self.items: list[dict[str, Any]] = []
        self.more = 0
        self._old = os.path.realpath(path) if os.path.exists(path) else None  # noqa: PTH110

    def watch(self, predictions: Iterable["Prediction"]) -> Iterator["Prediction"]:
        """Pass predictions on, keeping what the plot needs.

        Raises:
            SettingsError: the plot would replace one of the pictures.
        """
        for prediction in predictions:
            if self._old and os.path.realpath(prediction.path) == self._old:
                raise SettingsError(f"--plot {self.path!r} is one of the pictures: give another name.")
            if prediction.error is None and len(self.items) == MOST_DRAWN:
                self.more += 1
            elif prediction.error is None:
                self.items.append(self._item(prediction))
                prediction = prediction.shown_in(self.path)
            yield prediction

    def _item(self, prediction: "Prediction") -> dict[str, Any]:
        from ...images.read import read_pixels
        from ...inference.inputs import fetch_input

        source = prediction.path if prediction.source is None else prediction.source
        pixels = read_pixels(fetch_input(source), shorter_side=600)
        thresholds = self.predictor.thresholds
        several = {}
        if prediction.labels is not None and thresholds is not None:
            limits = dict(zip(self.predictor.class_names, thresholds, strict=True))
            several = {
                "labels": [each.name for each in prediction.labels],
                "thresholds": [limits[each.class_name] for each in prediction.predictions],
            }
        maps = prediction.maps or ()
        return {
            **several,
            "heading": prediction.heading,
            "reasons": [(each.name, each.resized(*pixels.shape[:2])) for each in maps],
            "image": pixels,
            "title": "stdin" if prediction.path == "-" else os.path.basename(prediction.path),  # noqa: PTH119
            "names": [each.name for each in prediction.predictions],
            "probabilities": [each.probability for each in prediction.predictions],
        }

    def save(self) -> None:
        """Draw them; nothing if no picture could be read, which has been said."""
        if not self.items:
            return
        from ...plots import plot_explanations, plot_predictions

        draw = plot_explanations if any(item["reasons"] for item in self.items) else plot_predictions
        draw(self.items + self.items[-1:] * self.more, self.path)  # counted, not drawn
        echo(f"Drawn: {self.path}", err=True)
