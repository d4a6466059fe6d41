"""A checkpoint as MLflow loads it: `mlflow.pyfunc.load_model` finds `_load_pyfunc` here by the file's name.

The model that `catdog train --mlflow` logs is best.pt and the name of this module: no pickled code.
"""

import os
from typing import Any

from .answer import Answer
from .predictor import Predictor


class ImageModel:
    """What MLflow calls: rows with a picture in, one answer a row out."""

    def __init__(self, predictor: Predictor):
        self.predictor = predictor

    def predict(self, rows: Any, params: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """Return one dict a row: class, probability, probabilities (of every class by name) and error.

        Where pictures have several labels, `class` joins them with ; and `probability` is their least.
        A picture that cannot be read gives the class "", probabilities 0 and a sentence.

        Args:
            rows: a pandas DataFrame with the column `path` (of a file) or `image` (a file's bytes), or both.
        """
        sources = [_source(row) for row in rows.to_dict("records")]
        return [self._describe(answer) for answer in self.predictor.predict(sources)]

    def _describe(self, answer: Answer) -> dict[str, Any]:
        if answer.probabilities is None:
            nothing = dict.fromkeys(self.predictor.class_names, 0.0)
            return {"class": "", "probability": 0.0, "probabilities": nothing, "error": answer.error}
        named = dict(zip(self.predictor.class_names, answer.probabilities.tolist(), strict=True))
        best = max(named, key=named.__getitem__)
        if answer.labels is not None:  # several, or none
            best = ";".join(each.class_name for each in answer.labels)
            chance = min((each.probability for each in answer.labels), default=0.0)
            return {"class": best, "probability": chance, "probabilities": named, "error": ""}
        return {"class": best, "probability": named[best], "probabilities": named, "error": ""}


def _source(row: dict[str, Any]) -> str | os.PathLike[str] | bytes:
    """Return a row's picture; a row without one has empty bytes, which are answered as such."""
    path, image = row.get("path"), row.get("image")
    if isinstance(image, (bytes, bytearray)):
        return bytes(image)
    return path if isinstance(path, (str, os.PathLike)) else b""


def _load_pyfunc(path: str) -> ImageModel:
    return ImageModel(Predictor.load(path))
