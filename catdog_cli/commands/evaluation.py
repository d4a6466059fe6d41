"""What `evaluate`, `compare` and the reports of training share: a checkpoint's answers, and report files."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DataError
from .distributed import log_memory
from .output.terminal import echo, make_console

MOST_NAMED = 20  # unreadable pictures that are named one by one
MOST_PHOTOS = 30  # on the sheet of mistakes
HEADINGS = ("Confusion", "ROC curve", "Calibration", "Photographs of mistakes")  # in report.html
PHOTO_PX = 160  # a photograph's shorter side there: large JPEGs are decoded at a fraction of their size


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


def describe_calibration(logits: Any, labels: Any, temperature: float) -> dict[str, Any]:
    """Return {"temperature", "before", "after"} as `measure_calibration` does, for a temperature that stands.

    "after" is None for a temperature of 1, which changes nothing.
    """
    from ..evaluation.calibration import calibrate
    from ..evaluation.metric_functions import reliability
    from ..evaluation.metrics import quick_metrics

    def describe(probabilities: Any) -> dict[str, Any]:
        loss = quick_metrics(probabilities, labels)["loss"]
        return {"loss": loss, **reliability(probabilities, labels)}

    after = None if temperature == 1 else describe(calibrate(logits, temperature))
    return {"temperature": temperature, "before": describe(calibrate(logits)), "after": after}


def write_files(
    directory: Path,
    title: str,
    document: dict[str, Any],
    scores: tuple[Any, Any],
    read_photo: Callable[[dict[str, Any]], Any],
    dpi: int = 150,
) -> list[Path]:
    """Write report.json, .txt, .html and the four pictures into `directory`; return their paths.

    Args:
        document: what `full_metrics` returned, with "mistakes" (`find_mistakes`) and "calibration".
        scores: the probabilities (N, C) and labels (N,) that it is about.
        read_photo: gives the uint8 (3, H, W) of a mistake.
        dpi: dots an inch of the pictures.

    Raises:
        CatdogError: something cannot be written.
    """
    from .. import plots
    from ..evaluation.report import write_report

    names, calibration, mistakes = (document[key] for key in ("class_names", "calibration", "mistakes"))
    paths = [directory / f"{name}.png" for name in ("confusion_matrix", "roc", "calibration", "mistakes")]
    plots.plot_confusion(document["confusion"], names, paths[0], dpi)
    plots.plot_roc(*scores, names, paths[1], dpi)
    plots.plot_calibration(calibration["before"], calibration["after"], paths[2], dpi)
    items = [{**item, "image": _to_image(read_photo(item))} for item in mistakes[:MOST_PHOTOS]]
    plots.plot_mistakes(items, paths[3], len(mistakes), dpi)
    images = dict(zip(HEADINGS, paths, strict=True))
    return [*write_report(directory, document, mistakes, calibration, images, title), *paths]


def photo_reader(dataset: Any, split: str) -> Callable[[dict[str, Any]], Any]:
    """Return a function that reads the picture of a mistake, whose "path" is `image_path`'s."""
    from ..images.read import read_image

    places = {image_path(dataset, path): i for i, path in enumerate(dataset.splits[split].paths)}
    return lambda item: read_image(dataset.source(split, places[item["path"]]), PHOTO_PX)


def image_path(dataset: Any, path: str) -> str:
    """Return a picture's path as the user would write it."""
    return str(Path(dataset.root) / path)


def _to_image(image: Any) -> Any:
    return image.permute(1, 2, 0).numpy()
