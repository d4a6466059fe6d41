"""Predictions on their way into a file or onto the screen: bar, counts, sorting."""

import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ..errors import InterruptedRunError, LostProcessError
from .output.predict_output import MOST_DRAWN, Drawing, Tally, print_json, print_text
from .output.terminal import counted, echo, echo_json, printable

if TYPE_CHECKING:
    from ..inference.inputs import Input
    from ..inference.outputs.predictions_file import Output
    from ..inference.outputs.sort_into import Sorter
    from ..inference.prediction import Prediction
    from ..inference.predictor import Predictor


NONE_KEY = ""  # of pictures with none of several labels; no class is called so
UNKNOWN_KEY = "\0"  # of pictures that are unlike what was trained on, likewise
TOP_K = 5  # classes of a prediction where nobody says how many


class Bar:
    """Pictures done, a second, and time left, on a terminal; nothing elsewhere."""

    def __init__(self, inputs: tuple[str, ...], show: bool, step: str = "predicting"):
        self.bar, self.name = None, step
        if not (show and sys.stderr.isatty()):
            return
        from .output.bars import Pace, TaskBar  # and with them rich

        self.bar, self.pace, self.total = TaskBar(), Pace(), _count(inputs)
        self.done = self.kept = 0

    def __enter__(self) -> "Bar":
        if self.bar:
            self.bar.__enter__()
            self.bar.show(self.name, 0, self.total)
        return self

    def __exit__(self, *exception: Any) -> None:
        if self.bar:
            self.bar.stop()

    def step(self, fresh: bool = True) -> None:
        """Count one picture; one that was there already counts for the bar, not for the speed."""
        if self.bar:
            self.done += fresh
            self.kept += not fresh
            rate = self.pace.describe(self.done) if self.done else ""
            self.bar.show(self.name, self.done + self.kept, self.total, [rate])

    def log(self, text: str) -> None:
        """Print a line on stderr, above the bar."""
        if self.bar:
            self.bar.log(text)
        else:
            echo(text, err=True)


def _count(inputs: tuple[str, ...]) -> int | None:
    """Return how many inputs there are, looked up twice rather than kept; unknown for pipes."""
    from ..inference.batch import read_inputs
    from ..inference.streams import is_stream

    if any(map(is_stream, inputs)):
        return None

    return sum(1 for _ in read_inputs(inputs))


def show_rows(predictor: "Predictor", inputs: tuple[str, ...], given: dict[str, Any]) -> int:
    """Predict the inputs and print the answers; return the exit code."""
    from ..inference.batch import iterate_predictions, read_inputs
    from ..inference.inputs import fetch_first

    tally, ignored = Tally(), Counter[str]()
    num_again = sys.maxsize if given["explain"] else MOST_DRAWN if given["plot"] else 0  # looked at twice
    sources = fetch_first(read_inputs(inputs, ignored=ignored), num_again)
    rows = iterate_predictions(predictor, sources, _top_k(predictor, given))
    if given["explain"]:
        from ..inference.explain import explain_predictions

        rows = explain_predictions(predictor, rows, given["class_name"])
    rows = tally.watch(rows)
    drawing = Drawing(given["plot"], predictor) if given["plot"] else None
    if drawing:
        rows = drawing.watch(rows)
    sorter = make_sorter(predictor, inputs, given)
    rows = _sort(rows, sorter)
    print_json(rows) if given["as_json"] else print_text(rows, bool(given["top_k"] or given["all_classes"]))
    if drawing:
        drawing.save()
    if given["summary"]:
        _print_summary(tally, predictor, err=given["as_json"])
    _log_sorted(sorter)
    log_ignored(ignored)
    return tally.finish()


def write_rows(predictor: "Predictor", inputs: tuple[str, ...], given: dict[str, Any]) -> int:
    """Predict the inputs into the file --output; return the exit code.

    Raises:
        InterruptedRunError: Ctrl-C; what was written stays.
    """
    from ..inference.batch import read_inputs
    from ..inference.outputs.predictions_file import Output

    ignored: Counter[str] = Counter()
    started, sorter = time.monotonic(), make_sorter(predictor, inputs, given)
    choice = {"resume": given["resume"], "overwrite": given["overwrite"]}
    top_k = given["top_k"] or TOP_K
    with Output(given["output"], predictor, top_k, given["all_classes"], **choice) as output:
        try:
            with Bar(inputs, show=True) as bar:
                tally = Tally(bar.log)
                drawing = Drawing(given["plot"], predictor) if given["plot"] else None
                sources = read_inputs(inputs, ignored=ignored)
                kept = _fill(output, predictor, sources, tally, bar, sorter, drawing)
        except (KeyboardInterrupt, LostProcessError) as error:
            note = f"{output.file.rows:,} rows are kept; run this again with --resume to continue."
            if isinstance(error, LostProcessError):
                raise LostProcessError(f"{error} {note}") from error
            raise InterruptedRunError(f"{str(error) or 'Interrupted'}: {note}") from error
    if drawing:
        drawing.save()
    _report(tally, predictor, given, kept, time.monotonic() - started)
    _log_sorted(sorter)
    log_ignored(ignored)
    return tally.finish()


