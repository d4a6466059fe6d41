"""Decode and resize every picture once, into one memory-mapped array.

Pictures are written in a stream, to a hidden folder beside the wanted one, with a journal of what is done;
the folder takes its name when it is whole. So a killed run resumes where it was, and nothing half-written
can be taken for whole.
"""

import csv
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..errors import DataError
from ..images.read import ImageError
from ..images.transforms import load_image
from ..settings import InputSpec
from .dataset import Dataset, class_text
from .digests import content_keys, fingerprint, map_threads
from .prepared import (
    DESCRIPTION,
    FILES,
    FILES_COLUMNS,
    IMAGES,
    LABELS,
    PREPARED_VERSION,
    is_prepared,
    read_description,
)

JOURNAL_BATCH = 256  # pictures between two entries of the journal
HEADER_BYTES = 128  # of a .npy, whose shape is only known at the end
JOURNAL = "journal.jsonl"


@dataclass(frozen=True)
class PreparePlan:
    """What the pictures in a prepared folder follow; files of another plan are never resumed."""

    size: int  # px: shorter side resized to it, centre cropped
    dtype: str  # "uint8", or "float32" from 0 to 1
    num_files: int
    digest: str  # the data's fingerprint

    def row_bytes(self) -> int:
        """Return the size of one picture in bytes."""
        return self.size * self.size * 3 * np.dtype(self.dtype).itemsize


@dataclass
class PrepareSummary:
    """What `prepare_dataset` did."""

    root: Path
    num_pictures: int
    skipped: list[tuple[str, str]] = field(default_factory=list)  # (path, what is wrong)
    num_resumed: int = 0  # files that an earlier, interrupted run had done


def prepare_dataset(
    dataset: Dataset,
    root: str | Path,
    size: int = 128,
    normalise: bool = False,
    report: Callable[[int, int], None] | None = None,
) -> PrepareSummary:
    """Write the pictures of a dataset, resized to `size` x `size` px, to a new folder `root`.

    A picture looks as evaluation sees it at that size: shorter side resized, centre cropped. Damaged files
    are skipped and named. `normalise` stores float32 from 0 to 1 instead of uint8 from 0 to 255.
    `report(done, total)` is called after each batch of files.

    Raises:
        DataError: `root` holds something else or cannot be written, the disk is too small, no picture can be
            read, or the dataset is a prepared folder already.
        SettingsError: `size` is out of range.
    """
    spec = InputSpec(size, size)
    root = Path(root)
    _check_places(dataset, root)
    found = fingerprint(dataset)
    plan = PreparePlan(size, "float32" if normalise else "uint8", found["num_files"], found["digest"])
    if is_prepared(root):
        return _accept_whole(root, plan)
    work = root.parent / f".{root.name}.preparing"
    try:
        entries, num_resumed = _stream(dataset, work, plan, spec, report or (lambda done, total: None))
        skipped = _finish(dataset, work, plan, entries)
        work.rename(root)  # over the empty folder, where there is one
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"Cannot prepare {str(root)!r} ({reason}): make room, or choose another.") from error
    return PrepareSummary(root, plan.num_files - len(skipped), skipped, num_resumed)


def _check_places(dataset: Dataset, root: Path) -> None:
    data, target = dataset.root.resolve(), root.resolve()
    if dataset.images is not None:
        raise DataError(f"{str(dataset.root)!r} is prepared already: give the folder that it was made from.")
    if dataset.manifest is None and (data == target or data in target.parents):
        raise DataError(
            f"{str(root)!r} lies in the data folder {str(dataset.root)!r}: choose a place outside."
        )
    if root.exists() and not (root.is_dir() and not any(root.iterdir())) and not is_prepared(root):
        raise DataError(f"{str(root)!r} holds something else already: choose a new or an empty folder.")


def _accept_whole(root: Path, plan: PreparePlan) -> PrepareSummary:
    """Return the summary of a folder that an earlier run completed by the same plan."""
    try:
        description = read_description(root)
        if description["plan"] == asdict(plan):
            skipped = [tuple(pair) for pair in description["skipped"]]
            return PrepareSummary(root, description["num_pictures"], skipped, plan.num_files)
    except (OSError, ValueError, KeyError, TypeError):
        pass  # damaged: as little to be overwritten as another plan's
    raise DataError(f"{str(root)!r} was prepared from other data or settings: choose another folder.")


def _stream(
    dataset: Dataset, work: Path, plan: PreparePlan, spec: InputSpec, report: Callable[[int, int], None]
) -> tuple[list[dict], int]:
    """Write all pictures that the journal lacks; return its entries, and how many files were done before."""
    items = [(name, index) for name, split in dataset.splits.items() for index in range(len(split))]
    entries = _resume(work, plan)
    num_resumed = sum(entry["files"] for entry in entries)
    left_bytes = (len(items) - num_resumed) * plan.row_bytes()
    if shutil.disk_usage(work).free < left_bytes:
        raise OSError(28, f"{left_bytes / 1e9:.1f} GB are needed on the disk, more than is free")
    with (work / IMAGES).open("r+b") as images, (work / JOURNAL).open("ab") as journal:
        images.truncate(HEADER_BYTES + _num_rows(entries) * plan.row_bytes())
        images.seek(0, os.SEEK_END)
        for start in range(num_resumed, len(items), JOURNAL_BATCH):
            batch = items[start : start + JOURNAL_BATCH]
            entries.append(_write_batch(dataset, batch, spec, plan, images))
            _append(journal, entries[-1])
            report(start + len(batch), len(items))
    return entries, num_resumed


