"""What a checkpoint says of an image, as its caller gets it: for Python, for JSON and for a notebook."""

from dataclasses import dataclass, field
from html import escape
from typing import Any, Literal

from ..images.preview import make_preview
from ..runtime.text import printable, show_percent
from .inputs import Input, fetch_input
from .predictor import ClassProbability
from .urls import is_address

PREVIEW_PX = 128
PREVIEW_STYLE = f"max-width:{PREVIEW_PX}px;max-height:{PREVIEW_PX}px"
MOST_SHOWN = 30  # in a notebook or as text


@dataclass(frozen=True)
class Prediction:
    """The likeliest classes of one input, best first, or why there are none."""

    path: str
    error: str | None = None
    predictions: tuple[ClassProbability, ...] = ()
    source: Input | None = field(default=None, repr=False, compare=False)  # what a notebook shows

    @property
    def status(self) -> Literal["ok", "error"]:
        """Whether the image could be read."""
        return "ok" if self.error is None else "error"

    def to_dict(self) -> dict[str, Any]:
        """Return the row that `catdog predict --json` prints: path, status, error and predictions."""
        return {
            "path": self.path,
            "status": self.status,
            "error": self.error,
            "predictions": [
                {"class": each.class_name, "name": each.name, "probability": each.probability}
                for each in self.predictions
            ],
        }

    @classmethod
    def from_dict(cls, row: dict[str, Any]) -> "Prediction":
        """Return what `to_dict` returned a row of."""
        classes = (
            ClassProbability(each["class"], each["name"], each["probability"]) for each in row["predictions"]
        )
        error = None if row["status"] == "ok" else str(row["error"])
        return cls(row["path"], error, tuple(classes))

    def __str__(self) -> str:
        if self.error is not None:
            return printable(self.error)
        names = [printable(each.name) for each in self.predictions]
        width = max(map(len, names))
        lines = [
            f"  {name:{width}}  {show_percent(each.probability):>9}"
            for name, each in zip(names, self.predictions, strict=True)
        ]
        return "\n".join([printable(self.path), *lines])

    def _repr_html_(self) -> str:
        """Return the image and its classes, for a notebook."""
        if self.error is not None:
            return f"<p>{escape(self.error)}</p>"
        rows = "".join(
            f"<tr><td>{escape(each.name)}</td><td>{escape(show_percent(each.probability))}</td></tr>"
            for each in self.predictions
        )
        table = f"<table><caption>{escape(self.path)}</caption>{rows}</table>"
        return f'<div style="display:flex;align-items:center;gap:1em">{self._image()}{table}</div>'

    def _image(self) -> str:
        source = self.path if self.source is None else self.source
        if isinstance(source, str) and is_address(source):  # the browser fetches it: showing asks no network
            return f'<img alt="" src="{escape(source)}" style="{PREVIEW_STYLE}">'
        preview = make_preview(fetch_input(source), PREVIEW_PX)
        if preview is None:  # it has gone meanwhile
            return ""
        return f'<img alt="" width="{preview.width}" height="{preview.height}" src="{preview.uri}">'


class Predictions(list[Prediction]):
    """One prediction an input, in order; a list that prints well and shows itself in a notebook."""

    def __str__(self) -> str:
        return "\n".join([*map(str, self[:MOST_SHOWN]), *self._more()])

    def _repr_html_(self) -> str:
        """Return the first images and their classes, for a notebook."""
        shown = [each._repr_html_() for each in self[:MOST_SHOWN]]
        return "".join([*shown, *(f"<p>{text}</p>" for text in self._more())])

    def _more(self) -> list[str]:
        hidden = len(self) - MOST_SHOWN
        return [f"and {hidden:,} more"] if hidden > 0 else []
