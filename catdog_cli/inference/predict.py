"""Classify images in one call, for Python users."""

import os
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

from .batch import predict_rows
from .inputs import expand_inputs
from .predictor import Predictor


class Result(dict[str, Any]):
    """The answer for one image: the row that `catdog predict --json` prints, which also prints well."""

    def to_dict(self) -> dict[str, Any]:
        """Return a plain dict: path, status, error and predictions, the likeliest first."""
        return dict(self)

    def __str__(self) -> str:
        if self["error"] is not None:
            return str(self["error"])
        lines = [f"  {each['name']}  {100 * each['probability']:.2f} %" for each in self["predictions"]]
        return "\n".join([self["path"], *lines])

    def _repr_html_(self) -> str:
        if self["error"] is not None:
            return f"<p>{escape(self['error'])}</p>"
        rows = "".join(
            f"<tr><td>{escape(each['name'])}</td><td>{100 * each['probability']:.2f} %</td></tr>"
            for each in self["predictions"]
        )
        return f"<table><caption>{escape(self['path'])}</caption>{rows}</table>"


def predict(
    inputs: str | Path | Iterable[str | Path],
    checkpoint: str | Path,
    *,
    top_k: int = 5,
    calibrated: bool = True,
    tta: bool = False,
    device: str = "auto",
    precision: str = "auto",
) -> list[Result]:
    """Classify images with a checkpoint file or a run directory; return one result an input, in order.

    Args:
        inputs: one or several of what `catdog predict` takes, except "-": files, folders, patterns, lists.
        top_k: how many classes a result names, the likeliest first.
        calibrated: divide the logits by the checkpoint's temperature.
        tta: average each image with its mirror image.

    An image that cannot be read gives a result whose "status" is "error".

    Raises:
        CatdogError: the checkpoint, a list of paths or an option cannot be used.
    """
    given = [inputs] if isinstance(inputs, (str, Path)) else inputs
    predictor = Predictor.load(
        checkpoint, device=device, precision=precision, calibrated=calibrated, mirror=tta
    )
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123 - stands for stdin, which the API does not read
        sources = expand_inputs([str(each) for each in given], nothing)
        return [Result(row) for _, row in predict_rows(predictor, sources, top_k)]
