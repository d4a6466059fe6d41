"""Builds report.html: one page that opens without a network, in light and in dark."""

import base64
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

MOST_MISTAKES = 200  # rows; report.json has all
STYLE = """
:root { color-scheme: light dark;
        --ink: #1f2937; --soft: #6b7280; --line: #e5e7eb; --paper: #fff; --card: #f9fafb; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e5e7eb; --soft: #9ca3af; --line: #374151; --paper: #111827; --card: #1f2937; }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 auto;
       max-width: 60rem; padding: 2rem 1rem; }
h1 { font-size: 1.6rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin-top: 2.5rem; }
.summary { background: var(--card); border-left: 4px solid #2563eb; padding: 1rem; font-size: 1.1rem;
           overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .75rem; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child, td:first-child, .names td { text-align: left; overflow-wrap: anywhere; }
th { color: var(--soft); font-weight: 500; }
img { max-width: 100%; height: auto; background: #fff; border-radius: 6px; }
.note, figcaption { color: var(--soft); font-size: .9rem; }
figure { margin: 1rem 0; }
"""


def build_page(
    title: str,
    summary: str,
    numbers: Iterable[Sequence[str]],
    classes: Iterable[Sequence[str]],
    notes: Iterable[str],
    mistakes: list[dict[str, Any]],
    images: dict[str, bytes],
) -> str:
    """Return the page as HTML text; whatever came from the user is escaped.

    Args:
        title: what was evaluated.
        summary: the outcome in plain sentences.
        numbers: (name, value, interval) rows.
        classes: (name, precision, recall, F1, number of pictures) rows.
        notes: sentences on what could not be told.
        mistakes: what `find_mistakes` returns; the first 200 are listed.
        pictures: PNG bytes by heading, shown in this order.
    """
    body = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="summary">{escape(summary)}</p>',
        _build_table(("", "value", "95 % interval"), numbers),
        *(f'<p class="note">{escape(note)}</p>' for note in notes),
        *(_build_figure(heading, data) for heading, data in images.items()),
        "<h2>Classes</h2>",
        _build_table(("class", "precision", "recall", "F1", "pictures"), classes),
        *_build_mistakes(mistakes),
    ]
    head = [
        '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width">',
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style></head>\n<body>",
    ]
    return "\n".join([*head, *body, "</body>\n</html>\n"])


def _build_table(header: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    lines = ("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows)
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="wide"><table class="{kind}"><tr>{head}</tr>\n{body}</table></div>'


def _build_figure(heading: str, data: bytes) -> str:
    source = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    image = f'<img alt="{escape(heading)}"{_build_width(data)} src="{source}">'
    return f"<h2>{escape(heading)}</h2>\n<figure>{image}</figure>"


def _build_width(png: bytes) -> str:
    """Return the attribute that shows a PNG as large as its dots an inch say, so that letters are alike."""
    place = png.find(b"pHYs", 0, 200) + 4
    dots_per_m = int.from_bytes(png[place : place + 4]) if place > 3 else 0
    return f' width="{96 / 0.0254 * int.from_bytes(png[16:20]) / dots_per_m:.0f}"' if dots_per_m else ""


def _build_mistakes(mistakes: list[dict[str, Any]]) -> list[str]:
    if not mistakes:
        return ["<h2>Mistakes</h2>", "<p>None.</p>"]
    rows = [
        (item["path"], item["true"], item["predicted"], f"{100 * item['probability']:.1f} %")
        for item in mistakes[:MOST_MISTAKES]
    ]
    table = _build_table(("picture", "true", "predicted", "how sure"), rows, kind="names")
    more = len(mistakes) - len(rows)
    note = [f'<p class="note">And {more:,} more, in report.json.</p>'] if more else []
    return [f"<h2>Mistakes, the surest first: {len(mistakes):,}</h2>", table, *note]
