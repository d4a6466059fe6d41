"""What one export is asked: which checkpoint, where to, and on which images it has to prove itself."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..runs.checkpoint import LoadedModel
from ..runtime.progress import OnProgress
from .pictures import Images, find_or_draw
from .web.onnxruntime_web import load_runtime

Log = Callable[[str], None]


@dataclass(eq=False)
class Job:
    """One export.

    Attributes:
        looks: one of settings.LOOKS, over which answers are means.
        output: the file, or the folder.
        data: labelled images to compare on; None: those of the checkpoint's run.
        max_loss: the most points of accuracy that int8 may cost.
        log: gets what the user should know.
        ort: onnxruntime-web's npm package, where a page is wanted; None: out of the cache, or fetched.
    """

    model: LoadedModel
    checkpoint: Path
    looks: str
    output: Path
    data: str | Path | None
    max_loss: float
    log: Log
    on_progress: OnProgress
    ort: str | Path | None = None

    @functools.cached_property
    def images(self) -> Images:
        """What the checkpoint and the file are compared on; drawn images where there are no others."""
        return find_or_draw(self.model, self.checkpoint, self.data, self.log)

    def fetch_runtime(self) -> dict[str, bytes]:
        """Return the files of onnxruntime-web, which a page needs, by name."""
        return self._runtime

    @functools.cached_property
    def _runtime(self) -> dict[str, bytes]:
        return load_runtime(self.ort, self.on_progress)
