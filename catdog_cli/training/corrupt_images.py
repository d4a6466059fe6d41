"""Unreadable pictures: named once, counted, kept through a resume, and too many of them stop a run."""

import os
from typing import Any

from ..data.loaders import CorruptImage
from ..errors import DataError
from .checkpointing import Progress
from .events import CorruptImagesFound, Listener
from .setup import Setup


def recall_bad(setup: Setup, progress: Progress, resume: dict[str, Any] | None) -> None:
    """Take over which pictures were unreadable before, unless the pictures have changed since."""
    if resume is not None and resume["data_fingerprint"] == setup.fingerprint:
        for split, *facts in progress.bad:
            setup.sets[split].note_bad([CorruptImage(*facts)])


def check_bad(setup: Setup, listener: Listener, progress: Progress) -> None:
    """Report unreadable pictures once each; stop when they are more than `max_bad_fraction` of all.

    All of them are noted in `progress`, so that a resumed run knows them too.

    Raises:
        DataError: with the first of them and their number.
    """
    news: list[CorruptImage] = []
    for chosen in setup.sets.values():
        news += [image for image in chosen.bad.values() if image.path not in setup.reported_bad]
    setup.reported_bad.update(image.path for image in news)
    progress.bad = sorted(
        [split, image.index, image.path, image.reason]
        for split, chosen in setup.sets.items()
        for image in chosen.bad.values()
    )
    if news:
        listener(CorruptImagesFound(news))
    total = sum(len(chosen) for chosen in setup.sets.values())
    if len(setup.reported_bad) > setup.settings.max_bad_fraction * total:
        if not os.path.exists(setup.dataset.root):  # noqa: PTH110 - a disk that went away may fail to say so
            raise DataError(
                f"The data folder {str(setup.dataset.root)!r} no longer exists: bring it back and resume "
                f"with --resume; what was saved before is intact."
            )
        names = "\n".join(f"  {path}" for path in sorted(setup.reported_bad)[:20])
        raise DataError(
            f"{len(setup.reported_bad)} of {total} pictures cannot be read, more than --max-bad-fraction "
            f"{setup.settings.max_bad_fraction:g} allows: fix or remove them, or allow more.\n{names}"
        )
