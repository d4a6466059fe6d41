"""What a checkpoint says of an image, as its caller gets it: for Python, for JSON and for a notebook."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from ..runtime.text import printable, show_percent
from .answer import ClassProbability, Known, SureSet
from .inputs import Input, fetch_input
from .urls import is_address

if TYPE_CHECKING:
    from ..explanation.explanation import ClassMap

PREVIEW_PX = 128
PREVIEW_STYLE = f"max-width:{PREVIEW_PX}px;max-height:{PREVIEW_PX}px"
MOST_SHOWN = 30  # in a notebook or as text
NONE = "none of the labels"


def list_lines(classes: Sequence[ClassProbability]) -> list[str]:
    """Return classes with their probabilities as lines that line up."""
    names = [printable(each.name) for each in classes]
    width = max(map(len, names), default=0)
    return [
        f"  {name:{width}}  {show_percent(each.probability):>9}"
        for name, each in zip(names, classes, strict=True)
    ]


def _as_dict(each: ClassProbability) -> dict[str, Any]:
    return {"class": each.class_name, "name": each.name, "probability": each.probability}


def _set_as_dict(sure: SureSet) -> dict[str, Any]:
    return {"level": sure.level, "classes": [each.class_name for each in sure.classes]}


def _as_class(row: dict[str, Any]) -> ClassProbability:
    return ClassProbability(row["class"], row["name"], row["probability"])


@dataclass(frozen=True)
class Prediction:
    """The likeliest classes of one input, best first, or why there are none.

    `labels` are those that an image has where it may have several, the likeliest first, or none. `known` says
    whether it is of the kind that was trained on, `sure` which classes it may be where that was asked.
    """

    path: str
    error: str | None = None
    predictions: tuple[ClassProbability, ...] = ()
    labels: tuple[ClassProbability, ...] | None = None
    known: Known | None = None
    sure: SureSet | None = None
    source: Input | None = field(default=None, repr=False, compare=False)  # what a notebook shows
    maps: "tuple[ClassMap, ...] | None" = field(
        default=None, repr=False, compare=False
    )  # if it was explained

    @property
    def status(self) -> Literal["ok", "error"]:
        """Whether the image could be read."""
        return "ok" if self.error is None else "error"

    def to_dict(self) -> dict[str, Any]:
        """Return the row that `catdog predict --json` prints: path, status, error and predictions."""
        labels = {} if self.labels is None else {"labels": list(map(_as_dict, self.labels))}
        known = {} if self.known is None else {"known": dict(vars(self.known))}
        return {
            "path": self.path,
            "status": self.status,
            "error": self.error,
            **known,
            **labels,
            **({} if self.sure is None else {"sure": _set_as_dict(self.sure)}),
            "predictions": list(map(_as_dict, self.predictions)),
            **({} if self.maps is None else {"explanations": [each.to_dict() for each in self.maps]}),
        }

    @classmethod
    def from_dict(cls, row: dict[str, Any]) -> "Prediction":
        """Return what `to_dict` returned a row of, without the set of classes."""
        classes, labels = (
            None if given is None else tuple(map(_as_class, given))
            for given in (row["predictions"], row.get("labels"))
        )
        error = None if row["status"] == "ok" else str(row["error"])
        known = Known(**row["known"]) if "known" in row else None
        return cls(row["path"], error, classes or (), labels, known)

    def __str__(self) -> str:
        if self.error is not None:
            return printable(self.error)
        shown = self.predictions if self.labels is None else self.labels
        classes = [*self.list_first(), *list_lines(shown), *self.list_rest()]
        return "\n".join([printable(self.path), *classes, *self.list_reasons()])

    @property
    def heading(self) -> str:
        """What is said above the classes: that the image is unknown, or which ones it may be; or nothing."""
        if self.known is not None and not self.known.is_known:  # a set is of images of the known kind
            return f"unknown (p = {self.known.p_value:.2g})"
        return "" if self.sure is None else f"{printable(str(self.sure))} ({100 * self.sure.level:g} % sure)"

    def list_first(self) -> list[str]:
        """Return the heading as a line, if there is one."""
        return [f"  {self.heading}"] if self.heading else []

    def list_rest(self) -> list[str]:
        """Return a line for an image that has none of the labels."""
        if self.labels is None or self.labels or not self.predictions:
            return []
        likeliest = self.predictions[0]
        chance = show_percent(likeliest.probability)
        return [f"  {NONE} (the likeliest: {printable(likeliest.name)}, {chance})"]

    def shown_in(self, overlay: str) -> "Prediction":
        """Return the prediction with the file that shows its maps, if it has any."""
        if self.maps is None:
            return self
        maps = tuple(dataclasses.replace(each, overlay=overlay) for each in self.maps)
        return dataclasses.replace(self, maps=maps)

    def list_reasons(self) -> list[str]:
        """Return why, as lines, where it was explained."""
        if self.maps is None or self.error is not None:
            return []
        from ..explanation.explanation import list_reasons

        return list_reasons(self.maps)

    def _repr_html_(self) -> str:
        """Return the image and its classes, for a notebook."""
        from html import escape

        if self.error is not None:
            return f"<p>{escape(self.error)}</p>"
        rows = "".join(
            f"<tr><td>{escape(each.name)}</td><td>{escape(show_percent(each.probability))}</td></tr>"
            for each in (self.predictions if self.labels is None else self.labels)
        )
        first, rest = (
            "".join(f'<tr><td colspan="2">{escape(line)}</td></tr>' for line in lines)
            for lines in (self.list_first(), self.list_rest())
        )
        rows = f"{first}{rows}{rest}"
        table = f"<table><caption>{escape(self.path)}</caption>{rows}</table>"
        return f'<div style="display:flex;align-items:center;gap:1em">{self._image()}{table}</div>'

    def _image(self) -> str:
        from html import escape

        source = self.path if self.source is None else self.source
        if isinstance(source, str) and is_address(source):  # the browser fetches it: showing asks no network
            return f'<img alt="" src="{escape(source)}" style="{PREVIEW_STYLE}">'
        from ..images.preview import make_preview

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