def _fill(
    output: "Output",
    predictor: "Predictor",
    sources: "Iterator[Input]",
    tally: Tally,
    bar: Bar,
    sorter: "Sorter | None",
    drawing: Drawing | None,
) -> int:
    """Read the rows that are there, append the others; return how many were there."""
    from ..inference.batch import iterate_predictions
    from ..inference.inputs import fetch_first

    for prediction in _sort(output.keep(sources), sorter):
        tally.count(prediction, aloud=False)
        bar.step(fresh=False)
    kept = tally.total
    if kept:
        bar.log(f"Resuming after {counted(kept, 'row')}.")
    rest = fetch_first(sources, MOST_DRAWN if drawing else 0)
    fresh = _sort(tally.watch(iterate_predictions(predictor, rest, output.num_predictions)), sorter)
    for prediction in drawing.watch(fresh) if drawing else fresh:
        output.write(prediction)
        bar.step()
    return kept


def make_sorter(predictor: "Predictor", inputs: tuple[str, ...], given: dict[str, Any]) -> "Sorter | None":
    """Return what links or copies pictures by class, None if that was not asked for.

    Raises:
        SettingsError: the folder lies in an input, or a class cannot be a folder's name.
    """
    if not given["sort_into"]:
        return None
    from ..inference.outputs.sort_into import Sorter, check_outside

    check_outside(given["sort_into"], inputs)
    return Sorter(given["sort_into"], given["copy"], predictor.names)


def _sort(predictions: Iterable["Prediction"], sorter: "Sorter | None") -> Iterator["Prediction"]:
    """Pass predictions on, each once its image is in its place: what is written needs no second look."""
    for prediction in predictions:
        if sorter:
            sorter.place(prediction)
        yield prediction


def _log_sorted(sorter: "Sorter | None") -> None:
    if sorter:
        how = "copied" if sorter.copy else "linked"
        echo(f"{counted(sorter.placed, 'picture')} {how} by class: {sorter.folder}", err=True)


def log_ignored(counts: Counter[str]) -> None:
    from ..data.image_files import describe_ignored

    if ignored := describe_ignored(counts):
        echo(f"Ignored: {ignored}", err=True)


def _top_k(predictor: "Predictor", given: dict[str, Any]) -> int:
    return len(predictor.class_names) if given["all_classes"] else given["top_k"] or TOP_K


def _report(tally: Tally, predictor: "Predictor", given: dict[str, Any], kept: int, seconds: float) -> None:
    if given["as_json"]:
        counts = {name: tally.by_class.get(name, 0) for name in predictor.class_names}
        facts = {"output": given["output"], "total": tally.total, "errors": tally.errors, "classes": counts}
        facts |= {"none": tally.none} if predictor.task.several else {}
        facts |= {"unknown": tally.unknown} if predictor.tells_unknown else {}
        echo_json({**facts, "seconds": round(seconds, 3)})
    elif given["summary"]:
        _print_summary(tally, predictor, err=False)
    speed = (tally.total - kept) / max(seconds, 1e-9)
    echo(
        f"{counted(tally.total, 'row')} in {printable(given['output'])!r}, {seconds:.1f} s, "
        f"{speed:.0f} pictures/s",
        err=True,
    )


def _print_summary(tally: Tally, predictor: "Predictor", err: bool) -> None:
    """Print how many pictures each class got, and how many none."""
    good = max(tally.total - tally.errors, 1)
    names = dict(zip(predictor.class_names, map(printable, predictor.names), strict=True))
    if predictor.task.several:
        names[NONE_KEY] = "(none of them)"
    counts = {**tally.by_class, NONE_KEY: tally.none, UNKNOWN_KEY: tally.unknown}
    if predictor.tells_unknown:
        names[UNKNOWN_KEY] = "(unknown)"
    width = max(map(len, names.values()))
    for key, name in names.items():
        count = counts.get(key, 0)
        echo(f"{name:{width}}  {count:>9,}  {100 * count / good:6.2f} %", err=err)
    if tally.errors:
        echo(f"{'(errors)':{width}}  {tally.errors:>9,}", err=err)
