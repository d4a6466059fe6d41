"""A data set from Python: check it, split it, prepare it."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DataError
from ..runtime.files import expand_home
from ..runtime.progress import OnProgress, report_progress
from ..settings_schema import check_range
from .dataset import Dataset
from .grouping import group_images
from .label_lists import LabelForm
from .manifests import write_split
from .prepare import PrepareSummary, prepare_dataset
from .quality.check import CheckReport, check_dataset
from .quality.label_errors import list_label_errors
from .scan import describe_scan, scan_dataset
from .splits import split_dataset

if TYPE_CHECKING:
    import torch

Features = Callable[[Iterable[Path]], Iterable["torch.Tensor | None"]]


def check_data(
    data: str | Path,
    *,
    features: Features | None = None,
    decisions: str | Path | None = None,
    label_delimiter: str = "",
    label_columns: str = "",
    on_progress: OnProgress | None = None,
    progress: bool | None = None,
) -> CheckReport:
    """Decode every image of a data set and report what is wrong; nothing is changed.

    Args:
        features: what a network makes of images, such as `Predictor.load("best.pt").features`; labels that
            are probably wrong are then found, too.
        decisions: a file of labels put right and pictures left out.
        label_delimiter, label_columns: how a table holds several labels an image, as for `train`.
        on_progress: called with (step, done, total).
        progress: show a bar; None: in a notebook alone.

    Raises:
        DataError: there are no images.
    """
    labels = LabelForm(label_delimiter, label_columns)
    dataset = scan_dataset(data, leaks=False, labels=labels, decisions=expand_home(decisions))
    with report_progress(on_progress, progress) as report:
        found = check_dataset(dataset, lambda done, total: report("checking", done, total))
        found = replace(found, notes=describe_scan(dataset))
        return found if features is None else _doubt_labels(found, dataset, features, report)


def _doubt_labels(
    found: CheckReport, dataset: Dataset, features: Features, report: OnProgress
) -> CheckReport:
    """Return a report with the labels that are probably wrong, or with why they cannot be looked for."""
    sources = [dataset.root / path for split in dataset.splits.values() for path in split.paths]
    rows = []
    for row in features(sources):
        rows.append(None if row is None else row.numpy())
        report("looking for wrong labels", len(rows), len(sources))
    try:
        return replace(found, label_errors=list_label_errors(dataset, rows))
    except DataError as error:  # all else that was found is still worth having
        return replace(found, warnings=[*found.warnings, str(error)])


def split_data(
    data: str | Path,
    manifest: str | Path,
    *,
    val_fraction: float = 0.2,
    test_fraction: float = 0.0,
    group_by: str | None = None,
    seed: int = 0,
    decisions: str | Path | None = None,
    label_delimiter: str = "",
    label_columns: str = "",
    on_progress: OnProgress | None = None,
    progress: bool | None = None,
) -> Dataset:
    """Divide a data set into train, val and test, and write who is where into a CSV file.

    Sides follow from the content of the images: adding some moves hardly any other, and near duplicates stay
    together.

    Args:
        manifest: the CSV file, which must not exist yet; every command takes it as DATA.
        group_by: a regular expression; images whose paths match in the same text stay together.
        decisions: a file of labels put right and pictures left out.
        label_delimiter, label_columns: how a table holds several labels an image, as for `train`.
        on_progress: called with (step, done, total).
        progress: show a bar; None: in a notebook alone.

    Raises:
        DataError: the manifest exists, or the data has such sides already.
        SettingsError: the fractions make no sense.
    """
    check_range("seed", seed, 0, 2**63 - 1, whole=True)
    check_range("val fraction", val_fraction, 0.001, 0.99)
    check_range("test fraction", test_fraction, 0, 0.99)
    check_range("val and test fraction together", val_fraction + test_fraction, 0, 0.99)
    manifest = expand_home(manifest)
    if Path(manifest).exists():
        raise DataError(f"{str(manifest)!r} exists already: choose another name, or remove it first.")
    labels = LabelForm(label_delimiter, label_columns)
    dataset = scan_dataset(data, leaks=False, labels=labels, decisions=expand_home(decisions))
    with report_progress(on_progress, progress) as report:
        drawn = _draw(dataset, val_fraction, test_fraction, group_by, seed, report)
    write_split(drawn, manifest, root=Path(manifest).parent)
    return drawn


def _draw(
    dataset: Dataset,
    val_fraction: float,
    test_fraction: float,
    group_by: str | None,
    seed: int,
    report: OnProgress,
) -> Dataset:
    """Return the data set with its splits drawn again, out of "all" or of train."""
    taken = [name for name in ("val", "test") if name in dataset.splits and (name == "val" or test_fraction)]
    if taken:
        names = " and ".join(taken)
        raise DataError(f"{str(dataset.root)!r} has {names} already: give a folder with a folder per class.")
    side = next((name for name in ("all", "train") if name in dataset.splits), None)
    if side is None:
        return split_dataset(dataset, val_fraction, seed, test_fraction)  # says that there is no train
    step = "looking for look-alikes"
    groups = group_images(dataset, side, group_by, lambda done, total: report(step, done, total))
    return split_dataset(dataset, val_fraction, seed, test_fraction, groups)


def prepare_data(
    data: str | Path,
    target: str | Path,
    *,
    size: int = 128,
    normalise: bool = False,
    exclude: str | None = None,
    decisions: str | Path | None = None,
    label_delimiter: str = "",
    label_columns: str = "",
    log: Callable[[str], None] = lambda text: None,
    on_progress: OnProgress | None = None,
    progress: bool | None = None,
) -> PrepareSummary:
    """Decode and resize every image once, into arrays in the folder `target`; continues after a break.

    Args:
        size: width and height, px.
        normalise: store float32 from 0 to 1 instead of bytes.
        exclude: a file of paths to leave out.
        decisions: a file of labels put right and pictures left out.
        label_delimiter, label_columns: how a table holds several labels an image, as for `train`.
        log: gets warnings.
        on_progress: called with (step, done, total).
        progress: show a bar; None: in a notebook alone.

    Raises:
        DataError: the data, or the folder, cannot be used.
    """
    target, exclude = expand_home(target), expand_home(exclude)
    labels = LabelForm(label_delimiter, label_columns)
    dataset = scan_dataset(data, exclude=exclude, labels=labels, decisions=expand_home(decisions))
    for text in [*describe_scan(dataset), *(f"Warning: {warning}" for warning in dataset.warnings)]:
        log(text)
    with report_progress(on_progress, progress) as report:
        return prepare_dataset(
            dataset, target, size, normalise, lambda done, total: report("preparing", done, total)
        )
