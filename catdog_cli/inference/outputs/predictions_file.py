"""One file of predictions, a row for every input: new, replaced, or resumed."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ...errors import CatdogError, DataError, SettingsError, UnavailableError
from ..inputs import Input, fetch_input, input_path
from ..prediction import Prediction
from ..predictor import Predictor
from ..urls import is_address
from . import parquet
from .row_files import CsvForm, Extras, JsonForm, RowFile

OUTPUT_SUFFIXES = (".csv", ".jsonl", ".parquet")
SAME = 0.02  # the same checkpoint on another device, in another precision


class Output:
    """Where the rows of one call go; a context manager that leaves a file that can be resumed.

    Parquet cannot grow, so its rows are gathered in FILE.parquet.rows.csv and turned into it at the end.
    """

    def __init__(
        self, path: str, predictor: Predictor, top_k: int, everything: bool, resume: bool, overwrite: bool
    ):
        """Open the file.

        Raises:
            SettingsError: the name has no known suffix.
            UnavailableError: the file is there and neither `resume` nor `overwrite` was asked for.
            CatdogError: it cannot be written, or pyarrow is missing.
        """
        self.path, self.predictor = path, predictor
        self.suffix = check_suffix(path)
        self.num_predictions = len(predictor.class_names) if everything else top_k
        self.num_predictions = min(self.num_predictions, len(predictor.class_names))
        extras = Extras(predictor.task.several, predictor.tells_unknown, predictor.set_chooser is not None)
        self.table = CsvForm(predictor.class_names, top_k, everything, extras)
        form = JsonForm(self.num_predictions, extras) if self.suffix == ".jsonl" else self.table
        self.rows_path = f"{path}.rows.csv" if self.suffix == ".parquet" else path
        found = [each for each in (self.rows_path, path) if os.path.lexists(each)]
        if found and not (resume or overwrite):
            raise UnavailableError(
                f"{found[0]!r} exists: resume it with --resume, replace it with --overwrite, or give another "
                "--output."
            )
        self.resuming = bool(found) and resume
        mode = "wb" if overwrite and found else "r+b" if os.path.lexists(self.rows_path) else "xb"
        self.file = RowFile(self.rows_path, form, mode)
        if self.suffix == ".parquet" and self.resuming and self.rows_path not in found:
            self._restore()

    def __enter__(self) -> "Output":
        return self

    def __exit__(self, kind: type | None, error: Any, trace: Any) -> None:
        try:
            if kind is None or not issubclass(kind, CatdogError):
                self.file.sync()
            if kind is None and self.suffix == ".parquet":
                self._convert()
        finally:
            self.file.close()

    def keep(self, sources: Iterator[Input]) -> Iterator[Prediction]:
        """Yield what is there already, taking its inputs from `sources`; then new rows may come.

        Of a table's row the best class alone is read.

        Raises:
            DataError: the rows are not those of these inputs and this checkpoint.
        """
        last = None
        if self.resuming:
            for number, row in enumerate(self.file.read(), start=1):
                kept, source = Prediction.from_dict(row), next(sources, None)
                self._check_input(kept.path, source, number)
                last = (kept, source) if kept.error is None else last
                yield kept
        if last is not None:
            self._check_answer(*last)
        self.file.start()

    def write(self, prediction: Prediction) -> None:
        """Append the row of a prediction; see `RowFile.write`."""
        self.file.write(prediction.to_dict())

    def _check_input(self, path: str, source: Input | None, number: int) -> None:
        wanted = None if source is None else input_path(source)
        if path != wanted:
            problem = "there are fewer inputs" if source is None else f"the input there is {wanted!r}"
            raise DataError(
                f"Cannot resume {self.path!r}: its row {number:,} is of {path!r}, but {problem}; "
                "give the same inputs, or --overwrite."
            )

    def _check_answer(self, kept: Prediction, source: Input | None) -> None:
        """Predict an image again, if it is still there: another checkpoint would mix two answers."""
        if is_address(kept.path):
            return
        answer = next(self.predictor.predict([source], fetch=fetch_input))
        if answer.probabilities is None:
            return
        old, names = kept.predictions[0], self.predictor.class_names
        known = old.class_name in names
        if not known or abs(answer.probabilities[names.index(old.class_name)] - old.probability) > SAME:
            raise DataError(
                f"Cannot resume {self.path!r}: for {kept.path!r} it says {old.class_name!r} with "
                f"{old.probability:.3f}, which this checkpoint with these options does not; give those of "
                "the run that wrote it, or --overwrite."
            )

    def _convert(self) -> None:
        """Turn the rows into Parquet, then remove them."""
        self.file.close()
        with Path(self.rows_path).open("rb") as file:
            records = self.file.records(file)
            next(records)  # the header
            parquet.write_parquet(map(self.table.decode_cells, records), self.table, Path(self.path))
        Path(self.rows_path).unlink()

    def _restore(self) -> None:
        """Turn a finished Parquet file back into rows, to resume it."""
        self.file.start()
        try:
            for cells in parquet.read_parquet(Path(self.path), self.table):
                self.file.append(self.table.encode_cells(cells))
        except CatdogError:
            Path(self.rows_path).unlink()
            raise


def check_suffix(path: str) -> str:
    """Return the suffix of an output file.

    Raises:
        SettingsError: it is none that catdog writes.
        CatdogError: it needs a package that is missing.
    """
    suffix = os.path.splitext(path)[1].lower()  # noqa: PTH122
    if suffix not in OUTPUT_SUFFIXES:
        raise SettingsError(f"--output is {path!r}, but must end in one of: {', '.join(OUTPUT_SUFFIXES)}.")
    if suffix == ".parquet":
        parquet.check_parquet()
    return suffix


def check_apart(path: str, arguments: Iterable[str], what: str) -> None:
    """Raise SettingsError if `path` is one of the files that the user gave: it would be replaced."""
    for argument in arguments:
        if os.path.exists(argument) and os.path.exists(path) and os.path.samefile(argument, path):  # noqa: PTH110, PTH121
            raise SettingsError(f"{what} {path!r} is one of the inputs: give another name.")
