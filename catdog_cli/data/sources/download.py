"""Public pictures by name, arranged as class folders.

All work is done in a hidden folder inside the wanted one, step by step, so that an interrupted download goes
on where it was; class folders appear when they are complete.
"""

import functools
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import DataError, SettingsError
from .archives import unpack_archive
from .fetch import RemoteFile, fetch_file

MARKER = ".catdog-download.json"
WORK = ".catdog-download"
ARRANGED = "arranged.ok"
PETIMAGES = RemoteFile(
    "https://download.microsoft.com/download/3/E/1/3E1C3F21-ECDB-4869-8368-6DEBA77B919F/"
    "kagglecatsanddogs_5340.zip",
    "sha256:b7974bd00a84a99921f36ee4403f089853777b5ae8d151c76a86e64900334af9",
    824_887_076,
)
FILTERED = RemoteFile(
    "https://storage.googleapis.com/mledu-datasets/cats_and_dogs_filtered.zip", num_bytes=68_606_236
)
ASIRRA = "Microsoft Research licence (MSR-LA, in the archive): for research, not for products"
Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class PublicDataset:
    """A public set of pictures, as it is described before anything is fetched."""

    title: str
    num_bytes: int  # to be fetched, about
    licence: str
    folder: str = ""  # under which torchvision's class looks for it


