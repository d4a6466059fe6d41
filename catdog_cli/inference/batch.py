"""Answers as plain rows, one for every input in input order; `catdog predict` prints or writes them."""

import io
import sys
from collections.abc import Iterable, Iterator
from typing import IO, Any

from .inputs import describe_error, expand_inputs, fetch_input, input_path
from .predictor import Answer, Predictor


def predict_rows(
    predictor: Predictor, sources: Iterable[Any], top_k: int = 5
) -> Iterator[tuple[Answer, dict[str, Any]]]:
    """Yield the answer and its row for each input of `expand_inputs`, in order; memory does not grow.

    A row is {"path", "status": "ok" or "error", "error": None or a sentence, "predictions": [{"class",
    "name", "probability"}]}, best first.
    """
    for answer in predictor.predict(sources, fetch=fetch_input):
        yield answer, make_row(predictor, answer, top_k)


def make_row(predictor: Predictor, answer: Answer, top_k: int) -> dict[str, Any]:
    """Return the row of one answer, of plain containers."""
    path = input_path(answer.source)
    if answer.error is not None:
        error = describe_error(answer.source, answer.error)
        return {"path": path, "status": "error", "error": error, "predictions": []}
    predictions = [
        {"class": each.class_name, "name": each.name, "probability": each.probability}
        for each in predictor.rank(answer.probabilities, top_k)
    ]
    return {"path": path, "status": "ok", "error": None, "predictions": predictions}


def read_inputs(arguments: Iterable[str], stdin: IO[bytes] | None = None) -> Iterator[Any]:
    """Yield the inputs that `arguments` mean; see `expand_inputs`. A closed stdin is empty."""
    return expand_inputs(arguments, stdin or getattr(sys.stdin, "buffer", None) or io.BytesIO())
