"""A check's report as one HTML file with thumbnails in it, and as an exclude list."""

import json
import os
from pathlib import Path

from ...errors import DataError
from ...images.preview import Preview, make_preview
from ...runtime.files import write_atomic
from ...runtime.html import render
from .check import COUNTED, CheckReport

THUMBNAIL_PX = 112
MAX_SHOWN = 200  # of each kind: a page of thousands of pictures opens nowhere
MAX_IN_NOTEBOOK = 12
TEMPLATE = Path(__file__).with_name("templates") / "check.html"


def write_page(report: CheckReport, path: str | Path) -> None:
    """Write the report as a self-contained page; the pictures are read again, to be shown small.

    Raises:
        DataError: the file cannot be written.
    """
    data = build_page(report).encode("utf-8", "backslashreplace")
    write_atomic(Path(path), data, DataError, "choose another place", parents=True)


def write_exclude_list(report: CheckReport, path: str | Path) -> None:
    """Write the paths to leave out, one a line as `scan_dataset(exclude=)` reads them; odd ones as JSON.

    Raises:
        DataError: the file cannot be written.
    """
    lines = [json.dumps(name) if _is_odd(name) else name for name in report.list_excluded()]
    data = "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")
    write_atomic(Path(path), data, DataError, "choose another place", parents=True)


def _is_odd(name: str) -> bool:
    return name.startswith(('"', "\ufeff")) or "\n" in name or "\r" in name


def build_page(report: CheckReport, page: bool = True) -> str:
    """Return the HTML of `write_page`, or with `page` off what a notebook shows: less, and without a head."""

    def thumbnail(path: str) -> Preview | None:
        return make_preview(report.root / path, THUMBNAIL_PX)

    return render(
        TEMPLATE,
        title=f"Check of {os.fsdecode(report.root)}",
        report=report,
        page=page,
        counted=COUNTED,
        most=MAX_SHOWN if page else MAX_IN_NOTEBOOK,
        thumbnail=thumbnail,
    )
