"""Builds report.html: one page that opens without a network, in light and in dark."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..runtime.html import data_uri, render
from .report_gallery import Sections

MOST_MISTAKES = 200  # rows; report.json has all
CLASSES = ("class", "precision", "recall", "F1", "pictures")
MISTAKES = ("picture", "true", "predicted", "how sure")
NO_SECTIONS = Sections()
TEMPLATES = Path(__file__).with_name("templates")


def build_page(
    title: str,
    summary: str,
    numbers: Iterable[Sequence[str]],
    classes: Iterable[Sequence[str]],
    notes: Iterable[str],
    mistakes: list[dict[str, Any]],
    images: dict[str, bytes],
    sections: Sections = NO_SECTIONS,
) -> str:
    """Return the page as HTML text; whatever came from the user is escaped.

    Args:
        title: what was evaluated.
        summary: the outcome in plain sentences.
        numbers: (name, value, interval) rows.
        classes: (name, precision, recall, F1, number of pictures) rows.
        notes: sentences on what could not be told.
        mistakes: what `find_mistakes` returns; the first 200 are listed.
        images: PNG bytes by heading, shown in this order.
        sections: the images that it was measured on, as far as the page shows them.
    """
    return render_report(
        title=title,
        summary=summary,
        numbers=numbers,
        class_title="Classes",
        class_header=CLASSES,
        classes=classes,
        notes=notes,
        figures=figure_rows(images),
        sections=sections,
        num_mistakes=len(mistakes),
        mistake_header=MISTAKES,
        mistakes=[
            (item["path"], item["true"], item["predicted"], f"{100 * item['probability']:.1f} %")
            for item in mistakes[:MOST_MISTAKES]
        ],
    )


def render_report(**values: object) -> str:
    """Return the page of a report: templates/report.html says which values it shows."""
    return render(TEMPLATES / "report.html", **values)


def figure_rows(images: dict[str, bytes]) -> list[tuple[str, str, str]]:
    """Return (heading, width in px, data URI) of PNGs by heading."""
    return [(heading, _width_px(png), data_uri(png)) for heading, png in images.items()]


def _width_px(png: bytes) -> str:
    """Return how wide a PNG is as its dots an inch say, so that letters are alike; "" where they do not."""
    place = png.find(b"pHYs", 0, 200) + 4
    dots_per_m = int.from_bytes(png[place : place + 4]) if place > 3 else 0
    return f"{96 / 0.0254 * int.from_bytes(png[16:20]) / dots_per_m:.0f}" if dots_per_m else ""
