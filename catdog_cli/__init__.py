"""catdog: image classifiers by transfer learning. The names below are imported when first used."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .data.api import check_data, prepare_data, split_data
    from .errors import CatdogError
    from .evaluation.api import compare, evaluate
    from .evaluation.calibrate import calibrate
    from .export.api import export
    from .images.read import read_pixels as read_image
    from .inference.explain import explain
    from .inference.predict import predict
    from .inference.predictor import Predictor
    from .review.api import review_data
    from .runs.api import load_checkpoint
    from .runs.summaries import clean_runs, list_runs
    from .serving.api import app, serve
    from .tracking.follow import track_mlflow, track_tensorboard
    from .training.api import resume, train
    from .training.lr_finder import find_learning_rate
    from .tuning.api import tune
    from .tuning.cross_validation import cross_validate

__all__ = [
    "CatdogError",
    "Predictor",
    "__version__",
    "app",
    "calibrate",
    "check_data",
    "clean_runs",
    "compare",
    "cross_validate",
    "evaluate",
    "explain",
    "export",
    "find_learning_rate",
    "list_runs",
    "load_checkpoint",
    "predict",
    "prepare_data",
    "read_image",
    "resume",
    "review_data",
    "serve",
    "split_data",
    "track_mlflow",
    "track_tensorboard",
    "train",
    "tune",
]

_HOMES = {  # name: (module, its name there)
    "CatdogError": ("errors", "CatdogError"),
    "Predictor": ("inference.predictor", "Predictor"),
    "app": ("serving.api", "app"),
    "calibrate": ("evaluation.calibrate", "calibrate"),
    "check_data": ("data.api", "check_data"),
    "clean_runs": ("runs.summaries", "clean_runs"),
    "compare": ("evaluation.api", "compare"),
    "cross_validate": ("tuning.cross_validation", "cross_validate"),
    "evaluate": ("evaluation.api", "evaluate"),
    "explain": ("inference.explain", "explain"),
    "export": ("export.api", "export"),
    "find_learning_rate": ("training.lr_finder", "find_learning_rate"),
    "list_runs": ("runs.summaries", "list_runs"),
    "load_checkpoint": ("runs.api", "load_checkpoint"),
    "predict": ("inference.predict", "predict"),
    "prepare_data": ("data.api", "prepare_data"),
    "read_image": ("images.read", "read_pixels"),
    "resume": ("training.api", "resume"),
    "review_data": ("review.api", "review_data"),
    "serve": ("serving.api", "serve"),
    "split_data": ("data.api", "split_data"),
    "track_mlflow": ("tracking.follow", "track_mlflow"),
    "track_tensorboard": ("tracking.follow", "track_tensorboard"),
    "train": ("training.api", "train"),
    "tune": ("tuning.api", "tune"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'catdog_cli' has no attribute {name!r}")
    from importlib import import_module

    module, attribute = _HOMES[name]
    return getattr(import_module(f"catdog_cli.{module}"), attribute)


def __dir__() -> list[str]:
    return __all__
