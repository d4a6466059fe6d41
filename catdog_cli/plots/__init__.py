"""Numbers in, a picture file out: the only user of matplotlib.

Every function takes plain values and a path whose suffix picks the format (.png, .pdf, .svg, .jpg ...), and
replaces a file of that name only once the new one is whole. Importing this takes a third of a second: import
it where it is used.
"""

from . import backend as backend  # before anything else of matplotlib
from .canvas import check_suffix
from .curves import plot_curves, plot_lr_find
from .labels import (
    plot_label_calibration,
    plot_label_mistakes,
    plot_label_scores,
    plot_precision_recall,
)
from .overlays import plot_explanations
from .photos import plot_mistakes, plot_predictions
from .quality import plot_calibration, plot_confusion, plot_roc
from .search import plot_search, plot_slices
from .strangers import plot_fooled, plot_strangers

__all__ = [
    "check_suffix",
    "plot_calibration",
    "plot_confusion",
    "plot_curves",
    "plot_explanations",
    "plot_fooled",
    "plot_label_calibration",
    "plot_label_mistakes",
    "plot_label_scores",
    "plot_lr_find",
    "plot_mistakes",
    "plot_precision_recall",
    "plot_predictions",
    "plot_roc",
    "plot_search",
    "plot_slices",
    "plot_strangers",
]
