"""The files of a report: its texts and page, its plots, and the photographs of mistakes."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .. import plots
from ..images.read import read_image
from ..runtime.files import REPORT_PLOTS
from .eval_split import image_path
from .metric_functions import area_below, roc_curves
from .report import write_report
from .report_gallery import Explain, make_sections
from .report_html import NO_SECTIONS
from .strangers_report import draw_strangers

MOST_PHOTOS = 30  # on the sheet of mistakes
HEADINGS = ("Confusion", "ROC curve", "Calibration", "Photographs of mistakes")  # in report.html
PHOTO_PX = 160  # a photograph's shorter side there: large JPEGs are decoded at a fraction of their size


def write_files(
    directory: Path,
    title: str,
    document: dict[str, Any],
    scores: tuple[Any, Any],
    read_photo: Callable[[dict[str, Any]], Any],
    dpi: int = 150,
    paths: Sequence[str] = (),
    explain: Explain | None = None,
) -> list[Path]:
    """Write report.json, .txt, .html and the four pictures into `directory`; return their paths.

    Args:
        document: what `full_metrics` returned, with "mistakes" (`find_mistakes`) and "calibration".
        scores: the probabilities (N, C) and labels (N,) that it is about.
        read_photo: gives the uint8 (3, H, W) of a mistake.
        dpi: dots an inch of the pictures.
        paths: the N images, as the user would write them, if the page is to show some.
        explain: gives the maps of a mistake, if the page is to show them.

    Raises:
        CatdogError: something cannot be written.
    """
    names, calibration, mistakes = (document[key] for key in ("class_names", "calibration", "mistakes"))
    files = [directory / name for name in REPORT_PLOTS]
    plots.plot_confusion(document["confusion"], names, files[0], dpi)
    curves = roc_curves(*scores)
    plots.plot_roc(curves, {c: area_below(*curve) for c, curve in curves.items()}, names, files[1], dpi)
    plots.plot_calibration(calibration["before"], calibration["after"], files[2], dpi)
    items = [{**item, "image": _to_image(read_photo(item))} for item in mistakes[:MOST_PHOTOS]]
    plots.plot_mistakes(items, files[3], len(mistakes), dpi)
    images = dict(zip(HEADINGS, files, strict=True))
    images |= draw_strangers(directory, document.get("strangers"), dpi)
    files = list(images.values())
    sections = make_sections(document, scores, paths, read_photo, explain) if paths else NO_SECTIONS
    return [*write_report(directory, document, mistakes, calibration, images, title, sections), *files]


def photo_reader(dataset: Any, split: str) -> Callable[[dict[str, Any]], Any]:
    """Return a function that reads the picture of a mistake, whose "path" is `image_path`'s."""
    find = source_finder(dataset, split)
    return lambda item: read_image(find(item), PHOTO_PX)


def source_finder(dataset: Any, split: str) -> Callable[[dict[str, Any]], Any]:
    """Return a function that gives what can be read of a mistake, whose "path" is `image_path`'s."""
    places = {image_path(dataset, path): i for i, path in enumerate(dataset.splits[split].paths)}
    return lambda item: dataset.source(split, places[item["path"]])


def _to_image(image: Any) -> Any:
    return image.permute(1, 2, 0).numpy()