def _resume(work: Path, plan: PreparePlan) -> list[dict]:
    """Return the journal of an interrupted run by the same plan, or start a new one."""
    lines = _read_journal(work / JOURNAL)
    if lines and lines[0] == asdict(plan) and (work / IMAGES).is_file():
        stored = (work / IMAGES).stat().st_size - HEADER_BYTES
        if stored >= _num_rows(lines[1:]) * plan.row_bytes():
            return lines[1:]
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    (work / IMAGES).write_bytes(b"\0" * HEADER_BYTES)
    with (work / JOURNAL).open("ab") as journal:
        _append(journal, asdict(plan))
    return []


def _read_journal(path: Path) -> list[dict]:
    """Return the journal's lines; a torn last one is cut off the file, for the next entry to follow."""
    if not path.is_file():
        return []
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        os.truncate(path, whole)
    return [json.loads(line) for line in data[:whole].splitlines()]


def _append(file: BinaryIO, entry: dict) -> None:
    file.write(json.dumps(entry).encode() + b"\n")
    file.flush()
    os.fsync(file.fileno())


def _num_rows(entries: list[dict]) -> int:
    return sum(entry["files"] - len(entry["bad"]) for entry in entries)


def _write_batch(
    dataset: Dataset, batch: list[tuple[str, int]], spec: InputSpec, plan: PreparePlan, images: BinaryIO
) -> dict[str, Any]:
    """Append the pictures of a batch to the array; return its journal entry: files, and the bad ones."""

    def load(item: tuple[str, int]) -> np.ndarray | str:
        try:
            return load_image(dataset.source(*item), spec).permute(1, 2, 0).numpy()
        except ImageError as error:
            return str(error)

    bad = []
    for index, image in enumerate(map_threads(load, batch, 4)):
        if isinstance(image, str):
            bad.append([index, image])
            continue
        scaled = image if plan.dtype == "uint8" else image.astype(np.float32) / np.float32(255)
        images.write(scaled.tobytes())
    images.flush()
    os.fsync(images.fileno())
    return {"files": len(batch), "bad": bad}


def _finish(dataset: Dataset, work: Path, plan: PreparePlan, entries: list[dict]) -> list[tuple[str, str]]:
    """Write everything beside the pixels, the pixels' header included; return the files skipped."""
    bad, start = {}, 0
    for entry in entries:
        bad.update({start + index: reason for index, reason in entry["bad"]})
        start += entry["files"]
    files = list(_list_files(dataset))
    good = [number for number in range(len(files)) if number not in bad]
    rows = [files[number] for number in good]
    paths = [path for split in dataset.splits.values() for path in split.paths]
    skipped = [(paths[number], reason) for number, reason in bad.items()]
    if not rows:
        raise DataError(f"None of the {len(paths)} pictures can be read, the first because: {skipped[0][1]}")
    _write_header(work / IMAGES, (len(rows), plan.size, plan.size, 3), plan.dtype)
    labels = np.concatenate([split.labels for split in dataset.splits.values()])
    np.save(work / LABELS, labels[good])
    with (work / FILES).open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        csv.writer(file).writerows([FILES_COLUMNS, *rows])
    _write_description(dataset, work, plan, len(rows), skipped)
    (work / JOURNAL).unlink()
    return skipped


def _list_files(dataset: Dataset) -> list[tuple[str, str, str, str]]:
    """Return the rows of files.csv for all files, damaged ones included."""
    return [
        (path, class_text(dataset, name, index), name, key)
        for name, split in dataset.splits.items()
        for index, (path, key) in enumerate(zip(split.paths, content_keys(dataset, name), strict=True))
    ]


def _write_header(path: Path, shape: tuple[int, ...], dtype: str) -> None:
    """Write the .npy header into the room left for it: numpy pads it to one size for any number of rows."""
    description = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
    with path.open("r+b") as file:
        np.lib.format.write_array_header_1_0(file, description)
        file.flush()
        os.fsync(file.fileno())


def _write_description(
    dataset: Dataset, work: Path, plan: PreparePlan, num_pictures: int, skipped: list[tuple[str, str]]
) -> None:
    description = {
        "format_version": PREPARED_VERSION,
        "class_names": dataset.class_names,
        "size": plan.size,
        "dtype": plan.dtype,
        "num_pictures": num_pictures,
        "skipped": skipped,
        "plan": asdict(plan),
        **({"unlisted": dataset.unlisted} if dataset.has_several_labels else {}),
    }
    with (work / DESCRIPTION).open("w", encoding="utf-8") as file:
        json.dump(description, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
