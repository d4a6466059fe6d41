"""COCO's annotations as labels: an image has the categories of whatever is annotated in it.

The file has `images` (id, file_name), `categories` (id, name) and `annotations` (image_id, category_id);
boxes and outlines are not looked at. Source: https://cocodataset.org/#format-data
"""

import json
from pathlib import Path
from typing import Any

from ..errors import DataError, quote
from .class_names import class_name
from .dataset import Dataset, Split
from .label_lists import gather_labels
from .listed_files import ListedFiles

SUFFIX = ".json"
PARTS = ("images", "annotations", "categories")


def is_coco(path: Path) -> bool:
    """Say whether a file may be one, by its name."""
    return path.suffix.lower() == SUFFIX


def read_coco(path: Path) -> Dataset:
    """Read the labels of images from a COCO file; images without annotations have none of the labels.

    File names count from the file's folder, or the one above where that is called annotations; a bare name is
    looked for below.

    Raises:
        DataError: it is no such file; an image does not exist; nothing is annotated.
    """
    content = _load(path)
    root = coco_root(path)
    names = {each["id"]: class_name(str(each["name"]).strip()) for each in content["categories"]}
    found: dict[Any, list[str]] = {each["id"]: [] for each in content["images"]}
    for each in content["annotations"]:
        if each["image_id"] not in found or each["category_id"] not in names:
            raise DataError(
                f"{str(path)!r} annotates the image {quote(each['image_id'])} with the category "
                f"{quote(each['category_id'])}, but does not list both: write it again."
            )
        found[each["image_id"]].append(names[each["category_id"]])
    files = ListedFiles(path, root)
    places = {each["id"]: files.find(str(each["file_name"])) for each in content["images"]}
    missing = [str(each["file_name"]) for each in content["images"] if places[each["id"]] is None]
    if missing:
        raise DataError(
            f"{len(missing)} pictures of {str(path)!r} do not exist under {str(root)!r}, the first "
            f"{quote(missing[0])}: put them there."
        )
    known = [place for place in places.values() if place is not None]
    if len(set(known)) < len(known):
        again = next(place for place in known if known.count(place) > 1)
        raise DataError(f"{str(path)!r} lists {quote(again)} twice: keep one of its entries.")
    if not any(found.values()):
        raise DataError(f"{str(path)!r} has no annotation: there is nothing to learn from.")
    class_names, labels = gather_labels(list(found.values()))
    split = Split(known, labels)
    many = int(((labels == 1).sum(1) > 1).sum())
    none = int((~(labels == 1).any(1)).sum())
    note = (
        f"COCO annotations {str(path)!r}: the labels of a picture are the categories in it; {many:,} of "
        f"{len(split):,} pictures have more than one, {none:,} none."
    )
    return Dataset(root, class_names, {"all": split}, manifest=path, notes=[note], unlisted=0)


def coco_root(path: Path) -> Path:
    """Return the folder that the file names of a COCO file count from."""
    return path.parent.parent if path.parent.name.lower() == "annotations" else path.parent


def _load(path: Path) -> dict[str, Any]:
    """Return the three parts, each a list of what `read_coco` asks for.

    Raises:
        DataError: it is something else.
    """
    try:
        content = json.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise DataError(
            f"{str(path)!r} cannot be read ({error.strerror or error}): check the path."
        ) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{str(path)!r} is not JSON ({str(error)[:200]}): write it again.") from error
    wanted = {
        "images": ("id", "file_name"),
        "annotations": ("image_id", "category_id"),
        "categories": ("id", "name"),
    }
    for part, keys in wanted.items():
        rows = content.get(part) if isinstance(content, dict) else None
        fits = isinstance(rows, list) and all(
            isinstance(row, dict) and row.keys() >= set(keys) for row in rows
        )
        if not fits or not all(isinstance(row[key], (int, str)) for row in rows or [] for key in keys):
            raise DataError(
                f"{str(path)!r} is not a file of COCO annotations: expected the lists {', '.join(PARTS)}, "
                f"and {' and '.join(keys)} in each of {part!r}."
            )
    return content
