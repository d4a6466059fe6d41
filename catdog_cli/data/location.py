"""Where DATA is: a path, with ~ or as file://; an archive or an address; where a moved run finds its own."""

import json
import os
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..runtime.addresses import is_address, is_file_address, path_of_address
from ..runtime.files import RUN_SETTINGS, expand_home, read_text
from .sources.unpacked import fetch_once, is_archive, unpack_once

FROM_RUN = "data_from_run"  # in it: where the data lies, seen from the run


def open_data(data: str | Path) -> tuple[Path, list[str]]:
    """Return the folder or file that DATA means on this machine, and sentences on how it came there.

    Raises:
        DataError: an archive or an address cannot be used.
    """
    if is_address(str(data)):
        folder, note = fetch_once(str(data))
        return folder, [note]
    path = Path(_local(data))
    if _exists(path) and path.is_file() and is_archive(path):
        folder, note = unpack_once(path)
        return folder, [note]
    return path, []


def absolute_data(data: str) -> str:
    """Return DATA as it can be understood from any folder."""
    return data if is_address(data) else os.path.abspath(_local(data))  # noqa: PTH100 - keeps links


def describe_place(data: str, run: Path) -> dict[str, str]:
    """Return what settings.json says beside the settings: where the data lies, seen from the run."""
    if is_address(data):
        return {}
    return {FROM_RUN: os.path.relpath(absolute_data(data), os.path.abspath(run))}  # noqa: PTH100


def find_data(data: str, run: Path) -> str:
    """Return where the data of a run is now: where it was, or where it moved to together with the run."""
    if is_file_address(data):
        data = _local(data)
    if is_address(data) or not data or _exists(Path(_local(data))):
        return data
    place = os.path.abspath(run)  # noqa: PTH100
    moved = [os.path.join(place, from_run)] if (from_run := _read(run).get(FROM_RUN)) else []  # noqa: PTH118
    if not os.path.isabs(data):  # as older runs wrote it: from the folder where they were started  # noqa: PTH117
        moved += [str(above / data) for above in Path(place).parents]
    return next((os.path.normpath(path) for path in moved if _exists(Path(path))), data)


def run_data(run: Path) -> Path | None:
    """Return what the run in a directory was trained on, None where none is there, or it has gone.

    Raises:
        DataError: the data is an archive or an address that cannot be used now.
    """
    data = _read(run).get("data")
    if not isinstance(data, str) or not data:
        return None
    path = open_data(find_data(data, run))[0]
    return path if _exists(path) else None


def _read(run: Path) -> dict[str, Any]:
    try:
        found = json.loads(read_text(run / RUN_SETTINGS))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _local(data: str | Path) -> str:
    """Return the path that DATA means on this machine: of a file:// address too, or with ~ in front."""
    if not is_file_address(str(data)):
        return expand_home(data)
    try:
        return path_of_address(str(data))
    except ValueError as error:
        raise DataError(str(error)) from error


def _exists(path: Path) -> bool:
    return os.path.exists(path)  # noqa: PTH110 - False for names that the system refuses
