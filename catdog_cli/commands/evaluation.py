"""What `evaluate` and `compare` share: a checkpoint's answers, asked for with a bar."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ..errors import DataError
from .distributed import log_memory
from .output.terminal import echo, make_console

MOST_NAMED = 20  # unreadable pictures that are named one by one


@dataclass(frozen=True)
class Answers:
    """What a network says of the readable pictures of a split.

    `logits` is (N, C) float64, `labels` (N,), `places` the N places in the split; `unreadable` says why, by
    path, for each of the other pictures.
    """

    logits: Any
    labels: Any
    places: list[int]
    unreadable: dict[str, str]


def log(text: str) -> None:
    """Print a line to stderr."""
    echo(text, err=True)


def load_predictor(path: str, device: str | None, precision: str | None, **options: Any) -> Any:
    """Load a checkpoint to measure; None leaves the choice of device and precision to catdog."""
    from ..inference.predictor import Predictor

    chosen = {"device": device or "auto", "precision": precision or "auto", "on_shrink": log_memory}
    return Predictor.load(path, **chosen, **options)


def ask_network(predictor: Any, dataset: Any, split: str) -> Answers:
    """Return a network's answers on a split; unreadable pictures are named on stderr and left out.

    Raises:
        DataError: not one picture can be read.
    """
    import torch

    paths, labels = dataset.splits[split].paths, dataset.splits[split].labels
    sources = (dataset.source(split, place) for place in range(len(paths)))
    answers = list(show_progress(predictor.predict(sources), len(paths), f"measuring {predictor.arch}"))
    places = [place for place, (_, error) in enumerate(answers) if error is None]
    unreadable = {path: error for path, (_, error) in zip(paths, answers, strict=True) if error is not None}
    if not places:
        first = next(iter(unreadable.values()), "there is none")
        raise DataError(f"None of the {len(paths)} pictures under {str(dataset.root)!r} can be read: {first}")
    name_unreadable(unreadable)
    logits = torch.stack([answers[place][0] for place in places]).double().numpy()
    return Answers(logits, labels[places], places, unreadable)


def show_progress(answers: Iterable[Any], total: int, title: str) -> Iterator[tuple[Any, str | None]]:
    """Yield each answer's (logits, error), with a bar on stderr if that is a terminal."""
    from rich.progress import Progress

    console = make_console(err=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=total)
        for answer in answers:
            yield answer.logits, answer.error
            bar.advance(task)


def name_unreadable(unreadable: dict[str, str]) -> None:
    """Print which pictures were left out, and why, to stderr."""
    for reason in list(unreadable.values())[:MOST_NAMED]:
        log(f"Skipped: {reason}")
    if len(unreadable) > MOST_NAMED:
        log(f"Skipped: {len(unreadable) - MOST_NAMED} more.")
