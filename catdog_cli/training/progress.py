"""A run's events as progress: what the bar of Python users shows of a training."""

from ..runtime.progress import OnProgress
from .events import Event, FeaturesComputed, Listener, StepEnded


def follow_steps(report: OnProgress) -> Listener:
    """Return a listener that reports each batch of an epoch, and the features that are computed before."""

    def listen(event: Event) -> None:
        if isinstance(event, StepEnded):
            epoch = f"{event.phase.name} epoch {event.epoch}/{event.phase.epochs}"
            report(f"{epoch}, loss {event.train_loss:.4f}", event.done, event.total)
        elif isinstance(event, FeaturesComputed):
            report(f"features of {event.name}", event.done, event.total)

    return listen