PUBLIC_DATASETS = {
    "cats-vs-dogs": PublicDataset(
        "25,000 cats and dogs (PetImages, some files damaged)", 824_887_076, ASIRRA
    ),
    "cats-vs-dogs-filtered": PublicDataset("3,000 cats and dogs in train/ and val/", 68_606_236, ASIRRA),
    "pets": PublicDataset(
        "7,349 cats and dogs of 37 breeds (Oxford-IIIT Pets)", 811_000_000, "CC BY-SA 4.0", "oxford-iiit-pet"
    ),
    "flowers102": PublicDataset(
        "8,189 flowers of 102 kinds (Oxford Flowers-102)", 345_000_000,
        "none stated: pictures from the web, for research", "flowers-102",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class DownloadSummary:
    """What `download_dataset` left in a folder."""

    root: Path
    num_pictures: int
    already_there: bool


def describe_public(name: str) -> PublicDataset:
    """Return title, size and licence of a set of pictures.

    Raises:
        SettingsError: there is no such set.
    """
    if name not in PUBLIC_DATASETS:
        raise SettingsError(f"There are no pictures called {name!r}: known are {', '.join(PUBLIC_DATASETS)}.")
    return PUBLIC_DATASETS[name]


def download_dataset(
    name: str,
    root: str | Path,
    breeds: bool = False,
    base_url: str | None = None,
    report: Report | None = None,
    wait_s: float = 1.0,
) -> DownloadSummary:
    """Fetch, verify, unpack and arrange a public set of pictures in the folder `root`.

    Args:
        name: one of PUBLIC_DATASETS.
        breeds: take the 37 breeds of "pets" as classes, instead of cats and dogs.
        base_url: a mirror: the folder that holds the files instead of the publisher's.
        report: called as (step, done, total): bytes of a download, files of an archive.
        wait_s: pause in seconds before a broken connection is tried again; doubles each time.

    Raises:
        DataError: the name is unknown, the folder holds something else, the network or the disk fails, or
            what came is not what was expected.
    """
    public = describe_public(name)
    if breeds and name != "pets":
        raise DataError(f"{name!r} has no breeds: leave out --breeds, or download 'pets'.")
    root, report = Path(root), report or (lambda step, done, total: None)
    plan = {"name": name, "breeds": breeds}
    try:
        if (done := _read_json(root / MARKER)) is not None:
            return _accept_done(root, done, plan)
        work = _claim(root, plan, public)
        base = work / public.folder
        base.mkdir(exist_ok=True)
        if not (work / ARRANGED).exists():
            for remote in _list_remotes(name, base_url):
                step = f"fetching {remote.name}"
                fetch_file(remote, base / remote.name, functools.partial(report, step), wait_s)
            _arrange(name, breeds, work, base, report)
        num_pictures = _move_in(work, root, plan)
    except OSError as error:
        reason = error.strerror or error
        raise DataError(
            f"Cannot download to {str(root)!r} ({reason}): make room, or choose another."
        ) from error
    return DownloadSummary(root, num_pictures, False)


def _accept_done(root: Path, done: dict, plan: dict) -> DownloadSummary:
    if {key: done.get(key) for key in plan} != plan:
        raise DataError(
            f"{str(root)!r} holds the download {done.get('name')!r} already: choose another folder."
        )
    shutil.rmtree(root / WORK, ignore_errors=True)  # left where a run was killed at its very end
    return DownloadSummary(root, done["num_pictures"], True)


def _claim(root: Path, plan: dict, public: PublicDataset) -> Path:
    """Return the work folder of a new download, or of the same one interrupted."""
    work = root / WORK
    found = _read_json(work / "plan.json")
    if found is not None and found != plan:
        raise DataError(f"{str(root)!r} holds half of the download {found['name']!r}: choose another folder.")
    if found is None:
        if root.exists() and any(path.name != WORK for path in root.iterdir()):
            raise DataError(f"{str(root)!r} holds something already: choose a new or an empty folder.")
        work.mkdir(parents=True, exist_ok=True)
        (work / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
        needed = 2.2 * public.num_bytes
        if shutil.disk_usage(work).free < needed:
            raise OSError(28, f"{needed / 1e9:.1f} GB are needed on the disk, more than is free")
    return work


def _list_remotes(name: str, base_url: str | None) -> list[RemoteFile]:
    if name == "cats-vs-dogs":
        remotes = [PETIMAGES]
    elif name == "cats-vs-dogs-filtered":
        remotes = [FILTERED]
    elif name == "pets":
        from ...runtime.vision import torchvision

        resources = torchvision.datasets.OxfordIIITPet._RESOURCES
        remotes = [RemoteFile(url, f"md5:{digest}") for url, digest in resources]
    else:
        from ...runtime.vision import torchvision

        flowers = torchvision.datasets.Flowers102
        prefix, files = flowers._download_url_prefix, flowers._file_dict.values()
        remotes = [RemoteFile(prefix + file, f"md5:{digest}") for file, digest in files]
    if base_url is None:
        return remotes
    return [RemoteFile(f"{base_url}/{file.name}", file.checksum, file.num_bytes) for file in remotes]


def _arrange(name: str, breeds: bool, work: Path, base: Path, report: Report) -> None:
    """Unpack the archives in `base`, and move their pictures to work/arranged/[SPLIT/]CLASS/."""
    arranged = work / "arranged"
    shutil.rmtree(arranged, ignore_errors=True)
    for path in sorted(base.iterdir()):
        if path.suffix in (".zip", ".gz", ".tgz"):
            unpack_archive(path, base, report=functools.partial(report, f"unpacking {path.name}"))
    places = {
        "cats-vs-dogs": _place_petimages,
        "cats-vs-dogs-filtered": _place_filtered,
        "pets": _place_breeds if breeds else _place_pets,
        "flowers102": _place_flowers,
    }
    for path, place in places[name](work):
        target = arranged / place
        target.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file():
            raise DataError(f"The archive of {name!r} lacks {path.name!r}: remove the folder and try again.")
        path.replace(target)
    if not arranged.exists():
        raise DataError(f"The archive of {name!r} does not hold the expected folders: it cannot be used.")
    (work / ARRANGED).touch()


def _place_petimages(work: Path) -> Iterator[tuple[Path, str]]:
    for folder, class_name in (("Cat", "cats"), ("Dog", "dogs")):
        for path in sorted((work / "PetImages" / folder).glob("*.jpg")):
            yield path, f"{class_name}/{path.name}"
    for path in work.glob("*.docx"):  # the licence
        yield path, path.name


def _place_filtered(work: Path) -> Iterator[tuple[Path, str]]:
    for folder, split in (("train", "train"), ("validation", "val")):
        for class_name in ("cats", "dogs"):
            for path in sorted((work / "cats_and_dogs_filtered" / folder / class_name).glob("*.jpg")):
                yield path, f"{split}/{class_name}/{path.name}"


def _place_pets(work: Path) -> Iterator[tuple[Path, str]]:
    for split, data in _open_pets(work):
        for path, label in zip(data._images, data._bin_labels, strict=True):
            yield path, f"{split}/{('cats', 'dogs')[label]}/{path.name}"


def _place_breeds(work: Path) -> Iterator[tuple[Path, str]]:
    for split, data in _open_pets(work):
        for path, label in zip(data._images, data._labels, strict=True):
            yield path, f"{split}/{data.classes[label]}/{path.name}"


def _open_pets(work: Path) -> Iterator[tuple[str, Any]]:
    from ...runtime.vision import torchvision

    for split, part in (("train", "trainval"), ("test", "test")):
        yield split, torchvision.datasets.OxfordIIITPet(work, part)


def _place_flowers(work: Path) -> Iterator[tuple[Path, str]]:
    from ...runtime.vision import torchvision

    flowers = torchvision.datasets.Flowers102
    for split in ("train", "val", "test"):
        data = flowers(work, split)
        for path, label in zip(data._image_files, data._labels, strict=True):
            yield path, f"{split}/{flowers.classes[label].strip()}/{path.name}"


def _move_in(work: Path, root: Path, plan: dict) -> int:
    """Move the arranged folders into the wanted one, mark it as whole, tidy up; return its pictures."""
    for path in sorted((work / "arranged").iterdir()):
        path.rename(root / path.name)
    hidden = {WORK, MARKER}
    num_pictures = sum(
        len(files)
        for folder in root.iterdir()
        if folder.is_dir() and folder.name not in hidden
        for _, _, files in os.walk(folder)
    )
    temporary = work / MARKER
    temporary.write_text(json.dumps({**plan, "num_pictures": num_pictures}), encoding="utf-8")
    temporary.rename(root / MARKER)
    shutil.rmtree(work, ignore_errors=True)
    return num_pictures


def _read_json(path: Path) -> dict | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise DataError(f"{str(path)!r} is damaged: remove it and try again.") from error
