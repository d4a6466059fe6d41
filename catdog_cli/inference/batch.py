"""One prediction for every input, in input order, however many there are."""

import io
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import IO

from .answer import Answer
from .inputs import Input, describe_error, expand_inputs, fetch_input, input_path
from .prediction import Prediction
from .predictor import Predictor


def iterate_predictions(
    predictor: Predictor, sources: Iterable[Input], top_k: int = 5
) -> Iterator[Prediction]:
    """Yield the prediction of each input of `expand_inputs`, in order; memory does not grow."""
    for answer in predictor.predict(sources, fetch=fetch_input):
        yield _rank(predictor, answer, top_k)


def _rank(predictor: Predictor, answer: Answer, top_k: int) -> Prediction:
    path = input_path(answer.source)
    if answer.probabilities is None:
        error = describe_error(answer.source, str(answer.error))
        return Prediction(path, error, source=answer.source)
    classes = predictor.rank(answer.probabilities, top_k)
    labels = None if answer.labels is None else tuple(answer.labels)
    return Prediction(path, None, tuple(classes), labels, answer.known, answer.sure, source=answer.source)


def read_inputs(
    arguments: Iterable[str], stdin: IO[bytes] | None = None, ignored: Counter[str] | None = None
) -> Iterator[Input]:
    """Yield the inputs that `arguments` mean; see `expand_inputs`. A closed stdin is empty."""
    return expand_inputs(arguments, stdin or getattr(sys.stdin, "buffer", None) or io.BytesIO(), ignored)
