"""catdog: image classifiers by transfer learning. The names below are imported when first used."""

from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = ["CatdogError", "Predictor", "__version__"]

if TYPE_CHECKING:
    from .errors import CatdogError
    from .inference.predictor import Predictor

_HOMES = {"CatdogError": "catdog_cli.errors", "Predictor": "catdog_cli.inference.predictor"}


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module 'catdog_cli' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
