"""The folder of a page: which files it has, and how they are written without losing what is there."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ... import __version__
from ...errors import CatdogError
from ...images.looks import LONGEST_SIDES
from ...inference.known import UNKNOWN_RATE
from ...inference.onnx_metadata import KEY, Metadata, read_metadata
from ...page import FILES, OF_SERVICE, SERVICE_WORKER
from ...runtime.files import read_text, write_atomic
from ...runtime.onnx_packages import import_onnx, read_notices
from ...settings_networks import specs_of

ABOUT, WORKER, INDEX, NETWORK = "model.json", "sw.js", "index.html", "model.onnx"
ENGINE = '// Who answers: this page itself.\n\nexport { Engine } from "./local.js";\n'
MOST_NAMED = 3  # classes in a title
LONGEST_TITLE = 40  # letters
RULE = "-" * 80
PAPER = "#fbfbfa"  # of page.css


def write_page(folder: Path, network: bytes, runtime: Mapping[str, bytes], licence: str = "") -> list[str]:
    """Write a page into a folder; return its files.

    Args:
        folder: new, empty, or one with an earlier page, whose files are replaced; others are left alone.
        network: an ONNX file that `catdog export` makes.
        runtime: what `load_runtime` returned.
        licence: of the weights that the network was trained from, where it is known.

    Raises:
        CatdogError: the folder holds something else, or cannot be written.
    """
    before = check_folder(folder)
    files = list_files(network, _read_metadata(network), runtime, licence)
    for name, content in files.items():
        write_atomic(folder / name, content, CatdogError, "choose another folder", parents=True)
    _remove(folder, before - set(files))
    return list(files)


def _read_metadata(network: bytes) -> Metadata:
    model = import_onnx().load_model_from_string(network)
    (text,) = (each.value for each in model.metadata_props if each.key == KEY)
    return read_metadata(text, NETWORK)


def check_folder(folder: Path) -> set[str]:
    """Return which files an earlier page left in a folder.

    Raises:
        CatdogError: it is no folder, or holds something else.
    """
    try:
        if not folder.exists():
            return set()
        if not folder.is_dir():
            raise CatdogError(f"{str(folder)!r} is a file: give a new folder for the page.")
        if (folder / ABOUT).is_file():
            return _list_earlier(folder / ABOUT)
        if any(not path.name.startswith(".") for path in folder.iterdir()):
            raise CatdogError(
                f"{str(folder)!r} holds something other than a page of catdog: give a new or an empty folder."
            )
    except OSError as error:
        raise CatdogError(f"Cannot read {str(folder)!r} ({error.strerror or error}): check it.") from error
    return set()


def _list_earlier(path: Path) -> set[str]:
    try:
        found = json.loads(read_text(path))
        names = found["files"]
        if not isinstance(found["catdog"], str) or not all(isinstance(name, str) for name in names):
            raise TypeError
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CatdogError(
            f"{str(path)!r} is not of a page of catdog: give a new or an empty folder."
        ) from error
    return {name for name in names if not Path(name).is_absolute() and ".." not in Path(name).parts}


def _remove(folder: Path, names: set[str]) -> None:
    for name in names:
        try:
            (folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise CatdogError(
                f"Cannot remove {str(folder / name)!r} ({error.strerror or error}): remove it yourself."
            ) from error


def list_files(
    network: bytes, metadata: Metadata, runtime: Mapping[str, bytes], licence: str
) -> dict[str, bytes]:
    """Return the files of a page by name, in the order in which they are to be written."""
    static = {
        path.relative_to(FILES).as_posix(): path.read_bytes()
        for path in sorted(FILES.rglob("*"))
        if path.is_file() and path.name not in {*OF_SERVICE, SERVICE_WORKER}
    }
    title = make_title(metadata)
    files = {
        **static,
        "engine.js": ENGINE.encode(),
        "manifest.webmanifest": _to_json(describe_app(title, metadata)),
        "licences.txt": _list_licences(static["licences.txt"], metadata.arch, licence),
        **{f"ort/{name}": content for name, content in runtime.items()},
        NETWORK: network,
    }
    names = [ABOUT, *files, WORKER]
    about = {**describe_network(metadata, network), "title": title, "files": names}
    files = {ABOUT: _to_json(about), **files}  # first: a folder that is not whole yet is known for a page
    return {**files, WORKER: make_service_worker(files)}  # last: it says which files belong together


def describe_network(metadata: Metadata, network: bytes) -> dict[str, Any]:
    """Return what a page has to know of its network, as plain values."""
    specs = specs_of(metadata.input_spec)
    names = _names_of(metadata)
    limits: Sequence[float | None] = metadata.thresholds or [None] * len(names)
    maps = [] if metadata.maps is None else metadata.maps.outputs
    return {
        "catdog": __version__,
        "checkpoint": {"name": metadata.checkpoint, "sha256": metadata.digest},
        "arch": metadata.arch,
        "file": NETWORK,
        "bytes": len(network),
        "side": max(spec.resize for spec in specs),  # px that reading has to leave
        "longest_sides": LONGEST_SIDES,
        "classes": [
            {"class": class_name, "name": name, **({} if limit is None else {"threshold": limit})}
            for class_name, name, limit in zip(metadata.class_names, names, limits, strict=True)
        ],
        "several_labels": metadata.task.several,
        "unknown": None if metadata.reference is None else {"rate": UNKNOWN_RATE},
        "maps": [
            {
                "name": each.name,
                "kind": each.kind,
                "size": specs[each.network].size,
                "resize": specs[each.network].resize,
            }
            for each in maps
        ]
        or None,
    }


def _names_of(metadata: Metadata) -> list[str]:
    return [metadata.category_names.get(name, name) for name in metadata.class_names]


def make_title(metadata: Metadata) -> str:
    """Return what the page is called: Cats or dogs."""
    names = _names_of(metadata)
    if len(names) <= MOST_NAMED:
        joined = ", ".join(names[:-1]) + f" or {names[-1]}" if len(names) > 1 else names[0]
        title = joined[:1].upper() + joined[1:]
        if len(title) <= LONGEST_TITLE:
            return title
    return f"Which of {len(names):,}?"


def describe_app(title: str, metadata: Metadata) -> dict[str, Any]:
    """Return the manifest, by which a phone installs the page."""
    return {
        "name": title,
        "short_name": title if len(title) <= 12 else "catdog",
        "description": f"Says which of {len(metadata.class_names):,} classes a picture shows.",
        "id": "./",
        "start_url": "./",
        "scope": "./",
        "display": "standalone",
        "background_color": PAPER,
        "theme_color": PAPER,
        "icons": [
            *(
                {"src": f"icons/icon-{side}.png", "sizes": f"{side}x{side}", "type": "image/png"}
                for side in (192, 512)
            ),
            {"src": "icons/maskable-512.png", "sizes": "512x512", "type": "image/png", "purpose": "maskable"},
        ],
    }


def make_service_worker(files: Mapping[str, bytes]) -> bytes:
    """Return the script that keeps a page's files: another one where any file is."""
    rows = [[name, len(content), _digest(content)] for name, content in files.items()]
    rows.append(["./", len(files[INDEX]), _digest(files[INDEX])])
    version = hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]
    lines = ",\n  ".join(json.dumps(row) for row in rows)
    head = f'const VERSION = "{version}";\nconst FILES = [\n  {lines},\n];\n\n'
    return head.encode() + (FILES / SERVICE_WORKER).read_bytes()


def _digest(content: bytes) -> str:
    return base64.b64encode(hashlib.sha256(content).digest()).decode("ascii")


def _to_json(values: dict[str, Any]) -> bytes:
    return (json.dumps(values, indent=2) + "\n").encode()


def _list_licences(own: bytes, arch: str, licence: str) -> bytes:
    parts = [own.decode()]
    if licence:
        parts.append(f"{RULE}\nThe network: {arch}, trained from weights under this licence: {licence}\n")
    parts += [f"{RULE}\nONNX Runtime, {name}\n\n{text}" for name, text in read_notices().items()]
    return "\n".join(parts).encode()
