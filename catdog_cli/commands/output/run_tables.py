"""What `catdog runs` and `catdog clean` print."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .table import list_rows
from .terminal import counted, echo, log
from .units import show_duration, show_size

if TYPE_CHECKING:
    from ...runs.summaries import RunSummary

COLUMNS = ("run", "state", "data", "network", "phases", "accuracy", "95 % interval", "loss", "time", "size")
LONGEST_DATA = 32  # letters


def print_runs(found: Sequence["RunSummary"], folder: str) -> None:
    """Print a row a run, and what cleaning would free."""
    if not found:
        log(f"No runs in {folder!r}: `catdog train DATA` makes one.")
        return
    for line in list_rows(COLUMNS, [_cells(run) for run in found]):
        echo(line)
    if freeable := sum(run.freeable_bytes for run in found):
        log(f"`catdog clean` says what finished runs no longer need: {show_size(freeable)}.")


def print_freeable(found: Sequence["RunSummary"], deleted: bool) -> None:
    """Print each file that was, or would be, deleted."""
    if not found:
        log("Nothing to free: no finished run holds more than it needs.")
        return
    rows = [(show_size(size), str(path)) for run in found for path, size in run.freeable]
    for line in list_rows(("size", "file"), rows):
        echo(line)
    total = show_size(sum(run.freeable_bytes for run in found))
    what = f"{total} of {counted(len(found), 'run')}"
    if deleted:
        log(f"Freed {what}. They predict as before; they can no longer be made longer.")
    else:
        log(f"{what} can be freed: --yes deletes these files. Nothing was changed.")


def _cells(run: "RunSummary") -> tuple[str, ...]:
    return (
        str(run.path),
        run.state,
        _shorten(run.data or ""),
        run.arch or "",
        "+".join(run.phases),
        _show_value(run),
        "" if run.interval is None else "{:.1f} to {:.1f}".format(*(100 * end for end in run.interval)),
        "" if run.loss is None else f"{run.loss:.4f}",
        show_duration(run.seconds),
        show_size(run.size_bytes),
    )


def _show_value(run: "RunSummary") -> str:
    if run.value is None:
        return ""
    return f"{100 * run.value:.2f} %" + (" mAP" if run.metric == "map" else "")


def _shorten(data: str) -> str:
    return data if len(data) <= LONGEST_DATA else f"...{data[3 - LONGEST_DATA :]}"
