"""Trackers as listeners of `catdog_cli.train` and `resume`, made before their run has a directory.

They open when a run is about to begin, so that an address that does not answer ends it before anything is
written.
"""

from collections.abc import Callable
from pathlib import Path

from ..training.events import Event, Listener, RunClosed, RunOpened
from .mlflow import Tracker, open_tracker
from .tensorboard import EventWriter, open_event_writer

Log = Callable[[str], None]


class Follower:
    """A listener that opens a tracker, or none, for the run that begins, and closes it when that is over."""

    def __init__(self, open_for: Callable[[Path, bool], Tracker | EventWriter | None]):
        self.open_for = open_for  # a run directory, and whether its run is resumed
        self.tracker: Tracker | EventWriter | None = None

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunOpened):
            tracker = self.open_for(event.run_dir, event.resuming)
            self.tracker = None if tracker is None else tracker.__enter__()
        elif self.tracker is None:
            return
        elif isinstance(event, RunClosed):
            error, tracker, self.tracker = event.error, self.tracker, None
            tracker.__exit__(type(error) if error else None, error, error.__traceback__ if error else None)
        else:
            self.tracker(event)


def track_mlflow(
    uri: str | None = None,
    *,
    experiment: str | None = None,
    model: str | None = None,
    log: Log = lambda text: None,
) -> Listener:
    """Return a listener that follows runs in MLflow, as `catdog train --mlflow` does.

    Args:
        uri: a server, sqlite:///FILE or a folder; None: that of a resumed run, else MLFLOW_TRACKING_URI, else
            nothing is followed.
        experiment: where a run goes; None: "catdog", or that of a resumed run.
        model: registers the best checkpoint as this model.
        log: gets where the run is, and a warning where MLflow stops to answer.

    A run does not begin, with a CatdogError, where MLflow is not installed or does not answer.
    """
    return Follower(
        lambda run_dir, resuming: open_tracker(run_dir, uri, experiment, model, log, resuming),
    )


def track_tensorboard(asked: bool | None = True, *, log: Log = lambda text: None) -> Listener:
    """Return a listener that writes TensorBoard's files, as `catdog train --tensorboard` does.

    Args:
        asked: not true: only resumed runs that have such files already.
        log: gets a warning where the files cannot be written.

    A run does not begin, with a CatdogError, where tensorboard is not installed.
    """
    return Follower(lambda run_dir, resuming: open_event_writer(run_dir, asked, log, resuming))
