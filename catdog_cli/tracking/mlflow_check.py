"""Whether MLflow would take a run, found out without writing: `--dry-run`.

MLflow's own client makes a database's tables, or a folder, as soon as it is asked for anything. So a database
is read below it, by MLflow's own description of its tables, and a folder is looked at; a server is asked, for
asking it writes nothing.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from .mlflow_store import (
    MlflowStore,
    StoreError,
    absolute_uri,
    check_database,
    hide_password,
    load_mlflow,
    translate_errors,
)

DATABASES = ("sqlite", "postgresql", "mysql", "mssql")  # those that MLflow knows
ABSENT, EMPTY, KNOWN = "absent", "no experiment", "experiment"  # what is there already


def look(uri: str, experiment: str, model: str | None) -> dict[str, Any]:
    """Return {"uri", "experiment", "found": ABSENT, EMPTY or KNOWN}: what a run that starts now would meet.

    Raises:
        StoreError: MLflow does not answer, or a run could not begin there.
        CatdogError: mlflow is not installed.
    """
    address = absolute_uri(uri)
    load_mlflow()
    find = _choose_way(address)
    with translate_errors(address):
        found = find(address, experiment, model)
    return {"uri": hide_password(address), "experiment": experiment, "found": found}


def _choose_way(address: str) -> Callable[[str, str, str | None], str]:
    kind = urlsplit(address).scheme
    if kind == "sqlite":
        return _look_into_file
    if kind.split("+")[0] in DATABASES:
        return _look_into_database
    return _look_into_folder if kind == "file" else _ask_server


def _ask_server(address: str, experiment: str, model: str | None) -> str:
    return KNOWN if MlflowStore(address, experiment).check(model) else EMPTY


def _look_into_folder(address: str, experiment: str, model: str | None) -> str:
    """Look at a folder of MLflow's; one that MLflow has finished making is asked through its client."""
    folder = Path(unquote(urlsplit(address).path))
    if (folder / ".trash").is_dir():
        return _ask_server(address, experiment, None)  # asking for models would make a folder for them
    _check_writable(folder)
    return ABSENT


def _look_into_file(address: str, experiment: str, model: str | None) -> str:
    """Look into an SQLite file, opened so that nothing can be written, if it is there."""
    path = Path(address.removeprefix("sqlite:///"))
    if not path.exists():
        _check_writable(path)
        return ABSENT
    journal = "" if Path(f"{path}-wal").exists() else "&immutable=1"  # or SQLite lays files beside it
    return _look_into_database(f"sqlite:///{path.as_uri()}?mode=ro{journal}&uri=true", experiment, model)


def _look_into_database(address: str, experiment: str, model: str | None) -> str:
    found = check_database(address, experiment)
    return ABSENT if found is None else KNOWN if found else EMPTY


def _check_writable(path: Path) -> None:
    """Raise StoreError where neither `path` nor, if it is not there, its nearest folder can be written to."""
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise StoreError(
            f"MLflow could not make {str(path)!r}, for nothing can be written in {str(there)!r}: choose "
            f"another place for --mlflow."
        )
