"""Which pictures a checkpoint is measured on.

A folder without val/ may be the one that the checkpoint was trained on: then only those of its pictures count
that the run kept apart, as its split.csv says, so that nobody measures what was learnt by heart.
"""

import csv
import dataclasses
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import CatdogError, DataError
from ..runtime.files import read_text
from ..runtime.text import name_some

if TYPE_CHECKING:
    from ..data.dataset import Dataset, Split
    from ..data.label_lists import LabelForm

SPLITS = ("train", "val", "test", "all")
TOO_GOOD = "on such pictures every score is too good."
Log = Callable[[str], None]
Sides = dict[str, str]  # a picture's path: train or val


def choose_images(
    data: str,
    checkpoints: list[str],
    class_names: list[str],
    wanted: str | None,
    log: Log,
    exclude: str | Path | None = None,
    labels: "LabelForm | None" = None,
    decisions: str | Path | None = None,
) -> tuple["Dataset", str]:
    """Return a dataset with the one split to measure on, and the name of that split.

    Args:
        data: what `scan_dataset` takes.
        checkpoints: files or run directories; with several, a picture must be kept apart by all of them.
        class_names: the order of the labels.
        wanted: one of SPLITS; None takes test, else val, else everything.
        log: gets what the user should know.
        exclude: a file of pictures to leave out.
        labels: how a table holds several labels a picture, if the checkpoints tell several.
        decisions: a file of labels put right and pictures left out.

    Raises:
        CatdogError: the data cannot be read, or has no such split, or holds a class that is not known, or has
            several labels a picture where the checkpoints tell one class, or the other way round.
    """
    from ..data.label_lists import LabelForm
    from ..data.scan import describe_scan, scan_dataset

    dataset = scan_dataset(data, class_names, exclude, labels=labels or LabelForm(), decisions=decisions)
    for text in describe_scan(dataset):
        log(text)
    for warning in dataset.warnings:
        log(f"Warning: {warning}")
    own = set(dataset.splits)
    if wanted != "all" and not own & {"val", *([] if wanted else ["test"])}:
        dataset = _divide_as_trained(dataset, data, checkpoints, wanted, log, decided=decisions is not None)
    name = wanted or next((name for name in ("test", "val") if name in dataset.splits), "all")
    chosen = _take_split(dataset, name, data)
    _warn_of_lacking(dataset, chosen, name, log)
    return chosen, name


def _divide_as_trained(
    dataset: "Dataset", data: str, checkpoints: list[str], wanted: str | None, log: Log, decided: bool
) -> "Dataset":
    """Return the dataset split as the checkpoints' runs did, or as it is where none of them used it."""
    found = {run: read_sides(run) for run in _list_runs(checkpoints)}
    runs = [run for run, sides in found.items() if _was_trained_on(dataset, data, run, sides, wanted, log)]
    if not runs:
        return dataset
    if not decided:
        _name_decisions(runs, log)
    divided = divide(dataset, [found[run] for run in runs])
    if "val" not in divided.splits:
        raise DataError(
            f"No picture of {data!r} was kept apart by every run: measure on other pictures, or on these "
            "with --split all."
        )
    if wanted is None:
        names = " and ".join(repr(str(run)) for run in runs)
        log(
            f"{data!r} is what {names} was trained on: measuring the {len(divided.splits['val'])} pictures "
            "that training kept apart (--split all takes all)."
        )
    return divided


def _name_decisions(runs: list[Path], log: Log) -> None:
    """Say which runs were trained with labels put right, where these are measured as they were."""
    from ..runs.directory import RunDirectory

    for run in runs:
        path = RunDirectory(run).decisions
        if path.exists():
            log(
                f"{str(run)!r} was trained with labels put right: to measure with the same, add "
                f"--decisions {path}"
            )


def divide(dataset: "Dataset", sides: list[Sides]) -> "Dataset":
    """Return the dataset with its "all" or train split as train and val, where all of `sides` agree.

    Pictures that are on different sides, or on none, are left out.
    """
    import numpy as np

    drawn = _drawn_split(dataset)
    if drawn is None:
        return dataset
    found = [{part.get(path) for part in sides} for path in dataset.splits[drawn].paths]
    places = {
        name: np.array([i for i, names in enumerate(found) if names == {name}], np.int64)
        for name in ("train", "val")
    }
    splits = {name: dataset.splits[drawn].take(rows) for name, rows in places.items() if len(rows)}
    rest = {name: split for name, split in dataset.splits.items() if name != drawn}
    return dataclasses.replace(dataset, splits={**splits, **rest})


def read_sides(run: Path) -> Sides:
    """Return which side each picture was on in a run, from its split.csv; {} where there is none.

    Raises:
        DataError: the file cannot be read.
    """
    return {row["path"]: row["split"] for row in _read_split_rows(run)}


