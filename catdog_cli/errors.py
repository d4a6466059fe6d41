"""The errors that catdog raises on purpose; `cli` turns each into one sentence and its exit code."""

import importlib
from types import ModuleType


class CatdogError(Exception):
    """Something the user can fix: what was given, what is wrong, what to do."""

    exit_code = 1


class DataError(CatdogError):
    """A folder, picture, split or manifest cannot be used."""


class CheckpointError(CatdogError):
    """A checkpoint or a weights file cannot be used."""


class SettingsError(CatdogError):
    """An option's value, or a combination of options, makes no sense: wrong usage."""

    exit_code = 2


class UnavailableError(SettingsError):
    """An option's value makes sense, but not here and now: a file is missing, damaged or in the way, a GPU
    is not there.
    """

    exit_code = 1


class LostProcessError(CatdogError):
    """Another process of the same command has ended, or does not answer."""


class InterruptedRunError(CatdogError):
    """The user or the system asked a run to stop; what was done is saved."""


def quote(value: object, letters: int = 100) -> str:
    """Return `value` as Python writes it, cut to what fits a sentence; a value may come from any file."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a whole number of thousands of digits; lists in lists in lists
        return f"a value of the type {type(value).__name__}, too long to show"
    return text if len(text) <= letters else f"{text[:letters]}..."


def require(package: str, extra: str) -> ModuleType:
    """Import an optional package.

    Raises:
        CatdogError: it is not installed; the sentence names the extra that brings it.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise CatdogError(
            f"This needs the package {package!r}: run `pip install 'catdog[{extra}]'`."
        ) from error
