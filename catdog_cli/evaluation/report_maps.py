"""Class maps of mistakes, for a report's page: what speaks for the answer, and for the right one."""

from collections.abc import Callable, Sequence
from typing import Any

from ..errors import CatdogError
from ..explanation.overlay_folder import shrink
from ..images.preview import make_preview
from ..images.read import read_pixels
from ..inference.mean import MeanPredictor
from ..inference.predictor import Predictor
from .report_gallery import THUMBNAIL_PX, Explain, View


def mistake_explainer(
    predictor: Predictor, names: Sequence[str], find_source: Callable[[dict[str, Any]], Any]
) -> Explain | None:
    """Return what makes the maps of a mistake; None of the mean of several checkpoints, which has none.

    Args:
        names: the C names of classes in the report.
        find_source: gives what can be read of a mistake.
    """
    if isinstance(predictor, MeanPredictor):
        return None
    folders = dict(zip(names, predictor.class_names, strict=True))

    def explain(item: dict[str, Any]) -> list[View]:
        wanted = [item["label"]] if "label" in item else [item["predicted"], item["true"]]
        try:
            source = find_source(item)
            pixels = shrink(read_pixels(source, THUMBNAIL_PX), THUMBNAIL_PX)
            maps = [predictor.explain(source, folders[name], check=False).first for name in wanted]
        except CatdogError:  # it has gone meanwhile
            return []
        from ..plots.overlays import lay_over

        views = [lay_over(pixels, each.resized(*pixels.shape[:2])) for each in maps]
        pairs = ((each, make_preview(view, THUMBNAIL_PX)) for each, view in zip(maps, views, strict=True))
        return [
            View(preview, f"why {each.name}", each.kind) for each, preview in pairs if preview is not None
        ]

    return explain
