"""The images of a report on several labels: where each label was found, missed or wrongly said."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...runtime.text import show_percent
from ..report_gallery import (
    MOST_UNSURE,
    Cell,
    Explain,
    Photo,
    ReadPhoto,
    Sections,
    Thumbnails,
    explain_mistakes,
    gallery,
    lay_out,
    open_cells,
)
from .sureness import measure_sureness

KINDS = ("found", "missed", "wrongly said")


def make_label_sections(
    document: dict[str, Any],
    scores: tuple[np.ndarray, np.ndarray],
    paths: Sequence[str],
    read_photo: ReadPhoto,
    explain: Explain | None = None,
) -> Sections:
    """Return what a page shows of the images of an evaluation with several labels an image.

    Args:
        document: what `full_label_metrics` returned, with "mistakes".
        scores: the probabilities (N, C) and labels (N, C) that it is about.

    The others are as for `make_sections`.
    """
    thumbnails, names = Thumbnails(read_photo), document["class_names"]
    probabilities, labels = scores
    thresholds = np.array([row["threshold"] for row in document["classes"].values()])
    said, distance = probabilities >= thresholds, measure_sureness(probabilities, thresholds)
    of_kinds = (said & (labels == 1), ~said & (labels == 1), said & (labels == 0))
    members = {
        (label, kind): np.flatnonzero(chosen[:, label])
        for label in range(len(names))
        for kind, chosen in enumerate(of_kinds)
        if chosen[:, label].any()
    }
    cells = {
        (label, kind): Cell(
            f"{len(rows):,}",
            f"{names[label]}, {KINDS[kind]}: {len(rows):,}",
            f"label-{label}-{kind}",
            kind > 0,
        )
        for (label, kind), rows in members.items()
    }
    ranked = {
        place: rows[np.argsort(distance[rows, place[0]] * (-1 if place[1] else 1), kind="stable")]
        for place, rows in members.items()
    }

    def show(index: int) -> list[Photo]:
        pairs = (("is", labels[index] == 1), ("said", said[index]))
        lines = [
            f"{word} {', '.join(names[c] for c in np.flatnonzero(row)) or 'no label'}" for word, row in pairs
        ]
        return thumbnails.show(paths[index], *lines)

    opened = open_cells(cells, ranked, show)
    nearest = np.argsort(distance.min(1), kind="stable")[:MOST_UNSURE]
    unsure = [photo for index in nearest for photo in show(int(index))]
    galleries = [
        gallery("unsure", "The least sure: a label near its threshold", unsure, len(labels)),
        *explain_mistakes(document["mistakes"], thumbnails, explain, _describe),
    ]
    return lay_out(cells, opened, names, KINDS)._replace(galleries=tuple(galleries))


def _describe(item: dict[str, Any]) -> tuple[str, ...]:
    verdict = "missed" if item["kind"] == "missed" else "wrongly said"
    return (f"{item['label']}, {verdict}: {show_percent(item['probability'])}",)
