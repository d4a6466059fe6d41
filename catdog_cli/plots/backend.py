"""Imports matplotlib whatever MPLBACKEND says: figures here have a canvas of their own and need no backend.

matplotlib refuses to be imported where that variable names a backend that is not installed, as Jupyter and
Colab set it for every process that is started from a notebook.
"""

import contextlib
import os
import sys


def _import_matplotlib() -> None:
    """Import matplotlib without a backend, then choose the one that was asked for if there is one."""
    if "matplotlib" in sys.modules:  # by somebody else, who has settled this
        return
    wanted = os.environ.pop("MPLBACKEND", None)
    try:
        import matplotlib
    finally:
        if wanted is not None:
            os.environ["MPLBACKEND"] = wanted
    if wanted:
        with contextlib.suppress(ValueError):  # no such backend: the default one, for the user's own plots
            matplotlib.rcParams["backend"] = wanted


_import_matplotlib()
