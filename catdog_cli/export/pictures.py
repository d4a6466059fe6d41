"""The images that an exported file is proven on: given ones, or those that the run kept apart."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..data.label_lists import LabelForm
from ..data.sources.cartoons import draw_animal
from ..errors import CatdogError, DataError, SettingsError
from ..evaluation.eval_split import choose_images, image_path
from ..known.reference import sample_images
from ..runs.checkpoint import LoadedModel
from ..runs.directory import RunDirectory
from ..runtime.files import expand_home

NUM_DRAWN = 32
Log = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Images:
    """Images with the names that they are told by, and their labels; none of drawn ones."""

    sources: list[Any]
    names: list[str]
    labels: np.ndarray | None
    origin: str  # what they are, for a sentence

    def __len__(self) -> int:
        return len(self.sources)

    def first(self, most: int) -> "Images":
        """Return at most so many of them, each class with its share."""
        if len(self) <= most:
            return self
        kept = np.arange(len(self)) if self.labels is None else sample_images(self.labels, most, seed=0)
        rows = kept[:most].tolist()
        labels = None if self.labels is None else self.labels[rows]
        origin = f"{most:,} of {self.origin}"
        return Images([self.sources[i] for i in rows], [self.names[i] for i in rows], labels, origin)


def find_images(
    model: LoadedModel, checkpoint: Path, data: str | Path | None, log: Log, split: str | None = None
) -> Images:
    """Return labelled images of DATA, else of what the checkpoint's run was trained on.

    Args:
        data: what `train` takes; None: what the run beside the checkpoint says.
        log: gets what the user should know.
        split: "train" for those that were trained on; None: those that were kept apart.

    Raises:
        DataError: there are none, or DATA cannot be read.
    """
    form = LabelForm()
    exclude = decisions = None
    if data is None:
        data, form, exclude, decisions = _recorded(checkpoint)
    if model.task.several:
        form = LabelForm(form.delimiter, form.columns, True, tuple(model.class_names), model.label_delimiter)
    place = expand_home(str(data))
    dataset, name = choose_images(
        place, [str(checkpoint)], model.class_names, split, log, exclude, form, decisions
    )
    chosen = dataset.splits[name]
    sources = [dataset.source(name, index) for index in range(len(chosen))]
    names = [image_path(dataset, path) for path in chosen.paths]
    return Images(sources, names, chosen.labels, f"{len(chosen):,} images of {place} ({name})")


def _recorded(checkpoint: Path) -> tuple[str, LabelForm, str | None, str | None]:
    """Return what the run beside a checkpoint was trained on, and how it was read.

    Raises:
        DataError: no run is there, or its data has gone.
    """
    run = RunDirectory(checkpoint.parent)
    try:
        settings = run.read_settings()
    except CatdogError as error:
        raise DataError(
            f"{str(checkpoint)!r} does not lie in its run directory, which says where its images are: give "
            f"some with --data."
        ) from error
    data = run.find_data(settings.data)
    if not Path(expand_home(data)).exists():
        raise DataError(f"What {str(run.path)!r} was trained on is not at {data!r} any more: give --data.")
    decisions = str(run.decisions) if run.decisions.exists() else None
    return data, LabelForm.of(settings), settings.exclude or None, decisions


def draw_images() -> Images:
    """Return drawn images of several sizes, for a checkpoint without any others."""
    rng = random.Random(0)
    drawn = [draw_animal(("cats", "dogs")[number % 2], rng) for number in range(NUM_DRAWN)]
    pixels = [np.asarray(image.convert("RGB")) for image in drawn]
    names = [f"drawn image {number}" for number in range(1, NUM_DRAWN + 1)]
    return Images(list(pixels), names, None, f"{NUM_DRAWN} drawn images")


def find_or_draw(model: LoadedModel, checkpoint: Path, data: str | Path | None, log: Log) -> Images:
    """Return what `find_images` finds, or drawn images where nobody named any and none are left.

    Raises:
        DataError: DATA was given and cannot be used.
    """
    try:
        return find_images(model, checkpoint, data, log)
    except (DataError, SettingsError) as error:
        if data is not None:
            raise
        log(f"Warning: {error} Compared on drawn images meanwhile, which say little of yours.")
        return draw_images()