def _read_split_rows(run: Path) -> list[dict[str, str]]:
    from ..runs.directory import RunDirectory

    path = RunDirectory(run).split
    if not path.exists():
        return []
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            rows = list(csv.DictReader(file, strict=True))
        if rows and not {"path", "split"} <= rows[0].keys():
            raise KeyError("no columns path and split")
        return rows
    except (OSError, csv.Error, KeyError) as error:
        raise DataError(
            f"Cannot read {str(path)!r}, which says what the checkpoint was trained on ({error}): "
            "fix it, or choose the pictures with --split all."
        ) from error


def count_trained_on(dataset: "Dataset", checkpoints: Iterable[str], side: str = "train") -> int:
    """Return how many pictures of a dataset were trained on by a checkpoint's run, wherever they lie now.

    With the `side` "val", how many the run was validated on instead.

    Pictures are known by their content, which the run's split.csv holds; 0 where no run lies beside a
    checkpoint, or one of an older catdog, which did not write it.
    """
    from ..data.digests import content_keys

    learnt = {key for run in _list_runs(checkpoints) for key in _keys_of(run, side)}
    if not learnt:
        return 0
    return sum(key in learnt for name in dataset.splits for key in content_keys(dataset, name))


def _keys_of(run: Path, side: str) -> set[str]:
    """Return the digests of the pictures of a run's train or val, none where its split.csv is damaged."""
    try:
        rows = _read_split_rows(run)
    except DataError:  # said where it decides what is measured
        return set()
    return {row["key"] for row in rows if row.get("key") and row["split"] == side}


def _list_runs(checkpoints: Iterable[str]) -> list[Path]:
    from ..runs.directory import find_checkpoint

    return list(dict.fromkeys(find_checkpoint(path).parent for path in checkpoints))


def _drawn_split(dataset: "Dataset") -> str | None:
    return next((name for name in ("all", "train") if name in dataset.splits), None)


def _was_trained_on(
    dataset: "Dataset", data: str, run: Path, sides: Sides, wanted: str | None, log: Log
) -> bool:
    """Tell whether a run drew its val from this data: by its path, or, if it moved, by its content."""
    from ..data.location import absolute_data

    drawn = _drawn_split(dataset)
    paths = dataset.splits[drawn].paths if drawn else []
    known = sum(path in sides for path in paths)
    if not known:
        return False
    if _trained_path(run) == Path(absolute_data(data)).resolve() or _same_content(dataset, run, sides):
        return True
    many = 2 * known >= len(sides)
    if many and wanted is None:
        log(
            f"Warning: {known} pictures of {data!r} have the names of those that {str(run)!r} was trained "
            "with: if they are the same, measure with --split val, for this score is too good."
        )
    return many and wanted is not None


def _trained_path(run: Path) -> Path | None:
    from ..runs.directory import RunDirectory

    try:
        return Path(json.loads(read_text(RunDirectory(run).settings))["data"]).resolve()
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None  # then the content decides


def _same_content(dataset: "Dataset", run: Path, sides: Sides) -> bool:
    from ..data.digests import fingerprint
    from ..runs.checkpoint import load_checkpoint
    from ..runs.directory import LAST

    divided = divide(dataset, [sides])
    try:
        digest = load_checkpoint(run, LAST, resume=True)["data_fingerprint"]
    except CatdogError:
        return False
    return len(divided) == digest["num_files"] and fingerprint(divided) == digest


def _take_split(dataset: "Dataset", name: str, data: str) -> "Dataset":
    if name == "all":
        splits = {"all": _join(list(dataset.splits.values()))}
    elif name in dataset.splits:
        splits = {name: dataset.splits[name]}
    else:
        there = ", ".join(dataset.splits)
        raise DataError(f"{data!r} has no split {name!r}, only {there}: choose another --split, or all.")
    return dataclasses.replace(dataset, splits=splits)


def _join(splits: list["Split"]) -> "Split":
    import numpy as np

    if len(splits) == 1:
        return splits[0]
    first = splits[0]
    return dataclasses.replace(
        first,
        paths=[path for split in splits for path in split.paths],
        labels=np.concatenate([split.labels for split in splits]),
        rows=None if first.rows is None else np.concatenate([split.rows for split in splits]),
        keys=None if first.keys is None else [key for split in splits for key in split.keys or []],
    )


def _warn_of_lacking(dataset: "Dataset", chosen: "Dataset", name: str, log: Log) -> None:
    """Say which classes the split lacks, if the data as a whole has them."""
    from ..data.dataset import classes_present

    present = set(classes_present(chosen))
    lacking = [label for label in classes_present(dataset) if label not in present]
    if lacking:
        count = f"{len(lacking)} classes, " if len(lacking) > 5 else ""
        log(f"Warning: {name} has no pictures of {count}{name_some(lacking)}: they cannot be measured.")


def image_path(dataset: "Dataset", path: str) -> str:
    """Return a picture's path as the user would write it."""
    return str(Path(dataset.root) / path)
